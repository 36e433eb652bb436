/** What is encoded for a response decodes to the same fields, without those about a connection of HTTP/1.1. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { newDynamicTable } from "../../../../node/front/http2/dynamic-table.ts";
import { limits } from "../../../../node/front/http2/connection.ts";
import { decodeSection, newFieldList, textsOf } from "../../../../node/front/http2/hpack-decoder.ts";
import {
  encodedBytesMax,
  encodeFields,
  encodeLines,
  encodeStatus,
} from "../../../../node/front/http2/hpack-encoder.ts";
import { rounds, seedOr } from "../../../support/long.ts";

function decoded(section: Buffer): string[] {
  const table = newDynamicTable();
  const list = newFieldList(limits);
  assert.ok(decodeSection(table, section, 0, section.length, list));
  assert.equal(table.count, 0, "nothing is indexed");
  return textsOf(list);
}

test("every status", () => {
  for (let status = 100; status < 600; status += 1) {
    const target = Buffer.alloc(8);
    assert.deepEqual(decoded(target.subarray(0, encodeStatus(status, target, 0))), [":status", String(status)]);
  }
});

const names = [
  "content-type",
  "date",
  "age",
  "etag",
  "x-other",
  "cache-status",
  "server-timing",
  "vary",
  "x".repeat(300),
];
const dropped = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

test("random fields, as list and as lines of HTTP/1.1", () => {
  const random = seededRandom(seedOr(2035));
  for (let round = 0; round < rounds(500, 20_000); round += 1) {
    const list: string[] = [];
    let lines = "";
    for (let count = Math.floor(random() * 12); count > 0; count -= 1) {
      const name = names[Math.floor(random() * names.length)] ?? "";
      const length = Math.floor(random() ** 3 * (random() < 0.1 ? 40_000 : 300));
      const value = Array.from({ length }, () => String.fromCharCode(33 + Math.floor(random() * 94))).join("");
      list.push(name, value);
      lines += `${random() < 0.5 ? name : name.replace(/^./, (first) => first.toUpperCase())}: ${value}\r\n`;
      if (random() < 0.3) lines += `${dropped[Math.floor(random() * dropped.length)]}: x\r\n`;
    }
    const target = Buffer.alloc(encodedBytesMax(list));
    const section = target.subarray(0, encodeFields(list, target, 0));
    if (section.length > limits.listBytesMax) continue;
    const wanted = list.reduce((sum, text) => sum + text.length + 16, 0) <= limits.listBytesMax ? list : undefined;
    if (wanted === undefined) continue;
    assert.deepEqual(decoded(section), list);
    const text = Buffer.from(`before${lines}behind`, "latin1");
    const room = Buffer.alloc(lines.length + 512);
    const end = encodeLines(text, 6, 6 + lines.length, room, 3);
    assert.deepEqual(decoded(room.subarray(3, end)), list);
  }
});
