import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CommandFailure, exitCodes } from "../../../deploy/cli/exit-codes.ts";
import { createOutput, sizeText, tableLines, timeText, withDates, writeFailure } from "../../../deploy/cli/output.ts";

function stream(isTTY = false): { isTTY: boolean; write: (text: string) => boolean; text: () => string } {
  let text = "";
  return {
    isTTY,
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

test("sizes are reported in three digits at most", () => {
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

test("times are reported in this machine's zone, with that zone; what is not a time is reported as it is", (t) => {
  const before = process.env["TZ"];
  t.after(() => {
    // Assigned undefined it would become the zone "undefined".
    if (before === undefined) delete process.env["TZ"];
    else process.env["TZ"] = before;
  });
  const rows: [zone: string, iso: string, text: string][] = [
    ["Europe/Berlin", "2026-03-01T11:00:07.123Z", "2026-03-01 12:00:07 +01:00"],
    ["Europe/Berlin", "2026-07-01T11:00:07Z", "2026-07-01 13:00:07 +02:00"],
    ["Asia/Kolkata", "2026-03-01T23:00:00Z", "2026-03-02 04:30:00 +05:30"],
    ["America/St_Johns", "2026-03-01T01:00:00Z", "2026-02-28 21:30:00 -03:30"],
    ["UTC", "2026-03-01T01:00:00Z", "2026-03-01 01:00:00 +00:00"],
    ["UTC", "soon", "soon"],
  ];
  for (const [zone, iso, text] of rows) {
    process.env["TZ"] = zone;
    assert.equal(timeText(iso), text, zone);
  }
});

test("a node's milliseconds become dates, at every depth; lengths of time and nonsense stay", () => {
  const value = {
    validatedAtMs: 1_772_362_807_000,
    inside: [{ storedAtMs: 0 }],
    tookMs: 7,
    goneAtMs: 1e300,
    atMs: "x",
  };
  assert.deepEqual(withDates(value), {
    validatedAt: "2026-03-01T11:00:07.000Z",
    inside: [{ storedAt: "1970-01-01T00:00:00.000Z" }],
    tookMs: 7,
    goneAtMs: 1e300,
    atMs: "x",
  });
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

/** A title, a cleared screen, a line that nobody said, C1, bidi controls, a separator, a tag. */
const hostile = "a\u001b]0;pwned\u0007\u001b[2J\nroot#\r\t\u007f\u009b31m\u202eevil\u2066\u2028\ufeff\u{e0041}z";
const shown =
  "a\\x1b]0;pwned\\x07\\x1b[2J\\x0aroot#\\x0d\\x09\\x7f\\x9b31m\\u{202e}evil\\u{2066}\\u{2028}\\u{feff}\\u{e0041}z";
const obeyed = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

test("whatever a terminal would obey is shown by its number, in answers, notes and failures", () => {
  const [stdout, stderr] = [stream(), stream(true)];
  const output = createOutput(stdout, stderr, false);
  output.answer({}, () => [hostile, ...tableLines(["NAME", "N"], [[hostile, 1]])]);
  assert.deepEqual(stdout.text().split("\n"), [shown, `${"NAME".padEnd(shown.length)}  N`, `${shown}  1`, ""]);
  output.note(hostile);
  writeFailure(stderr, new CommandFailure(exitCodes.failed, hostile, { lines: [hostile] }), false);
  assert.equal(stderr.text(), `${shown}\nnearcast: ${shown}\n  ${shown}\n`);
  const redrawn = stream(true);
  createOutput(stdout, redrawn, false).redraw(hostile);
  assert.equal(redrawn.text(), `\r${shown}\u001b[K`);
});

test("names with accents, emoji of several parts and right-to-left letters stay as they are", () => {
  const stdout = stream();
  const names = ["Zürich", "👨\u200d👩\u200d👧.jpg", "می\u200cخواهم", "東京", "a\u0301"];
  createOutput(stdout, stream(), false).answer({}, () => names);
  assert.equal(stdout.text(), names.map((name) => `${name}\n`).join(""));
});

test("JSON means the same, without a character that a terminal would obey", () => {
  const [stdout, stderr] = [stream(), stream()];
  createOutput(stdout, stderr, true).answer({ [hostile]: hostile }, () => []);
  writeFailure(stderr, new CommandFailure(exitCodes.failed, hostile), true);
  assert.deepEqual(JSON.parse(stdout.text()), { [hostile]: hostile });
  for (const text of [stdout.text(), stderr.text()]) assert.doesNotMatch(text.replaceAll("\n", ""), obeyed);
});

test("a document comes byte for byte out of a pipe, and printable onto a terminal", () => {
  const text = "sites:\n\t- fra # \u001b[2J\n";
  for (const [isTerminal, expected] of [
    [false, text],
    [true, "sites:\n\t- fra # \\x1b[2J\n"],
  ] as const) {
    const stdout = stream(isTerminal);
    createOutput(stdout, stream(), false).document({ text }, text);
    assert.equal(stdout.text(), expected);
  }
});

test("lines and cells are cut, and a table may have more rows than a call has arguments", () => {
  const stderr = stream();
  createOutput(stream(), stderr, false).note("\u001b".repeat(1_000_000));
  assert.equal(stderr.text().length, 16_385);
  const lines = tableLines(
    ["NAME", "N"],
    [...Array.from({ length: 150_000 }, () => ["a", 1]), ["w".repeat(900_000), 2]],
  );
  assert.equal(lines.length, 150_002);
  assert.equal(lines[1]?.length, 512 + 3);
});

test("only output.ts writes to the terminal", () => {
  const writing = /(?:stdout|stderr|output)\b[^;\n]*\.write\(|console\./;
  const folder = new URL("../../../deploy/cli/", import.meta.url);
  const files = globSync("**/*.ts", { cwd: folder }).filter((file) =>
    writing.test(readFileSync(new URL(file, folder), "utf8")),
  );
  assert.deepEqual(files.toSorted(), ["output.ts"]);
});

test("a failure that the origin wrote tells what to type on this machine", () => {
  const stderr = stream();
  const failure = new CommandFailure(exitCodes.refused, "8 nodes joined: `nearcast remove` those that are gone");
  writeFailure(stderr, failure, false);
  assert.equal(stderr.text(), "nearcast: 8 nodes joined: `npx nearcast remove` those that are gone\n");
});
