import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { jsonDepthMax, parseForeignJson } from "#base/foreign-json.ts";

const nested = (depth: number, open = "[", close = "]"): string => open.repeat(depth) + close.repeat(depth);

test("JSON is taken up to its depth, and refused one level below", () => {
  equal(JSON.stringify(parseForeignJson(nested(jsonDepthMax))), nested(jsonDepthMax));
  for (const text of [nested(jsonDepthMax + 1), nested(500_000), `${'{"a":'.repeat(150_000)}1${"}".repeat(150_000)}`]) {
    throws(() => parseForeignJson(text), /^SyntaxError: JSON is nested deeper than 64 levels$/);
  }
});

test("brackets in texts, and closed ones, are no depth", () => {
  const cases = [
    { text: "[".repeat(1000), after: { escaped: '\\"[[{'.repeat(100) } },
    Array.from({ length: 10_000 }, () => [{}]),
    { '"[': "\\", "[": [] },
  ];
  for (const value of cases) deepEqual(parseForeignJson(JSON.stringify(value)), value);
});

test("what is no JSON is refused, however its brackets stand", () => {
  for (const text of ["", "{", "]".repeat(100), `"${"[".repeat(100)}`, '"\\', "NaN", "[1]]"]) {
    throws(() => parseForeignJson(text), SyntaxError, text);
  }
});

test("the check takes time in proportion to the length", () => {
  const shapes = ["[]", '"', '\\"', "{", '[""],'];
  for (const shape of shapes) {
    const startMs = performance.now();
    throws(() => parseForeignJson(`"${shape.repeat(4_000_000 / shape.length)}`), SyntaxError);
    ok(performance.now() - startMs < 2000, shape);
  }
});
