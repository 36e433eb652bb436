/**
 * Reading and writing big-endian integers in byte arrays.
 *
 * Callers have already compared `at` with the message's end, which is the codec's first rule. Reading past the end
 * gives 0 here, never a value that was not sent.
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

/** Element `index` of an array of 32-bit integers. */
export function intAt(numbers: Int32Array, index: number): number {
  return numbers[index] ?? 0;
}

/**
 * Copies `from[fromAt..fromAt+length)` to `to[toAt…]`. `set()` would need a view, which is an allocation. The loop
 * copies four octets per iteration: with one, the loop itself would cost as much as the copy.
 * @throws {RangeError} if a range exceeds its array, which is a bug in the caller
 */
export function copyOctets(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, length: number): void {
  // Reading both lengths here also spares V8 a check of both arrays in every iteration.
  if (fromAt + length > from.length || toAt + length > to.length) throw new RangeError("copyOctets: out of range");
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    to[toAt + i] = byteAt(from, fromAt + i);
    to[toAt + i + 1] = byteAt(from, fromAt + i + 1);
    to[toAt + i + 2] = byteAt(from, fromAt + i + 2);
    to[toAt + i + 3] = byteAt(from, fromAt + i + 3);
  }
  for (; i < length; i++) to[toAt + i] = byteAt(from, fromAt + i);
}
