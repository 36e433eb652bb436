/**
 * Domain names as the wire has them: labels of bytes, never text that is split at dots (a label may hold a dot).
 *
 *   3 i m g 3 c d n 4 t e s t 0        bytes, in lower case, since names compare without case (RFC 4343)
 *   ^       ^       ^                  labelStarts = 0, 4, 8     labelsCount = 3     length = 14
 *
 * A query's own spelling (0x20) is not kept here: an answer copies the question's bytes and points at them.
 *
 * Limits (RFC 1035 §2.3.4): a label has at most 63 octets, a name at most 255 with its lengths and the final zero,
 * so at most 127 labels. Compression pointers go backwards only, each before the one that led to it, and at most
 * `jumpsMax` of them: no message can make reading a name loop or cost more than a fixed amount of work.
 */
import { byteAt } from "./bytes.ts";

const nameLengthMax = 255;
const labelLengthMax = 63;
const labelsMax = 127;
/** A name of 127 labels needs no more than 127 pointers; more only make work. */
const jumpsMax = 127;
const headerLength = 12;

export interface WireName {
  /** Lower-case wire form. Only the first `length` bytes count; a scratch name keeps its 255 bytes. */
  readonly bytes: Uint8Array;
  /** Where each label's length octet stands, from the leftmost label. */
  readonly labelStarts: Uint8Array;
  /** Without the root. */
  labelsCount: number;
  /** With the final zero octet. */
  length: number;
}

/** An empty name to read into, again and again. */
export function scratchName(): WireName {
  return { bytes: new Uint8Array(nameLengthMax), labelStarts: new Uint8Array(labelsMax), labelsCount: 0, length: 0 };
}

/**
 * Reads the name at `start` of `message[0..end)` into `name`.
 * @returns the offset after the name (after the first pointer, if there is one), or -1 when it is malformed
 */
export function readName(message: Uint8Array, start: number, end: number, name: WireName): number {
  let at = start;
  let next = -1;
  let lowest = start;
  let jumps = 0;
  let length = 0;
  let labels = 0;
  for (;;) {
    if (at >= end) return -1;
    const size = byteAt(message, at);
    if (size >= 0xc0) {
      if (at + 1 >= end) return -1;
      const target = ((size & 0x3f) << 8) | byteAt(message, at + 1);
      if (target < headerLength || target >= lowest || ++jumps > jumpsMax) return -1;
      if (next < 0) next = at + 2;
      lowest = target;
      at = target;
      continue;
    }
    if (size > labelLengthMax || at + 1 + size > end) return -1;
    // The final zero must still fit, so a label may reach octet 254 at most.
    if (length + 1 + size > (size === 0 ? nameLengthMax : nameLengthMax - 1)) return -1;
    name.bytes[length] = size;
    if (size === 0) {
      name.length = length + 1;
      name.labelsCount = labels;
      return next < 0 ? at + 1 : next;
    }
    name.labelStarts[labels++] = length;
    for (let i = 1; i <= size; i++) {
      const byte = byteAt(message, at + i);
      name.bytes[length + i] = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    }
    length += 1 + size;
    at += 1 + size;
  }
}

/**
 * Steps over the name at `start` without following pointers.
 * @returns the offset after it, or -1 when it is malformed
 */
export function skipName(message: Uint8Array, start: number, end: number): number {
  let at = start;
  for (;;) {
    if (at >= end) return -1;
    const size = byteAt(message, at);
    if (size >= 0xc0) {
      if (at + 1 >= end) return -1;
      const target = ((size & 0x3f) << 8) | byteAt(message, at + 1);
      return target < headerLength || target >= start ? -1 : at + 2;
    }
    if (size > labelLengthMax) return -1;
    at += 1 + size;
    if (at - start > nameLengthMax) return -1;
    if (size === 0) return at;
  }
}

/** The name made of these labels; undefined when a label or the whole is too long, or a label is empty. */
export function nameFromLabels(labels: readonly Uint8Array[]): WireName | undefined {
  const length = labels.reduce((sum, label) => sum + 1 + label.length, 1);
  if (length > nameLengthMax) return undefined;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const label of labels) {
    if (label.length === 0 || label.length > labelLengthMax) return undefined;
    bytes[at] = label.length;
    bytes.set(label, at + 1);
    at += 1 + label.length;
  }
  const name = scratchName();
  if (readName(bytes, 0, length, name) !== length) return undefined;
  return { ...name, bytes: name.bytes.slice(0, length), labelStarts: name.labelStarts.slice(0, name.labelsCount) };
}

/**
 * A name written with dots and without escapes, with or without the final one; "" and "." are the root.
 * @returns undefined when a label is empty or longer than 63 octets, or the whole is longer than 255
 */
export function nameFromText(text: string): WireName | undefined {
  const bare = text.endsWith(".") ? text.slice(0, -1) : text;
  return nameFromLabels(bare === "" ? [] : bare.split(".").map((label) => Buffer.from(label, "utf8")));
}

/** Presentation form without the final dot (RFC 1035 §5.1 escapes); the root is ".". */
export function nameToText(name: WireName): string {
  const labels: string[] = [];
  for (let l = 0; l < name.labelsCount; l++) {
    const start = byteAt(name.labelStarts, l);
    let label = "";
    for (const byte of name.bytes.subarray(start + 1, start + 1 + byteAt(name.bytes, start))) {
      if (byte <= 0x20 || byte >= 0x7f) label += `\\${String(byte).padStart(3, "0")}`;
      else if (byte === 0x2e || byte === 0x5c || byte === 0x22) label += `\\${String.fromCharCode(byte)}`;
      else label += String.fromCharCode(byte);
    }
    labels.push(label);
  }
  return labels.length === 0 ? "." : labels.join(".");
}

/** Whether `name` is `ancestor` or lies below it. */
export function isAtOrBelow(name: WireName, ancestor: WireName): boolean {
  const extra = name.labelsCount - ancestor.labelsCount;
  if (extra < 0) return false;
  const from = name.length - ancestor.length;
  if (from !== (extra === name.labelsCount ? name.length - 1 : byteAt(name.labelStarts, extra))) return false;
  for (let i = 0; i < ancestor.length; i++) {
    if (byteAt(name.bytes, from + i) !== byteAt(ancestor.bytes, i)) return false;
  }
  return true;
}
