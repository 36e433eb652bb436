/** Addresses and prefixes as text and as octets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addressText, parseAddress, parsePrefix } from "../../../../node/announce/bgp/prefix.ts";

test("addresses are read in every form, and zones and other texts are none", () => {
  const cases = [
    ["127.0.0.2", "7f000002"],
    ["::", "00".repeat(16)],
    ["::1", `${"00".repeat(15)}01`],
    ["2001:db8::", `20010db8${"00".repeat(12)}`],
    ["2001:DB8:0:1:2:3:4:5", "20010db8000000010002000300040005"],
    ["::ffff:192.0.2.1", `${"00".repeat(10)}ffffc0000201`],
    ["fe80::1%eth0", undefined],
    ["256.0.0.1", undefined],
    ["", undefined],
  ] as const;
  for (const [text, octets] of cases) {
    const parsed = parseAddress(text);
    assert.equal(parsed && Buffer.from(parsed).toString("hex"), octets, text);
    // The text that we write is one that we read as the same.
    if (parsed !== undefined) assert.deepEqual(parseAddress(addressText(parsed)), parsed, text);
  }
});

test("prefixes lose what stands past their length", () => {
  const cases = [
    ["192.0.2.1/24", "24 c00002"],
    ["10.255.0.0/9", "9 0a80"],
    ["0.0.0.0/0", "0 "],
    ["2001:db8:53::1/48", "48 20010db80053"],
    ["192.0.2.0/33", undefined],
    ["192.0.2.0", undefined],
    ["192.0.2.0/", undefined],
    ["192.0.2.0/024", undefined],
    ["192.0.2.0/24/1", undefined],
    ["2001:db8::/129", undefined],
  ] as const;
  for (const [text, expected] of cases) {
    const parsed = parsePrefix(text);
    assert.equal(parsed && `${parsed.length} ${Buffer.from(parsed.octets).toString("hex")}`, expected, text);
  }
});
