/**
 * The distinct places of one geo file, numbered as they are found: networks with the same place get the same number,
 * even if their records differ otherwise (postcode, time zone, …), so that neighbors among them become one range.
 */
import { byteAt } from "../wire/bytes.ts";
import type { RecordFields } from "./mmdb-record.ts";

/** Places in parallel arrays. Place i of the list is the i-th one of its file. */
export interface PlaceList {
  readonly count: number;
  readonly latitudes: Float32Array;
  readonly longitudes: Float32Array;
  readonly countries: Uint16Array;
  /** Has count + 1 entries. */
  readonly cityStarts: Uint32Array;
  readonly cityBytes: Uint8Array;
}

export interface PlaceCollector {
  /** The place's index in the list, from 0; -1 when the record has neither a point nor a country. */
  indexOf: (fields: RecordFields) => number;
  list: () => PlaceList;
}

const placesAtFirst = 1024;
const cityBytesAtFirst = 16_384;
/** FNV-1a over 32 bits. */
const hashPrime = 0x0100_0193;
const hashStart = 0x811c_9dc5;

/** @param bytes the file; the city in the fields is an offset into it */
export function createPlaceCollector(bytes: Uint8Array): PlaceCollector {
  let latitudes = new Float32Array(placesAtFirst);
  let longitudes = new Float32Array(placesAtFirst);
  let countries = new Uint16Array(placesAtFirst);
  let cityStarts = new Uint32Array(placesAtFirst + 1);
  let cityBytes = new Uint8Array(cityBytesAtFirst);
  let hashes = new Uint32Array(placesAtFirst);
  /** Open addressing, at most half full: index + 1 of a place, or 0. */
  let slots = new Uint32Array(2 * placesAtFirst);
  let count = 0;
  const floats = new Float32Array(2);
  const floatBits = new Uint32Array(floats.buffer);

  function grow(): void {
    latitudes = copied(new Float32Array(2 * count), latitudes);
    longitudes = copied(new Float32Array(2 * count), longitudes);
    countries = copied(new Uint16Array(2 * count), countries);
    cityStarts = copied(new Uint32Array(2 * count + 1), cityStarts);
    hashes = copied(new Uint32Array(2 * count), hashes);
    slots = new Uint32Array(4 * count);
    const mask = slots.length - 1;
    for (let i = 0; i < count; i++) {
      let slot = (hashes[i] ?? 0) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = i + 1;
    }
  }

  function hashOf(country: number, cityAt: number, cityLength: number): number {
    let hash = Math.imul(hashStart ^ (floatBits[0] ?? 0), hashPrime);
    hash = Math.imul(hash ^ (hash >>> 15) ^ (floatBits[1] ?? 0), hashPrime);
    hash = Math.imul(hash ^ (hash >>> 15) ^ country, hashPrime);
    for (let i = 0; i < cityLength; i++) hash = Math.imul(hash ^ byteAt(bytes, cityAt + i), hashPrime);
    return (hash ^ (hash >>> 15)) >>> 0;
  }

  function isSame(index: number, country: number, cityAt: number, cityLength: number): boolean {
    const start = cityStarts[index] ?? 0;
    if (countries[index] !== country || (cityStarts[index + 1] ?? 0) - start !== cityLength) return false;
    // Object.is() treats NaN, an unknown coordinate, as equal to NaN.
    if (!Object.is(latitudes[index], floats[0]) || !Object.is(longitudes[index], floats[1])) return false;
    for (let i = 0; i < cityLength; i++) if (cityBytes[start + i] !== bytes[cityAt + i]) return false;
    return true;
  }

  return {
    indexOf({ latitude, longitude, country, cityAt, cityLength }) {
      const hasPoint = !Number.isNaN(latitude) && !Number.isNaN(longitude);
      if (!hasPoint && country === 0) return -1;
      floats[0] = hasPoint ? latitude : Number.NaN;
      floats[1] = hasPoint ? longitude : Number.NaN;
      if (2 * count === slots.length || count === latitudes.length) grow();
      const hash = hashOf(country, cityAt, cityLength);
      const mask = slots.length - 1;
      let slot = hash & mask;
      for (let at = slots[slot] ?? 0; at !== 0; at = slots[slot] ?? 0) {
        if (hashes[at - 1] === hash && isSame(at - 1, country, cityAt, cityLength)) return at - 1;
        slot = (slot + 1) & mask;
      }
      slots[slot] = count + 1;
      hashes[count] = hash;
      latitudes[count] = floats[0];
      longitudes[count] = floats[1];
      countries[count] = country;
      const start = cityStarts[count] ?? 0;
      while (start + cityLength > cityBytes.length) cityBytes = copied(new Uint8Array(2 * cityBytes.length), cityBytes);
      for (let i = 0; i < cityLength; i++) cityBytes[start + i] = byteAt(bytes, cityAt + i);
      cityStarts[count + 1] = start + cityLength;
      return count++;
    },
    list: () => ({ count, latitudes, longitudes, countries, cityStarts, cityBytes }),
  };
}

function copied<Numbers extends { set: (from: Numbers) => void }>(into: Numbers, from: Numbers): Numbers {
  into.set(from);
  return into;
}
