/** Fields that the front refuses to send. */
import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { headerBlockOf } from "../../../node/cache/object.ts";
import { openLaneSink } from "../../../node/front/lane-sink.ts";

test("a field's value with a line end or a control character is refused; a block has line ends", () => {
  const common = { date: () => "", keepAliveSeconds: 65, joined: Buffer.alloc(0) };
  const sink = openLaneSink(new Socket(), common);
  const block = headerBlockOf([
    ["A", "a"],
    ["B", "b"],
  ]);
  for (const value of ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\u0000b", "a\u007f", "\u0100"]) {
    sink.begin();
    assert.throws(() => {
      sink.head(200, ["X", value], block);
    }, TypeError);
  }
  sink.begin();
  sink.head(200, ["X", "a\tb \u00e4"], block);
});
