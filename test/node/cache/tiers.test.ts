import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../../node/cache/disk/disk-tier.ts";
import { openMemoryTier } from "../../../node/cache/memory.ts";
import { joinTiers } from "../../../node/cache/tiers.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keyFor, objectFor, purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

async function openTiers(t: TestContext, memoryBytes = 1_000_000) {
  const directory = await temporaryDirectory(t);
  const disk = await openDiskTier({ directory, bytesMax: 16_000_000, clock: fakeClock(), log: silentLog });
  t.after(() => disk.close());
  const memory = openMemoryTier(memoryBytes);
  return { disk, memory, tiers: joinTiers(memory, disk) };
}

test("memory answers before the disk, and what the disk gave is in memory afterwards", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const object = objectFor("a");
  assert(tiers.store(object));
  await disk.flushed();
  assert.deepEqual(tiers.locate(object.key), "memory");
  memory.remove(object.key);
  assert.deepEqual(tiers.locate(object.key), "disk");
  const first = await tiers.load(object.key);
  assert(first.outcome === "hit" && first.tier === "disk");
  const second = await tiers.load(object.key);
  assert(second.outcome === "hit" && second.tier === "memory");
  assert.deepEqual(await tiers.load(keyFor("none")), { outcome: "miss" });
});

test("what is for the disk alone never enters memory", async (t) => {
  const { tiers } = await openTiers(t);
  const object = objectFor("a");
  assert(tiers.storeOnDisk(object));
  assert((await tiers.loadFromDisk(object.key)) !== undefined);
  assert.equal(tiers.loadMemory(object.key), undefined);
});

test("a purge during a load from disk is not undone by the load's end", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  for (let round = 0; round < 20; round += 1) {
    const object = objectFor("a", { sizeBytes: 100_000, version: round });
    tiers.store(object);
    await disk.flushed();
    memory.remove(object.key);
    const loading = tiers.load(object.key);
    for (let turns = 0; turns < round; turns += 1) await Promise.resolve();
    await tiers.purge(purgeFor({ tags: ["source:a"] }));
    await loading;
    assert.equal(tiers.loadMemory(object.key), undefined);
    assert.deepEqual(await tiers.load(object.key), { outcome: "miss" });
  }
});

test("a purge of something else makes no load from disk a miss", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const object = objectFor("a", { sizeBytes: 100_000 });
  tiers.store(object);
  await disk.flushed();
  memory.remove(object.key);
  const loading = tiers.load(object.key);
  await tiers.purge(purgeFor({ tags: ["source:b"] }));
  assert.equal((await loading).outcome, "hit");
  assert(tiers.loadMemory(object.key) !== undefined);
});

test("a new version stored during the load of the old one stays", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const old = objectFor("a", { sizeBytes: 100_000, version: 1 });
  tiers.store(old);
  await disk.flushed();
  memory.remove(old.key);
  const loading = tiers.load(old.key);
  tiers.store(objectFor("a", { version: 2 }));
  await loading;
  const now = await tiers.load(old.key);
  assert(now.outcome === "hit" && now.object.facts.notes["version"] === 2);
});

test("a removal during a load holds", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const object = objectFor("a", { sizeBytes: 100_000 });
  tiers.store(object);
  await disk.flushed();
  memory.remove(object.key);
  const loading = tiers.load(object.key);
  await tiers.remove(object.key);
  await loading;
  assert.equal(tiers.loadMemory(object.key), undefined);
  assert.deepEqual(await tiers.load(object.key), { outcome: "miss" });
});

test("a version too large for memory is found on disk, and its predecessor nowhere", async (t) => {
  const { tiers, disk } = await openTiers(t, 80_000);
  tiers.store(objectFor("a", { version: 1 }));
  tiers.store(objectFor("a", { version: 2, sizeBytes: 50_000 }));
  await disk.flushed();
  const found = await tiers.load(keyFor("a"));
  assert(found.outcome === "hit" && found.tier === "disk" && found.object.facts.notes["version"] === 2);
});

test("the keys of a purge are those of both tiers", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  tiers.store(objectFor("a/1"));
  tiers.store(objectFor("a/2"));
  await disk.flushed();
  memory.remove(keyFor("a/1"));
  assert.deepEqual(await tiers.keysOf(purgeFor({ sourcePrefixes: ["a/"] })), new Set([keyFor("a/2"), keyFor("a/1")]));
});

test("what is for memory alone is never on disk, and what the disk has under its key goes", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const [older, newer] = [objectFor("a"), objectFor("a", { version: 2 })];
  tiers.store(older);
  await disk.flushed();
  assert(tiers.storeInMemory(newer));
  assert.equal(tiers.loadMemory(newer.key), newer);
  memory.remove(newer.key);
  assert.deepEqual(await tiers.load(newer.key), { outcome: "miss" });
  assert(tiers.storeInMemory(newer));
  assert.equal(await tiers.purge(purgeFor({ tags: ["source:a"] })), 1);
  assert.deepEqual(await tiers.load(newer.key), { outcome: "miss" });
});
