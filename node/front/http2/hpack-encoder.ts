/**
 * Encodes field sections of responses (RFC 7541 §6.2.2) without a dynamic table and without Huffman code: literals that
 * are not indexed, with names of the static table. So a section depends on nothing that was sent before. Pure.
 *
 * Names become lower case, and fields about a connection of HTTP/1.1 are left out (RFC 9113 §8.2.2).
 */
import { staticIndexOf } from "./static-table.ts";

/** The client has a smaller table than before: ours is empty from now on (RFC 7541 §4.2). */
export const emptyTable = 0x20;

const statusIndex = 8;
const indexByStatus = new Map([
  [200, 8],
  [204, 9],
  [206, 10],
  [304, 11],
  [400, 12],
  [404, 13],
  [500, 14],
]);

const connectionFields = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);

/** How a name is written: as index, or as text. */
interface Name {
  readonly text: Buffer;
  readonly encoded: Buffer;
  readonly isDropped: boolean;
}

/** Of responses, in the order of their frequency. */
const usual = [
  "date age content-type content-length etag cache-control cache-status last-modified vary server-timing accept-ranges",
  "content-range x-request-id access-control-allow-origin link via content-encoding strict-transport-security location",
  "set-cookie x-content-type-options expires timing-allow-origin content-disposition content-security-policy server",
]
  .join(" ")
  .split(" ");
const usualByLength: readonly (readonly Name[])[] = (() => {
  const table: Name[][] = Array.from({ length: 32 }, () => []);
  for (const name of [...usual, ...connectionFields]) table[name.length]?.push(nameOf(name));
  return table;
})();

function nameOf(name: string): Name {
  const index = staticIndexOf(name);
  const text = Buffer.from(name, "latin1");
  const target = Buffer.alloc(text.length + 8);
  const isDropped = connectionFields.has(name);
  if (index > 0) return { text, encoded: target.subarray(0, writeNumber(target, 0, index, 4, 0)), isDropped };
  const at = writeNumber(target, 1, text.length, 7, 0);
  return { text, encoded: target.subarray(0, at + text.copy(target, at)), isDropped };
}

/** A section is longer than the text of its fields by at most this for each. */
const fieldExtraBytes = 8;

/** An upper bound for encodeFields(). */
export function encodedBytesMax(fields: readonly string[]): number {
  let bytes = fieldExtraBytes;
  for (const text of fields) bytes += text.length + fieldExtraBytes;
  return bytes;
}

/** @returns where it ends */
export function encodeStatus(status: number, target: Buffer, at: number): number {
  const index = indexByStatus.get(status);
  if (index !== undefined) {
    target[at] = 0x80 | index;
    return at + 1;
  }
  target[at] = statusIndex;
  target[at + 1] = 3;
  return at + 2 + target.write(String(status), at + 2, "latin1");
}

/**
 * @param fields names in lower case and values in turn, none about a connection
 * @param target with room for `encodedBytesMax()`
 * @returns where the section ends
 */
export function encodeFields(fields: readonly string[], target: Buffer, at: number): number {
  let to = at;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? "";
    const value = fields[index + 1] ?? "";
    const known = staticIndexOf(name);
    to = writeNumber(target, to, known, 4, 0);
    if (known === 0) {
      to = writeNumber(target, to, name.length, 7, 0);
      to += target.write(name, to, "latin1");
    }
    to = writeNumber(target, to, value.length, 7, 0);
    to += target.write(value, to, "latin1");
  }
  return to;
}

const [CR, COLON] = [13, 58];

/**
 * Encodes the lines of fields of HTTP/1.1: `Name: value CRLF`, as the node itself writes them.
 * @param target with twice the room of the lines
 * @returns where the section ends
 */
export function encodeLines(lines: Buffer, start: number, end: number, target: Buffer, at: number): number {
  let to = at;
  let from = start;
  while (from < end) {
    let colon = from;
    while (lines[colon] !== COLON) colon += 1;
    const valueStart = colon + 2;
    let valueEnd = valueStart;
    while (lines[valueEnd] !== CR) valueEnd += 1;
    const before = to;
    to = writeName(lines, from, colon, target, to);
    if (to !== before) {
      const length = valueEnd - valueStart;
      if (length < 0x7f) {
        target[to] = length;
        to += 1;
      } else to = writeNumber(target, to, length, 7, 0);
      to = copyBytes(lines, valueStart, valueEnd, target, to);
    }
    from = valueEnd + 2;
  }
  return to;
}

/** @returns where it ends; the same position: the field is left out */
function writeName(lines: Buffer, start: number, end: number, target: Buffer, at: number): number {
  const length = end - start;
  const names = usualByLength[length];
  if (names !== undefined) {
    for (const { text, encoded, isDropped } of names) {
      if (!isName(lines, start, text)) continue;
      if (isDropped) return at;
      return copyBytes(encoded, 0, encoded.length, target, at);
    }
  }
  target[at] = 0;
  let to = writeNumber(target, at + 1, length, 7, 0);
  for (let index = start; index < end; index += 1) {
    const byte = lines[index] as number;
    target[to] = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    to += 1;
  }
  return to;
}

function isName(lines: Buffer, start: number, name: Buffer): boolean {
  for (let index = 0; index < name.length; index += 1) {
    const byte = lines[start + index] as number;
    if ((byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte) !== name[index]) return false;
  }
  return true;
}

/** Most are short: a call of copy() costs more. */
function copyBytes(bytes: Buffer, start: number, end: number, target: Buffer, at: number): number {
  if (end - start > 48) return at + bytes.copy(target, at, start, end);
  let to = at;
  for (let index = start; index < end; index += 1, to += 1) target[to] = bytes[index] as number;
  return to;
}

/** RFC 7541 §5.1 @returns where it ends */
function writeNumber(target: Buffer, at: number, value: number, prefixBits: number, firstBits: number): number {
  const most = (1 << prefixBits) - 1;
  if (value < most) {
    target[at] = firstBits | value;
    return at + 1;
  }
  target[at] = firstBits | most;
  let to = at + 1;
  let left = value - most;
  for (; left >= 0x80; left >>>= 7, to += 1) target[to] = (left & 0x7f) | 0x80;
  target[to] = left;
  return to + 1;
}
