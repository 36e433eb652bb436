/**
 * SipHash-2-4 (Aumasson and Bernstein 2012): a keyed 64-bit hash for short messages. RFC 9018 §4.4 requires it for
 * server cookies. JavaScript has no fast 64-bit integers, so each word is split into a low and a high half of 32 bits.
 * The carry of a low sum is computed from the most significant bits: there is one if both terms have the bit set, or if
 * one has and the sum has not.
 *
 * Nothing is allocated. The time depends only on the message's length, never on the contents of key or message.
 */

/**
 * Hashes `words`.
 * @param key four words: 16 octets, little-endian
 * @param words the message in little-endian 32-bit words, ending with the 64-bit length word: the rest of the message
 *   after its last whole 8 octets, zeros, and its length modulo 256 in the most significant octet
 * @param count number of words; even
 * @param into receives the hash: low half, high half
 */
export function sipHash(key: Uint32Array, words: Uint32Array, count: number, into: Uint32Array): void {
  const k0 = key[0] ?? 0;
  const k1 = key[1] ?? 0;
  const k2 = key[2] ?? 0;
  const k3 = key[3] ?? 0;
  // "somepseudorandomlygeneratedbytes", as the authors chose.
  let v0 = k0 ^ 0x70736575;
  let v0h = k1 ^ 0x736f6d65;
  let v1 = k2 ^ 0x6e646f6d;
  let v1h = k3 ^ 0x646f7261;
  let v2 = k0 ^ 0x6e657261;
  let v2h = k1 ^ 0x6c796765;
  let v3 = k2 ^ 0x79746573;
  let v3h = k3 ^ 0x74656462;
  for (let at = 0; at <= count; at += 2) {
    const isLast = at === count;
    const low = isLast ? 0 : (words[at] ?? 0);
    const high = isLast ? 0 : (words[at + 1] ?? 0);
    const rounds = isLast ? 4 : 2;
    v3 ^= low;
    v3h ^= high;
    if (isLast) v2 ^= 0xff;
    for (let round = 0; round < rounds; round++) {
      let sum = (v0 + v1) | 0;
      v0h = (v0h + v1h + (((v0 & v1) | ((v0 | v1) & ~sum)) >>> 31)) | 0;
      v0 = sum;
      let swap = v1;
      v1 = (v1 << 13) | (v1h >>> 19);
      v1h = (v1h << 13) | (swap >>> 19);
      v1 ^= v0;
      v1h ^= v0h;
      swap = v0;
      v0 = v0h;
      v0h = swap;
      sum = (v2 + v3) | 0;
      v2h = (v2h + v3h + (((v2 & v3) | ((v2 | v3) & ~sum)) >>> 31)) | 0;
      v2 = sum;
      swap = v3;
      v3 = (v3 << 16) | (v3h >>> 16);
      v3h = (v3h << 16) | (swap >>> 16);
      v3 ^= v2;
      v3h ^= v2h;
      sum = (v0 + v3) | 0;
      v0h = (v0h + v3h + (((v0 & v3) | ((v0 | v3) & ~sum)) >>> 31)) | 0;
      v0 = sum;
      swap = v3;
      v3 = (v3 << 21) | (v3h >>> 11);
      v3h = (v3h << 21) | (swap >>> 11);
      v3 ^= v0;
      v3h ^= v0h;
      sum = (v2 + v1) | 0;
      v2h = (v2h + v1h + (((v2 & v1) | ((v2 | v1) & ~sum)) >>> 31)) | 0;
      v2 = sum;
      swap = v1;
      v1 = (v1 << 17) | (v1h >>> 15);
      v1h = (v1h << 17) | (swap >>> 15);
      v1 ^= v2;
      v1h ^= v2h;
      swap = v2;
      v2 = v2h;
      v2h = swap;
    }
    v0 ^= low;
    v0h ^= high;
  }
  into[0] = v0 ^ v1 ^ v2 ^ v3;
  into[1] = v0h ^ v1h ^ v2h ^ v3h;
}
