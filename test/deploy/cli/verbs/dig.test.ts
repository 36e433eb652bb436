import assert from "node:assert/strict";
import { test } from "node:test";
import { isName, scopeText, subnetOf } from "../../../../deploy/cli/verbs/dig.ts";
import { CommandFailure } from "../../../../deploy/cli/exit-codes.ts";

test("a client's address is cut to what a resolver would send, a network stays", () => {
  const cases: [from: string, expected: string][] = [
    ["81.2.69.160", "81.2.69.0/24"],
    ["81.2.69.0/22", "81.2.69.0/22"],
    ["2001:db8::1", "2001:db8::/56"],
    ["2001:db8::/48", "2001:db8::/48"],
  ];
  for (const [from, expected] of cases) assert.equal(subnetOf(from), expected, from);
});

test("what is no address or network is refused", () => {
  for (const from of ["", "here", "1.2.3", "1.2.3.4/33", "1.2.3.4/x", "1.2.3.4/24/1", "2001:db8::/129"]) {
    assert.throws(() => subnetOf(from), CommandFailure, from);
  }
});

test("the scope says which clients get the same answer", () => {
  assert.equal(scopeText(0), "scope /0: every client gets this answer");
  assert.equal(scopeText(13), "scope /13: all clients in the same /13 get this answer");
});

test("a name that a query can't hold is refused before anybody is asked", () => {
  const long = "a".repeat(63);
  for (const name of [".", "test", "cdn.test.", "_a.xn--bcher-kva.test", "*.test", [long, long, long, "b"].join(".")]) {
    assert.equal(isName(name), true, name);
  }
  for (const name of [
    "",
    "..",
    "a..b",
    ".a",
    "b\u00fccher.test",
    "a b",
    "a\\.b",
    `${long}a.test`,
    "\u001b[2J",
    "a.".repeat(128),
  ]) {
    assert.equal(isName(name), false, name);
  }
});
