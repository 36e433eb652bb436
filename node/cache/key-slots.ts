/**
 * Gives each key of a set a small number, its slot, so that data about keys fits into typed arrays. Pure.
 *
 *   hash of the key ──▶ table (open addressing, at most three quarters full) ──▶ slot ──▶ key, hash
 *
 * A Map would take some 50 bytes for each key, this takes about 20. Slots are below `capacity`; the slot of a removed
 * key is used again first.
 */
/** In the table: no slot. */
const none = 0xffff_ffff;
const tableMin = 16;

export interface KeySlots {
  keys: (string | undefined)[];
  /** Of a slot that is not in use: the next one that is not, or `none`. */
  hashes: Uint32Array;
  /** hash ──▶ slot; its length is a power of two. */
  table: Uint32Array;
  capacity: number;
  size: number;
  /** Slots that were in use once. */
  used: number;
  firstFree: number;
}

export function createKeySlots(): KeySlots {
  return {
    keys: [],
    hashes: new Uint32Array(tableMin),
    table: new Uint32Array(tableMin).fill(none),
    capacity: tableMin,
    size: 0,
    used: 0,
    firstFree: none,
  };
}

/** The end of a key of the caches, a SHA-256 in hexadecimal, has 64 random bits. */
const hashedLength = 16;

/**
 * 32 evenly distributed bits: FNV-1a of the end of the key, then the finalizer of MurmurHash3, since FNV alone mixes
 * the last characters badly.
 */
export function hashOf(key: string): number {
  let hash = 0x811c_9dc5;
  for (let index = Math.max(0, key.length - hashedLength); index < key.length; index += 1)
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** @param hash hashOf(key) */
export function slotOf(slots: KeySlots, key: string, hash: number): number | undefined {
  const slot = slots.table[placeOf(slots, key, hash)] as number;
  return slot === none ? undefined : slot;
}

/**
 * Gives a slot to a key that has none. It may raise `capacity`.
 * @param hash hashOf(key)
 */
export function addKey(slots: KeySlots, key: string, hash: number): number {
  if ((slots.size + 1) * 4 > slots.table.length * 3) resizeTable(slots);
  let slot = slots.firstFree;
  if (slot === none) {
    slot = slots.used;
    slots.used += 1;
    if (slot === slots.capacity) growSlots(slots);
  } else {
    slots.firstFree = slots.hashes[slot] as number;
  }
  slots.keys[slot] = key;
  slots.hashes[slot] = hash;
  slots.table[placeOf(slots, key, hash)] = slot;
  slots.size += 1;
  return slot;
}

export function removeKey(slots: KeySlots, slot: number): void {
  const { keys, hashes, table } = slots;
  const mask = table.length - 1;
  let gap = placeOf(slots, keys[slot] as string, hashes[slot] as number);
  // Those behind the gap move up, unless that would put one before the place where its search begins.
  for (let place = (gap + 1) & mask; table[place] !== none; place = (place + 1) & mask) {
    const other = table[place] as number;
    const distance = (place - ((hashes[other] as number) & mask)) & mask;
    if (distance < ((place - gap) & mask)) continue;
    table[gap] = other;
    gap = place;
  }
  table[gap] = none;
  keys[slot] = undefined;
  hashes[slot] = slots.firstFree;
  slots.firstFree = slot;
  slots.size -= 1;
}

/** Where the key stands in the table, or where it would. */
function placeOf({ keys, hashes, table }: KeySlots, key: string, hash: number): number {
  const mask = table.length - 1;
  for (let place = hash & mask; ; place = (place + 1) & mask) {
    const slot = table[place] as number;
    if (slot === none || (hashes[slot] === hash && keys[slot] === key)) return place;
  }
}

function resizeTable(slots: KeySlots): void {
  slots.table = new Uint32Array(slots.table.length * 2).fill(none);
  const mask = slots.table.length - 1;
  for (let slot = 0; slot < slots.used; slot += 1) {
    if (slots.keys[slot] === undefined) continue;
    let place = (slots.hashes[slot] as number) & mask;
    while (slots.table[place] !== none) place = (place + 1) & mask;
    slots.table[place] = slot;
  }
}

/** By an eighth: it happens rarely enough, and less memory lies idle than after a doubling. */
function growSlots(slots: KeySlots): void {
  slots.capacity = Math.ceil(slots.capacity * 1.125);
  const { hashes } = slots;
  slots.hashes = new Uint32Array(slots.capacity);
  slots.hashes.set(hashes);
}
