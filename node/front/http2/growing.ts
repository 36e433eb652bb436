/** Memory for what arrives in pieces: it grows with them, twice as large each time. */

const bytesLeast = 256;

export const noBytes = Buffer.alloc(0);

/** Memory with room for more, with what was there. */
export function grown(bytes: Buffer, usedBytes: number, moreBytes: number): Buffer {
  let length = Math.max(bytes.length, bytesLeast);
  while (length < usedBytes + moreBytes) length *= 2;
  if (length === bytes.length) return bytes;
  const larger = Buffer.allocUnsafeSlow(length);
  bytes.copy(larger, 0, 0, usedBytes);
  return larger;
}
