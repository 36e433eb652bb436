import assert from "node:assert/strict";
import { test } from "node:test";
import { addressAfter } from "#base/ip-text.ts";

test("the address some steps after another one carries over, within the last four octets", () => {
  const rows: [address: string, steps: number, after: string][] = [
    ["127.0.0.2", 0, "127.0.0.2"],
    ["127.1.2.2", 63, "127.1.2.65"],
    ["127.1.2.255", 2, "127.1.3.1"],
    ["255.255.255.255", 1, "0.0.0.0"],
    ["::2", 0, "::2"],
    ["2001:DB8:0::ffff", 1, "2001:db8::1:0"],
    ["2001:db8::ffff:ffff", 1, "2001:db8::"],
    ["::ffff:127.0.0.2", 1, "::ffff:7f00:3"],
  ];
  for (const [address, steps, after] of rows) assert.equal(addressAfter(address, steps), after, address);
});
