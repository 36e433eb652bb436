import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isAtOrBelow,
  nameFromLabels,
  nameFromText,
  nameToText,
  readName,
  scratchName,
  skipName,
} from "../../../dns/wire/name.ts";
import { nameBytes } from "../support/ask.ts";

/** A message whose name stands behind a header of 12 octets. */
const message = (...bytes: number[]): Uint8Array => Uint8Array.from([...Array<number>(12).fill(0), ...bytes]);

function read(bytes: Uint8Array, start = 12): { next: number; text: string } {
  const name = scratchName();
  const next = readName(bytes, start, bytes.length, name);
  return { next, text: next < 0 ? "" : nameToText(name) };
}

test("a name is read in lower case, with its end", () => {
  assert.deepEqual(read(message(...nameBytes("ImG.cDn.TEST"), 9, 9)), { next: 12 + 14, text: "img.cdn.test" });
  assert.deepEqual(read(message(0)), { next: 13, text: "." });
});

test("a label may hold a dot, a zero, a space or any other octet", () => {
  const { text } = read(message(5, 0x61, 0x2e, 0x00, 0x20, 0xff, 1, 0x62, 0));
  assert.equal(text, "a\\.\\000\\032\\255.b");
});

test("a name of 255 octets is read, one of 256 is not", () => {
  const label = [63, ...Array<number>(63).fill(0x61)];
  const longest = [...label, ...label, ...label, 61, ...Array<number>(61).fill(0x62), 0];
  assert.equal(longest.length, 255);
  assert.equal(read(message(...longest)).next, 12 + 255);
  assert.equal(skipName(message(...longest), 12, 12 + 255), 12 + 255);
  const tooLong = [...label, ...label, ...label, 62, ...Array<number>(62).fill(0x62), 0];
  assert.equal(read(message(...tooLong)).next, -1);
  assert.equal(skipName(message(...tooLong), 12, 12 + 256), -1);
});

test("127 labels are the most", () => {
  assert.equal(read(message(...Array.from({ length: 127 }, () => [1, 0x61]).flat(), 0)).next, 12 + 255);
  assert.equal(read(message(...Array.from({ length: 128 }, () => [1, 0x61]).flat(), 0)).next, -1);
});

test("a pointer to an earlier name is followed, and the name ends behind the pointer", () => {
  const bytes = message(...nameBytes("cdn.test"), 3, 0x69, 0x6d, 0x67, 0xc0, 12, 7);
  assert.deepEqual(read(bytes, 22), { next: 28, text: "img.cdn.test" });
  assert.equal(skipName(bytes, 22, bytes.length), 28);
});

const malformed: readonly (readonly [string, number[], number?])[] = [
  ["nothing at all", []],
  ["no final zero", [1, 0x61]],
  ["a label longer than what follows", [5, 0x61]],
  ["a label type 01", [0x41, 0x61, 0]],
  ["a label type 10", [0x81, 0x61, 0]],
  ["half a pointer", [0xc0]],
  ["a pointer to itself", [0xc0, 12]],
  ["a pointer forward", [0xc0, 15, 0, 0]],
  ["a pointer into the header", [0xc0, 4]],
  ["a pointer to the start of the name it ends", [1, 0x61, 0xc0, 12]],
  ["a pointer past the end", [0xff, 0xff]],
  ["two pointers at each other", [0xc0, 14, 0xc0, 12], 14],
];

test("a malformed name is refused, read or skipped", () => {
  for (const [what, bytes, start = 12] of malformed) {
    assert.equal(read(message(...bytes), start).next, -1, what);
    if (what !== "two pointers at each other")
      assert.equal(skipName(message(...bytes), start, 12 + bytes.length), -1, what);
  }
});

test("a chain of pointers is cut, however long it is", () => {
  const bytes = message(
    ...nameBytes("a"),
    ...Array.from({ length: 4000 }, (_, i) =>
      i === 0 ? [0xc0, 12] : [0xc0 | ((13 + 2 * i) >> 8), (13 + 2 * i) & 0xff],
    ).flat(),
  );
  assert.equal(read(bytes, bytes.length - 2).next, -1);
  assert.equal(read(bytes, 15 + 2 * 100).text, "a");
});

test("text makes the same name as the wire, and nothing out of bounds", () => {
  const name = nameFromText("IMG.cdn.test.");
  assert.ok(name);
  assert.deepEqual([...name.bytes], nameBytes("img.cdn.test"));
  assert.equal(nameToText(name), "img.cdn.test");
  assert.equal(nameFromText("a..b"), undefined);
  assert.equal(nameFromText("a".repeat(64)), undefined);
  assert.equal(nameFromText(Array<string>(128).fill("a").join(".")), undefined);
  assert.equal(nameFromLabels([Buffer.from("a.b"), Buffer.from("c")])?.labelsCount, 2);
});

test("at or below compares whole labels", () => {
  const at = (name: string, ancestor: string): boolean => {
    const [a, b] = [nameFromText(name), nameFromText(ancestor)];
    assert.ok(a && b);
    return isAtOrBelow(a, b);
  };
  assert.ok(at("img.cdn.test", "cdn.test"));
  assert.ok(at("cdn.test", "cdn.test"));
  assert.ok(at("cdn.test", "."));
  assert.ok(at(".", "."));
  assert.ok(!at("mycdn.test", "cdn.test"));
  assert.ok(!at("test", "cdn.test"));
  assert.ok(!at("cdn.tess", "cdn.test"));
});
