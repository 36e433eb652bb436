import assert from "node:assert/strict";
import { readSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { openCaches } from "../../support/caches.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keyFor, objectFor, purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { wholeBodyOf } from "../../support/whole-body.ts";

async function openTiers(t: TestContext, memoryBytes = 1_000_000) {
  const directory = await temporaryDirectory(t);
  const caches = await openCaches({ directory, memoryBytes, clock: fakeClock() });
  t.after(caches.close);
  return caches;
}

test("memory answers before the disk, and what the disk gave is in memory afterwards", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const object = objectFor("a");
  assert(tiers.store(object));
  await disk.flushed();
  assert.deepEqual(tiers.locate(object.key), "memory");
  memory.remove(object.key);
  assert.deepEqual(tiers.locate(object.key), "disk");
  const first = await tiers.find(object.key, true);
  assert.equal(first?.tier, "disk");
  const second = await tiers.find(object.key, true);
  assert.equal(second?.tier, "memory");
  assert.deepEqual(await tiers.find(keyFor("none"), true), undefined);
});

test("a body that is large, or not wanted whole, stays on disk and is read where it is wanted", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const [small, large] = [objectFor("a"), objectFor("b", { sizeBytes: 2_000_000 })];
  for (const object of [small, large]) tiers.store(object);
  await disk.flushed();
  memory.remove(small.key);
  for (const [object, isWhole] of [
    [small, false],
    [large, true],
  ] as const) {
    const found = await tiers.find(object.key, isWhole);
    assert(found?.body.kind === "ranges");
    assert.deepEqual([found.tier, found.lengthBytes], ["disk", object.body.length]);
    assert.deepEqual(await wholeBodyOf(found.body), object.body);
    const part = found.body.open(5, 7);
    assert.deepEqual(await part.next(100), object.body.subarray(5, 7));
    assert.equal(await part.next(100), null);
    part.close();
    assert.equal(tiers.loadMemory(object.key), undefined);
  }
});

test("a body in memory is sent from its file as soon as that is written", async (t) => {
  const { tiers, disk } = await openTiers(t);
  const object = objectFor("a", { sizeBytes: 100_000 });
  tiers.store(object);
  const found = await tiers.find(object.key, true);
  assert(found?.tier === "memory" && found.body.kind === "bytes");
  assert.equal(found.body.pin?.(), "soon");
  await disk.flushed();
  // The first call may begin to open or to verify the file.
  let pin = found.body.pin?.();
  for (let turns = 0; pin === "soon" && turns < 100; turns += 1) {
    await new Promise(setImmediate);
    pin = found.body.pin?.();
  }
  assert(typeof pin === "object");
  const bytes = Buffer.alloc(object.body.length);
  readSync(pin.descriptor, bytes, 0, bytes.length, pin.offset);
  pin.release();
  assert.deepEqual(bytes, object.body);
});

test("what is for the disk alone never enters memory", async (t) => {
  const { tiers } = await openTiers(t);
  const object = objectFor("a");
  assert(tiers.storeOnDisk(object));
  assert((await tiers.loadFromDisk(object.key)) !== undefined);
  assert.equal(tiers.loadMemory(object.key), undefined);
});

test("a purge during a load from disk is not undone by the load's end", async (t) => {
  const { tiers, memory, disk, purges } = await openTiers(t);
  for (let round = 0; round < 20; round += 1) {
    const object = objectFor("a", { sizeBytes: 100_000, version: round, feedSeq: 1 + round });
    tiers.store(object);
    await disk.flushed();
    memory.remove(object.key);
    const loading = tiers.find(object.key, true);
    for (let turns = 0; turns < round; turns += 1) await Promise.resolve();
    await purges.add(purgeFor({ seq: 2 + round, tags: ["source:a"] }));
    await loading;
    assert.equal(tiers.loadMemory(object.key), undefined);
    assert.deepEqual(await tiers.find(object.key, true), undefined);
  }
});

test("a purge of something else makes no load from disk a miss", async (t) => {
  const { tiers, memory, disk, purges } = await openTiers(t);
  const object = objectFor("a", { sizeBytes: 100_000 });
  tiers.store(object);
  await disk.flushed();
  memory.remove(object.key);
  const loading = tiers.find(object.key, true);
  await purges.add(purgeFor({ tags: ["source:b"] }));
  assert((await loading) !== undefined);
  assert(tiers.loadMemory(object.key) !== undefined);
});

test("a new version stored during the load of the old one stays", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const old = objectFor("a", { sizeBytes: 100_000, version: 1 });
  tiers.store(old);
  await disk.flushed();
  memory.remove(old.key);
  const loading = tiers.find(old.key, true);
  tiers.store(objectFor("a", { version: 2 }));
  await loading;
  const now = await tiers.find(old.key, true);
  assert.equal(now?.facts.notes["version"], 2);
});

test("a removal during a load holds", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const object = objectFor("a", { sizeBytes: 100_000 });
  tiers.store(object);
  await disk.flushed();
  memory.remove(object.key);
  const loading = tiers.find(object.key, true);
  await tiers.remove(object.key);
  await loading;
  assert.equal(tiers.loadMemory(object.key), undefined);
  assert.deepEqual(await tiers.find(object.key, true), undefined);
});

test("a version too large for memory is found on disk, and its predecessor nowhere", async (t) => {
  const { tiers, disk } = await openTiers(t, 80_000);
  tiers.store(objectFor("a", { version: 1 }));
  tiers.store(objectFor("a", { version: 2, sizeBytes: 50_000 }));
  await disk.flushed();
  const found = await tiers.find(keyFor("a"), true);
  assert.deepEqual([found?.tier, found?.facts.notes["version"]], ["disk", 2]);
});

test("a version that was written as it arrived is found on disk, and its predecessor nowhere", async (t) => {
  const { tiers } = await openTiers(t);
  const [older, newer] = [objectFor("a"), objectFor("a", { version: 2, sizeBytes: 2_000_000 })];
  for (const lengthBytes of [newer.body.length, null]) {
    tiers.store(older);
    const writer = tiers.write(newer.key, lengthBytes) ?? assert.fail();
    assert(await writer.append(newer.body));
    assert(await writer.commit(newer.facts, newer.headerBlock));
    const found = await tiers.find(newer.key, true);
    assert.deepEqual([found?.tier, found?.facts.notes["version"]], ["disk", 2]);
  }
});

test("a 304 about an older version gives no newer one its head", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  const [older, newer] = [objectFor("a"), objectFor("a", { version: 2 })];
  const late = objectFor("a", { version: 3 });
  for (const where of ["memory", "waiting", "disk"] as const) {
    tiers.store(older);
    const asked = (await tiers.find(older.key, true)) ?? assert.fail();
    tiers.store(newer);
    if (where === "disk") await disk.flushed();
    if (where !== "memory") memory.remove(newer.key);
    assert(!(await tiers.replaceHead(asked, late.facts, late.headerBlock)), where);
    const found = (await tiers.find(newer.key, true)) ?? assert.fail();
    assert.deepEqual([found.facts.notes["version"], await wholeBodyOf(found.body)], [2, newer.body], where);
  }
  const asked = (await tiers.find(newer.key, true)) ?? assert.fail();
  assert(await tiers.replaceHead(asked, late.facts, late.headerBlock), "one about what is there");
  const renewed = await tiers.find(newer.key, true);
  assert.equal(renewed?.facts.notes["version"], 3);
});

test("what is for memory alone is never on disk, and what the disk has under its key goes", async (t) => {
  const { tiers, memory, disk, purges } = await openTiers(t);
  const [older, newer] = [objectFor("a"), objectFor("a", { version: 2 })];
  tiers.store(older);
  await disk.flushed();
  assert(tiers.storeInMemory(newer));
  assert.equal(tiers.loadMemory(newer.key), newer);
  memory.remove(newer.key);
  assert.deepEqual(await tiers.find(newer.key, true), undefined);
  assert(tiers.storeInMemory(newer));
  await purges.add(purgeFor({ tags: ["source:a"] }));
  assert.deepEqual(await tiers.find(newer.key, true), undefined);
});

test("what a hard purge concerns is found nowhere, what a soft one concerns is found and said to be so", async (t) => {
  for (const isSoft of [false, true]) {
    const { tiers, memory, disk, purges } = await openTiers(t);
    for (const name of ["a", "b", "new"]) tiers.store(objectFor(name, { feedSeq: name === "new" ? 2 : 1 }));
    tiers.storeOnDisk(objectFor("source"));
    await disk.flushed();
    memory.remove(keyFor("b"));
    await purges.add(purgeFor({ seq: 2, tagPrefixes: ["source:"], isSoft }));
    for (const [name, tier] of [
      ["a", "memory"],
      ["b", "disk"],
    ] as const) {
      assert.equal((await tiers.factsOf(keyFor(name))) !== undefined, isSoft);
      const found = await tiers.find(keyFor(name), true);
      if (isSoft) assert.deepEqual([found?.isSoftPurged, found?.tier], [true, tier]);
      else assert.equal(found, undefined);
      assert.equal(tiers.loadMemory(keyFor(name)) !== undefined, isSoft);
    }
    assert.equal((await tiers.loadFromDisk(keyFor("source"))) !== undefined, isSoft);
    const newer = await tiers.find(keyFor("new"), true);
    assert.equal(newer?.isSoftPurged, false);
  }
});

test("what another node said to be soft-purged is found as such", async (t) => {
  const { tiers } = await openTiers(t);
  const { facts, ...rest } = objectFor("a");
  tiers.storeInMemory({ ...rest, facts: { ...facts, isSoftPurged: true } });
  const found = await tiers.find(keyFor("a"), true);
  assert.equal(found?.isSoftPurged, true);
});

test("what a fill brings that began before a purge of it is stored in no tier", async (t) => {
  const { tiers, purges, disk } = await openTiers(t);
  await purges.add(purgeFor({ seq: 2, tags: ["source:a"] }));
  for (const put of [tiers.store, tiers.storeInMemory, tiers.storeOnDisk]) {
    assert(!put(objectFor("a", { feedSeq: 1 })));
    assert(put(objectFor("b", { feedSeq: 1 })), "another one");
    assert(put(objectFor("a", { feedSeq: 2 })), "one that began after it");
    await tiers.remove(keyFor("a"));
  }
  assert(!disk.contains(keyFor("a")));
});

test("clear() empties both tiers, and counts", async (t) => {
  const { tiers, memory, disk } = await openTiers(t);
  tiers.store(objectFor("a"));
  const before = tiers.clears();
  await tiers.clear();
  assert.equal(tiers.clears(), before + 1);
  assert.deepEqual([memory.stats().entries, disk.stats().entries], [0, 0]);
});
