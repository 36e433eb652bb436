import assert from "node:assert/strict";
import { test } from "node:test";
import { faultOf } from "../../../node/fetch/response-faults.ts";

test("of transfer codings chunked alone is undone, so that no other may come (RFC 9112 §6.1)", () => {
  for (const good of [undefined, "chunked", "Chunked", " chunked "])
    assert.equal(faultOf(200, { "transfer-encoding": good }, { isRange: false }), undefined);
  for (const bad of ["gzip, chunked", "xchunked", "chunked, chunked", "identity", ["gzip", "chunked"]])
    assert.match(faultOf(200, { "transfer-encoding": bad }, { isRange: false }) ?? "", /^Transfer-Encoding: /);
  const long = faultOf(200, { "transfer-encoding": "x".repeat(10_000) }, { isRange: false });
  assert(long !== undefined && long.length < 200);
});

test("a part is for those who asked for one (RFC 9110 §15.3.7)", () => {
  assert.equal(faultOf(206, {}, { isRange: true }), undefined);
  assert.match(faultOf(206, {}, { isRange: false }) ?? "", /206/);
});

test("what was not requested can't be refused: no range, no precondition (RFC 9110 §15.5)", () => {
  assert.equal(faultOf(416, {}, { isRange: true }), undefined);
  assert.match(faultOf(416, {}, { isRange: false }) ?? "", /416, although no range/);
  for (const isRange of [false, true]) {
    assert.match(faultOf(412, {}, { isRange }) ?? "", /412, although no precondition/);
    assert.match(faultOf(205, {}, { isRange }) ?? "", /205/);
    for (const status of [200, 203, 204, 304, 400, 404, 410, 417, 500])
      assert.equal(faultOf(status, {}, { isRange }), undefined);
  }
});

test("a head is limited in fields and in bytes", () => {
  const fields = (count: number, value: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, value]));
  const rows: [fields: Record<string, string | string[]>, isGood: boolean][] = [
    [fields(256, "v"), true],
    [fields(257, "v"), false],
    [{ "set-cookie": Array.from({ length: 256 }, () => "a=b") }, true],
    [{ "set-cookie": Array.from({ length: 257 }, () => "a=b") }, false],
    [{ link: "x".repeat(16 * 1024 - 4) }, true],
    [{ link: "x".repeat(16 * 1024 - 3) }, false],
  ];
  for (const [index, [head, isGood]] of rows.entries())
    assert.equal(faultOf(200, head, { isRange: false }) === undefined, isGood, `row ${index}`);
});
