import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { silentLog } from "#base/log.ts";
import { sourceTag } from "#purge/entry-tags.ts";
import { openDiskTier } from "../../../node/cache/disk/disk-tier.ts";
import { openRecords, type SourceMark, type SourceRecord } from "../../../node/cache/records.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

function recordFor(name: string, parts: Partial<SourceRecord> = {}): SourceRecord {
  return { name, meaning: { sha256: "ab" }, knownHashes: ["ab"], validatedAtMs: 5, feedSeq: 1, mark: null, ...parts };
}

/** Records over a disk; `restart` closes it and opens both anew. */
async function openAll(t: TestContext) {
  const directory = await temporaryDirectory(t);
  const open = async () => {
    const disk = await openDiskTier({ directory, bytesMax: 16_000_000, clock: fakeClock(), log: silentLog });
    t.after(() => disk.close());
    return { disk, records: openRecords(disk) };
  };
  let now = await open();
  return {
    records: () => now.records,
    disk: () => now.disk,
    restart: async (): Promise<void> => {
      await now.disk.close();
      now = await open();
    },
  };
}

test("a record is remembered over a restart", async (t) => {
  const all = await openAll(t);
  all.records().store(recordFor("a.jpg"));
  assert.deepEqual(await all.records().load("a.jpg"), recordFor("a.jpg"));
  await all.restart();
  assert.deepEqual(await all.records().load("a.jpg"), recordFor("a.jpg"));
  assert.equal(await all.records().load("b.jpg"), undefined);
});

test("a name that means nothing is remembered in memory alone", async (t) => {
  const all = await openAll(t);
  const absent = recordFor("a.jpg", { meaning: { absentStatus: 404 } });
  all.records().store(recordFor("a.jpg"));
  all.records().store(absent);
  assert.deepEqual(await all.records().load("a.jpg"), absent);
  await all.restart();
  assert.equal(await all.records().load("a.jpg"), undefined);
  all.records().store(absent);
  all.records().store(recordFor("a.jpg"));
  assert.deepEqual(await all.records().load("a.jpg"), recordFor("a.jpg"));
});

test("a purge marks what it concerns: by name, by prefix, all; nothing that is newer", async (t) => {
  const rows: [parts: Parameters<typeof purgeFor>[0], marked: string[]][] = [
    [{ tags: [sourceTag("a/1")] }, ["a/1"]],
    [{ sourcePrefixes: ["a/"] }, ["a/1", "a/2"]],
    [{ isAll: true }, ["a/1", "a/2", "b"]],
    [{ seq: 0, isAll: true }, ["a/1", "a/2", "b", "new"]],
    [{ tags: [sourceTag("new")] }, []],
    [{ tags: ["host:x"] }, []],
  ];
  for (const [parts, marked] of rows) {
    const { records } = await openAll(t);
    for (const name of ["a/1", "a/2", "b"]) records().store(recordFor(name));
    records().store(recordFor("new", { feedSeq: 9 }));
    records().mark(purgeFor({ seq: 5, ...parts }), "replaced");
    const found = await Promise.all(["a/1", "a/2", "b", "new"].map((name) => records().load(name)));
    const names = found.flatMap((record) => (record?.mark === "replaced" ? [record.name] : []));
    assert.deepEqual(names, marked, JSON.stringify(parts));
  }
});

test("a later, softer purge takes nothing back", async (t) => {
  const rows: [first: SourceMark, second: SourceMark, mark: SourceMark][] = [
    ["soft", "soft", "soft"],
    ["soft", "replaced", "replaced"],
    ["soft", "removed", "removed"],
    ["replaced", "soft", "replaced"],
    ["replaced", "removed", "removed"],
    ["removed", "soft", "removed"],
    ["removed", "replaced", "removed"],
  ];
  const { records } = await openAll(t);
  for (const [first, second, mark] of rows) {
    records().store(recordFor("a"));
    records().mark(purgeFor({ tags: [sourceTag("a")] }), first);
    records().mark(purgeFor({ tags: [sourceTag("a")] }), second);
    assert.equal((await records().load("a"))?.mark, mark, `${first} then ${second}`);
  }
  records().store(recordFor("a", { feedSeq: 2 }));
  assert.equal((await records().load("a"))?.mark, null, "a new answer of the origin clears it");
});

test("a purge during the load of a record from disk is not lost", async (t) => {
  const all = await openAll(t);
  all.records().store(recordFor("a.jpg"));
  await all.restart();
  const purge = purgeFor({ tags: [sourceTag("a.jpg")] });
  const loading = all.records().load("a.jpg");
  all.records().mark(purge, "replaced");
  await all.records().forgetOnDisk(purge);
  assert.equal(await loading, undefined, "the origin is asked");
  assert.equal(await all.records().load("a.jpg"), undefined);
});

test("what the disk is made to forget is asked for after a restart, and nothing else", async (t) => {
  const rows: [parts: Parameters<typeof purgeFor>[0], left: string[]][] = [
    [{ tags: [sourceTag("a/1")] }, ["a/2", "b"]],
    [{ sourcePrefixes: ["a/"] }, ["b"]],
    [{ isAll: true }, []],
  ];
  for (const [parts, left] of rows) {
    const all = await openAll(t);
    for (const name of ["a/1", "a/2", "b"]) all.records().store(recordFor(name));
    await all.records().forgetOnDisk(purgeFor(parts));
    await all.restart();
    const found = await Promise.all(["a/1", "a/2", "b"].map((name) => all.records().load(name)));
    assert.deepEqual(
      found.flatMap((record) => record?.name ?? []),
      left,
      JSON.stringify(parts),
    );
  }
});

test("what another node said is remembered in memory alone, and what the disk had of it goes", async (t) => {
  const all = await openAll(t);
  all.records().store(recordFor("a.jpg"));
  await all.disk().flushed();
  const told = recordFor("a.jpg", { meaning: { sha256: "cd" }, validatedAtMs: 9 });
  all.records().storeInMemory(told);
  assert.deepEqual(await all.records().load("a.jpg"), told);
  await all.restart();
  assert.equal(await all.records().load("a.jpg"), undefined);
});

test("what another node said yields to what was validated later, unless that bears a mark", async (t) => {
  const { records } = await openAll(t);
  const [older, newer] = [recordFor("a.jpg", { validatedAtMs: 4 }), recordFor("a.jpg", { validatedAtMs: 6 })];
  records().store(recordFor("a.jpg"));
  records().storeInMemory(older);
  assert.deepEqual(records().peek("a.jpg"), recordFor("a.jpg"));
  records().storeInMemory(newer);
  assert.deepEqual(records().peek("a.jpg"), newer);
  records().mark(purgeFor({ tags: [sourceTag("a.jpg")] }), "replaced");
  records().storeInMemory(older);
  assert.deepEqual(records().peek("a.jpg"), older);
  const absent = recordFor("a.jpg", { meaning: { absentStatus: 410 }, validatedAtMs: 7 });
  records().storeInMemory(absent);
  assert.deepEqual(records().peek("a.jpg"), absent);
  assert.equal(records().size(), 1);
});
