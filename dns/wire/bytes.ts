/**
 * Reading and writing big-endian integers in byte arrays.
 *
 * Callers have compared `at` with the message's end before, which is the codec's first rule; reading past it gives 0
 * here, and never a value that was not sent.
 */

/** @param at an index that the caller has checked against the end */
export function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

export function uint16At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function putUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Element `index` of whole numbers of 32 bits. */
export function intAt(numbers: Int32Array, index: number): number {
  return numbers[index] ?? 0;
}
