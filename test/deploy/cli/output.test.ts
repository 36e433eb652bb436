import assert from "node:assert/strict";
import { test } from "node:test";
import { CommandFailure, exitCodes } from "../../../deploy/cli/exit-codes.ts";
import { createOutput, sizeText, tableLines, writeFailure } from "../../../deploy/cli/output.ts";

function stream(): { write: (text: string) => boolean; text: () => string } {
  let text = "";
  return {
    write(more) {
      text += more;
      return true;
    },
    text: () => text,
  };
}

test("a table's columns are as wide as their widest cell, numbers stand to the right", () => {
  const rows = [
    ["chair.jpg", 7, undefined],
    ["a", 12, "ü"],
  ];
  assert.deepEqual(tableLines(["NAME", "VERSION", "BY"], rows), [
    "NAME       VERSION  BY",
    "chair.jpg        7  -",
    "a               12  ü",
  ]);
});

test("sizes are told in three digits at most", () => {
  const cases: [sizeBytes: number, text: string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [99_499, "99 kB"],
    [999_499, "999 kB"],
    [999_600, "1.0 MB"],
    [4_100_000, "4.1 MB"],
    [53_687_091_200, "54 GB"],
    [2.5e12, "2.5 TB"],
  ];
  for (const [sizeBytes, text] of cases) assert.equal(sizeText(sizeBytes), text, String(sizeBytes));
});

test("with --json the answer is one JSON value on standard output, notes stay apart", () => {
  const [stdout, stderr] = [stream(), stream()];
  const output = createOutput(stdout, stderr, true);
  output.note("on the way");
  output.answer({ count: 2 }, () => assert.fail("text was asked for"));
  assert.deepEqual(JSON.parse(stdout.text()), { count: 2 });
  assert.equal(stderr.text(), "on the way\n");
});

test("a failure is a sentence and what to do, or the same as JSON", () => {
  const failure = new CommandFailure(exitCodes.refused, "there is no such thing", { lines: ["look: ls"], code: "X" });
  const [asText, asJson] = [stream(), stream()];
  writeFailure(asText, failure, false);
  writeFailure(asJson, failure, true);
  assert.equal(asText.text(), "nearcast: there is no such thing\n  look: ls\n");
  assert.deepEqual(JSON.parse(asJson.text()), {
    error: { message: "there is no such thing", code: "X", exitCode: 4, lines: ["look: ls"] },
  });
});
