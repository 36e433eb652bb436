/**
 * Domain names in wire format: labels of bytes, never text split at dots (a label may contain a dot).
 *
 *   3 i m g 3 c d n 4 t e s t 0        bytes, in lower case, since names compare without case (RFC 4343)
 *   ^       ^       ^                  labelStarts = 0, 4, 8     labelsCount = 3     length = 14
 *
 * The query's own case (0x20) is not kept here: an answer copies the question's bytes and points at them.
 *
 * Limits (RFC 1035 §2.3.4): a label has at most 63 octets, and a name at most 255 including its lengths and the final
 * zero, so at most 127 labels. Compression pointers go backwards only, each before the one that led to it, and at most
 * `jumpsMax` of them: so reading a name never loops and costs a bounded amount of work.
 */
import { labelOctetsBufferSize, labelText, putLabels } from "#record/name-text.ts";
import { byteAt, intAt } from "./bytes.ts";

const nameLengthMax = 255;
const labelLengthMax = 63;
const labelsMax = 127;
/** A name of 127 labels needs no more than 127 pointers. */
const jumpsMax = 127;
const headerLength = 12;
/** The prime of FNV-1a. The tables that use the hash mix it further. */
const hashPrime = 0x01000193;

export interface WireName {
  /** Wire format in lower case. Only the first `length` bytes are valid; a scratch name always has 255 bytes. */
  readonly bytes: Uint8Array;
  /** Offset of each label's length octet, from the leftmost label. */
  readonly labelStarts: Uint8Array;
  /** labelHash() of each label, computed while the name is read. */
  readonly labelHashes: Int32Array;
  /** Not counting the root. */
  labelsCount: number;
  /** Including the final zero octet. */
  length: number;
}

/** An empty, reusable name to read into. */
export function scratchName(): WireName {
  return {
    bytes: new Uint8Array(nameLengthMax),
    labelStarts: new Uint8Array(labelsMax),
    labelHashes: new Int32Array(labelsMax),
    labelsCount: 0,
    length: 0,
  };
}

/** Hash of the label (in lower case) whose length octet is at `bytes[at]`. */
export function labelHash(bytes: Uint8Array, at: number): number {
  let hash = byteAt(bytes, at);
  for (let i = at + 1, end = at + hash; i <= end; i++) hash = Math.imul(hash ^ byteAt(bytes, i), hashPrime);
  return hash;
}

/**
 * Reads the name at `start` of `message[0..end)` into `name`.
 * @returns the offset after the name (after the first pointer, if there is one), or -1 if it is malformed
 */
export function readName(message: Uint8Array, start: number, end: number, name: WireName): number {
  const { bytes, labelHashes, labelStarts } = name;
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
    bytes[length] = size;
    if (size === 0) {
      name.length = length + 1;
      name.labelsCount = labels;
      return next < 0 ? at + 1 : next;
    }
    let hash = size;
    for (let i = 1; i <= size; i++) {
      const byte = lowerCase(byteAt(message, at + i));
      bytes[length + i] = byte;
      hash = Math.imul(hash ^ byte, hashPrime);
    }
    labelHashes[labels] = hash;
    labelStarts[labels++] = length;
    length += 1 + size;
    at += 1 + size;
  }
}

/**
 * Skips the name at `start` without following pointers.
 * @returns the offset after it, or -1 if it is malformed
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

/** The name made of these labels; undefined if a label or the whole name is too long, or if a label is empty. */
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
  return readName(bytes, 0, length, name) === length ? keptName(name) : undefined;
}

/** A copy of exactly the name's size that survives the next use of the scratch name. */
export function keptName(name: WireName): WireName {
  const { labelsCount, length } = name;
  return {
    bytes: name.bytes.slice(0, length),
    labelStarts: name.labelStarts.slice(0, labelsCount),
    labelHashes: name.labelHashes.slice(0, labelsCount),
    labelsCount,
    length,
  };
}

/**
 * Reads a name in presentation format (RFC 1035 §5.1) into `name`: `\X` is the character X without its special meaning,
 * `\DDD` the octet with that decimal number; characters beyond ASCII stand for their UTF-8 octets.
 * @param origin appended to names that don't end in a dot; `@` alone is the origin itself. Undefined: all names are
 *   absolute, and both "" and "." are the root
 * @returns false if a label is empty or longer than 63 octets, the whole name is longer than 255, or an escape is
 *   invalid; then the content of `name` is undefined
 */
export function readNameText(text: string, origin: WireName | undefined, name: WireName): boolean {
  name.labelsCount = 0;
  name.length = 0;
  if (origin !== undefined && text === "@") return endName(name, origin);
  if (text === "." || (origin === undefined && text === "")) return endName(name, undefined);
  const form = readPlainText(text, name);
  if (form !== "other") return endName(name, form === "whole" ? undefined : origin);
  const end = putLabels(text, scratchOctets);
  if (end < 0) return false;
  name.labelsCount = 0;
  let length = 0;
  let isWhole = false;
  while (length < end) {
    const size = byteAt(scratchOctets, length);
    isWhole = size === 0;
    if (isWhole) break;
    name.bytes[length] = size;
    for (let i = length + 1; i <= length + size; i++) name.bytes[i] = lowerCase(byteAt(scratchOctets, i));
    name.labelHashes[name.labelsCount] = labelHash(name.bytes, length);
    name.labelStarts[name.labelsCount++] = length;
    length += 1 + size;
  }
  name.length = length;
  return endName(name, isWhole ? undefined : origin);
}

/**
 * Fast path for the usual name, ASCII without escapes: reads its labels in one pass.
 * @returns "other" if the general code has to read it, or reject it
 */
function readPlainText(text: string, name: WireName): "whole" | "relative" | "other" {
  const { bytes } = name;
  // Each label has a length octet where the text has a dot or its end, so the offsets are the same in both.
  for (let start = 0; ;) {
    const dot = text.indexOf(".", start);
    const end = dot < 0 ? text.length : dot;
    const size = end - start;
    if (size === 0 || size > labelLengthMax || end >= nameLengthMax - 1) return "other";
    let hash = size;
    bytes[start] = size;
    for (let i = start; i < end; i++) {
      const char = text.charCodeAt(i);
      if (char >= 0x80 || char === 0x5c) return "other";
      const byte = lowerCase(char);
      bytes[i + 1] = byte;
      hash = Math.imul(hash ^ byte, hashPrime);
    }
    name.labelHashes[name.labelsCount] = hash;
    name.labelStarts[name.labelsCount++] = start;
    name.length = end + 1;
    if (dot < 0) return "relative";
    if (dot === text.length - 1) return "whole";
    start = dot + 1;
  }
}

const scratchOctets = new Uint8Array(labelOctetsBufferSize);

/** Appends the tail, or the root, to the labels that were read. */
function endName(name: WireName, tail: WireName | undefined): boolean {
  const own = name.length;
  const length = own + (tail === undefined ? 1 : tail.length);
  if (length > nameLengthMax) return false;
  name.bytes[own] = 0;
  name.length = length;
  if (tail === undefined) return true;
  for (let i = 0; i < tail.length; i++) name.bytes[own + i] = byteAt(tail.bytes, i);
  for (let l = 0; l < tail.labelsCount; l++) {
    name.labelHashes[name.labelsCount] = intAt(tail.labelHashes, l);
    name.labelStarts[name.labelsCount++] = own + byteAt(tail.labelStarts, l);
  }
  return true;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

/**
 * Reads an absolute name in presentation format, with or without the final dot; "" and "." are the root.
 * @returns undefined if readNameText() rejects it
 */
export function nameFromText(text: string): WireName | undefined {
  const name = scratchName();
  return readNameText(text, undefined, name) ? keptName(name) : undefined;
}

/**
 * Reads the uncompressed name at `start` of bytes that are known to be valid, such as those of a compiled zone.
 * @param bytes as written by readName(): lower case, bounded
 */
export function readKnownName(bytes: Uint8Array, start: number, name: WireName): void {
  let at = 0;
  let labels = 0;
  for (;;) {
    const size = byteAt(bytes, start + at);
    name.bytes[at] = size;
    if (size === 0) break;
    let hash = size;
    for (let i = at + 1; i <= at + size; i++) {
      const byte = byteAt(bytes, start + i);
      name.bytes[i] = byte;
      hash = Math.imul(hash ^ byte, hashPrime);
    }
    name.labelHashes[labels] = hash;
    name.labelStarts[labels++] = at;
    at += 1 + size;
  }
  name.labelsCount = labels;
  name.length = at + 1;
}

/** Number of octets before the rightmost `tailLabels` labels of `name`. */
export function lengthBefore(name: WireName, tailLabels: number): number {
  return tailLabels === 0 ? name.length - 1 : byteAt(name.labelStarts, name.labelsCount - tailLabels);
}

/**
 * Replaces the rightmost `tailLabels` labels of `name` with `target`, as a DNAME does (RFC 6672 §2.2).
 * @param into receives the new name; default: in place
 * @returns false, and changes nothing, if the new name would be longer than 255 octets
 */
export function replaceTail(name: WireName, tailLabels: number, target: WireName, into: WireName = name): boolean {
  const own = lengthBefore(name, tailLabels);
  const labels = name.labelsCount - tailLabels;
  if (own + target.length > nameLengthMax) return false;
  if (into !== name) {
    for (let i = 0; i < own; i++) into.bytes[i] = byteAt(name.bytes, i);
    for (let l = 0; l < labels; l++) {
      into.labelHashes[l] = intAt(name.labelHashes, l);
      into.labelStarts[l] = byteAt(name.labelStarts, l);
    }
  }
  into.labelsCount = labels;
  into.length = own;
  return endName(into, target);
}

/** Presentation form without the final dot (RFC 1035 §5.1 escapes); the root is ".". */
export function nameToText(name: WireName): string {
  const labels: string[] = [];
  for (let l = 0; l < name.labelsCount; l++) {
    const start = byteAt(name.labelStarts, l);
    labels.push(labelText(name.bytes.subarray(start + 1, start + 1 + byteAt(name.bytes, start))));
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
