import assert from "node:assert/strict";
import { test } from "node:test";
import { scopeText, subnetOf } from "../../../../deploy/cli/verbs/dig.ts";
import { CommandFailure } from "../../../../deploy/cli/exit-codes.ts";

test("a client's address is cut to what a resolver would send, a network stays", () => {
  const cases: [from: string, expected: string][] = [
    ["81.2.69.160", "81.2.69.160/24"],
    ["81.2.69.0/22", "81.2.69.0/22"],
    ["2001:db8::1", "2001:db8::1/56"],
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
