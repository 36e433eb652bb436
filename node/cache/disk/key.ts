/**
 * Keys as the index holds them: the first 128 bits of the SHA-256 that `keyOf` writes in hexadecimal.
 *
 * Two keys with the same 128 bits don't occur by chance. The head of an object has its whole key, and every use of a
 * head compares it.
 */

/** Four words of 32 bits. */
export type Key = Uint32Array;

export const keyWords = 4;

/** Writes the key's words to `into`. @param text at least 32 hexadecimal digits; others count as 0 */
export function readKey(text: string, into: Key): Key {
  for (let word = 0; word < keyWords; word += 1) {
    let value = 0;
    for (let digit = word * 8; digit < word * 8 + 8; digit += 1) value = (value << 4) | digitOf(text.charCodeAt(digit));
    into[word] = value;
  }
  return into;
}

function digitOf(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 97 && code <= 102 ? code - 87 : 0;
}

/** FNV-1a over UTF-16 code units: the hash by which the index knows a tag. Different tags may share one. */
export function tagHash(tag: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let at = 0; at < tag.length; at += 1) hash = Math.imul(hash ^ tag.charCodeAt(at), 0x01_00_01_93);
  // FNV's low bits are weak for short texts.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c_1b_3c_6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
