import assert from "node:assert/strict";
import { test } from "node:test";
import { CommandFailure } from "../../../../deploy/cli/exit-codes.ts";
import { rollbackTarget } from "../../../../deploy/cli/verbs/rollback.ts";

test("a bare number or nothing means the fleet document, a name means a picture", () => {
  const cases: [words: [string?, string?], isPicture: boolean, expected: ReturnType<typeof rollbackTarget>][] = [
    [[], false, { what: "fleet", version: undefined }],
    [["3"], false, { what: "fleet", version: 3 }],
    [["chair.jpg"], false, { what: "picture", name: "chair.jpg", version: undefined }],
    [["shop/chair.jpg", "2"], false, { what: "picture", name: "shop/chair.jpg", version: 2 }],
    [["3", "2"], false, { what: "picture", name: "3", version: 2 }],
    [["3"], true, { what: "picture", name: "3", version: undefined }],
  ];
  for (const [[name, version], isPicture, expected] of cases) {
    const words = `rollback ${name ?? ""} ${version ?? ""} ${isPicture ? "--picture" : ""}`;
    assert.deepEqual(rollbackTarget(name, version, isPicture), expected, words);
  }
});

test("what is no version is refused", () => {
  for (const words of [["0"], ["chair.jpg", "two"], ["chair.jpg", "-1"], ["chair.jpg", "1.5"]]) {
    assert.throws(() => rollbackTarget(words[0], words[1], false), CommandFailure, words.join(" "));
  }
  assert.throws(() => rollbackTarget(undefined, undefined, true), CommandFailure);
});
