/**
 * Decodes field sections (RFC 7541 §3, §6). Pure, and linear in the length of the section. The fields of a list refer
 * to where their names and values are: the section, a table, or the scratch memory of strings in Huffman code.
 *
 * A list that is too large is decoded to its end, because the table has to follow; its fields are dropped.
 */
import {
  type DynamicTable,
  entryOverheadBytes,
  insert,
  nameAt,
  resize,
  slotOf,
  tableBytesMax,
  valueAt,
  valueEnd,
} from "./dynamic-table.ts";
import { isPlainValue, meaningOfName, plainValue } from "./field-meaning.ts";
import { decodeHuffman, expansionMax } from "./huffman.ts";
import {
  staticBytes,
  staticEntries,
  staticMeanings,
  staticNameAt,
  staticValueAt,
  staticValueEnd,
} from "./static-table.ts";

/** The fields of a section, until the next one is decoded. One record serves all connections of a lane. */
export interface FieldList {
  count: number;
  /** Names and values, with 32 bytes for each field (RFC 9113 §6.5.2). */
  sizeBytes: number;
  /** More fields, or more bytes, than a list may have. */
  isTooLarge: boolean;
  /** By field. */
  readonly names: Buffer[];
  readonly values: Buffer[];
  /** Start and end of the name, start and end of the value. */
  readonly places: Int32Array;
  /** field-meaning.ts */
  readonly meanings: Uint8Array;
  readonly limits: FieldLimits;
  readonly scratch: Buffer;
  scratchEnd: number;
}

export interface FieldLimits {
  readonly fieldsMax: number;
  readonly listBytesMax: number;
  /** No section is longer. */
  readonly sectionBytesMax: number;
}

export function newFieldList(limits: FieldLimits): FieldList {
  const { fieldsMax, sectionBytesMax } = limits;
  return {
    count: 0,
    sizeBytes: 0,
    isTooLarge: false,
    names: Array.from({ length: fieldsMax }, () => staticBytes),
    values: Array.from({ length: fieldsMax }, () => staticBytes),
    places: new Int32Array(fieldsMax * 4),
    meanings: new Uint8Array(fieldsMax),
    limits,
    scratch: Buffer.allocUnsafeSlow(Math.ceil(sectionBytesMax * expansionMax)),
    scratchEnd: 0,
  };
}

/** Names and values in turn, latin1. */
export function textsOf({ count, names, values, places }: FieldList): string[] {
  const texts: string[] = [];
  for (let field = 0; field < count; field += 1) {
    const at = field * 4;
    texts.push((names[field] as Buffer).toString("latin1", places[at], places[at + 1]));
    texts.push((values[field] as Buffer).toString("latin1", places[at + 2], places[at + 3]));
  }
  return texts;
}

/** Where the decoder is, and what it has read last. One for all: nothing is decoded within a call to another one. */
const cursor = { at: 0, number: 0, source: staticBytes, start: 0, end: 0 };
const name = { source: staticBytes, start: 0, end: 0, meaning: 0 };

/** No index, length or size is larger. */
const numberMax = 2 ** 28;
const numberBytesMax = 5;

/**
 * Decodes a whole field section.
 * @param end at most `sectionBytesMax` behind the start
 * @returns false: a connection error of type COMPRESSION_ERROR (RFC 9113 §4.3)
 */
export function decodeSection(
  table: DynamicTable,
  bytes: Buffer,
  start: number,
  end: number,
  list: FieldList,
): boolean {
  list.count = 0;
  list.sizeBytes = 0;
  list.isTooLarge = false;
  list.scratchEnd = 0;
  cursor.at = start;
  let isFirst = true;
  while (cursor.at < end) {
    const byte = bytes[cursor.at] as number;
    if (byte >= 0x80) {
      if (!readNumber(bytes, end, 7) || !addIndexed(table, list, cursor.number)) return false;
    } else if (byte >= 0x40) {
      if (!readLiteral(table, bytes, end, list, 6)) return false;
    } else if (byte >= 0x20) {
      if (!isFirst || !readNumber(bytes, end, 5) || cursor.number > tableBytesMax) return false;
      resize(table, cursor.number);
      continue; // several of these may come first (§4.2)
    } else if (!readLiteral(table, bytes, end, list, 4)) return false;
    isFirst = false;
  }
  return true;
}

/** §5.1 */
function readNumber(bytes: Buffer, end: number, prefixBits: number): boolean {
  const most = (1 << prefixBits) - 1;
  cursor.number = (bytes[cursor.at] as number) & most;
  cursor.at += 1;
  if (cursor.number < most) return true;
  let unit = 1;
  for (let count = 0; count < numberBytesMax && cursor.at < end; count += 1) {
    const byte = bytes[cursor.at] as number;
    cursor.at += 1;
    cursor.number += (byte & 0x7f) * unit;
    if (cursor.number > numberMax) return false;
    if (byte < 0x80) return true;
    unit *= 0x80;
  }
  return false;
}

/** §5.2 */
function readString(bytes: Buffer, end: number, list: FieldList): boolean {
  if (cursor.at >= end) return false;
  const isHuffman = (bytes[cursor.at] as number) >= 0x80;
  if (!readNumber(bytes, end, 7) || cursor.number > end - cursor.at) return false;
  const start = cursor.at;
  cursor.at += cursor.number;
  if (!isHuffman) {
    cursor.source = bytes;
    cursor.start = start;
    cursor.end = cursor.at;
    return true;
  }
  const decodedEnd = decodeHuffman(bytes, start, cursor.at, list.scratch, list.scratchEnd);
  if (decodedEnd === -1) return false;
  cursor.source = list.scratch;
  cursor.start = list.scratchEnd;
  cursor.end = decodedEnd;
  list.scratchEnd = decodedEnd;
  return true;
}

/** §6.1 */
function addIndexed(table: DynamicTable, list: FieldList, index: number): boolean {
  if (index === 0) return false;
  if (index <= staticEntries) {
    const valueStart = staticValueAt[index] as number;
    const nameStart = staticNameAt[index] as number;
    const valueStop = staticValueEnd[index] as number;
    const means = staticMeanings[index] as number;
    add(list, staticBytes, nameStart, valueStart, staticBytes, valueStart, valueStop, means);
    return true;
  }
  const slot = slotOf(table, index - staticEntries - 1);
  if (slot === -1) return false;
  const { bytes, meanings } = table;
  const value = valueAt(table, slot);
  add(list, bytes, nameAt(table, slot), value, bytes, value, valueEnd(table, slot), meanings[slot] as number);
  return true;
}

/** §6.2. @param prefixBits 6: the field becomes an entry of the table */
function readLiteral(table: DynamicTable, bytes: Buffer, end: number, list: FieldList, prefixBits: 4 | 6): boolean {
  if (!readNumber(bytes, end, prefixBits) || !readName(table, bytes, end, list, cursor.number)) return false;
  const { source: names, start: nameStart, end: nameEnd } = name;
  if (!readString(bytes, end, list)) return false;
  const { source, start, end: stop } = cursor;
  const means = name.meaning | (isPlainValue(source, start, stop) ? plainValue : 0);
  add(list, names, nameStart, nameEnd, source, start, stop, means);
  if (prefixBits === 6) insert(table, names, nameStart, nameEnd, source, start, stop, means);
  return true;
}

function readName(table: DynamicTable, bytes: Buffer, end: number, list: FieldList, index: number): boolean {
  if (index === 0) {
    if (!readString(bytes, end, list)) return false;
    name.source = cursor.source;
    name.start = cursor.start;
    name.end = cursor.end;
    name.meaning = meaningOfName(cursor.source, cursor.start, cursor.end);
    return true;
  }
  if (index <= staticEntries) {
    name.source = staticBytes;
    name.start = staticNameAt[index] as number;
    name.end = staticValueAt[index] as number;
    name.meaning = (staticMeanings[index] as number) & ~plainValue;
    return true;
  }
  const slot = slotOf(table, index - staticEntries - 1);
  if (slot === -1) return false;
  name.source = table.bytes;
  name.start = nameAt(table, slot);
  name.end = valueAt(table, slot);
  name.meaning = (table.meanings[slot] as number) & ~plainValue;
  return true;
}

function add(
  list: FieldList,
  names: Buffer,
  nameStart: number,
  nameEnd: number,
  values: Buffer,
  valueStart: number,
  valueStop: number,
  means: number,
): void {
  const { count, limits, places } = list;
  list.sizeBytes += nameEnd - nameStart + (valueStop - valueStart) + entryOverheadBytes;
  if (count === limits.fieldsMax || list.sizeBytes > limits.listBytesMax) {
    list.isTooLarge = true;
    return;
  }
  list.names[count] = names;
  list.values[count] = values;
  const at = count * 4;
  places[at] = nameStart;
  places[at + 1] = nameEnd;
  places[at + 2] = valueStart;
  places[at + 3] = valueStop;
  list.meanings[count] = means;
  list.count = count + 1;
}
