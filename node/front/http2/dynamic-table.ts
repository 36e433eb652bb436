/**
 * The dynamic table of an HPACK decoder (RFC 7541 §2.3.2, §4). Pure.
 *
 *   slots: a ring of entries, the oldest first        bytes: names and values in the same order
 *
 * Bytes that an entry had are not overwritten while anybody can refer to them: when a buffer is full, the entries that
 * are left move to a new one. So a field list may refer to an entry that a later field of the same section evicts.
 *
 * Memory: nothing until the first entry, 9 KB at most.
 */

/** SETTINGS_HEADER_TABLE_SIZE: the client may choose a smaller table, not a larger one. */
export const tableBytesMax = 4096;
/** What an entry counts besides its name and value (§4.1). */
export const entryOverheadBytes = 32;

const slotsMax = tableBytesMax / entryOverheadBytes;
const bytesLeast = 512;

export interface DynamicTable {
  bytesMax: number;
  /** As §4.1 counts. */
  sizeBytes: number;
  count: number;
  /** Slot of the oldest entry. */
  oldest: number;
  bytes: Buffer;
  /** Where the next entry's bytes go. */
  end: number;
  /** Start of the name, start of the value, end of the value; empty until there is an entry. */
  slots: Uint16Array;
  meanings: Uint8Array;
}

const noBytes = Buffer.alloc(0);
const noSlots = new Uint16Array(0);
const noMeanings = new Uint8Array(0);

export function newDynamicTable(): DynamicTable {
  return {
    bytesMax: tableBytesMax,
    sizeBytes: 0,
    count: 0,
    oldest: 0,
    bytes: noBytes,
    end: 0,
    slots: noSlots,
    meanings: noMeanings,
  };
}

/** The slot of an entry; −1: there is no such entry. @param index 0: the newest */
export function slotOf({ count, oldest }: DynamicTable, index: number): number {
  return index < count ? (oldest + count - 1 - index) % slotsMax : -1;
}

export function nameAt({ slots }: DynamicTable, slot: number): number {
  return slots[slot * 3] as number;
}

export function valueAt({ slots }: DynamicTable, slot: number): number {
  return slots[slot * 3 + 1] as number;
}

export function valueEnd({ slots }: DynamicTable, slot: number): number {
  return slots[slot * 3 + 2] as number;
}

/** @param bytesMax at most `tableBytesMax` */
export function resize(table: DynamicTable, bytesMax: number): void {
  table.bytesMax = bytesMax;
  evictTo(table, bytesMax);
}

/** Adds an entry, whose name may be one of this table. What is larger than the table empties it (§4.4). */
export function insert(
  table: DynamicTable,
  names: Buffer,
  nameStart: number,
  nameEnd: number,
  values: Buffer,
  valueStart: number,
  valueStop: number,
  meaning: number,
): void {
  const lengthBytes = nameEnd - nameStart + (valueStop - valueStart);
  const sizeBytes = lengthBytes + entryOverheadBytes;
  evictTo(table, table.bytesMax - sizeBytes);
  if (sizeBytes > table.bytesMax) return;
  if (table.slots.length === 0) {
    table.slots = new Uint16Array(slotsMax * 3);
    table.meanings = new Uint8Array(slotsMax);
  }
  if (table.end + lengthBytes > table.bytes.length) move(table, lengthBytes);
  const slot = (table.oldest + table.count) % slotsMax;
  const start = table.end;
  const value = start + names.copy(table.bytes, start, nameStart, nameEnd);
  table.end = value + values.copy(table.bytes, value, valueStart, valueStop);
  table.slots[slot * 3] = start;
  table.slots[slot * 3 + 1] = value;
  table.slots[slot * 3 + 2] = table.end;
  table.meanings[slot] = meaning;
  table.count += 1;
  table.sizeBytes += sizeBytes;
}

function evictTo(table: DynamicTable, bytesMax: number): void {
  while (table.count > 0 && table.sizeBytes > bytesMax) {
    const { oldest } = table;
    table.sizeBytes -= valueEnd(table, oldest) - nameAt(table, oldest) + entryOverheadBytes;
    table.oldest = (oldest + 1) % slotsMax;
    table.count -= 1;
  }
}

/** Moves the entries to a new buffer, with room for one more and as much again. */
function move(table: DynamicTable, lengthBytes: number): void {
  const start = table.count === 0 ? table.end : nameAt(table, table.oldest);
  const keptBytes = table.end - start;
  let roomBytes = bytesLeast;
  while (roomBytes < 2 * (keptBytes + lengthBytes)) roomBytes *= 2;
  const bytes = Buffer.allocUnsafeSlow(roomBytes);
  table.bytes.copy(bytes, 0, start, table.end);
  for (let index = 0; index < table.count; index += 1) {
    const at = slotOf(table, index) * 3;
    for (let word = at; word < at + 3; word += 1) table.slots[word] = (table.slots[word] as number) - start;
  }
  table.bytes = bytes;
  table.end = keptBytes;
}
