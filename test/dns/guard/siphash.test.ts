/** SipHash-2-4 against the authors' vectors and against another way to reckon it. */
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { sipHash } from "../../../dns/guard/siphash.ts";

const mask = 0xffff_ffff_ffff_ffffn;
const left = (value: bigint, bits: bigint): bigint => ((value << bits) | (value >> (64n - bits))) & mask;

/** The definition, in whole 64-bit numbers. */
function byDefinition(key: Uint8Array, message: Uint8Array): bigint {
  const wordAt = (bytes: Uint8Array, at: number): bigint => Buffer.from(bytes).readBigUInt64LE(at);
  const k0 = wordAt(key, 0);
  const k1 = wordAt(key, 8);
  let [a, b, c, d] = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const round = (): void => {
    a = (a + b) & mask;
    b = left(b, 13n) ^ a;
    a = left(a, 32n);
    c = (c + d) & mask;
    d = left(d, 16n) ^ c;
    a = (a + d) & mask;
    d = left(d, 21n) ^ a;
    c = (c + b) & mask;
    b = left(b, 17n) ^ c;
    c = left(c, 32n);
  };
  const padded = paddedOf(message);
  for (let at = 0; at < padded.length; at += 8) {
    const word = wordAt(padded, at);
    d ^= word;
    round();
    round();
    a ^= word;
  }
  c ^= 0xffn;
  for (let i = 0; i < 4; i++) round();
  return a ^ b ^ c ^ d;
}

/** The message, zeros to the last octet of the next 8, and there its length modulo 256. */
function paddedOf(message: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.floor(message.length / 8) * 8 + 8);
  padded.set(message);
  padded[padded.length - 1] = message.length;
  return padded;
}

function hashOf(key: Uint8Array, message: Uint8Array): bigint {
  const words = (bytes: Uint8Array): Uint32Array =>
    Uint32Array.from({ length: bytes.length / 4 }, (_, index) => Buffer.from(bytes).readUInt32LE(index * 4));
  const into = new Uint32Array(2);
  const padded = paddedOf(message);
  sipHash(words(key), words(padded), padded.length / 4, into);
  return (BigInt(into[1] ?? 0) << 32n) | BigInt(into[0] ?? 0);
}

const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);

test("the authors' vectors: key 00 … 0f, message 00, 01, …", () => {
  assert.equal(hashOf(counting(16), counting(0)), 0x726fdb47dd0e0e31n);
  assert.equal(hashOf(counting(16), counting(8)), 0x93f5f5799a932462n);
  assert.equal(hashOf(counting(16), counting(15)), 0xa129ca6149be45e5n);
});

test("it equals the definition for random keys and messages of 0 to 63 octets", () => {
  const seed = Number(process.env["SEED"] ?? 9018);
  const random = seededRandom(seed);
  const octets = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(random() * 256));
  for (let round = 0; round < 2000; round++) {
    const key = octets(16);
    const message = octets(round % 64);
    const where = `SEED=${seed} key ${Buffer.from(key).toString("hex")}, ${Buffer.from(message).toString("hex")}`;
    assert.equal(hashOf(key, message), byDefinition(key, message), where);
  }
});

test("carries of every kind: words of all ones and all zeros", () => {
  for (const k of [0, 0x7f, 0x80, 0xff]) {
    for (const m of [0, 0x7f, 0x80, 0xff]) {
      for (const length of [0, 7, 8, 20, 32]) {
        const key = new Uint8Array(16).fill(k);
        const message = new Uint8Array(length).fill(m);
        assert.equal(hashOf(key, message), byDefinition(key, message), `key ${k}, message ${length} × ${m}`);
      }
    }
  }
});
