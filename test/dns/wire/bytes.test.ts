/** Copying octets without a view: exactly those that are meant, and none outside of the arrays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOctets } from "../../../dns/wire/bytes.ts";

test("copies every length to every offset, and changes nothing beside it", () => {
  const from = Uint8Array.from({ length: 24 }, (_, i) => i + 1);
  for (let length = 0; length <= 12; length++) {
    for (let fromAt = 0; fromAt <= 5; fromAt++) {
      for (let toAt = 0; toAt <= 5; toAt++) {
        const to = new Uint8Array(24).fill(0xee);
        const expected = to.slice();
        expected.set(from.subarray(fromAt, fromAt + length), toAt);
        copyOctets(from, fromAt, to, toAt, length);
        assert.deepEqual(to, expected);
      }
    }
  }
});

test("refuses a range that leaves either array, and has copied nothing then", () => {
  const short = new Uint8Array(4);
  const long = new Uint8Array(8).fill(1);
  assert.throws(() => copyOctets(short, 1, long, 0, 4), RangeError);
  assert.throws(() => copyOctets(long, 0, short, 1, 4), RangeError);
  assert.deepEqual(short, new Uint8Array(4));
});
