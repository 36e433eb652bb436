/**
 * The data section of a MaxMind DB file (format 2.0), decoded strictly and no further than geo data need.
 *
 *   control octet │ further length octets │ payload          tttsssss: type, size (29, 30, 31: the length follows)
 *   001ssvvv      │ 1 to 4 octets                            a pointer: offset from the start of the section
 *
 * A file may come from anywhere, so nothing in it is believed: every length is compared with the section's end before
 * a byte is read, a pointer must lead to a value that is no pointer, maps nest to a bounded depth, and each value that
 * is looked at counts against a bound. Damage is an exception that `mmdb.ts` turns into words; it never leaves there.
 */
import { byteAt } from "../wire/bytes.ts";

/** What the file's bytes break; the message says what and where. */
export class DamagedData extends Error {}

/** What geo data take from one record. */
export interface RecordFields {
  /** Degrees; NaN when the record has none that is valid. */
  latitude: number;
  longitude: number;
  /** Two ASCII letters, upper case, the first one in the high octet; 0: none. */
  country: number;
  /** The city's UTF-8 octets within the file; length 0: none. */
  cityAt: number;
  cityLength: number;
  /** 0: none. */
  asn: number;
}

export interface DataSection {
  /** The whole file. */
  readonly bytes: Uint8Array;
  /** Where the section begins: pointers count from here. */
  readonly start: number;
  /** One past its last octet. */
  readonly end: number;
}

/** GeoLite2 has 5 levels; nothing that is published has more than 8. */
const depthMax = 16;
/** Values in one record: GeoLite2 City has about 150, the largest commercial ones below 400. */
const valuesMax = 4096;
/** A value takes an octet at least, so only shared maps reached by pointers cost more looks than the section has. */
const looksPerOctet = 16;
const looksMin = 65_536;
/** Numbers as text, such as "-122.08499908447266". */
const numberTextMax = 32;

const types = { pointer: 1, text: 2, double: 3, octets: 4, uint16: 5, uint32: 6, map: 7 } as const;
const extendedTypes = { int32: 8, uint64: 9, uint128: 10, array: 11, boolean: 14, float: 15 } as const;

/** Paths to the fields: where in a record the decoder stands. */
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
/** Index of a key that leads nowhere. */
const otherKey = keys.length;
/** Where key k leads to from spot s: at s * 16 + k. */
const waysPerSpot = 16;
const ways = new Uint8Array(waysPerSpot * Object.keys(spots).length).fill(spots.other);
for (const [from, name, to] of paths) {
  ways[from * waysPerSpot + keys.findIndex((key) => Buffer.from(key).toString() === name)] = to;
}
/** Writers put each key once and point to it from then on: so many pointers' targets are remembered. */
const keyTargets = 64;

export interface RecordReader {
  /**
   * Reads the record at this offset of the section.
   * @throws DamagedData
   */
  read: (offset: number, into: RecordFields) => void;
  /**
   * Walks all of the value at this offset, through every pointer, so that a reader without bounds can be let at it.
   * @throws DamagedData also when it holds more than `valuesMax` values
   */
  check: (offset: number) => void;
}

export function emptyFields(): RecordFields {
  return { latitude: Number.NaN, longitude: Number.NaN, country: 0, cityAt: 0, cityLength: 0, asn: 0 };
}

export function createRecordReader({ bytes, start, end }: DataSection): RecordReader {
  const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The head of the value that was looked at last.
  let type = 0;
  let size = 0;
  let payload = 0;
  let looksLeft = Math.max(looksMin, (end - start) * looksPerOctet);
  let valuesLeft = 0;
  let fields = emptyFields();
  let key = otherKey;
  /** A small table by target: no key stands at 0, before the section. */
  const knownTargets = new Uint32Array(keyTargets);
  const knownKeys = new Uint8Array(keyTargets);

  function damaged(what: string, at: number): never {
    throw new DamagedData(`${what} at offset ${at - start} of its data`);
  }

  /** What the last look found: as a call, since the compiler does not see that a look changes the type. */
  function found(what: number): boolean {
    return type === what;
  }

  /** Reads the head of the value at `at`. A pointer's target becomes `payload`, and `size` the octets behind it. */
  function look(at: number): void {
    if (--valuesLeft < 0) damaged(`more than ${valuesMax} values in one record`, at);
    if (--looksLeft < 0) damaged("records that hold each other too often", at);
    if (at < start || at >= end) damaged("a value outside of the data", at);
    const control = byteAt(bytes, at);
    let next = at + 1;
    type = control >> 5;
    size = control & 0x1f;
    if (type === types.pointer) {
      const width = (size >> 3) + 1;
      if (next + width > end) damaged("a pointer cut off", at);
      payload = start + pointerValue(width, size & 7, next);
      size = next + width;
      return;
    }
    if (type === 0) {
      if (next >= end) damaged("a value cut off", at);
      type = byteAt(bytes, next++) + 7;
    }
    if (size >= 29) {
      const width = size - 28;
      if (next + width > end) damaged("a length cut off", at);
      size = lengthBase(width) + uintAt(next, width);
      next += width;
    }
    payload = next;
    checkSize(at);
  }

  function pointerValue(width: number, highBits: number, at: number): number {
    switch (width) {
      case 1:
        return (highBits << 8) | byteAt(bytes, at);
      case 2:
        return 2048 + ((highBits << 16) | uintAt(at, 2));
      case 3:
        return 526_336 + ((highBits << 24) | uintAt(at, 3));
      default:
        return uintAt(at, 4);
    }
  }

  function lengthBase(width: number): number {
    return width === 1 ? 29 : width === 2 ? 285 : 65_821;
  }

  function uintAt(at: number, width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + byteAt(bytes, at + i);
    return value;
  }

  /** A payload within the section, of a size that its type allows. */
  function checkSize(at: number): void {
    switch (type) {
      case types.map:
      case extendedTypes.array:
        // Each entry takes an octet at least: a giant count is refused before the first of them.
        if (size > end - payload) damaged(`a list of ${size} entries`, at);
        return;
      case extendedTypes.boolean:
        if (size > 1) damaged("a boolean of another size", at);
        size = 0;
        return;
      case types.double:
        if (size !== 8) damaged("a double of another size", at);
        break;
      case extendedTypes.float:
        if (size !== 4) damaged("a float of another size", at);
        break;
      case types.uint16:
        if (size > 2) damaged("an integer of another size", at);
        break;
      case types.uint32:
      case extendedTypes.int32:
        if (size > 4) damaged("an integer of another size", at);
        break;
      case extendedTypes.uint64:
        if (size > 8) damaged("an integer of another size", at);
        break;
      case extendedTypes.uint128:
        if (size > 16) damaged("an integer of another size", at);
        break;
      case types.text:
      case types.octets:
        break;
      default:
        damaged(`a value of the unknown type ${type}`, at);
    }
    if (size > end - payload) damaged(`a value of ${size} octets, more than there are,`, at);
  }

  /** Looks at the value, through a pointer where it is one; where its container goes on, or -1 for behind it. */
  function lookThrough(at: number): number {
    look(at);
    if (type !== types.pointer) return -1;
    const next = size;
    look(payload);
    if (found(types.pointer)) damaged("a pointer to a pointer", at);
    return next;
  }

  /**
   * Reads the value at `at`, which is at this spot of the record; where its container goes on. It calls itself only
   * along `paths`, so four deep at most.
   */
  function readValue(at: number, spot: number): number {
    const next = lookThrough(at);
    let behind = payload + size;
    if (type === types.map) {
      const count = size;
      behind = payload;
      for (let i = 0; i < count; i++) {
        behind = readKey(behind);
        const below = ways[spot * waysPerSpot + key] ?? spots.other;
        behind = below === spots.other ? skip(behind, 0) : readValue(behind, below);
      }
    } else if (type === extendedTypes.array) {
      behind = skipEntries(payload, size, 0);
    } else take(spot);
    return next < 0 ? behind : next;
  }

  /** Reads a map's key: leaves its index in `key`; where the value stands. */
  function readKey(at: number): number {
    look(at);
    if (!found(types.pointer)) {
      key = keyIndex(at);
      return payload + size;
    }
    const next = size;
    const target = payload;
    const slot = target % keyTargets;
    if (knownTargets[slot] !== target) {
      look(target);
      knownKeys[slot] = keyIndex(at);
      knownTargets[slot] = target;
    }
    key = knownKeys[slot] ?? otherKey;
    return next;
  }

  /** Which key the text is that was looked at. */
  function keyIndex(at: number): number {
    if (!found(types.text)) damaged("a map's key that is no text", at);
    for (let index = 0; index < keys.length; index++) {
      const octets = keys[index];
      if (octets?.length === size && isAt(payload, octets)) return index;
    }
    return otherKey;
  }

  function isAt(at: number, octets: Uint8Array): boolean {
    for (let i = 0; i < octets.length; i++) if (bytes[at + i] !== octets[i]) return false;
    return true;
  }

  /** Passes over the value without following pointers; where its container goes on. */
  function skip(at: number, depth: number): number {
    look(at);
    if (type === types.pointer) return size;
    if (type === types.map) return skipEntries(payload, 2 * size, depth);
    if (type === extendedTypes.array) return skipEntries(payload, size, depth);
    return payload + size;
  }

  function skipEntries(at: number, count: number, depth: number): number {
    if (depth >= depthMax) damaged(`values nested more than ${depthMax} deep`, at);
    let behind = at;
    for (let i = 0; i < count; i++) behind = skip(behind, depth + 1);
    return behind;
  }

  /** Passes over the value and everything that its pointers lead to. */
  function checkValue(at: number, depth: number): number {
    const next = lookThrough(at);
    let behind = payload + size;
    if (type === types.map || type === extendedTypes.array) {
      if (depth === depthMax) damaged(`values nested more than ${depthMax} deep`, at);
      const isMap = type === types.map;
      const count = size;
      behind = payload;
      for (let i = 0; i < count; i++) {
        if (isMap) behind = checkValue(behind, depth + 1);
        behind = checkValue(behind, depth + 1);
      }
    }
    return next < 0 ? behind : next;
  }

  /** Keeps the value that was looked at, when it is what belongs to the spot. Anything else there is ignored. */
  function take(spot: number): void {
    switch (spot) {
      case spots.latitude:
        fields.latitude = degrees(90);
        return;
      case spots.longitude:
        fields.longitude = degrees(180);
        return;
      case spots.country:
      case spots.countryCode:
        // Of several, a field that holds a country's name leaves the code alone.
        fields.country = countryCode() || fields.country;
        return;
      case spots.city:
      case spots.cityName:
        if (type !== types.text) return;
        fields.cityAt = payload;
        fields.cityLength = size;
        return;
      case spots.asn: {
        const asn = number();
        fields.asn = Number.isInteger(asn) && asn > 0 && asn <= 0xffff_ffff ? asn : 0;
      }
    }
  }

  function degrees(limit: number): number {
    const value = number();
    return Math.abs(value) <= limit ? value + 0 : Number.NaN;
  }

  /** NaN when the value is no number. */
  function number(): number {
    switch (type) {
      case extendedTypes.float:
        return numbers.getFloat32(payload);
      case types.double:
        return numbers.getFloat64(payload);
      case types.uint16:
      case types.uint32:
      case extendedTypes.uint64:
        return uintAt(payload, size);
      case extendedTypes.int32:
        return size === 4 ? numbers.getInt32(payload) : uintAt(payload, size);
      case types.text:
        if (size === 0 || size > numberTextMax) return Number.NaN;
        return Number(Buffer.from(bytes.buffer, bytes.byteOffset + payload, size).toString("latin1"));
      default:
        return Number.NaN;
    }
  }

  function countryCode(): number {
    if (type !== types.text || size !== 2) return 0;
    // Clears the bit that tells a small ASCII letter from a capital.
    const first = byteAt(bytes, payload) & 0xdf;
    const second = byteAt(bytes, payload + 1) & 0xdf;
    return isLetter(first) && isLetter(second) ? (first << 8) | second : 0;
  }

  return {
    read(offset, into) {
      into.latitude = Number.NaN;
      into.longitude = Number.NaN;
      into.country = 0;
      into.cityLength = 0;
      into.asn = 0;
      fields = into;
      valuesLeft = valuesMax;
      readValue(start + offset, spots.record);
    },
    check(offset) {
      valuesLeft = valuesMax;
      checkValue(start + offset, 0);
    },
  };
}

function isLetter(octet: number): boolean {
  return octet >= 0x41 && octet <= 0x5a;
}
