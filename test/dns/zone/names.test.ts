/** Names as people write them (RFC 1035 §5.1), and what DNAME does to names. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  keptName,
  labelHash,
  nameFromText,
  nameToText,
  readKnownName,
  readName,
  readNameText,
  replaceTail,
  scratchName,
  type WireName,
} from "../../../dns/wire/name.ts";
import { nameBytes } from "../support/ask.ts";

const wire = (text: string): WireName => nameFromText(text) ?? assert.fail(text);

/** The labels, as latin1 text. */
function labels(name: WireName | undefined): string[] | undefined {
  if (name === undefined) return undefined;
  return Array.from({ length: name.labelsCount }, (_, index) => {
    const start = name.labelStarts[index] ?? 0;
    return Buffer.from(name.bytes.slice(start + 1, start + 1 + (name.bytes[start] ?? 0))).toString("latin1");
  });
}

test("escapes are read, and written back in one form", () => {
  const cases: readonly (readonly [text: string, labels: readonly string[], back: string])[] = [
    ["a\\.b.c", ["a.b", "c"], "a\\.b.c"],
    ["a\\032b", ["a b"], "a\\032b"],
    ["\\065\\090.X", ["az", "x"], "az.x"],
    ["\\@.c", ["@", "c"], "\\@.c"],
    ["\\\\.c.", ["\\", "c"], "\\\\.c"],
    ["a\\.", ["a."], "a\\."],
    ["\\000\\255", ["\0\xff"], "\\000\\255"],
    ["\\ü.test", ["\xc3\xbc", "test"], "\\195\\188.test"],
    ["ü.test", ["\xc3\xbc", "test"], "\\195\\188.test"],
    ["😀", ["\xf0\x9f\x98\x80"], "\\240\\159\\152\\128"],
    ["", [], "."],
    [".", [], "."],
  ];
  for (const [text, expected, back] of cases) {
    const name = nameFromText(text);
    assert.deepEqual(labels(name), expected, text);
    assert.ok(name);
    assert.equal(nameToText(name), back, text);
    assert.deepEqual(nameFromText(back), name, `${text} again`);
  }
});

test("what is no name is refused", () => {
  const long = "a".repeat(63);
  const tooLong = [long, long, long, "a".repeat(62)].join(".");
  for (const text of ["..", "a..b", ".a", "\\", "a\\", "\\25", "\\256", "\\2x5", "a".repeat(64), tooLong]) {
    assert.equal(nameFromText(text), undefined, text);
  }
  assert.equal(nameFromText([long, long, long, "a".repeat(61)].join("."))?.length, 255);
});

test("a name without a final dot is relative to its origin", () => {
  const origin = wire("cdn.test");
  const name = scratchName();
  const cases: readonly (readonly [string, string | undefined])[] = [
    ["@", "cdn.test"],
    ["www", "www.cdn.test"],
    ["www.", "www"],
    ["a\\.", "a\\..cdn.test"],
    [".", "."],
    ["\\@", "\\@.cdn.test"],
    ["", undefined],
    ["a".repeat(63), `${"a".repeat(63)}.cdn.test`],
    [Array<string>(4).fill("a".repeat(60)).join("."), `${Array<string>(4).fill("a".repeat(60)).join(".")}.cdn.test`],
    [`${Array<string>(4).fill("a".repeat(60)).join(".")}.bb`, undefined],
  ];
  for (const [text, expected] of cases) {
    assert.equal(readNameText(text, origin, name) ? nameToText(name) : undefined, expected, text);
  }
});

test("however a name came to be, its labels' starts and hashes are the same", () => {
  const text = "img.a\\.b.cdn.test";
  const fromText = wire(text);
  const read = scratchName();
  assert.ok(readName(fromText.bytes, 0, fromText.length, read) > 0);
  const known = scratchName();
  readKnownName(fromText.bytes, 0, known);
  const relative = scratchName();
  assert.ok(readNameText("img.a\\.b", wire("cdn.test"), relative));
  const replaced = scratchName();
  readKnownName(wire("img.a\\.b.old").bytes, 0, replaced);
  assert.ok(replaceTail(replaced, 1, wire("cdn.test")));
  for (const name of [read, known, relative, replaced]) assert.deepEqual(keptName(name), fromText);
  for (let label = 0; label < fromText.labelsCount; label++) {
    assert.equal(fromText.labelHashes[label], labelHash(fromText.bytes, fromText.labelStarts[label] ?? 0));
  }
});

test("replacing a tail: all of it, none of it, and past 255 octets not at all", () => {
  const name = scratchName();
  const replace = (text: string, tailLabels: number, target: string): string | undefined => {
    readKnownName(wire(text).bytes, 0, name);
    return replaceTail(name, tailLabels, wire(target)) ? nameToText(name) : undefined;
  };
  assert.equal(replace("a.b.c", 1, "x.y"), "a.b.x.y");
  assert.equal(replace("a.b.c", 3, "x.y"), "x.y");
  assert.equal(replace("a.b", 0, "x"), "a.b.x");
  assert.equal(replace("a.b", 1, "."), "a");
  const long = Array<string>(3).fill("l".repeat(63)).join(".");
  assert.equal(replace(`${"a".repeat(60)}.b`, 1, long)?.length, 252);
  assert.equal(replace(`${"a".repeat(62)}.b`, 1, long), undefined);
  assert.equal(nameToText(name), `${"a".repeat(62)}.b`, "as it was");
  assert.deepEqual([...wire("a.b").bytes], nameBytes("a.b"));
});
