/**
 * What sync() confirmed survives a power failure: an object that was removed, purged or replaced before never comes
 * back. What was not confirmed may come back, or be lost.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { seededRandom } from "#base/random.ts";
import { sweepDisk } from "../../../support/caches.ts";
import { mebibyte, openTier } from "../../../support/disk-tier.ts";
import { faultyFiles } from "../../../support/faulty-files.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { bodyFor, keyFor, objectFor, purgeFor } from "../../../support/objects.ts";
import { powerFailureFiles } from "../../../support/power-failure-files.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";

const seed = seedOr(20);
const names = Array.from({ length: 6 }, (_, index) => `o${index}`);
/** As a random number: names stay, and of all contents only what was synced. */
const allContentsLost = 0.6;
/** Long entries in the journal: a few dozen of them cause a snapshot. */
const manyTags = Array.from({ length: 400 }, (_, index) => `tag:${index}`);

test("an object removed before a sync never comes back after a power failure", async (t) => {
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  let files = powerFailureFiles();
  const open = () => openTier(t, "/tier", { bytesMax: 4 * mebibyte, files });
  let tier = await open();
  /**
   * Versions by name: the newest that was stored; the newest that was removed; the newest whose removal survives a
   * kill, as remove() said; and the newest whose removal survives a power failure, as sync() said.
   */
  const stored = new Map<string, number>();
  let [removed, written, confirmed] = [new Map<string, number>(), new Map<string, number>(), new Map<string, number>()];
  const remove = (name: string): unknown => removed.set(name, stored.get(name) ?? 0);
  let version = 0;
  let [found, confirmations] = [0, 0];
  let [generation, lives] = [0, 1];

  async function sync(): Promise<void> {
    const [of, then] = [lives, new Map(removed)];
    const isSafe = await tier.sync();
    // A process that was killed confirms nothing.
    if (of !== lives) return;
    assert(isSafe);
    confirmations += 1;
    raise(written, then);
    raise(confirmed, then);
  }

  async function act(): Promise<void> {
    const name = names[below(names.length)] ?? "";
    switch (below(10)) {
      case 0:
        remove(name);
        await tier.remove(keyFor(name));
        written.set(name, removed.get(name) ?? 0);
        break;
      case 1:
        remove(name);
        void tier.remove(keyFor(name));
        break;
      case 2:
        remove(name);
        await sweepDisk(tier, purgeFor({ seq: version + 1, tags: [`source:${name}`] }));
        written.set(name, removed.get(name) ?? 0);
        break;
      case 3:
      case 4: {
        const syncing = sync();
        if (below(2) === 0) await syncing;
        break;
      }
      case 5:
        if (below(20) > 0) break;
        names.forEach(remove);
        await tier.clear();
        raise(written, removed);
        raise(confirmed, removed);
        break;
      case 6:
        await tier.flushed();
        break;
      default:
        version += 1;
        stored.set(name, version);
        tier.store(objectFor(name, { version, feedSeq: version, tags: tagsOf(name, below(4) === 0), sizeBytes: 500 }));
    }
    for (let turns = below(4); turns > 0; turns -= 1) await nextTurn();
  }

  for (let failures = rounds(300, 10_000); failures > 0; failures -= 1) {
    for (let actions = below(25); actions > 0; actions -= 1) await act();
    const [before, isKill] = [tier, below(2) === 0];
    lives += 1;
    files = isKill ? files.afterKill() : files.afterPowerFailure(random);
    // The feed brings again what was not confirmed.
    const left = new Map(isKill ? written : confirmed);
    tier = await open();
    await before.close();
    [removed, written, confirmed] = [new Map(left), new Map(left), new Map(confirmed)];
    for (const index of await files.list("/tier/index")) {
      generation = Math.max(generation, Number(/^snapshot-(\d+)$/.exec(index)?.[1] ?? 0));
    }
    for (const name of names) {
      const object = await tier.load(keyFor(name));
      if (object === undefined) continue;
      found += 1;
      const had = Number(object.facts.notes["version"]);
      const message = `SEED=${seed}, ${failures} left: ${name} of version ${had}`;
      assert(had > (left.get(name) ?? 0), `${message} came back after its removal of ${left.get(name)}`);
      assert(object.body.equals(bodyFor(name, had, 500)), message);
    }
  }
  const message = `SEED=${seed}: found ${found}, confirmed ${confirmations}, snapshots ${generation}`;
  assert(found > 30 && confirmations > 30 && generation > 5, message);
});

function tagsOf(name: string, areMany: boolean): string[] {
  return [`source:${name}`, ...(areMany ? manyTags : [])];
}

function raise(versions: Map<string, number>, to: ReadonlyMap<string, number>): void {
  for (const [name, version] of to) versions.set(name, Math.max(version, versions.get(name) ?? 0));
}

test("a sync covers what the previous process wrote before it was killed without a sync", async (t) => {
  let files = powerFailureFiles();
  const open = () => openTier(t, "/tier", { files });
  const first = await open();
  first.store(objectFor("a"));
  // Files in which nothing is left would go.
  first.store(objectFor("b"));
  await first.flushed();
  assert(await first.sync());
  await first.remove(keyFor("a"));
  files = files.afterKill();
  const second = await open();
  assert(!second.contains(keyFor("a")));
  assert(await second.sync());
  files = files.afterPowerFailure(() => allContentsLost);
  const third = await open();
  assert(third.contains(keyFor("b")) && !third.contains(keyFor("a")));
});

test("a failed sync gives up the index; until its files are removed, nothing is confirmed", async (t) => {
  const directory = await temporaryDirectory(t);
  const files = faultyFiles();
  const tier = await openTier(t, directory, { files });
  tier.store(objectFor("a"));
  tier.store(objectFor("b"));
  await tier.flushed();
  files.fail(["sync", "unlink"], "EIO");
  await tier.remove(keyFor("a"));
  assert.equal(await tier.sync(), false);
  assert.equal(await tier.sync(), false);
  files.fail([], "");
  assert.equal(await tier.sync(), true, "its files are gone");
  assert.deepEqual((await files.list(`${directory}/index`)).length, 0);
  assert(tier.contains(keyFor("b")), "the index in memory stays in use");
});

test("a tier with nothing new to confirm does not touch the disk", async (t) => {
  const files = faultyFiles();
  const tier = await openTier(t, await temporaryDirectory(t), { files });
  tier.store(objectFor("a"));
  await tier.flushed();
  await tier.remove(keyFor("a"));
  assert.equal(await tier.sync(), true);
  const before = files.count();
  assert.equal(await tier.sync(), true);
  assert.equal(files.count(), before);
});
