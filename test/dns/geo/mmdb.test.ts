import { seededRandom } from "#base/random.ts";
import { Reader, type Response } from "maxmind";
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { combineGeo } from "../../../dns/geo/combine.ts";
import { createWalk, type Tree } from "../../../dns/geo/mmdb-tree.ts";
import { buildGeoPart, type GeoKind, type GeoOutcome } from "../../../dns/geo/mmdb.ts";
import { placeAt, valueAt, type GeoTables, type RangeTable } from "../../../dns/geo/tables.ts";
import { emptyAddress, ipToText, maskIp, parseIp, type Family, type IpAddress } from "../../../dns/wire/address.ts";
import {
  assembleMmdb,
  encodePointer,
  writeMmdb,
  type MmdbContent,
  type MmdbParts,
  type MmdbValue,
} from "../support/mmdb-writer.ts";

function flat(latitude: number, longitude: number, code: string): MmdbValue {
  return { latitude: latitude + 0.5, longitude: longitude + 0.5, country_code: code, city: "Somewhere" };
}

const four: MmdbContent = {
  ipVersion: 4,
  databaseType: "test-city-v4",
  records: { "8.0.0.0/8": flat(40, -75, "US"), "81.2.0.0/16": flat(51, 0, "GB"), "133.0.0.0/9": flat(35, 139, "jp") },
};

function build(bytes: Buffer, kind: GeoKind = "places"): Promise<GeoOutcome> {
  return buildGeoPart("test.mmdb", Buffer.from(bytes), kind, 0);
}

async function tablesOf(content: MmdbContent, kind: GeoKind = "places"): Promise<GeoTables> {
  const outcome = await build(writeMmdb(content), kind);
  assert.ok(outcome.ok, outcome.ok ? "" : outcome.reason);
  return combineGeo([{ path: "test.mmdb", kind, identity: "1", part: outcome.part }]);
}

function ip(text: string): IpAddress {
  const address = parseIp(text);
  assert.ok(address, text);
  return address;
}

function find(geo: GeoTables, text: string): string {
  const { country, latitude, longitude, city } = placeAt(geo, ip(text));
  return `${country} ${latitude} ${longitude} ${city}`;
}

const nothing = "undefined undefined undefined undefined";

/** What RangeTable promises. */
function checkRanges(table: RangeTable, label = ""): void {
  assert.equal(table.v4Starts[0], 0);
  assert.deepEqual([...table.v6Starts.subarray(0, 2)], [0, 0]);
  assert.equal(table.v4Starts.length, table.v4Values.length);
  assert.equal(table.v6Starts.length, 2 * table.v6Values.length);
  for (let i = 1; i < table.v4Starts.length; i++) {
    assert.ok((table.v4Starts[i] ?? 0) > (table.v4Starts[i - 1] ?? 0), `${label} IPv4 start ${i}`);
    assert.notEqual(table.v4Values[i], table.v4Values[i - 1], `${label} IPv4 value ${i}`);
  }
  const start6 = (i: number): bigint =>
    (BigInt(table.v6Starts[2 * i] ?? 0) << 32n) | BigInt(table.v6Starts[2 * i + 1] ?? 0);
  for (let i = 1; i < table.v6Values.length; i++) {
    assert.ok(start6(i) > start6(i - 1), `${label} IPv6 start ${i}`);
    assert.notEqual(table.v6Values[i], table.v6Values[i - 1], `${label} IPv6 value ${i}`);
  }
  for (const array of [table.v4Starts, table.v4Values, table.v6Starts, table.v6Values]) {
    assert.ok(array.buffer instanceof SharedArrayBuffer);
  }
}

test("flat records give point, country and city", async () => {
  const geo = await tablesOf(four);
  assert.equal(geo.description, "test.mmdb (test-city-v4, 2026-01-01)");
  assert.equal(find(geo, "8.8.8.8"), "US 40.5 -74.5 Somewhere");
  assert.equal(find(geo, "81.2.69.1"), "GB 51.5 0.5 Somewhere");
  assert.equal(find(geo, "133.11.1.1"), "JP 35.5 139.5 Somewhere");
  assert.equal(find(geo, "133.128.0.1"), nothing);
  assert.equal(find(geo, "200.1.1.1"), nothing);
  assert.equal(find(geo, "2001:db8::1"), nothing);
  // Nothing, 8/8, nothing, 81.2/16, nothing, 133.0/9, nothing.
  assert.equal(geo.places.v4Values.length, 7);
  checkRanges(geo.places);
});

test("nested records, as GeoLite2 has them, are read for both families of one file", async () => {
  const geo = await tablesOf({
    ipVersion: 6,
    databaseType: "GeoLite2-City",
    records: {
      "8.0.0.0/8": {
        location: { accuracy_radius: 100, latitude: 40.5, longitude: -74.5, time_zone: "America/New_York" },
        country: { geoname_id: 6_252_001, iso_code: "US", names: { de: "USA", en: "United States" } },
        subdivisions: [{ iso_code: "NY", names: { en: "New York" } }, { is_in_european_union: false }],
        city: { geoname_id: 5_128_581, names: { de: "Neu-York", en: "New York", fr: "New York" } },
        registered_country: { iso_code: "CA" },
      },
      "2000::/4": { location: { latitude: 35.5, longitude: 139.5 }, country: { iso_code: "JP" } },
    },
  });
  assert.equal(find(geo, "8.8.8.8"), "US 40.5 -74.5 New York");
  assert.equal(find(geo, "2001:db8::1"), "JP 35.5 139.5 undefined");
  assert.equal(find(geo, "::8.8.8.8"), nothing);
});

test("a country database has places without a point", async () => {
  const geo = await tablesOf({
    ipVersion: 4,
    databaseType: "country",
    records: {
      "8.0.0.0/5": { country_code: "US" },
      "16.0.0.0/5": { country: "CA" },
      "24.0.0.0/5": { country: "Cuba" },
    },
  });
  assert.equal(find(geo, "8.8.8.8"), "US undefined undefined undefined");
  assert.equal(find(geo, "16.8.8.8"), "CA undefined undefined undefined");
  assert.equal(find(geo, "24.8.8.8"), nothing);
});

test("a point off the globe, half a point, or a code that is none counts as not known", async () => {
  const geo = await tablesOf({
    ipVersion: 4,
    databaseType: "odd",
    records: {
      "1.0.0.0/8": { latitude: 90.5, longitude: 1.5, country_code: "FR" },
      "2.0.0.0/8": { latitude: 45.5, country_code: "FR", city: "Half" },
      "3.0.0.0/8": { latitude: "45.5", longitude: "-1.5", country_code: "FRA" },
      "4.0.0.0/8": { latitude: 45.5, longitude: "west", country_code: "1F", city: "Nowhere" },
      "5.0.0.0/8": { latitude: { float: 1.25 }, longitude: 2, country_code: true },
      "6.0.0.0/8": { latitude: -0.0, longitude: 0, country_code: "" },
      "7.0.0.0/8": "just text",
      "8.0.0.0/8": [1, 2, { latitude: 1 }],
    },
  });
  assert.equal(find(geo, "1.1.1.1"), "FR undefined undefined undefined");
  assert.equal(find(geo, "2.1.1.1"), "FR undefined undefined Half");
  assert.equal(find(geo, "3.1.1.1"), "undefined 45.5 -1.5 undefined");
  assert.equal(find(geo, "4.1.1.1"), nothing);
  assert.equal(find(geo, "5.1.1.1"), "undefined 1.25 2 undefined");
  assert.equal(find(geo, "6.1.1.1"), "undefined 0 0 undefined");
  assert.equal(find(geo, "7.1.1.1"), nothing);
  assert.equal(find(geo, "8.1.1.1"), nothing);
});

test("neighbours with equal places are one range, whatever else their records say", async () => {
  const place = { latitude: 1.5, longitude: 2.5, country_code: "GA", city: "Libreville" };
  const geo = await tablesOf({
    ipVersion: 4,
    databaseType: "x",
    records: { "8.0.0.0/8": { ...place, postcode: "1" }, "9.0.0.0/8": { ...place, postcode: "2" } },
  });
  assert.deepEqual([...geo.places.v4Starts], [0, 0x0800_0000, 0x0a00_0000]);
  assert.equal(geo.latitudes.length, 2);
});

test("AS numbers are taken from an ASN database, which has no places", async () => {
  const content: MmdbContent = {
    ipVersion: 6,
    databaseType: "GeoLite2-ASN",
    records: {
      "1.0.0.0/8": { autonomous_system_number: 64_500, autonomous_system_organization: "one" },
      "2.0.0.0/8": { autonomous_system_number: 64_500, autonomous_system_organization: "the same" },
      "3.0.0.0/8": { autonomous_system_number: 4_200_000_000 },
      "2001:db8::/32": { autonomous_system_number: 1 },
    },
  };
  const geo = await tablesOf(content, "asns");
  assert.ok(geo.asns);
  checkRanges(geo.asns);
  const asns = ["1.2.3.4", "2.2.3.4", "3.2.3.4", "4.2.3.4", "2001:db8::1", "2001:db9::1"].map(
    (text) => placeAt(geo, ip(text)).asn,
  );
  assert.deepEqual(asns, [64_500, 64_500, 4_200_000_000, undefined, 1, undefined]);
  assert.equal(geo.asns.v4Values.length, 4);

  const asPlaces = await build(writeMmdb(content));
  assert.match(asPlaces.ok ? "" : asPlaces.reason, /has no places \(its kind is GeoLite2-ASN\)/);
  const asAsns = await build(writeMmdb(four), "asns");
  assert.match(asAsns.ok ? "" : asAsns.reason, /has no AS numbers \(its kind is test-city-v4\)/);
});

test("IPv6 is distinguished to /64: below it, the lowest address counts", async () => {
  const geo = await tablesOf({
    ipVersion: 6,
    databaseType: "fine",
    records: {
      "2001:db8:0:1::/66": flat(1, 1, "AA"),
      "2001:db8:0:1:8000::/65": flat(2, 2, "BB"),
      "2001:db8:0:2:8000::/65": flat(2, 2, "BB"),
      "2001:db8:0:3::/128": flat(3, 3, "CC"),
    },
  });
  assert.match(find(geo, "2001:db8:0:1::1"), /^AA/);
  assert.match(find(geo, "2001:db8:0:1:ffff::1"), /^AA/);
  assert.equal(find(geo, "2001:db8:0:2:ffff::1"), nothing);
  assert.match(find(geo, "2001:db8:0:3:ffff::1"), /^CC/);
  checkRanges(geo.places);
});

test("6to4, Teredo and mapped addresses that lead to the IPv4 part count as not known", async () => {
  const content: MmdbContent = {
    ipVersion: 6,
    databaseType: "aliases",
    // Known places on both sides of the aliases, and at the edge of IPv4: maxmind is asked right there.
    records: {
      "8.0.0.0/8": flat(40, -75, "US"),
      "255.255.0.0/16": flat(1, 1, "AA"),
      "2001:1::/32": flat(2, 2, "BB"),
      "2003::/16": flat(3, 3, "CC"),
      "2600::/12": flat(41, -75, "US"),
    },
    hasAliases: true,
  };
  const said = new Reader<Response>(writeMmdb(content)).get("2002:808:808::1");
  assert.notEqual(said, null, "maxmind follows the alias, so the file has it");
  const geo = await tablesOf(content);
  assert.match(find(geo, "8.8.8.8"), /^US 40.5/);
  assert.match(find(geo, "2600::1"), /^US 41.5/);
  assert.equal(find(geo, "2002:808:808::1"), nothing);
  assert.equal(find(geo, "2001:0:808:808::1"), nothing);
  assert.equal(find(geo, "2002:ffff:ffff::1"), nothing);
  assert.equal(geo.places.v6Values.length, 7);
});

test("a file of which only one family is known answers for that one", async () => {
  const outcome = await build(
    writeMmdb({ ipVersion: 6, databaseType: "x", records: { "2600::/12": flat(41, -75, "US") } }),
  );
  assert.ok(outcome.ok);
  assert.equal(outcome.part.v4, undefined);
  assert.ok(outcome.part.v6);
});

/** A file of one node, both sides of which lead to the beginning of this data. */
function oneNode(data: Buffer, parts: Partial<MmdbParts> = {}): Buffer {
  return assembleMmdb({
    tree: Buffer.from([0, 0, 17, 0, 0, 17]),
    nodeCount: 1,
    data,
    databaseType: "crafted",
    ipVersion: 4,
    ...parts,
  });
}

const countryEntry = Buffer.concat([
  Buffer.from([0x4c]),
  Buffer.from("country_code"),
  Buffer.from([0x42]),
  Buffer.from("US"),
]);

/** A map of the country and of one more value. */
function withExtra(value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xe2]), countryEntry, Buffer.from([0x41, 0x78]), value]);
}

/** Lists of two pointers to the list before, 60 times: 2^60 values when all are followed. */
function laughs(start: number): { bytes: Buffer; last: number } {
  const lists = [Buffer.from([0x02, 0x04, 0xa0, 0xa0])];
  let last = start;
  for (let depth = 0; depth < 60; depth++) {
    const pointer = encodePointer(last);
    last = start + lists.reduce((sum, list) => sum + list.length, 0);
    lists.push(Buffer.concat([Buffer.from([0x02, 0x04]), pointer, pointer]));
  }
  return { bytes: Buffer.concat(lists), last };
}

/** The record stands first, and points to the end of lists that point to lists. */
function laughingRecord(): Buffer {
  const length = withExtra(encodePointer(2047)).length;
  const { bytes, last } = laughs(length);
  return Buffer.concat([withExtra(encodePointer(last)), bytes]);
}

function laughingMetadata(): Buffer {
  const whole = oneNode(Buffer.concat([Buffer.from([0xe1]), countryEntry]));
  const at = whole.lastIndexOf("MaxMind.com") + 11;
  const metadata = whole.subarray(at);
  const { bytes, last } = laughs(metadata.length + 64);
  const extra = Buffer.concat([Buffer.from([0x41, 0x78]), encodePointer(last)]);
  const grown = Buffer.concat([Buffer.from([(metadata[0] ?? 0) + 1]), metadata.subarray(1), extra]);
  return Buffer.concat([whole.subarray(0, at), grown, Buffer.alloc(metadata.length + 64 - grown.length), bytes]);
}

/** A city whose English name is that city again. */
function endlessCity(): Buffer {
  const key = (text: string): Buffer => Buffer.concat([Buffer.from([0x40 | text.length]), Buffer.from(text)]);
  const head = Buffer.concat([Buffer.from([0xe1]), key("city")]);
  return Buffer.concat([
    head,
    Buffer.from([0xe1]),
    key("names"),
    Buffer.from([0xe1]),
    key("en"),
    encodePointer(head.length),
  ]);
}

const good = writeMmdb(four);
const changed = (metadata: NonNullable<MmdbContent["metadata"]>): Buffer => writeMmdb({ ...four, metadata });
const nested = Buffer.concat([...Array.from({ length: 40 }, () => Buffer.from([0x01, 0x04])), Buffer.from([0xa0])]);

const refused: readonly (readonly [string, Buffer, RegExp])[] = [
  ["nothing at all", Buffer.alloc(0), /no MaxMind DB metadata/],
  ["text", Buffer.from("not a database ".repeat(10)), /no MaxMind DB metadata/],
  ["a file cut at its half", good.subarray(0, good.length / 2), /no MaxMind DB metadata.*truncated/],
  ["a file cut within its metadata", good.subarray(0, good.length - 40), /damaged/],
  ["a gzip file", gzipSync(good), /gzip/],
  ["format version 3", changed({ binary_format_major_version: 3 }), /format version 3/],
  ["IP version 5", changed({ ip_version: 5 }), /IP version 5/],
  ["record size 23", changed({ record_size: 23 }), /damaged/],
  ["a node count that is text", changed({ node_count: "many" }), /does not fit/],
  ["more nodes than the file has room for", changed({ node_count: 1_000_000 }), /does not fit/],
  ["no nodes", changed({ node_count: 0 }), /does not fit/],
  ["fewer nodes than there are", changed({ node_count: 3 }), /gap|damaged|no places/],
  ["bytes behind the metadata", Buffer.concat([good, Buffer.alloc(200_000)]), /after its metadata/],
  ["a tree that leads to itself", oneNode(countryEntry, { tree: Buffer.from([0, 0, 0, 0, 0, 17]) }), /in circles/],
  [
    "a tree that leads into the gap",
    oneNode(countryEntry, { tree: Buffer.from([0, 0, 9, 0, 0, 17]) }),
    /out of the data/,
  ],
  [
    "a tree that leads behind the data",
    oneNode(countryEntry, { tree: Buffer.from([0, 0, 255, 0, 0, 17]) }),
    /out of the data/,
  ],
  ["a pointer to itself", oneNode(encodePointer(0)), /a pointer to a pointer at offset 0/],
  ["a pointer out of the data", oneNode(encodePointer(2000)), /outside of the data at offset 2000/],
  ["a pointer cut off", oneNode(Buffer.from([0x38, 0, 0])), /a pointer cut off/],
  ["a giant text", oneNode(Buffer.from([0x5f, 0xff, 0xff, 0xff, 0x41])), /16843036 octets/],
  ["a giant map", oneNode(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x41])), /a list of 16843036 entries/],
  ["a giant list", oneNode(withExtra(Buffer.from([0x1f, 0x04, 0xff, 0xff, 0xff]))), /a list of 16843036 entries/],
  [
    "a long list of nothing",
    oneNode(withExtra(Buffer.concat([Buffer.from([0x1e, 0x04, 0x40, 0]), Buffer.alloc(40_000, 0x40)]))),
    /4096 values/,
  ],
  ["a length cut off", oneNode(Buffer.from([0x5f, 0xff])), /a length cut off/],
  ["a double of 4 octets", oneNode(withExtra(Buffer.from([0x64, 0, 0, 0, 0]))), /a double of another size/],
  [
    "a float of 8 octets",
    oneNode(withExtra(Buffer.from([0x08, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]))),
    /a float of another size/,
  ],
  ["an integer of 5 octets", oneNode(withExtra(Buffer.from([0xc5, 0, 0, 0, 0, 0]))), /an integer of another size/],
  ["an unknown type", oneNode(withExtra(Buffer.from([0x00, 0x09]))), /unknown type 16/],
  ["a key that is a number", oneNode(Buffer.from([0xe1, 0xa1, 1, 0xa1, 1])), /key that is no text/],
  ["lists nested 40 deep", oneNode(withExtra(nested)), /nested more than 16 deep/],
  ["a record of 2^60 values", oneNode(laughingRecord()), /nested more than 16 deep|4096 values/],
  ["a city that is named by itself", oneNode(endlessCity()), /has no places/],
  ["metadata of 2^60 values", laughingMetadata(), /nested more than 16 deep|4096 values/],
];

test("a file that can't be trusted is refused with the reason", async () => {
  for (const [what, bytes, reason] of refused) {
    const outcome = await build(bytes);
    assert.ok(!outcome.ok, what);
    assert.match(outcome.reason, reason, what);
    assert.match(outcome.reason, /^test\.mmdb /, what);
  }
});

test("a file in which maxmind finds other places is refused", async () => {
  // Two points in one record: which one is meant?
  const record = { latitude: 1.5, longitude: 1.5, location: { latitude: 2.5, longitude: 2.5 } };
  const outcome = await build(writeMmdb({ ipVersion: 4, databaseType: "x", records: { "8.0.0.0/8": record } }));
  assert.match(outcome.ok ? "" : outcome.reason, /two readers do not agree about 8\./);
});

test("many records that share one large map can't keep the reader busy: its looks are counted", async () => {
  // 60,000 records, each a pointer to the same map of 1,000 keys.
  const pairs = Array.from({ length: 1000 }, () => Buffer.from([0x41, 0x78, 0xa0]));
  const map = Buffer.concat([Buffer.from([0xfe, (1000 - 285) >> 8, (1000 - 285) & 0xff]), ...pairs]);
  const count = 1 << 16;
  const data = Buffer.concat([map, ...Array.from({ length: count }, () => encodePointer(0))]);
  const tree = Buffer.alloc((count - 1) * 8);
  for (let node = 0; node < count - 1; node++) {
    for (const side of [0, 1]) {
      const child = 2 * node + 1 + side;
      const leaf = count - 1 + 16 + map.length + 2 * (child - (count - 1));
      tree.writeUInt32BE(child < count - 1 ? child : leaf, node * 8 + side * 4);
    }
  }
  const outcome = await build(
    assembleMmdb({ tree, nodeCount: count - 1, data, databaseType: "shared", ipVersion: 4, recordSize: 32 }),
  );
  assert.match(outcome.ok ? "" : outcome.reason, /hold each other too often/);
});

test("a truncated copy, at any length, is refused and never throws", async () => {
  for (let length = 0; length < good.length; length += 5) {
    assert.ok(!(await build(good.subarray(0, length))).ok, `${length} of ${good.length} bytes`);
  }
});

test("a damaged octet anywhere is refused or harmless: nothing throws, and ranges stay ranges", async () => {
  const seed = 20_260_601;
  const random = seededRandom(seed);
  const files: readonly (readonly [Buffer, GeoKind])[] = [
    [good, "places"],
    [writeMmdb({ ipVersion: 4, databaseType: "a", records: { "9.0.0.0/9": { autonomous_system_number: 7 } } }), "asns"],
    [writeMmdb({ ...four, ipVersion: 6, recordSize: 28, hasAliases: true }), "places"],
  ];
  for (const [bytes, kind] of files) {
    const step = Math.ceil(bytes.length / 500);
    for (let at = Math.floor(random() * step); at < bytes.length; at += step) {
      const bad = Buffer.from(bytes);
      bad[at] = (bad[at] ?? 0) ^ (1 + Math.floor(random() * 255));
      const outcome = await build(bad, kind);
      if (!outcome.ok) continue;
      const geo = combineGeo([{ path: "bad.mmdb", kind, identity: "1", part: outcome.part }]);
      const label = `seed ${seed}, octet ${at}:`;
      checkRanges(geo.places, label);
      if (geo.asns !== undefined) checkRanges(geo.asns, label);
      for (const text of ["8.8.8.8", "255.255.255.255", "::", "ffff::"]) placeAt(geo, ip(text));
    }
  }
});

/** Random networks of one family or both, some inside others, with records of one shape. */
function randomContent(
  random: () => number,
  ipVersion: 4 | 6,
  shape: "flat" | "nested" | "asn",
): MmdbContent["records"] {
  const pick = (limit: number): number => Math.floor(random() * limit);
  const records: Record<string, MmdbValue> = {};
  const places = Array.from({ length: 40 }, (_, i): MmdbValue => {
    const latitude = random() * 180 - 90;
    const longitude = { float: Math.fround(random() * 360 - 180) };
    const code = String.fromCharCode(65 + pick(26), 65 + pick(26));
    if (shape === "asn") return { autonomous_system_organization: `Org ${i}`, autonomous_system_number: pick(2 ** 32) };
    if (shape === "flat") return { city: `Città ${i}`, country_code: code, latitude, longitude, postcode: "" };
    const names = { de: `Stadt ${i}`, en: `City ${i}` };
    return { city: { names }, country: { iso_code: code }, location: { latitude, longitude }, traits: [true, i] };
  });
  const networks: { text: string; length: number }[] = [];
  for (let i = 0; i < 400; i++) {
    const isIpv4 = ipVersion === 4 || random() < 0.4;
    const address: IpAddress = { family: isIpv4 ? 4 : 6, bytes: new Uint8Array(16) };
    for (let octet = 0; octet < (isIpv4 ? 4 : 16); octet++) address.bytes[octet] = pick(256);
    // Few first octets, so that networks stand inside each other.
    address.bytes[0] = isIpv4 ? 1 + pick(8) : 0x26;
    if (!isIpv4) address.bytes[1] = pick(4);
    const length = isIpv4 ? 8 + pick(25) : 12 + pick(random() < 0.8 ? 53 : 117);
    maskIp(address, length);
    networks.push({ text: `${ipToText(address)}/${length}`, length });
  }
  for (const { text } of networks.toSorted((a, b) => a.length - b.length)) records[text] = places[pick(40)] ?? "";
  return records;
}

type Said = Readonly<Record<string, unknown>> & {
  readonly location?: Readonly<Record<string, unknown>>;
  readonly country?: Readonly<Record<string, unknown>>;
  readonly city?: string | { readonly names: { readonly en: string } };
};

/** A record of maxmind's in the words of the tables. */
function wordsOf(said: Said | null): string {
  const latitude = said?.["latitude"] ?? said?.location?.["latitude"];
  const longitude = said?.["longitude"] ?? said?.location?.["longitude"];
  const code = said?.["country_code"] ?? said?.country?.["iso_code"];
  const city = typeof said?.city === "object" ? said.city.names.en : said?.city;
  const round = (value: unknown): number | undefined => (typeof value === "number" ? Math.fround(value) : undefined);
  return [round(latitude), round(longitude), code, city, said?.["autonomous_system_number"] || undefined].join(" ");
}

test("random trees of every shape answer as maxmind does, at edges of networks and everywhere else", async () => {
  const seed = 4_711;
  const random = seededRandom(seed);
  let asked = 0;
  for (const recordSize of [24, 28, 32] as const) {
    for (const ipVersion of [4, 6] as const) {
      for (const shape of ["flat", "nested", "asn"] as const) {
        const label = `seed ${seed}: ${recordSize} bits, IPv${ipVersion}, ${shape}`;
        const records = randomContent(random, ipVersion, shape);
        const content = { ipVersion, databaseType: "random", records, recordSize, hasAliases: ipVersion === 6 };
        const geo = await tablesOf(content, shape === "asn" ? "asns" : "places");
        checkRanges(geo.places, label);
        if (geo.asns !== undefined) checkRanges(geo.asns, label);
        const reader = new Reader<Response>(writeMmdb(content));
        for (const address of trials(random, Object.keys(records), ipVersion)) {
          const { latitude, longitude, country, city, asn } = placeAt(geo, address);
          const text = ipToText(address);
          const said = wordsOf(reader.get(text) as Said | null);
          assert.equal([latitude, longitude, country, city, asn].join(" "), said, `${label}: ${text}`);
          asked++;
        }
      }
    }
  }
  assert.ok(asked >= 20_000, `${asked} look-ups`);
});

/** Addresses at both edges of each network and beyond them, and as many anywhere. IPv6: the lowest of its /64. */
function* trials(random: () => number, networks: readonly string[], ipVersion: 4 | 6): Generator<IpAddress> {
  const asked = emptyAddress();
  const at = (family: Family, value: bigint): IpAddress => {
    asked.family = family;
    asked.bytes.fill(0);
    const octets = family === 4 ? 4 : 8;
    for (let i = 0; i < octets; i++) asked.bytes[i] = Number((value >> BigInt(8 * (octets - 1 - i))) & 0xffn);
    return asked;
  };
  for (const text of networks) {
    const [first = "", lengthText] = text.split("/");
    const { family, bytes } = ip(first);
    const octets = family === 4 ? 4 : 8;
    let start = 0n;
    for (let i = 0; i < octets; i++) start = (start << 8n) | BigInt(bytes[i] ?? 0);
    const size = 1n << BigInt(Math.max(0, 8 * octets - Number(lengthText)));
    const space = 1n << BigInt(8 * octets);
    for (const value of [start, start + size - 1n, (start + size) % space, start - 1n]) yield at(family, value);
    yield at(family, start + BigInt(Math.floor(random() * Number(size))));
  }
  for (let i = 0; i < 400; i++) {
    const family = ipVersion === 6 && i % 2 === 0 ? 6 : 4;
    const value = BigInt(Math.floor(random() * 2 ** 32));
    yield at(family, family === 4 ? value : (0x26n << 56n) | (value << 26n));
  }
}

test("a walk in slices of any size gives the same ranges, and no slice is much longer than was asked", () => {
  const seed = 77;
  const content = randomContent(seededRandom(seed), 6, "flat");
  const bytes = writeMmdb({ ipVersion: 6, databaseType: "x", records: content, recordSize: 28 });
  const { metadata } = new Reader<Response>(bytes);
  const tree: Tree = {
    bytes: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    nodeCount: metadata.nodeCount,
    recordSize: 28,
    ipVersion: 6,
    dataLength: bytes.lastIndexOf("MaxMind.com") - 3 - metadata.searchTreeSize - 16,
  };
  for (const family of [4, 6] as const) {
    const whole = createWalk(tree, family, () => undefined);
    assert.ok(whole.advance(metadata.nodeCount));
    const expected = whole.ranges((offset) => offset + 1);
    for (const slice of [1, 7, 100]) {
      const offsets = new Set<number>();
      const walk = createWalk(tree, family, (offset) => offsets.add(offset));
      let slices = 1;
      while (!walk.advance(slice)) slices++;
      // Below a slice's last node the walk goes down to a leaf: at most 64 nodes more.
      assert.ok(slices >= expected.values.length / (slice + 64), `seed ${seed}: ${slices} slices of ${slice}`);
      assert.deepEqual(
        walk.ranges((offset) => (offsets.has(offset) ? offset + 1 : -1)),
        expected,
        `seed ${seed}`,
      );
    }
  }
});

test("places of a part stand behind those of the parts before it", async () => {
  const first = await buildGeoPart("a", writeMmdb(four), "places", 0);
  assert.ok(first.ok);
  const six = writeMmdb({ ipVersion: 6, databaseType: "six", records: { "2600::/12": flat(1, 1, "CA") } });
  for (const placesBefore of [0, first.part.places.count, 1000]) {
    const second = await buildGeoPart("b", Buffer.from(six), "places", placesBefore);
    assert.ok(second.ok);
    const geo = combineGeo([
      { path: "a", kind: "places", identity: "1", part: first.part },
      { path: "b", kind: "places", identity: "1", part: second.part },
    ]);
    assert.match(find(geo, "8.8.8.8"), /^US 40.5/);
    assert.match(find(geo, "2600::1"), /^CA 1.5/);
    assert.equal(valueAt(geo.places, ip("2600::1")), first.part.places.count + 1);
  }
});
