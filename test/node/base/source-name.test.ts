import assert from "node:assert/strict";
import { test } from "node:test";
import { nameBytesMax, nameFromTarget, parseName, parsePrefix } from "#base/source-name.ts";

test("names are taken in one form (NFC)", () => {
  assert.deepEqual(parseName("a/bla\u030aba\u0308r.jpg"), { ok: true, name: "a/bl\u00e5b\u00e4r.jpg" });
});

test("a name that some parser would read as another one is refused", () => {
  for (const name of [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/./b",
    "a\\b",
    "a\u0000b",
    "a\nb",
    "a\u202eb",
    "a\ud800b",
    "a\u2028b",
  ]) {
    assert.equal(parseName(name).ok, false, JSON.stringify(name));
  }
  for (const name of ["a", "...", "a..b", ".well-known/x", "a b", "a%2fb", "日本/😀.png", "a?b#c"]) {
    assert.deepEqual(parseName(name), { ok: true, name });
  }
});

test("the bound counts bytes of UTF-8", () => {
  assert(parseName("é".repeat(nameBytesMax / 2)).ok);
  assert(!parseName(`${"é".repeat(nameBytesMax / 2)}a`).ok);
});

test("a name is read from a raw target segment by segment", () => {
  const rows: [target: string, name: string | null][] = [
    ["/m/a/b.jpg", "a/b.jpg"],
    ["/m/a%20b?w=1", "a b"],
    ["/m/bl%C3%A5.jpg", "blå.jpg"],
    ["/m/a%2Fb", null],
    ["/m/a%2fb", null],
    ["/m/%2e%2e/b", null],
    ["/m/%C3.jpg", null],
    ["/m/%c0%ae%c0%ae/x", null],
    ["/m/%", null],
    ["/m/%00", null],
    ["/x/a", null],
    ["/m/", null],
  ];
  for (const [target, name] of rows) {
    const parsed = nameFromTarget(target, "/m/");
    assert.equal(parsed.ok ? parsed.name : null, name, target);
  }
});

test("a prefix may end anywhere and be empty, but holds no character that no name has", () => {
  for (const prefix of ["", "a", "a/", "a/b"]) assert.deepEqual(parsePrefix(prefix), { ok: true, name: prefix });
  for (const prefix of ["a\\", "a\u0000", "a".repeat(nameBytesMax + 1)]) assert(!parsePrefix(prefix).ok);
});
