/** The disk fails at each operation in turn, is full, or hangs: misses and lost writes, never a wrong byte or a 5xx. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test, type TestContext } from "node:test";
import { type DiskTier, openDiskTier } from "../../../../node/cache/disk/disk-tier.ts";
import { type Log, silentLog } from "#base/log.ts";
import type { CachedObject } from "../../../../node/cache/object.ts";
import { assertSame, bytesBelow, mebibyte } from "../../../support/disk-tier.ts";
import { fakeClock, type FakeClock } from "../../../support/fake-clock.ts";
import { type FaultyFiles, faultyFiles } from "../../../support/faulty-files.ts";
import { keptLog } from "../../../support/kept-log.ts";
import { rounds } from "../../../support/long.ts";
import { keyFor, objectFor } from "../../../support/objects.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

const bytesMax = mebibyte;
/** Longer than the longest pause. */
const pauseMs = 120_000;

interface World {
  directory: string;
  files: FaultyFiles;
  clock: FakeClock;
  log: Log;
}

/** Undefined: the directory itself can't be used, which fails the start of an edge. */
async function openOn({ directory, files, clock, log }: World): Promise<DiskTier | undefined> {
  try {
    return await openDiskTier({ directory, bytesMax, clock, log, files, descriptorsMax: 40 });
  } catch {
    return undefined;
  }
}

const versions = (index: number): CachedObject[] =>
  [1, 2].map((version) =>
    objectFor(`o${index}`, { version, sizeBytes: (index % 5) * 9000, tags: [`tag:${index % 3}`] }),
  );

/** Stores, replaces, streams, revalidates, removes and reads, more than fits. */
async function useTier(tier: DiskTier): Promise<void> {
  for (let index = 0; index < 60; index += 1) {
    tier.store(versions(index)[0] ?? objectFor("none"));
    if (index % 15 === 14) await tier.flushed();
    if (index % 10 === 0) await tier.load(keyFor(`o${index - 5}`));
  }
  const [, streamed] = versions(61);
  const writer = tier.write(keyFor("o61"), null);
  if (streamed !== undefined && writer !== undefined) {
    const release = writer.hold();
    if (await writer.append(streamed.body)) await writer.commit(streamed.facts, streamed.headerBlock);
    else writer.abort();
    release();
  }
  const [first, second] = versions(58);
  if (first !== undefined && second !== undefined) await tier.replaceHead(first, first.facts, second.headerBlock);
  await tier.remove(keyFor("o57"));
  for (let index = 2; index < 62; index += 3) await tier.remove(keyFor(`o${index}`));
  await tier.flushed();
}

/** What is found is right, what was removed is not found, and the bound holds. */
async function check(world: World, tier: DiskTier, message: string, areRemovalsKept = true): Promise<void> {
  for (let index = 0; index < 62; index += 1) {
    const object = await tier.load(keyFor(`o${index}`));
    if (object === undefined) continue;
    assert(index % 3 !== 2 || !areRemovalsKept, `${message}: o${index} was removed`);
    assert(index !== 57 || !areRemovalsKept, `${message}: it was removed`);
    const right = versions(index).some(({ body }) => body.equals(object.body));
    assert(right, `${message}: o${index} has wrong bytes`);
    assert.deepEqual(object.facts.tags, [`tag:${index % 3}`], message);
  }
  assert((await bytesBelow(world.directory)) <= bytesMax, `${message}: the bound was passed`);
}

/** A disk that works again is used again, after a restart too. */
async function checkRecovery(world: World, tier: DiskTier, message: string): Promise<void> {
  const object = objectFor("afterwards", { sizeBytes: 5000 });
  await turnsUntil(async () => {
    world.clock.advance(pauseMs);
    return tier.stats().canWrite && tier.store(object) && (await tier.flushed(), tier.contains(object.key));
  });
  assertSame(await tier.load(object.key), object, message);
  await tier.close();
  const again = await openOn(world);
  assert(again !== undefined, message);
  assertSame(await again.load(object.key), object, `${message}, after a restart`);
  await again.close();
}

async function runWithFault(t: TestContext, first: number, length: number, code: string): Promise<number> {
  const message = `operation ${first} and ${length - 1} more fail with ${code}`;
  const { log, lines } = keptLog();
  const world = { directory: await temporaryDirectory(t), files: faultyFiles(), clock: fakeClock(), log };
  world.files.failBetween(first, first + length, code);
  const tier = await openOn(world);
  if (tier !== undefined) {
    await useTier(tier);
    await check(world, tier, message);
    await tier.close();
  }
  const second = await openOn(world);
  if (second !== undefined) {
    // A disk that allows nothing at all, until the process ends, can't keep a removal. The log says so.
    const areRemovalsKept = !lines.some(({ message: said }) => said.startsWith("a removal could not be written"));
    assert(areRemovalsKept || length > 1, message);
    await check(world, second, `${message}, after a restart`, areRemovalsKept);
    if (world.files.count() >= first + length) await checkRecovery(world, second, message);
    else await second.close();
  }
  return world.files.count();
}

for (const [code, length] of [
  ["EIO", 1],
  ["ENOSPC", 1],
  ["EIO", 10],
] as const) {
  test(`operations fail in turn with ${code}, ${length} at a time: nothing wrong, no removal undone`, async (t) => {
    const step = rounds(length === 1 ? 3 : 7, 1);
    const operations = await runWithFault(t, Infinity, length, code);
    assert(operations > 100 && operations < 3000, `${operations} operations`);
    for (let first = 1; first <= operations; first += step) await runWithFault(t, first, length, code);
  });
}

async function openHanging(
  t: TestContext,
): Promise<World & { tier: DiskTier; lines: ReturnType<typeof keptLog>["lines"] }> {
  const { log, lines } = keptLog();
  const world = { directory: await temporaryDirectory(t), files: faultyFiles(), clock: fakeClock(), log };
  const tier = await openDiskTier({ ...world, bytesMax: 16 * mebibyte });
  t.after(async () => {
    world.files.release();
    await tier.close();
  });
  return { ...world, tier, lines };
}

test("reads that hang are misses after a deadline, then at once, until the disk answers again", async (t) => {
  const { tier, files, clock, lines } = await openHanging(t);
  const object = objectFor("o", { sizeBytes: 30_000 });
  tier.store(object);
  await tier.flushed();
  files.hang(["read", "open"]);
  const loading = Promise.resolve(tier.load(object.key));
  await turnsUntil(() => files.hanging() > 0);
  clock.advance(10_000);
  assert.equal(await loading, undefined);
  assert.equal(tier.load(object.key), undefined, "at once");
  assert.deepEqual([tier.stats().canRead, tier.stats().canWrite], [false, true]);
  assert.equal(lines.filter(({ message }) => message.includes("can't be read")).length, 1);
  files.release();
  clock.advance(pauseMs);
  assertSame(await tier.load(object.key), object);
  assert.equal(tier.stats().corrupt, 0);
});

test("writes that hang are given up after a deadline, and memory stays bounded", async (t) => {
  const { tier, files, clock } = await openHanging(t);
  const kept = objectFor("kept");
  tier.store(kept);
  await tier.flushed();
  files.hang(["write"]);
  const writer = tier.write(keyFor("streamed"), 100_000);
  assert(writer !== undefined);
  const appended = writer.append(Buffer.alloc(50_000));
  assert(tier.store(objectFor("o")));
  await turnsUntil(() => files.hanging() > 1);
  clock.advance(10_000);
  assert.equal(await appended, false);
  await tier.flushed();
  assert.equal(await tier.load(keyFor("o")), undefined);
  assert(!tier.store(objectFor("p")) && tier.write(keyFor("p"), 10) === undefined, "refused at once");
  assertSame(await tier.load(kept.key), kept, "reads go on");
  const removing = tier.remove(kept.key);
  assert(!tier.contains(kept.key), "a removal does not wait for the disk");
  await removing;
  files.release();
  clock.advance(pauseMs);
  await turnsUntil(async () => {
    // The one operation that tries the disk after a pause may be another's.
    tier.store(objectFor("q"));
    await tier.flushed();
    return tier.contains(keyFor("q"));
  });
  assertSame(await tier.load(keyFor("q")), objectFor("q"));
});

test("a removal that can't be written down holds after a restart all the same", async (t) => {
  const world = { directory: await temporaryDirectory(t), files: faultyFiles(), clock: fakeClock(), log: silentLog };
  const tier = await openOn(world);
  assert(tier !== undefined);
  for (const name of ["a", "b"]) tier.store(objectFor(name));
  await tier.flushed();
  world.files.fail(["write"], "ENOSPC");
  await tier.remove(keyFor("a"));
  assertSame(await tier.load(keyFor("b")), objectFor("b"), "the index in memory stays in use");
  // As after a kill: nothing more is written.
  const second = await openOn({ ...world, files: faultyFiles() });
  assert(second !== undefined);
  assert.equal(await second.load(keyFor("a")), undefined);
  await second.close();
  world.files.fail([], "");
  await tier.close();
});

test("a directory that was removed under the tier is a disk that can't be written", async (t) => {
  const { log, lines } = keptLog();
  const world = { directory: await temporaryDirectory(t), files: faultyFiles(), clock: fakeClock(), log };
  const tier = await openOn(world);
  assert(tier !== undefined);
  await rm(world.directory, { recursive: true });
  // Files that are open take some more.
  for (let index = 0; tier.stats().canWrite && index < 2000; index += 1) {
    tier.store(objectFor(`o${index}`, { sizeBytes: 60_000 }));
    await tier.flushed();
  }
  assert(!tier.stats().canWrite);
  assert(lines.some(({ message }) => message.includes("can't be written")));
  await tier.close();
});
