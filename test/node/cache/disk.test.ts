import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { silentLog } from "#base/log.ts";
import { type DiskTier, openDiskTier } from "../../../node/cache/disk.ts";
import { type CachedObject, keyOf } from "../../../node/cache/object.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";
import { bodyFor, keyFor, objectFor, purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const mebibyte = 1024 * 1024;

async function openTier(
  t: TestContext,
  directory: string,
  options: { bytesMax?: number; log?: typeof silentLog; isScanned?: boolean } = {},
): Promise<DiskTier> {
  const tier = await openDiskTier({
    directory,
    bytesMax: options.bytesMax ?? 16 * mebibyte,
    clock: fakeClock(),
    log: options.log ?? silentLog,
  });
  t.after(() => tier.close());
  if (options.isScanned !== false) await tier.scanned;
  return tier;
}

function pathOf(directory: string, name: string): string {
  const key = keyFor(name);
  return join(directory, "objects", key.slice(0, 2), key);
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

function assertSame(actual: CachedObject | undefined, expected: CachedObject, what = ""): void {
  assert(actual !== undefined, what);
  assert.deepEqual(actual.facts, expected.facts, what);
  assert(actual.headerBlock.equals(expected.headerBlock) && actual.body.equals(expected.body), what);
}

/** Bytes of all files below, in blocks of 4 KiB. */
async function bytesBelow(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    // A file that goes meanwhile is no byte.
    const about = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += Math.ceil((about?.size ?? 0) / 4096) * 4096;
  }
  return bytes;
}

test("an object comes back as it was stored: at once, from disk, and after a restart", async (t) => {
  const directory = await temporaryDirectory(t);
  const objects = [0, 1, 4071, 100_000].map((sizeBytes, index) => objectFor(`o${index}`, { sizeBytes }));
  const first = await openTier(t, directory);
  for (const object of objects) assert(first.store(object));
  for (const object of objects) assertSame(await first.load(object.key), object, "before it is written");
  await first.flushed();
  for (const object of objects) assertSame(await first.load(object.key), object, "from disk");
  assert.equal(first.stats().entries, 4);
  await first.close();
  const second = await openTier(t, directory);
  for (const object of objects) {
    assertSame(await second.load(object.key), object, "after a restart");
    assert.deepEqual(second.factsOf(object.key), object.facts);
  }
  assert.deepEqual(second.stats().bytes, await bytesBelow(join(directory, "objects")));
  assert.equal(await second.load(keyFor("none")), undefined);
});

test("while the start's scan runs, files are served by their name", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  for (let index = 0; index < 50; index += 1) first.store(objectFor(`o${index}`));
  await first.close();
  const second = await openTier(t, directory, { isScanned: false });
  assertSame(await second.load(keyFor("o49")), objectFor("o49"));
  await second.scanned;
  assert.equal(second.stats().entries, 50);
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

test("a wrong byte anywhere is a miss, is counted, and the file is gone", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = pathOf(directory, "o");
  const tier = await openTier(t, directory);
  tier.store(objectFor("o", { sizeBytes: 300 }));
  await tier.flushed();
  const good = await readFile(path);
  for (let at = 0; at < good.length; at += 1) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
    tier.store(objectFor("o", { sizeBytes: 300 }));
    await tier.flushed();
    await writeFile(path, bad);
    assert.equal(await tier.load(keyFor("o")), undefined, `byte ${at} of ${good.length}`);
    assert.equal(tier.stats().corrupt, at + 1);
    await tier.remove(keyFor("o")); // waits for the removal that the damage began
    assert(!(await isThere(path)), `byte ${at}`);
  }
  assert.equal(tier.stats().entries, 0);
});

test("a file that is cut short, or longer than it says, is a miss", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  for (const change of [0, 3, 23, 24, 200, -1, 1]) {
    tier.store(objectFor("o"));
    await tier.flushed();
    const path = pathOf(directory, "o");
    const { size } = await stat(path);
    await truncate(path, change <= 0 && change !== 0 ? size + change : change === 1 ? size + 1 : change);
    assert.equal(await tier.load(keyFor("o")), undefined, String(change));
  }
});

test("damage that a restart meets is counted and removed", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  for (const name of ["good", "facts", "cut", "body", "other"]) first.store(objectFor(name));
  await first.close();
  await truncate(pathOf(directory, "cut"), 100);
  const flip = async (name: string, at: number): Promise<void> => {
    const file = await open(pathOf(directory, name), "r+");
    await file.write(Buffer.from([0xff]), 0, 1, at);
    await file.close();
  };
  await flip("facts", 30);
  await flip("body", 900);
  // A file under another's name, as a restored backup may bring it.
  await mkdir(join(directory, "objects", keyFor("stolen").slice(0, 2)), { recursive: true });
  await rename(pathOf(directory, "other"), pathOf(directory, "stolen"));
  const second = await openTier(t, directory);
  assert.equal(second.stats().corrupt, 3);
  for (const name of ["facts", "cut", "stolen"]) {
    assert.equal(await second.load(keyFor(name)), undefined, name);
    assert(!(await isThere(pathOf(directory, name))), name);
  }
  assert.equal(await second.load(keyFor("body")), undefined, "found when it is read");
  assert.equal(second.stats().corrupt, 4);
  assertSame(await second.load(keyFor("good")), objectFor("good"));
});

test("files of others in the directory stop nothing", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  first.store(objectFor("o"));
  await first.close();
  const objects = join(directory, "objects");
  await writeFile(join(objects, "README"), "hello");
  await mkdir(join(objects, "lost+found"));
  const key = keyFor("o").slice(0, 2);
  await writeFile(join(objects, key, "core"), "x");
  await mkdir(join(objects, key, "dir"));
  await mkdir(join(objects, key, `${key}${"0".repeat(62)}`)); // a directory of an object's name
  const file = key === "00" ? "01" : "00";
  await rm(join(objects, file), { recursive: true, force: true });
  await writeFile(join(objects, file), "a file where a directory should be");
  await writeFile(join(directory, "tmp", "left-behind"), "x".repeat(100_000));
  const second = await openTier(t, directory);
  assertSame(await second.load(keyFor("o")), objectFor("o"));
  assert.equal(second.stats().entries, 1);
  assert(!(await isThere(join(directory, "tmp", "left-behind"))));
  // The whole of the key space can be written.
  for (let index = 0; index < 600; index += 1) second.store(objectFor(`p${index}`, { sizeBytes: 10 }));
  await second.flushed();
  assert.equal(second.stats().writeFailures, 0);
});

test("the bound is never passed, whatever is written, replaced and read meanwhile", async (t) => {
  const directory = await temporaryDirectory(t);
  const bytesMax = mebibyte;
  const tier = await openTier(t, directory, { bytesMax });
  let largest = 0;
  const written = 10 * bytesMax;
  const looks: Promise<void>[] = [];
  const look = async (): Promise<void> => {
    largest = Math.max(largest, await bytesBelow(directory));
  };
  for (let bytes = 0, index = 0; bytes < written; index += 1) {
    const sizeBytes = 1000 + ((index * 7919) % 60_000);
    // The same name again and again, so that much is replaced.
    tier.store(objectFor(`o${index % 60}`, { sizeBytes, version: index }));
    bytes += sizeBytes;
    if (index % 3 === 0) await tier.load(keyFor(`o${(index * 31) % 60}`));
    // Looked at while it is written, and when all is written.
    looks.push(look());
    if (index % 20 === 0) await Promise.all([tier.flushed(), ...looks.splice(0)]);
    assert(tier.stats().bytes <= bytesMax);
  }
  await Promise.all([tier.flushed(), ...looks]);
  assert(largest <= bytesMax && largest > 0.8 * bytesMax, `${largest} bytes were there`);
  assert.equal(tier.stats().bytes, await bytesBelow(join(directory, "objects")));
  assert(tier.stats().evictions > 0);
});

test("the bound holds from the first moment after a restart, and for a bound that was lowered", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory, { bytesMax: mebibyte });
  for (let index = 0; index < 200; index += 1) first.store(objectFor(`o${index}`, { sizeBytes: 4000 }));
  await first.close();
  const full = await bytesBelow(directory);
  const second = await openTier(t, directory, { bytesMax: mebibyte, isScanned: false });
  let largest = 0;
  for (let index = 200; index < 400; index += 1) {
    second.store(objectFor(`o${index}`, { sizeBytes: 4000 }));
    if (index % 20 === 0) largest = Math.max(largest, await bytesBelow(directory));
  }
  await second.flushed();
  assert(full > 0.9 * mebibyte && largest <= mebibyte, `${full} then ${largest}`);
  await second.close();
  const third = await openTier(t, directory, { bytesMax: mebibyte / 4 });
  assert((await bytesBelow(directory)) <= mebibyte / 4);
  assertSame(await third.load(keyFor("o399")), objectFor("o399", { sizeBytes: 4000 }), "what was written last stays");
});

test("what was used last outlives a restart longer", async (t) => {
  const directory = await temporaryDirectory(t);
  const clock = fakeClock(Date.now());
  const first = await openDiskTier({ directory, bytesMax: mebibyte, clock, log: silentLog });
  for (let index = 0; index < 10; index += 1) first.store(objectFor(`o${index}`));
  await first.flushed();
  clock.advance(3_600_000);
  await first.load(keyFor("o0"));
  await first.close();
  const second = await openTier(t, directory, { bytesMax: 4096 * 1 });
  assert.equal(second.stats().entries, 1);
  assertSame(await second.load(keyFor("o0")), objectFor("o0"));
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

test("a bound of 0 turns the tier off", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  first.store(objectFor("o"));
  await first.close();
  const off = await openTier(t, directory, { bytesMax: 0, isScanned: false });
  assert(!off.store(objectFor("p")));
  assert.equal(await off.load(keyFor("o")), undefined);
  assert.equal(off.stats().refused, 0);
});

test("a purge removes what it names and nothing else, for good", async (t) => {
  const rows: [parts: Parameters<typeof purgeFor>[0], left: string[]][] = [
    [{ tags: ["source:a/1"] }, ["a/2", "b/1", "new"]],
    [{ sourcePrefixes: ["a/"] }, ["b/1", "new"]],
    [{ isAll: true }, ["new"]],
    [{ seq: 0, isAll: true }, []],
  ];
  const names = ["a/1", "a/2", "b/1", "new"];
  for (const [parts, left] of rows) {
    const directory = await temporaryDirectory(t);
    const first = await openTier(t, directory);
    for (const name of names) first.store(objectFor(name, { feedSeq: name === "new" ? 5 : 1 }));
    await first.flushed();
    assert.equal(await first.purge(purgeFor({ seq: 3, ...parts })), names.length - left.length);
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

test("a purge catches what waits to be written and what is being written", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  for (let round = 0; round < 20; round += 1) {
    for (let index = 0; index < 10; index += 1) tier.store(objectFor(`o${index}`, { sizeBytes: 50_000 }));
    for (let turns = 0; turns < round; turns += 1) await Promise.resolve();
    if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await tier.purge(purgeFor({ isAll: true }));
    for (let index = 0; index < 10; index += 1) assert.equal(await tier.load(keyFor(`o${index}`)), undefined);
    await tier.flushed();
    assert.equal(await bytesBelow(directory), 0, `round ${round}`);
  }
});

test("a purge during the scan holds for files that the scan has not met, and after a kill too", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  for (let index = 0; index < 300; index += 1) first.store(objectFor(`o${index}`, { tags: [`tag:${index % 2}`] }));
  await first.close();
  const second = await openTier(t, directory, { isScanned: false });
  await second.purge(purgeFor({ tags: ["tag:1"] }));
  assert.equal(await second.load(keyFor("o1")), undefined);
  // As if it were killed here: what it had scanned until then is anybody's guess, so only the journal counts.
  const journal = await readFile(join(directory, "purges"));
  await second.close();
  await writeFile(join(directory, "purges"), journal);
  const back = objectFor("o1", { tags: ["tag:1"] });
  const other = await openTier(t, await temporaryDirectory(t));
  other.store(back);
  await other.flushed();
  const third = await openTier(t, directory);
  for (let index = 0; index < 300; index += 1) {
    assert.equal((await third.load(keyFor(`o${index}`))) === undefined, index % 2 === 1, String(index));
  }
  assert(!(await isThere(join(directory, "purges"))), "done with");
  third.store(objectFor("later", { tags: ["tag:1"] }));
  await third.close();
  assert((await (await openTier(t, directory)).load(keyFor("later"))) !== undefined);
});

test("a journal of purges that was cut short is read to its last whole line; a senseless one purges all", async (t) => {
  for (const [content, left] of [
    ['{"seq":2,"tags":["source:a"],"sourcePrefixes":[],"isAll":false,"isSoft":false}\n{"seq":3,"ta', ["b"]],
    ["nonsense\n", []],
    ["", ["a", "b"]],
  ] as const) {
    const directory = await temporaryDirectory(t);
    const first = await openTier(t, directory);
    for (const name of ["a", "b"]) first.store(objectFor(name));
    await first.close();
    await writeFile(join(directory, "purges"), content);
    const second = await openTier(t, directory);
    const present = ["a", "b"].filter((name) => second.factsOf(keyFor(name)) !== undefined);
    assert.deepEqual(present, left, content);
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
  assert(!(await isThere(pathOf(directory, "o"))));
});

test("a removal during the scan leaves nothing behind in the index", async (t) => {
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory);
  for (let index = 0; index < 200; index += 1) first.store(objectFor(`o${index}`));
  await first.close();
  const second = await openTier(t, directory, { isScanned: false });
  await Promise.all(Array.from({ length: 100 }, (_, index) => second.remove(keyFor(`o${index}`))));
  await second.scanned;
  assert.equal(second.stats().entries, 100);
  assert.equal(second.factsOf(keyFor("o5")), undefined);
});

test("a disk that refuses is counted, harms nothing, and is used again when it takes", async (t) => {
  const directory = await temporaryDirectory(t);
  const { log, lines } = keptLog();
  const tier = await openTier(t, directory, { log });
  tier.store(objectFor("o", { version: 1 }));
  await tier.flushed();
  // A file where a directory is wanted refuses root too, unlike a mode.
  await rm(join(directory, "tmp"), { recursive: true });
  await writeFile(join(directory, "tmp"), "");
  tier.store(objectFor("o", { version: 2 }));
  tier.store(objectFor("p"));
  await tier.flushed();
  assert.equal(tier.stats().writeFailures, 2);
  assert.equal(lines.filter(({ message }) => message.includes("could not be written")).length, 2);
  assert.equal(await tier.load(keyFor("o")), undefined, "the old version is not found in the new one's stead");
  await rm(join(directory, "tmp"));
  await mkdir(join(directory, "tmp"));
  tier.store(objectFor("o", { version: 3 }));
  await tier.flushed();
  assertSame(await tier.load(keyFor("o")), objectFor("o", { version: 3 }));
});

test("a directory that can't be made fails the start with the system's reason", async (t) => {
  const file = join(await temporaryDirectory(t), "file");
  await writeFile(file, "");
  await assert.rejects(openDiskTier({ directory: file, bytesMax: mebibyte, clock: fakeClock(), log: silentLog }), {
    code: "ENOTDIR",
  });
});

test("a file that vanished is a miss and leaves the index", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  tier.store(objectFor("o"));
  await tier.flushed();
  await rm(pathOf(directory, "o"));
  assert.equal(await tier.load(keyFor("o")), undefined);
  assert.equal(tier.stats().entries, 0);
  assert.equal(tier.stats().corrupt, 0);
});

test("what waits to be written is bounded by all of its bytes, not by those of bodies alone", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory, { isScanned: false });
  const object = { ...objectFor("o", { sizeBytes: 0 }), headerBlock: Buffer.alloc(mebibyte) };
  let taken = 0;
  // Nothing is written within one turn, so all of it waits.
  while (taken < 1000 && tier.store({ ...object, key: keyOf(String(taken)) })) taken += 1;
  assert.equal(taken, 255, "256 MiB, and some bytes for each");
  await tier.purge(purgeFor({ isAll: true }));
  await tier.flushed();
  assert(tier.store(object), "what was purged waits no longer");
});

test("what is read is what was written, to the last byte, for a body of some MiB", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  tier.store(objectFor("o", { sizeBytes: 5 * mebibyte }));
  await tier.flushed();
  assert((await tier.load(keyFor("o")))?.body.equals(bodyFor("o", 1, 5 * mebibyte)));
  let bytes = 0;
  for await (const chunk of createReadStream(pathOf(directory, "o")) as AsyncIterable<Buffer>) bytes += chunk.length;
  assert(bytes > 5 * mebibyte);
});
