/**
 * The values of a MaxMind DB file's data section (format 2.0): their heads, their sizes, and how to step over them.
 *
 *   control octet │ further length octets │ payload          tttsssss: type, size (29, 30, 31: the length follows)
 *   001ssvvv      │ 1 to 4 octets                            a pointer: offset from the start of the section
 *
 * A file may come from anywhere, so nothing in it is trusted: every length is checked before a byte is read, a pointer
 * must lead to a value that is not a pointer, nesting is bounded, and every value read counts against a bound. Damage
 * is an exception, which `mmdb.ts` turns into a reason.
 */
import { byteAt } from "../wire/bytes.ts";

/** The file violates the format; the message says what is wrong and where. */
export class DamagedData extends Error {}

export interface DataSection {
  /** The whole file. */
  readonly bytes: Uint8Array;
  /** Where the section begins: pointers count from here. */
  readonly start: number;
  /** One past its last octet. */
  readonly end: number;
}

/** The head of the value that was read last, and how many more heads may be read. */
export interface Cursor extends DataSection {
  readonly numbers: DataView;
  type: number;
  size: number;
  payload: number;
  /** In the whole section. */
  looksLeft: number;
  /** In the current record. */
  valuesLeft: number;
}

/** GeoLite2 has 5 levels; no published database has more than 8. */
const depthMax = 16;
/** Values in one record: GeoLite2 City has about 150, the largest commercial ones below 400. */
export const valuesMax = 4096;
/**
 * A value takes at least one octet, so only shared maps that pointers reach cost more reads than the section has
 * octets.
 */
const looksPerOctet = 16;
const looksMin = 65_536;
/** Numbers as text, such as "-122.08499908447266". */
const numberTextMax = 32;

export const types = { pointer: 1, text: 2, double: 3, octets: 4, uint16: 5, uint32: 6, map: 7 } as const;
export const extendedTypes = { int32: 8, uint64: 9, uint128: 10, array: 11, boolean: 14, float: 15 } as const;

export function newCursor({ bytes, start, end }: DataSection): Cursor {
  return {
    bytes,
    start,
    end,
    numbers: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    type: 0,
    size: 0,
    payload: 0,
    looksLeft: Math.max(looksMin, (end - start) * looksPerOctet),
    valuesLeft: 0,
  };
}

export function damaged(cursor: Cursor, what: string, at: number): never {
  throw new DamagedData(`${what} at offset ${at - cursor.start} of its data`);
}

/** Whether the last value has this type. A function, because TypeScript does not see that look() changes the type. */
export function found(cursor: Cursor, what: number): boolean {
  return cursor.type === what;
}

/** Reads the head of the value at `at`. A pointer's target becomes `payload`, and `size` the octets behind it. */
export function look(cursor: Cursor, at: number): void {
  if (--cursor.valuesLeft < 0) damaged(cursor, `more than ${valuesMax} values in one record`, at);
  if (--cursor.looksLeft < 0) damaged(cursor, "records that hold each other too often", at);
  if (at < cursor.start || at >= cursor.end) damaged(cursor, "a value outside of the data", at);
  const control = byteAt(cursor.bytes, at);
  let next = at + 1;
  cursor.type = control >> 5;
  cursor.size = control & 0x1f;
  if (cursor.type === types.pointer) {
    const width = (cursor.size >> 3) + 1;
    if (next + width > cursor.end) damaged(cursor, "a pointer cut off", at);
    cursor.payload = cursor.start + pointerValue(cursor, width, cursor.size & 7, next);
    cursor.size = next + width;
    return;
  }
  if (cursor.type === 0) {
    if (next >= cursor.end) damaged(cursor, "a value cut off", at);
    cursor.type = byteAt(cursor.bytes, next++) + 7;
  }
  if (cursor.size >= 29) {
    const width = cursor.size - 28;
    if (next + width > cursor.end) damaged(cursor, "a length cut off", at);
    cursor.size = lengthBase(width) + uintAt(cursor, next, width);
    next += width;
  }
  cursor.payload = next;
  checkSize(cursor, at);
}

function pointerValue(cursor: Cursor, width: number, highBits: number, at: number): number {
  switch (width) {
    case 1:
      return (highBits << 8) | byteAt(cursor.bytes, at);
    case 2:
      return 2048 + ((highBits << 16) | uintAt(cursor, at, 2));
    case 3:
      return 526_336 + ((highBits << 24) | uintAt(cursor, at, 3));
    default:
      return uintAt(cursor, at, 4);
  }
}

function lengthBase(width: number): number {
  return width === 1 ? 29 : width === 2 ? 285 : 65_821;
}

function uintAt(cursor: Cursor, at: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value = value * 256 + byteAt(cursor.bytes, at + i);
  return value;
}

/** Checks that the payload lies within the section and has a size that its type allows. */
function checkSize(cursor: Cursor, at: number): void {
  switch (cursor.type) {
    case types.map:
    case extendedTypes.array:
      // Each entry takes at least one octet, so a giant count is rejected before the first entry is read.
      if (cursor.size > cursor.end - cursor.payload) damaged(cursor, `a list of ${cursor.size} entries`, at);
      return;
    case extendedTypes.boolean:
      if (cursor.size > 1) damaged(cursor, "a boolean of another size", at);
      cursor.size = 0;
      return;
    case types.double:
      if (cursor.size !== 8) damaged(cursor, "a double of another size", at);
      break;
    case extendedTypes.float:
      if (cursor.size !== 4) damaged(cursor, "a float of another size", at);
      break;
    case types.uint16:
      if (cursor.size > 2) damaged(cursor, "an integer of another size", at);
      break;
    case types.uint32:
    case extendedTypes.int32:
      if (cursor.size > 4) damaged(cursor, "an integer of another size", at);
      break;
    case extendedTypes.uint64:
      if (cursor.size > 8) damaged(cursor, "an integer of another size", at);
      break;
    case extendedTypes.uint128:
      if (cursor.size > 16) damaged(cursor, "an integer of another size", at);
      break;
    case types.text:
    case types.octets:
      break;
    default:
      damaged(cursor, `a value of the unknown type ${cursor.type}`, at);
  }
  if (cursor.size > cursor.end - cursor.payload)
    damaged(cursor, `a value of ${cursor.size} octets, more than there are,`, at);
}

/**
 * Reads the head of the value, through a pointer if it is one. Returns the offset at which its container continues, or
 * -1 for directly after it.
 */
export function lookThrough(cursor: Cursor, at: number): number {
  look(cursor, at);
  if (cursor.type !== types.pointer) return -1;
  const next = cursor.size;
  look(cursor, cursor.payload);
  if (found(cursor, types.pointer)) damaged(cursor, "a pointer to a pointer", at);
  return next;
}

/** Skips the value without following pointers. Returns the offset at which its container continues. */
export function skip(cursor: Cursor, at: number, depth: number): number {
  look(cursor, at);
  if (cursor.type === types.pointer) return cursor.size;
  if (cursor.type === types.map) return skipEntries(cursor, cursor.payload, 2 * cursor.size, depth);
  if (cursor.type === extendedTypes.array) return skipEntries(cursor, cursor.payload, cursor.size, depth);
  return cursor.payload + cursor.size;
}

export function skipEntries(cursor: Cursor, at: number, count: number, depth: number): number {
  if (depth >= depthMax) damaged(cursor, `values nested more than ${depthMax} deep`, at);
  let behind = at;
  for (let i = 0; i < count; i++) behind = skip(cursor, behind, depth + 1);
  return behind;
}

/** Walks the value and everything that its pointers lead to. */
export function checkValue(cursor: Cursor, at: number, depth: number): number {
  const next = lookThrough(cursor, at);
  let behind = cursor.payload + cursor.size;
  if (cursor.type === types.map || cursor.type === extendedTypes.array) {
    if (depth === depthMax) damaged(cursor, `values nested more than ${depthMax} deep`, at);
    const isMap = cursor.type === types.map;
    const count = cursor.size;
    behind = cursor.payload;
    for (let i = 0; i < count; i++) {
      if (isMap) behind = checkValue(cursor, behind, depth + 1);
      behind = checkValue(cursor, behind, depth + 1);
    }
  }
  return next < 0 ? behind : next;
}

/** The value under the cursor as a number; NaN if it is not a number. */
export function numberOf(cursor: Cursor): number {
  switch (cursor.type) {
    case extendedTypes.float:
      return cursor.numbers.getFloat32(cursor.payload);
    case types.double:
      return cursor.numbers.getFloat64(cursor.payload);
    case types.uint16:
    case types.uint32:
    case extendedTypes.uint64:
      return uintAt(cursor, cursor.payload, cursor.size);
    case extendedTypes.int32:
      return cursor.size === 4 ? cursor.numbers.getInt32(cursor.payload) : uintAt(cursor, cursor.payload, cursor.size);
    case types.text:
      if (cursor.size === 0 || cursor.size > numberTextMax) return Number.NaN;
      return Number(
        Buffer.from(cursor.bytes.buffer, cursor.bytes.byteOffset + cursor.payload, cursor.size).toString("latin1"),
      );
    default:
      return Number.NaN;
  }
}
