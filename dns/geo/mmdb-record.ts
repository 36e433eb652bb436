/**
 * Reads place, country, city and AS number from a record of a MaxMind DB file, in the layouts of ip-location-db,
 * GeoLite2 and GeoIP2. mmdb-value.ts reads the values and guards against damage.
 */
import { byteAt } from "../wire/bytes.ts";
import {
  checkValue,
  damaged,
  extendedTypes,
  found,
  look,
  lookThrough,
  newCursor,
  numberOf,
  skip,
  skipEntries,
  types,
  valuesMax,
  type Cursor,
  type DataSection,
} from "./mmdb-value.ts";

/** The fields of a record that the geo data use. */
export interface RecordFields {
  /** In degrees; NaN if the record has no valid value. */
  latitude: number;
  longitude: number;
  /** Two upper-case ASCII letters, the first one in the high octet; 0: none. */
  country: number;
  /** The city's UTF-8 octets within the file; length 0: none. */
  cityAt: number;
  cityLength: number;
  /** 0: none. */
  asn: number;
}

/** The decoder's positions in a record, on the paths to the fields. */
const spots = {
  other: 0,
  record: 1,
  location: 2,
  country: 3,
  city: 4,
  names: 5,
  latitude: 6,
  longitude: 7,
  countryCode: 8,
  asn: 9,
  cityName: 10,
} as const;

/** Flat as ip-location-db writes them, or nested as GeoLite2 and GeoIP2 do. */
const paths: readonly (readonly [from: number, key: string, to: number])[] = [
  [spots.record, "latitude", spots.latitude],
  [spots.record, "longitude", spots.longitude],
  [spots.record, "location", spots.location],
  [spots.location, "latitude", spots.latitude],
  [spots.location, "longitude", spots.longitude],
  [spots.record, "country_code", spots.countryCode],
  [spots.record, "country", spots.country],
  [spots.country, "iso_code", spots.countryCode],
  [spots.record, "city", spots.city],
  [spots.city, "names", spots.names],
  [spots.names, "en", spots.cityName],
  [spots.record, "autonomous_system_number", spots.asn],
];
const keys = [...new Set(paths.map(([, key]) => key))].map((key) => Uint8Array.from(Buffer.from(key)));
/** Index for all keys that lead to no field. */
const otherKey = keys.length;
/** The spot that key k leads to from spot s is at s * 16 + k. */
const waysPerSpot = 16;
const ways = new Uint8Array(waysPerSpot * Object.keys(spots).length).fill(spots.other);
for (const [from, name, to] of paths) {
  ways[from * waysPerSpot + keys.findIndex((key) => Buffer.from(key).toString() === name)] = to;
}
/** Writers store each key once and point to it afterwards. This many pointer targets are remembered. */
const keyTargets = 64;

/** A cursor that fills in `fields` while it walks through a record. */
interface RecordCursor extends Cursor {
  fields: RecordFields;
  /** Index of the map key that was read last. */
  key: number;
  /** Keys that pointers led to: a small table by target. 0 marks a free entry, since no key is at offset 0. */
  readonly knownTargets: Uint32Array;
  readonly knownKeys: Uint8Array;
}

export interface RecordReader {
  /**
   * Reads the record at this offset of the section.
   * @throws DamagedData
   */
  read: (offset: number, into: RecordFields) => void;
  /**
   * Walks the whole value at this offset, through every pointer, so that a reader without bounds checks can read it
   * safely.
   * @throws DamagedData also if it contains more than `valuesMax` values
   */
  check: (offset: number) => void;
}

export function emptyFields(): RecordFields {
  return { latitude: Number.NaN, longitude: Number.NaN, country: 0, cityAt: 0, cityLength: 0, asn: 0 };
}

export function createRecordReader(section: DataSection): RecordReader {
  const cursor: RecordCursor = {
    ...newCursor(section),
    fields: emptyFields(),
    key: otherKey,
    knownTargets: new Uint32Array(keyTargets),
    knownKeys: new Uint8Array(keyTargets),
  };
  const { start } = section;
  return {
    read(offset, into) {
      into.latitude = Number.NaN;
      into.longitude = Number.NaN;
      into.country = 0;
      into.cityLength = 0;
      into.asn = 0;
      cursor.fields = into;
      cursor.valuesLeft = valuesMax;
      readValue(cursor, start + offset, spots.record);
    },
    check(offset) {
      cursor.valuesLeft = valuesMax;
      checkValue(cursor, start + offset, 0);
    },
  };
}

/**
 * Reads the value at `at`, which is at this spot of the record. Returns the offset at which its container continues.
 * Recursion follows `paths` only, so it is at most four levels deep.
 */
function readValue(cursor: RecordCursor, at: number, spot: number): number {
  const next = lookThrough(cursor, at);
  let behind = cursor.payload + cursor.size;
  if (cursor.type === types.map) {
    const count = cursor.size;
    behind = cursor.payload;
    for (let i = 0; i < count; i++) {
      behind = readKey(cursor, behind);
      const below = ways[spot * waysPerSpot + cursor.key] ?? spots.other;
      behind = below === spots.other ? skip(cursor, behind, 0) : readValue(cursor, behind, below);
    }
  } else if (cursor.type === extendedTypes.array) {
    behind = skipEntries(cursor, cursor.payload, cursor.size, 0);
  } else take(cursor, spot);
  return next < 0 ? behind : next;
}

/** Reads a map key and stores its index in `key`. Returns the offset of the value. */
function readKey(cursor: RecordCursor, at: number): number {
  look(cursor, at);
  if (!found(cursor, types.pointer)) {
    cursor.key = keyIndex(cursor, at);
    return cursor.payload + cursor.size;
  }
  const next = cursor.size;
  const target = cursor.payload;
  const slot = target % keyTargets;
  if (cursor.knownTargets[slot] !== target) {
    look(cursor, target);
    cursor.knownKeys[slot] = keyIndex(cursor, at);
    cursor.knownTargets[slot] = target;
  }
  cursor.key = cursor.knownKeys[slot] ?? otherKey;
  return next;
}

/** The index of the key under the cursor. */
function keyIndex(cursor: RecordCursor, at: number): number {
  if (!found(cursor, types.text)) damaged(cursor, "a map's key that is no text", at);
  for (let index = 0; index < keys.length; index++) {
    const octets = keys[index];
    if (octets?.length === cursor.size && isAt(cursor.bytes, cursor.payload, octets)) return index;
  }
  return otherKey;
}

function isAt(bytes: Uint8Array, at: number, octets: Uint8Array): boolean {
  for (let i = 0; i < octets.length; i++) if (bytes[at + i] !== octets[i]) return false;
  return true;
}

/** Keeps the value under the cursor if it has the type that the spot requires; otherwise ignores it. */
function take(cursor: RecordCursor, spot: number): void {
  switch (spot) {
    case spots.latitude:
      cursor.fields.latitude = degrees(cursor, 90);
      return;
    case spots.longitude:
      cursor.fields.longitude = degrees(cursor, 180);
      return;
    case spots.country:
    case spots.countryCode:
      // If there are several fields, one that holds a country's name does not overwrite the code.
      cursor.fields.country = countryCode(cursor) || cursor.fields.country;
      return;
    case spots.city:
    case spots.cityName:
      if (cursor.type !== types.text) return;
      cursor.fields.cityAt = cursor.payload;
      cursor.fields.cityLength = cursor.size;
      return;
    case spots.asn: {
      const asn = numberOf(cursor);
      cursor.fields.asn = Number.isInteger(asn) && asn > 0 && asn <= 0xffff_ffff ? asn : 0;
    }
  }
}

function degrees(cursor: Cursor, limit: number): number {
  const value = numberOf(cursor);
  return Math.abs(value) <= limit ? value + 0 : Number.NaN;
}

function countryCode(cursor: Cursor): number {
  if (cursor.type !== types.text || cursor.size !== 2) return 0;
  // Clears the bit that distinguishes lower-case from upper-case ASCII letters.
  const first = byteAt(cursor.bytes, cursor.payload) & 0xdf;
  const second = byteAt(cursor.bytes, cursor.payload + 1) & 0xdf;
  return isLetter(first) && isLetter(second) ? (first << 8) | second : 0;
}

function isLetter(octet: number): boolean {
  return octet >= 0x41 && octet <= 0x5a;
}
