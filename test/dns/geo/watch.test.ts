import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, statSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as othersTurn } from "node:timers/promises";
import { loadGeo, watchGeo, type GeoSettings, type GeoWatch } from "../../../dns/geo/database.ts";
import { placeAt, type GeoTables } from "../../../dns/geo/tables.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { fakeClock, type FakeClock } from "../../support/fake-clock.ts";
import { writeMmdb, type MmdbContent, type MmdbValue } from "../support/mmdb-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "nearcast-geo-watch-"));
after(() => {
  rmSync(folder, { recursive: true });
});

let lastFile = 0;
function newPath(): string {
  return join(folder, `geo${++lastFile}.mmdb`);
}

let lastWriteSeconds = 1_767_225_600;
/** Writes the file with a time of its own: two writes within one tick of the file system would look like one. */
function put(path: string, bytes: Uint8Array): void {
  writeFileSync(path, bytes);
  utimesSync(path, ++lastWriteSeconds, lastWriteSeconds);
}

/** A place in this country. */
function place(country: string, latitude = 10.5): MmdbValue {
  return { latitude, longitude: 20.5, country_code: country, city: `City of ${country}` };
}

function bytesOf(records: MmdbContent["records"], ipVersion: 4 | 6 = 4): Buffer {
  return writeMmdb({ ipVersion, databaseType: "test", records });
}

/** `count` networks from 8.0.0.0/16 on, each with a place of its own. */
function many(count: number, country: string): MmdbContent["records"] {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`8.${i}.0.0/16`, place(country, i / 4 + 0.1)]));
}

interface Watched {
  readonly watch: GeoWatch;
  readonly clock: FakeClock;
  readonly warnings: string[];
  /** Each new set of tables. */
  readonly changes: GeoTables[];
  readonly first: GeoTables;
  /** Country in the tables in force. */
  country: (ip: string) => string | undefined;
}

async function start(settings: GeoSettings): Promise<Watched> {
  const warnings: string[] = [];
  const changes: GeoTables[] = [];
  const clock = fakeClock();
  const first = await loadGeo(settings, () => undefined);
  const watch = watchGeo(settings, {
    intervalMs: 30_000,
    clock,
    present: first,
    onChange: (tables) => changes.push(tables),
    tell: (level, message, details) => {
      if (level === "warn") warnings.push(`${message} ${JSON.stringify(details)}`);
    },
  });
  const country = (text: string): string | undefined => {
    const address = parseIp(text);
    assert.ok(address);
    return placeAt(changes.at(-1) ?? first, address).country;
  };
  return { watch, clock, warnings, changes, first, country };
}

test("a changed file is in force after it was still for one look, and not before", async () => {
  const path = newPath();
  put(path, bytesOf({ "8.0.0.0/8": place("DE") }));
  const { watch, changes, warnings, country } = await start({ files: [path] });
  await watch.look();
  put(path, bytesOf({ "8.0.0.0/8": place("JP"), "9.0.0.0/8": place("FR") }));
  await watch.look();
  assert.equal(changes.length, 0);
  await watch.look();
  assert.equal(changes.length, 1);
  assert.equal(country("8.8.8.8"), "JP");
  assert.equal(country("9.9.9.9"), "FR");
  for (let i = 0; i < 3; i++) await watch.look();
  assert.equal(changes.length, 1);
  assert.deepEqual(warnings, []);
});

test("the clock makes it look each 30 seconds", async () => {
  const path = newPath();
  put(path, bytesOf({ "8.0.0.0/8": place("DE") }));
  const { watch, clock, changes } = await start({ files: [path] });
  put(path, bytesOf({ "8.0.0.0/8": place("JP"), "9.0.0.0/8": place("FR") }));
  clock.advance(30_000);
  await watch.look(); // The same look: it waits for the one under way.
  assert.equal(changes.length, 0);
  clock.advance(29_999);
  clock.advance(1);
  await watch.look();
  assert.equal(changes.length, 1);
  watch.close();
});

test("a file that is being written is not read", async () => {
  const path = newPath();
  put(path, bytesOf({ "8.0.0.0/8": place("DE") }));
  const { watch, changes, warnings, country } = await start({ files: [path] });
  const bytes = bytesOf({ "8.0.0.0/8": place("JP"), "9.0.0.0/8": place("FR") });
  for (let length = 10; length < bytes.length; length += 40) {
    put(path, bytes.subarray(0, length));
    await watch.look();
  }
  assert.deepEqual([changes.length, warnings], [0, []]);
  put(path, bytes);
  await watch.look();
  await watch.look();
  assert.deepEqual([changes.length, warnings, country("8.8.8.8")], [1, [], "JP"]);
});

test("an unchanged file is not read again: size, time and inode tell", async () => {
  const path = newPath();
  const when = new Date(1_767_225_600_000);
  writeFileSync(path, bytesOf({ "8.0.0.0/8": place("DE") }));
  utimesSync(path, when, when);
  const { watch, changes } = await start({ files: [path] });
  // Other bytes behind the same facts: only reading would show them.
  const inode = statSync(path).ino;
  writeFileSync(path, bytesOf({ "8.0.0.0/8": place("JP") }));
  utimesSync(path, when, when);
  assert.equal(statSync(path).ino, inode);
  for (let i = 0; i < 3; i++) await watch.look();
  assert.equal(changes.length, 0);

  // The same size and time in another file, put in its place.
  const other = newPath();
  writeFileSync(other, bytesOf({ "8.0.0.0/8": place("FR") }));
  utimesSync(other, when, when);
  renameSync(other, path);
  await watch.look();
  await watch.look();
  assert.equal(changes.length, 1);
});

test("a damaged file is named once, and the old data stay until a good one comes", async () => {
  const path = newPath();
  const good = bytesOf({ "8.0.0.0/8": place("DE") });
  put(path, good);
  const { watch, changes, warnings, country } = await start({ files: [path] });
  put(path, good.subarray(0, good.length - 30));
  for (let i = 0; i < 5; i++) await watch.look();
  assert.equal(changes.length, 0);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /what was in force stays.*geo\d+\.mmdb is damaged/);
  assert.equal(country("8.8.8.8"), "DE");
  put(path, bytesOf({ "8.0.0.0/8": place("JP") }));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([changes.length, warnings.length, country("8.8.8.8")], [1, 1, "JP"]);
});

test("a file that knows less than half of what was known is not taken", async () => {
  const path = newPath();
  put(path, bytesOf(many(100, "DE")));
  const { watch, changes, warnings, country } = await start({ files: [path] });
  put(path, bytesOf(many(49, "JP")));
  for (let i = 0; i < 4; i++) await watch.look();
  assert.deepEqual([changes.length, country("8.1.1.1")], [0, "DE"]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /geo\d+\.mmdb has 49 places, the one in force 100/);
  put(path, bytesOf(many(60, "JP")));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([changes.length, country("8.1.1.1")], [1, "JP"]);
});

test("a file that has lost a family is not taken", async () => {
  const path = newPath();
  put(path, bytesOf({ "8.0.0.0/8": place("DE"), "2600::/12": place("DE") }, 6));
  const { watch, changes, warnings } = await start({ files: [path] });
  put(path, bytesOf({ "8.0.0.0/8": place("JP"), "9.0.0.0/8": place("JP") }));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.equal(changes.length, 0);
  assert.match(warnings.join(), /0 IPv6 networks, the one in force 3/);
});

test("a vanished file is named once, its data stay, and it is taken again when it comes back changed", async () => {
  const path = newPath();
  const bytes = bytesOf({ "8.0.0.0/8": place("DE") });
  put(path, bytes);
  const { watch, changes, warnings, country } = await start({ files: [path] });
  const aside = newPath();
  renameSync(path, aside);
  for (let i = 0; i < 3; i++) await watch.look();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /vanished.*geo\d+\.mmdb/);
  assert.deepEqual([changes.length, country("8.8.8.8")], [0, "DE"]);
  renameSync(aside, path);
  for (let i = 0; i < 3; i++) await watch.look();
  assert.deepEqual([changes.length, warnings.length], [0, 1]);
  unlinkSync(path);
  await watch.look();
  assert.equal(warnings.length, 2);
  put(path, bytesOf({ "8.0.0.0/8": place("JP") }));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([changes.length, country("8.8.8.8")], [1, "JP"]);
});

test("a file that was missing or damaged at the start is taken when it is there", async () => {
  const [missing, damaged] = [newPath(), newPath()];
  put(damaged, Buffer.from("this is a text, and certainly not a database of places of any kind"));
  const { watch, changes, warnings, country } = await start({ files: [missing, damaged] });
  for (let i = 0; i < 3; i++) await watch.look();
  assert.deepEqual([changes.length, warnings], [0, []]);
  put(missing, bytesOf({ "8.0.0.0/8": place("DE") }));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([changes.length, country("8.8.8.8")], [1, "DE"]);
  put(damaged, bytesOf({ "8.0.0.0/8": place("JP"), "2600::/12": place("JP") }, 6));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([changes.length, country("8.8.8.8"), country("2600::1")], [2, "DE", "JP"]);
});

test("of several files only the changed one is read, and the places of the others stay right", async () => {
  const [four, six, asn] = [newPath(), newPath(), newPath()];
  put(four, bytesOf(many(10, "DE")));
  put(six, bytesOf({ "2600::/12": place("CA"), "2a00::/12": place("FR") }, 6));
  put(asn, bytesOf({ "8.0.0.0/8": { autonomous_system_number: 64_500 } }));
  const settings = { files: [four, six], asnFile: asn };
  const { watch, changes, first, country, warnings } = await start(settings);

  put(four, bytesOf(many(20, "JP")));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([country("8.1.1.1"), country("2600::1"), country("2a00::1")], ["JP", "CA", "FR"]);
  assert.equal(country("3000::1"), undefined);
  const [canada, changed] = [parseIp("2600::1"), changes[0]];
  assert.ok(canada && changed);
  assert.equal(placeAt(changed, canada).city, "City of CA");
  assert.equal(changes[0]?.latitudes.length, 23);
  assert.equal(changes[0]?.places.v6Starts, first.places.v6Starts, "the same memory");
  assert.equal(changes[0]?.asns?.v4Starts, first.asns?.v4Starts);

  put(six, bytesOf({ "2600::/12": place("US"), "2a00::/12": place("IT"), "2c00::/12": place("ZA") }, 6));
  for (let i = 0; i < 2; i++) await watch.look();
  assert.deepEqual([country("8.1.1.1"), country("2600::1"), country("2c00::1")], ["JP", "US", "ZA"]);
  assert.equal(changes[1]?.places.v4Values, changes[0]?.places.v4Values, "the same memory");

  put(asn, bytesOf({ "8.0.0.0/8": { autonomous_system_number: 64_501 } }));
  for (let i = 0; i < 2; i++) await watch.look();
  const address = parseIp("8.1.1.1");
  assert.ok(address);
  const tables = changes.at(-1);
  assert.ok(tables);
  assert.deepEqual(
    [placeAt(tables, address), changes.length, warnings],
    [{ latitude: Math.fround(0.35), longitude: 20.5, country: "JP", city: "City of JP", asn: 64_501 }, 3, []],
  );
});

test("a file that is rewritten while it is looked at is in force in the end, whole", async () => {
  const path = newPath();
  put(path, bytesOf(many(200, "DE")));
  const { watch, changes, country } = await start({ files: [path] });
  for (let round = 0; round < 40; round++) {
    const [before, then] = round % 2 === 0 ? ["FR", "JP"] : ["IT", "US"];
    put(path, bytesOf(many(200, before)));
    await watch.look();
    const underWay = watch.look();
    for (let turn = 0; turn < round; turn++) await othersTurn();
    put(path, bytesOf(many(201, then)));
    await underWay;
    for (let i = 0; i < 2; i++) await watch.look();
    assert.equal(country("8.200.1.1"), then, `round ${round}`);
    assert.equal(country("8.1.1.1"), then, `round ${round}`);
  }
  // None was made of two files.
  for (const tables of changes) assert.equal(new Set(tables.countries.subarray(1)).size, 1);
});

test("after close nothing is reported or changed, not even by a look under way", async () => {
  const path = newPath();
  put(path, bytesOf({ "8.0.0.0/8": place("DE") }));
  const { watch, clock, changes, warnings } = await start({ files: [path] });
  put(path, bytesOf({ "8.0.0.0/8": place("JP"), "9.0.0.0/8": place("FR") }));
  await watch.look();
  const underWay = watch.look();
  watch.close();
  await underWay;
  clock.advance(300_000);
  await watch.look();
  assert.deepEqual([changes, warnings], [[], []]);
});
