/** What the engine takes for a plain request is one by the rules that judge all requests, with the same parts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { fieldIn, isConditional, newRequestHead, notedFields } from "../../../../node/front/request-head.ts";
import { limits } from "../../../../node/front/http2/connection.ts";
import { newDynamicTable } from "../../../../node/front/http2/dynamic-table.ts";
import { decodeSection, newFieldList } from "../../../../node/front/http2/hpack-decoder.ts";
import { plainBytesMax, readPlainRequest } from "../../../../node/front/http2/plain-request.ts";
import { plainOf, readRequest } from "../../../../node/http2/request-fields.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { block } from "../../../conformance/http2/frames.ts";

const names = [":method", ":scheme", ":path", ":authority", ...notedFields, "cookie", "te", "x-a", "connection", "X-B"];
const others = ["content-length", "authorization", "cdn-loop", "expect", "upgrade", "", "a b", ":status", "trailer"];
const values = [
  "",
  "x",
  "GET",
  "HEAD",
  "POST",
  "https",
  "/",
  "/a?b",
  "a.test",
  "me@a.test",
  " x",
  "x\t",
  "a b",
  "a\x01",
];
const others2 = ["/a#b", "/\xe4", "trailers", "\x7f", "bytes=0-1", '"1"', "*", "a\nb", "\xe4"];

test("random lists", () => {
  const seed = seedOr(2036);
  const random = seededRandom(seed);
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)] ?? "";
  const list = newFieldList(limits);
  const head = newRequestHead();
  const text = Buffer.alloc(plainBytesMax);
  let plain = 0;
  for (let round = 0; round < rounds(20_000, 500_000); round += 1) {
    const fields = [":method", pick(["GET", "HEAD"]), ":scheme", "https", ":path", "/a", ":authority", "a.test"];
    for (let count = Math.floor(random() * 4); count > 0; count -= 1) {
      fields.push(pick(random() < 0.8 ? names : others), pick(random() < 0.8 ? values : others2));
    }
    if (random() < 0.3) fields.splice(2 * Math.floor(random() * 4), 2);
    if (random() < 0.3) fields[1 + 2 * Math.floor(random() * 3)] = pick([...values, ...others2]);
    const section = block(...fields);
    assert.ok(decodeSection(newDynamicTable(), section, 0, section.length, list));
    if (!readPlainRequest(list, text, head)) continue;
    plain += 1;
    const where = `SEED=${seed}: ${JSON.stringify(fields)}`;
    const request = readRequest(fields, false);
    assert.ok(request.outcome === "request", where);
    const expected = plainOf(request);
    assert.ok(expected !== undefined, where);
    assert.equal(head.isHead ? "HEAD" : "GET", expected.method, where);
    assert.equal(text.toString("latin1", head.targetStart, head.targetEnd), expected.target, where);
    assert.equal(isConditional(head), expected.isConditional, where);
    for (const name of notedFields) assert.equal(fieldIn(text, head, name), expected.fields[name], where);
  }
  assert.ok(plain > 1000);
});
