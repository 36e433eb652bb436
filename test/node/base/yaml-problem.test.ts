import assert from "node:assert/strict";
import { test } from "node:test";
import { yamlProblem } from "#base/yaml-problem.ts";
import { parseDocument } from "yaml";

test("what is wrong with a text that is not YAML is reported without the grammar of its parser", () => {
  const rows: [text: string, wanted: RegExp][] = [
    ["a: b: c", /^a line contains a second `key: value`/],
    ["a:\n  - b: 1\n- b: 2\nc: 3", /indentation does not match the lines above/],
    ["a: 1\nb\nc: 2", /^a colon is missing after a key/],
    ["a: [1, 2", /bracket is not closed$/],
    ["a:\n  b: 1\n c: 2", /^(the indentation|a line)/],
    ["a: @x", /requires quotes$/],
  ];
  for (const [text, wanted] of rows) {
    const [error] = parseDocument(text, { prettyErrors: false }).errors;
    assert(error !== undefined, text);
    assert.match(yamlProblem(error), wanted, text);
    assert.doesNotMatch(yamlProblem(error), /implicit|scalar|collection|compact/i, text);
  }
});
