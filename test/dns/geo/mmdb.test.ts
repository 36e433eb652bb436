import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { checkGeoBytes, openGeoFile, type GeoFile } from "../../../dns/geo/mmdb.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { writeMmdb, type MmdbContent } from "../support/mmdb-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "nearcast-geo-"));
after(() => {
  rmSync(folder, { recursive: true });
});

const flat = (latitude: number, longitude: number, code: string): MmdbContent["records"][string] => ({
  latitude: latitude + 0.5,
  longitude: longitude + 0.5,
  country_code: code,
  city: "Somewhere",
});

const four: MmdbContent = {
  ipVersion: 4,
  databaseType: "test-city-v4",
  records: { "8.0.0.0/8": flat(40, -75, "US"), "81.2.0.0/16": flat(51, 0, "GB"), "133.0.0.0/9": flat(35, 139, "jp") },
};

function accepted(content: MmdbContent): GeoFile {
  const opened = checkGeoBytes("test.mmdb", writeMmdb(content));
  assert.ok(opened.ok, opened.ok ? "" : opened.reason);
  return opened.file;
}

function find(file: GeoFile, text: string): string {
  const address = parseIp(text);
  assert.ok(address);
  const { place, prefixLength } = file.find(address);
  return `${place?.country} ${place?.latitude} ${place?.longitude} ${place?.city} /${prefixLength}`;
}

test("flat records give place and the prefix that they hold for", () => {
  const file = accepted(four);
  assert.deepEqual(file.families, [4]);
  assert.match(file.description, /^test\.mmdb \(test-city-v4, 2026-01-01\)$/);
  assert.equal(find(file, "8.8.8.8"), "US 40.5 -74.5 Somewhere /8");
  assert.equal(find(file, "81.2.69.1"), "GB 51.5 0.5 Somewhere /16");
  assert.equal(find(file, "133.11.1.1"), "JP 35.5 139.5 Somewhere /9");
  assert.equal(find(file, "133.128.0.1"), "undefined undefined undefined undefined /9");
  assert.equal(find(file, "200.1.1.1"), "undefined undefined undefined undefined /2");
});

test("nested records, as GeoLite2 has them, are read for both families of one file", () => {
  const file = accepted({
    ipVersion: 6,
    databaseType: "GeoLite2-City",
    records: {
      "8.0.0.0/8": {
        location: { latitude: 40.5, longitude: -74.5 },
        country: { iso_code: "US" },
        city: { names: { en: "New York" } },
      },
      "2000::/4": { location: { latitude: 35.5, longitude: 139.5 }, country: { iso_code: "JP" } },
    },
  });
  assert.deepEqual(file.families, [4, 6]);
  assert.equal(find(file, "8.8.8.8"), "US 40.5 -74.5 New York /8");
  assert.equal(find(file, "2001:db8::1"), "JP 35.5 139.5 undefined /4");
});

test("a country database has places without a point", () => {
  const file = accepted({ ipVersion: 4, databaseType: "country", records: { "8.0.0.0/5": { country_code: "US" } } });
  assert.equal(find(file, "8.8.8.8"), "US undefined undefined undefined /5");
});

const good = writeMmdb(four);
const changed = (metadata: NonNullable<MmdbContent["metadata"]>): Buffer => writeMmdb({ ...four, metadata });

const refused: readonly (readonly [string, Buffer, RegExp])[] = [
  ["text", Buffer.from("not a database ".repeat(10)), /no MaxMind DB metadata/],
  ["a file cut at its half", good.subarray(0, good.length / 2), /no MaxMind DB metadata.*truncated/],
  ["a file cut within its metadata", good.subarray(0, good.length - 40), /./],
  ["a gzip file", gzipSync(good), /gzip/],
  ["format version 3", changed({ binary_format_major_version: 3 }), /format version 3/],
  ["IP version 5", changed({ ip_version: 5 }), /IP version 5/],
  ["record size 23", changed({ record_size: 23 }), /damaged/],
  ["more nodes than the file has room for", changed({ node_count: 1_000_000 }), /does not fit/],
  ["no nodes", changed({ node_count: 0 }), /does not fit/],
  ["fewer nodes than there are", changed({ node_count: 3 }), /gap|damaged|no places/],
  [
    "a database of other things",
    writeMmdb({
      ipVersion: 4,
      databaseType: "test-ASN",
      records: { "0.0.0.0/1": { autonomous_system_number: 64_500 } },
    }),
    /no places.*test-ASN/,
  ],
  ["bytes behind the metadata", Buffer.concat([good, Buffer.alloc(200_000)]), /after its metadata/],
];

test("a file that can't be trusted is refused with the reason", () => {
  for (const [what, bytes, reason] of refused) {
    const opened = checkGeoBytes("bad.mmdb", bytes);
    assert.ok(!opened.ok, what);
    assert.match(opened.reason, reason, what);
    assert.match(opened.reason, /^bad\.mmdb /, what);
  }
});

test("a file that can't be read is refused with the reason", async () => {
  const signal = AbortSignal.timeout(5000);
  const tiny = join(folder, "tiny.mmdb");
  writeFileSync(tiny, "x");
  const cases: readonly (readonly [string, RegExp])[] = [
    [join(folder, "missing.mmdb"), /ENOENT/],
    [folder, /not a plain file/],
    [tiny, /has 1 bytes/],
  ];
  for (const [path, reason] of cases) {
    const opened = await openGeoFile(path, signal);
    assert.ok(!opened.ok, path);
    assert.match(opened.reason, reason);
  }
});

test("a truncated copy, at any length, is refused and never throws", () => {
  for (let length = 0; length < good.length; length += 7) {
    assert.ok(!checkGeoBytes("cut.mmdb", good.subarray(0, length)).ok, `${length} of ${good.length} bytes`);
  }
});

test("a damaged octet anywhere is refused or harmless: no look-up throws", () => {
  for (let at = 0; at < good.length; at += 3) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    const opened = checkGeoBytes("bad.mmdb", bytes);
    if (!opened.ok) continue;
    for (const text of ["8.8.8.8", "81.2.69.1", "133.11.1.1", "0.0.0.0", "255.255.255.255"]) find(opened.file, text);
  }
});
