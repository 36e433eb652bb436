import { equal } from "node:assert/strict";
import { test } from "node:test";
import { versionsText } from "../../../../deploy/cli/missing-picture.ts";

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => last - index);

const rows: [versions: number[], text: string][] = [
  [[], "none"],
  [[2, 1], "1, 2"],
  [[7, 3, 5], "3, 5, 7"],
  [upTo(41), "1 to 41"],
  [[...upTo(41), 50], "42 between 1 and 50"],
];

for (const [versions, text] of rows) test(text, () => equal(versionsText(versions), text));
