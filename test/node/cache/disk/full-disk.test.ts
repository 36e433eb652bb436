/** A disk that is full before the tier is: the tier makes do with what there is, and no reader notices. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type DiskTier, openDiskTier } from "../../../../node/cache/disk/disk-tier.ts";
import { mebibyte, openTier } from "../../../support/disk-tier.ts";
import { fakeClock, type FakeClock } from "../../../support/fake-clock.ts";
import { type KeptLog, keptLog } from "../../../support/kept-log.ts";
import { bodyFor, keyFor, objectFor } from "../../../support/objects.ts";
import { type SmallDiskFiles, smallDiskFiles } from "../../../support/small-disk-files.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

const bytesMax = 16 * mebibyte;
const capacity = 4 * mebibyte;
const sizeBytes = 10_000;
const growthIntervalMs = 10 * 60_000;

interface World {
  tier: DiskTier;
  files: SmallDiskFiles;
  clock: FakeClock;
  lines: KeptLog["lines"];
}

async function openOn(t: TestContext, files: SmallDiskFiles): Promise<World> {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const tier = await openTier(t, "/tier", { bytesMax, files, clock, log });
  return { tier, files, clock, lines };
}

/** Longer than the longest pause, in steps in which what is under way goes on. */
async function waitOut(clock: FakeClock): Promise<void> {
  for (let step = 0; step < 20; step += 1) {
    for (let turn = 0; turn < 3; turn += 1) await nextTurn();
    clock.advance(4000);
  }
}

/** Whether it can be read back. What is found is right, whatever happens. */
async function has(tier: DiskTier, name: string): Promise<boolean> {
  const object = await tier.load(keyFor(name));
  if (object === undefined) return false;
  assert(object.body.equals(bodyFor(name, 1, sizeBytes)), name);
  return true;
}

/** Stores one object after the other, and waits out pauses. Returns how many were stored. */
async function storeAll({ tier, clock }: World, prefix: string, count: number): Promise<number> {
  let stored = 0;
  for (let index = 0; index < count; index += 1) {
    const name = `${prefix}${index}`;
    tier.store(objectFor(name, { sizeBytes }));
    await tier.flushed();
    if (await has(tier, name)) stored += 1;
    else await waitOut(clock);
  }
  return stored;
}

async function countFound(tier: DiskTier, prefix: string, count: number): Promise<number> {
  let found = 0;
  for (let index = 0; index < count; index += 1) if (await has(tier, `${prefix}${index}`)) found += 1;
  return found;
}

for (const code of ["ENOSPC", "EDQUOT"] as const) {
  test(`its own cache fills the disk (${code}): old objects make room for new ones`, async (t) => {
    const world = await openOn(t, smallDiskFiles(capacity, code));
    const { tier, files, lines } = world;
    // Three times what the disk holds.
    const count = (3 * capacity) / sizeBytes;
    const stored = await storeAll(world, "o", count);
    assert(stored >= count - 10, `${stored} of ${count} were stored`);
    assert(files.failedWrites() <= 5, `${files.failedWrites()} writes failed`);
    assert((await countFound(tier, "o", count)) > (capacity / sizeBytes) * 0.6, "most of the disk is in use");
    const { bytes, limitBytes, canWrite, corrupt, evictions } = tier.stats();
    assert(bytes <= limitBytes && limitBytes < capacity && limitBytes > 0.8 * capacity, `${bytes}, ${limitBytes}`);
    assert(canWrite && corrupt === 0 && evictions > 0);
    const said = lines.filter(({ message }) => message.includes("lower cache.diskBytes"));
    assert(said.length > 0 && said.length <= files.failedWrites(), `${said.length} lines`);
    assert.equal(said.at(-1)?.facts["limitBytes"], limitBytes);
  });
}

test("what is often used survives that the disk is full, and the rest of the tier stays usable", async (t) => {
  const world = await openOn(t, smallDiskFiles(capacity));
  const { tier, clock } = world;
  await storeAll(world, "hot", 20);
  for (let index = 0; index < 1500; index += 1) {
    tier.store(objectFor(`cold${index}`, { sizeBytes }));
    await tier.flushed();
    if (!tier.stats().canWrite) await waitOut(clock);
    if (index % 20 === 0) await countFound(tier, "hot", 20);
  }
  // A segment that is mostly wanted stays. The others go while the disk is full, with the wanted objects in them.
  assert((await countFound(tier, "hot", 20)) >= 10);
});

test("bodies that arrive while the disk gets full are lost or whole, and readers keep what is removed", async (t) => {
  const world = await openOn(t, smallDiskFiles(capacity));
  const { tier, clock } = world;
  const large = 300_000;
  await storeAll(world, "o", 10);
  const found = await tier.find(keyFor("o0"));
  assert(found !== undefined);
  const reader = found.open();
  await reader.read(0, 1);
  let committed = 0;
  for (let index = 0; index < 60; index += 1) {
    const name = `large${index}`;
    const body = bodyFor(name, 1, large);
    const writer = tier.write(keyFor(name), index % 2 === 0 ? large : null);
    assert(writer !== undefined);
    const { facts, headerBlock } = objectFor(name);
    let isKept = true;
    for (let at = 0; at < large; at += 50_000) isKept = (await writer.append(body.subarray(at, at + 50_000))) && isKept;
    if (isKept && (await writer.commit(facts, headerBlock))) committed += 1;
    else {
      writer.abort();
      await waitOut(clock);
    }
    assert((await tier.load(keyFor(name)))?.body.equals(body) ?? true, name);
  }
  assert(committed > 40, `${committed} bodies were stored`);
  assert(Buffer.from(await reader.read(0, sizeBytes)).equals(bodyFor("o0", 1, sizeBytes)), "an open body stays");
  reader.close();
});

test("space that others free is used again, slowly; a restart begins with what is configured", async (t) => {
  const files = smallDiskFiles(capacity);
  const world = await openOn(t, files);
  const { tier, clock } = world;
  await storeAll(world, "o", 600);
  const small = tier.stats().limitBytes;
  files.setCapacity(bytesMax);
  const failedBefore = files.failedWrites();
  clock.advance(growthIntervalMs);
  assert.equal(tier.stats().limitBytes, Math.ceil(small * 1.01));
  clock.advance(growthIntervalMs);
  assert.equal(tier.stats().limitBytes, Math.ceil(small * 1.01), "nothing was written");
  for (let step = 0; step < 200; step += 1) {
    await storeAll(world, `later${step}-`, 10);
    clock.advance(growthIntervalMs);
  }
  const { limitBytes, bytes } = tier.stats();
  assert.equal(limitBytes, bytesMax);
  assert(bytes > 3 * capacity, `${bytes} bytes`);
  assert.equal(files.failedWrites(), failedBefore);
  await tier.close();
  files.setCapacity(bytes);
  const again = await openOn(t, files);
  assert.equal(again.tier.stats().limitBytes, bytesMax);
  assert((await storeAll(again, "again", 400)) > 390);
  assert(again.tier.stats().limitBytes < bytesMax);
});

test("something else fills the disk: a tier below its floor removes nothing", async (t) => {
  const world = await openOn(t, smallDiskFiles(capacity));
  const { tier, files, clock, lines } = world;
  assert.equal(await storeAll(world, "o", 20), 20);
  files.setCapacity(files.used());
  assert((await storeAll(world, "p", 50)) < 5, "as much as fits into blocks that are already used");
  assert.equal(await countFound(tier, "o", 20), 20);
  assert.deepEqual([tier.stats().evictions, tier.stats().limitBytes], [0, bytesMax]);
  assert(!lines.some(({ message }) => message.includes("lower cache.diskBytes")));
  files.setCapacity(capacity);
  await waitOut(clock);
  assert((await storeAll(world, "q", 20)) >= 19);
});

test("something else takes what the tier frees: the tier gives way down to its floor, and stops", async (t) => {
  const world = await openOn(t, smallDiskFiles(capacity));
  const { tier, files } = world;
  await storeAll(world, "o", 300);
  files.takeAllSpace();
  await storeAll(world, "p", 100);
  const { limitBytes, bytes, entries } = tier.stats();
  assert(limitBytes < mebibyte && bytes > 0.3 * limitBytes, `${limitBytes}, ${bytes}`);
  await storeAll(world, "q", 100);
  const after = tier.stats();
  assert.deepEqual([after.limitBytes, after.bytes, after.entries], [limitBytes, bytes, entries]);
  assert((await countFound(tier, "o", 300)) > 10);
});

test("a lower diskBytes after the disk was full: the next start makes room on the full disk", async (t) => {
  const files = smallDiskFiles(capacity);
  const first = await openOn(t, files);
  await storeAll(first, "o", 600);
  await first.tier.close();
  files.setCapacity(files.used());
  const clock = fakeClock();
  const tier = await openDiskTier({ directory: "/tier", bytesMax: 2 * mebibyte, files, clock, log: keptLog().log });
  await turnsUntil(async () => {
    await waitOut(clock);
    return tier.stats().bytes <= 2 * mebibyte;
  });
  assert((await storeAll({ tier, files, clock, lines: [] }, "p", 300)) > 290);
  await tier.close();
});
