import assert from "node:assert/strict";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLog } from "#base/log.ts";
import { systemClock } from "#base/clock.ts";
import { type DiskTier, openDiskTier } from "../../../../node/cache/disk/disk-tier.ts";
import { keyOf } from "../../../../node/cache/object.ts";
import { assertSame, bytesBelow, mebibyte, openTier } from "../../../support/disk-tier.ts";
import { keptLog } from "../../../support/kept-log.ts";
import { sweepDisk } from "../../../support/caches.ts";
import { bodyFor, keyFor, objectFor, purgeFor } from "../../../support/objects.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

test("an object comes back as it was stored: at once, from disk, and after a restart", async (t) => {
  const directory = await temporaryDirectory(t);
  const objects = [0, 1, 4071, 16_384, 100_000, mebibyte].map((sizeBytes, index) =>
    objectFor(`o${index}`, { sizeBytes }),
  );
  const first = await openTier(t, directory);
  for (const object of objects) assert(first.store(object));
  for (const object of objects) assertSame(await first.load(object.key), object, "before it is written");
  await first.flushed();
  for (const object of objects) assertSame(await first.load(object.key), object, "from disk");
  assert.equal(first.stats().entries, objects.length);
  await first.close();
  const second = await openTier(t, directory);
  for (const object of objects) assertSame(await second.load(object.key), object, "after a restart");
  assert.equal(await second.load(keyFor("none")), undefined);
  assert(!second.contains(keyFor("none")) && second.contains(keyFor("o0")));
});

test("close writes what was taken", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  for (let index = 0; index < 30; index += 1) first.store(objectFor(`o${index}`));
  await first.close();
  assert(!first.store(objectFor("late")));
  const second = await openTier(t, directory);
  for (let index = 0; index < 30; index += 1)
    assertSame(await second.load(keyFor(`o${index}`)), objectFor(`o${index}`));
});

test("the head of a large object is read without its body, and a range reads only its own bytes", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory, { bytesMax: 256 * mebibyte });
  const sizeBytes = 20 * mebibyte;
  first.store(objectFor("o", { sizeBytes }));
  await first.close();
  const tier = await openTier(t, directory, { bytesMax: 256 * mebibyte });
  const object = await tier.find(keyFor("o"));
  assert(object !== undefined);
  assert.equal(object.lengthBytes, sizeBytes);
  assert.deepEqual(object.facts, objectFor("o").facts);
  assert.equal(tier.stats().bodyBytesRead, 0);
  const body = object.open();
  t.after(body.close);
  const expected = bodyFor("o", 1, sizeBytes);
  const read = async (start: number, end: number): Promise<number> => {
    const before = tier.stats().bodyBytesRead;
    assert((await body.read(start, end)).equals(expected.subarray(start, end)), `${start}–${end}`);
    return tier.stats().bodyBytesRead - before;
  };
  assert.equal(await read(1_000_000, 1_000_002), 262_144, "the block is verified as a whole");
  assert.equal(await read(1_000_000, 1_000_002), 2, "once");
  assert.equal(await read(1_048_570, 1_048_580), 2 * 262_144, "the range is in two blocks, one of them new");
  assert.equal(await read(1_048_570, 1_048_580), 10);
  assert.equal(await read(sizeBytes - 1, sizeBytes), 262_144);
  assert.equal(await read(0, sizeBytes), sizeBytes);
  assert.equal(await read(5, 7), 2);
});

test("a 304 replaces the head and keeps the body, after a restart too", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  const waiting = objectFor("waiting", { sizeBytes: 5000 });
  first.store(waiting);
  const renewed = objectFor("waiting", { version: 2 });
  assert(await first.replaceHead(waiting, renewed.facts, renewed.headerBlock), "one that waits to be written");
  assert(!(await first.replaceHead(waiting, waiting.facts, waiting.headerBlock)), "another one waits by now");
  const written = objectFor("o", { sizeBytes: 300_000 });
  first.store(written);
  await first.flushed();
  const later = objectFor("o", { version: 2, tags: ["tag:new"], feedSeq: 9 });
  assert(await first.replaceHead(written, later.facts, later.headerBlock));
  assert(!(await first.replaceHead(written, written.facts, written.headerBlock)), "another one is there by now");
  assert.equal(first.stats().bodyBytesRead, 0);
  const check = async (tier: DiskTier): Promise<void> => {
    assertSame(await tier.load(later.key), { ...later, body: bodyFor("o", 1, 300_000) });
    assertSame(await tier.load(renewed.key), { ...renewed, body: bodyFor("waiting", 1, 5000) });
  };
  await check(first);
  await first.close();
  const second = await openTier(t, directory);
  await check(second);
  assert.equal(await sweepDisk(second, purgeFor({ tags: ["tag:new"], seq: 9 })), 0, "the new feedSeq counts");
  assert.equal(await sweepDisk(second, purgeFor({ tags: ["tag:new"], seq: 10 })), 1, "the new tags count");
  assert(!(await second.replaceHead(later, later.facts, later.headerBlock)), "gone");
});

test("the bound is never passed, whatever is written, replaced and read meanwhile", async (t) => {
  const directory = await temporaryDirectory(t);
  const bytesMax = 2 * mebibyte;
  const tier = await openTier(t, directory, { bytesMax });
  let largest = 0;
  const looks: Promise<void>[] = [];
  const look = async (): Promise<void> => {
    largest = Math.max(largest, await bytesBelow(directory));
  };
  for (let bytes = 0, index = 0; bytes < 10 * bytesMax; index += 1) {
    const sizeBytes = 1000 + ((index * 7919) % 60_000);
    // The same names again and again, so that much is replaced.
    tier.store(objectFor(`o${index % 160}`, { sizeBytes, version: index }));
    bytes += sizeBytes;
    if (index % 3 === 0) await tier.load(keyFor(`o${(index * 31) % 160}`));
    // Looked at while it is written, and when all is written.
    looks.push(look());
    if (index % 20 === 0) await Promise.all([tier.flushed(), ...looks.splice(0)]);
    assert(tier.stats().bytes <= bytesMax);
  }
  await Promise.all([tier.flushed(), ...looks]);
  assert(largest <= bytesMax && largest > 0.6 * bytesMax, `${largest} bytes were there`);
  assert(tier.stats().evictions > 0);
  await tier.close();
  assert.equal((await openTier(t, directory, { bytesMax })).stats().writeFailures, 0);
});

test("the bound holds for a bound that was lowered", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory, { bytesMax: 4 * mebibyte });
  for (let index = 0; index < 800; index += 1) first.store(objectFor(`o${index}`, { sizeBytes: 4000 }));
  await first.close();
  const third = await openTier(t, directory, { bytesMax: mebibyte });
  assert((await bytesBelow(directory)) <= mebibyte);
  assertSame(await third.load(keyFor("o799")), objectFor("o799", { sizeBytes: 4000 }), "what was written last stays");
});

test("what is used outlives what is not, and its uses are known after a restart", async (t) => {
  const directory = await temporaryDirectory(t);
  const bytesMax = 4 * mebibyte;
  const first = await openTier(t, directory, { bytesMax });
  const used = Array.from({ length: 20 }, (_, index) => objectFor(`used${index}`, { sizeBytes: 7000 }));
  for (const object of used) first.store(object);
  await first.flushed();
  for (const { key } of used) for (let times = 0; times < 3; times += 1) await first.load(key);
  await first.close();
  const second = await openTier(t, directory, { bytesMax });
  for (let index = 0; index < 1000; index += 1) {
    second.store(objectFor(`once${index}`, { sizeBytes: 7000 }));
    if (index % 50 === 0) await second.flushed();
  }
  await second.flushed();
  for (const object of used) assertSame(await second.load(object.key), object);
  assert(!second.contains(keyFor("once0")));
});

test("an object too large for the tier is refused, and what it would have replaced is gone", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory, { bytesMax: mebibyte });
  tier.store(objectFor("o"));
  await tier.flushed();
  assert(!tier.store(objectFor("o", { sizeBytes: 2 * mebibyte, version: 2 })));
  assert.equal(await tier.load(keyFor("o")), undefined);
  assert.equal(tier.stats().refused, 1);
});

test("a bound of 0 turns the tier off, and removes what is there", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  first.store(objectFor("o"));
  await first.close();
  const off = await openTier(t, directory, { bytesMax: 0 });
  assert(!off.store(objectFor("p")));
  assert.equal(await off.load(keyFor("o")), undefined);
  assert.equal(off.write(keyFor("p"), 10), undefined);
  assert.equal(off.stats().refused, 0);
  await turnsUntil(async () => (await bytesBelow(directory)) === 0);
});

test("a walk after a purge removes what it concerns and nothing else, for good", async (t) => {
  const names = ["a/1", "a/2", "b/1", "new"];
  const rows: [parts: Parameters<typeof purgeFor>[0], left: string[]][] = [
    [{ tags: ["source:a/1"] }, ["a/2", "b/1", "new"]],
    [{ tagPrefixes: ["source:a/"] }, ["b/1", "new"]],
    [{ isAll: true }, ["new"]],
    [{ isAll: true, isSoft: true }, names],
  ];
  for (const [parts, left] of rows) {
    const directory = await temporaryDirectory(t);
    const first = await openTier(t, directory);
    for (const name of names) first.store(objectFor(name, { feedSeq: name === "new" ? 5 : 1 }));
    await first.flushed();
    assert.equal(await sweepDisk(first, purgeFor({ seq: 3, ...parts })), names.length - left.length);
    const present = async (tier: DiskTier): Promise<string[]> => {
      const loaded = await Promise.all(
        names.map(async (name) => ((await tier.load(keyFor(name))) === undefined ? [] : [name])),
      );
      return loaded.flat();
    };
    assert.deepEqual(await present(first), left, JSON.stringify(parts));
    await first.close();
    assert.deepEqual(await present(await openTier(t, directory)), left, "after a restart");
  }
});

test("a purge of objects that say that they are of another origin's log concerns them", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  first.store(objectFor("o", { feedSeq: -1 }));
  first.store(objectFor("far", { feedSeq: 2 ** 40 + 3 }));
  await first.close();
  const tier = await openTier(t, directory);
  assert.equal(await sweepDisk(tier, purgeFor({ seq: 2 ** 40 + 3, isAll: true })), 1);
  assert(tier.contains(keyFor("far")));
});

test("a walk and clear() catch what waits to be written and what is being written", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  for (let round = 0; round < 20; round += 1) {
    for (let index = 0; index < 10; index += 1) tier.store(objectFor(`o${index}`, { sizeBytes: 50_000 }));
    const writer = tier.write(keyFor("w"), 4);
    assert(writer !== undefined && (await writer.append(Buffer.from("body"))));
    const committed = writer.commit(objectFor("w").facts, Buffer.alloc(0));
    for (let turns = 0; turns < round; turns += 1) await Promise.resolve();
    if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await (round % 2 === 0 ? tier.clear() : sweepDisk(tier, purgeFor({ isAll: true })));
    for (let index = 0; index < 10; index += 1) assert.equal(await tier.load(keyFor(`o${index}`)), undefined);
    await committed;
    assert.equal(await tier.load(keyFor("w")), undefined, `round ${round}`);
    await tier.flushed();
    assert.equal(tier.stats().entries, 0);
  }
});

test("work on one key happens in the order in which it was asked for", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  for (let round = 0; round < 30; round += 1) {
    tier.store(objectFor("o", { version: 1, sizeBytes: 100_000 }));
    const removed = tier.remove(keyFor("o"));
    assert.equal(await tier.load(keyFor("o")), undefined);
    tier.store(objectFor("o", { version: 2 }));
    tier.store(objectFor("o", { version: 3 }));
    await removed;
    assertSame(await tier.load(keyFor("o")), objectFor("o", { version: 3 }));
    if (round % 2 === 0) await tier.flushed();
    assertSame(await tier.load(keyFor("o")), objectFor("o", { version: 3 }));
  }
  await tier.flushed();
  assertSame(await tier.load(keyFor("o")), objectFor("o", { version: 3 }));
  tier.store(objectFor("o", { version: 4 }));
  await tier.remove(keyFor("o"));
  await tier.flushed();
  assert(!tier.contains(keyFor("o")));
});

test("a directory that can't be made fails the start with the system's reason", async (t) => {
  const file = join(await temporaryDirectory(t), "file");
  await writeFile(file, "");
  await assert.rejects(openDiskTier({ directory: file, bytesMax: mebibyte, clock: systemClock, log: silentLog }), {
    code: "ENOTDIR",
  });
});

test("files of others in the directory stop nothing", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  first.store(objectFor("o"));
  await first.close();
  for (const folder of ["index", "heads", "segments", "bodies"]) {
    await writeFile(join(directory, folder, "README"), "hello");
    await writeFile(join(directory, folder, "999"), "hello");
    if (folder !== "index") await mkdir(join(directory, folder, "1000"));
  }
  const second = await openTier(t, directory);
  assertSame(await second.load(keyFor("o")), objectFor("o"));
  assert.equal(second.stats().entries, 1);
  second.store(objectFor("p", { sizeBytes: mebibyte }));
  await second.flushed();
  assertSame(await second.load(keyFor("p")), objectFor("p", { sizeBytes: mebibyte }));
  assert.equal(second.stats().writeFailures, 0);
});

test("the files of an older release are deleted behind the start, with one line in the log", async (t) => {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, "objects", "ab"), { recursive: true });
  await mkdir(join(directory, "tmp"));
  await writeFile(join(directory, "objects", "ab", keyFor("x")), "an older object");
  const { log, lines } = keptLog();
  const tier = await openTier(t, directory, { log });
  await turnsUntil(() => tier.stats().canWrite);
  assert.deepEqual(
    (await readdir(directory)).toSorted((a, b) => a.localeCompare(b)),
    ["bodies", "heads", "index", "segments"],
  );
  assert.equal(lines.filter(({ message }) => message.includes("older release")).length, 1);
  assert(tier.store(objectFor("o")));
});

test("files that vanished are misses", async (t) => {
  for (const folder of ["segments", "heads"]) {
    const directory = await temporaryDirectory(t);
    const first = await openTier(t, directory);
    first.store(objectFor("o"));
    await first.close();
    const tier = await openTier(t, directory);
    await rm(join(directory, folder), { recursive: true });
    assert.equal(await tier.load(keyFor("o")), undefined);
    assert.equal(tier.stats().entries, 0);
    assert.equal(tier.stats().corrupt, 0);
    await tier.close();
    first.store(objectFor("o"));
    assert.equal((await openTier(t, directory)).stats().entries, 0, "the next start knows it too");
  }
});

test("what waits to be written is bounded by all of its bytes, not by those of bodies alone", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory, { bytesMax: 512 * mebibyte });
  const object = { ...objectFor("o", { sizeBytes: 0 }), headerBlock: Buffer.alloc(mebibyte) };
  let taken = 0;
  // Nothing is written within one turn, so all of it waits.
  while (taken < 1000 && tier.store({ ...object, key: keyOf(String(taken)) })) taken += 1;
  assert.equal(taken, 63, "64 MiB, and some bytes for each");
  await tier.clear();
  await tier.flushed();
  assert(tier.store(object), "what was dropped waits no longer");
});

test("bodies of 16 KiB and more begin on a page, and large ones have files of their own", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory, { bytesMax: 256 * mebibyte });
  for (const sizeBytes of [100, 20_000, 300, 70_000, 5000]) {
    tier.store(objectFor(`o${sizeBytes}`, { sizeBytes }));
  }
  tier.store(objectFor("large", { sizeBytes: 10 * mebibyte }));
  await tier.flushed();
  assert.equal((await readdir(join(directory, "segments"))).length, 1);
  assert.equal((await readdir(join(directory, "bodies"))).length, 1);
  // 100 ▸ 4096 + 20,000 + 300 ▸ 24,576 + 70,000 + 5000
  const [segment = ""] = await readdir(join(directory, "segments"));
  assert.equal((await stat(join(directory, "segments", segment))).size, 24_576 + 70_000 + 5000);
});

test("records without a body are bounded too: those that were not used go first", async (t) => {
  const directory = await temporaryDirectory(t);
  const bytesMax = 4 * mebibyte;
  const tier = await openTier(t, directory, { bytesMax });
  const record = (name: string) => objectFor(name, { sizeBytes: 0, notes: { text: "x".repeat(500) } });
  for (let index = 0; index < 100; index += 1) tier.store(record(`used${index}`));
  await tier.flushed();
  for (let index = 0; index < 100; index += 1)
    for (let times = 0; times < 3; times += 1) await tier.load(keyFor(`used${index}`));
  for (let index = 0; index < 4000; index += 1) {
    tier.store(record(`r${index}`));
    if (index % 200 === 0) await tier.flushed();
  }
  await tier.flushed();
  assert((await bytesBelow(directory)) <= bytesMax);
  let kept = 0;
  for (let index = 0; index < 100; index += 1) if (tier.contains(keyFor(`used${index}`))) kept += 1;
  assert(kept >= 90, `${kept} of the used records are kept`);
  assert(tier.contains(keyFor("r3999")) && !tier.contains(keyFor("r0")));
});
