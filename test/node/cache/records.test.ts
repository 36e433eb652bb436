import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { sourceTag } from "#purge/entry-tags.ts";
import type { SourceMark, SourceRecord } from "../../../node/cache/records.ts";
import { openCaches } from "../../support/caches.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

function recordFor(name: string, parts: Partial<SourceRecord> = {}): SourceRecord {
  return { name, meaning: { sha256: "ab" }, knownHashes: ["ab"], validatedAtMs: 5, feedSeq: 1, mark: null, ...parts };
}

/** Records over a disk; `restart` closes it and opens all anew. */
async function openAll(t: TestContext) {
  const directory = await temporaryDirectory(t);
  const open = async () => {
    const caches = await openCaches({ directory, clock: fakeClock() });
    t.after(caches.close);
    return caches;
  };
  let now = await open();
  return {
    records: () => now.records,
    disk: () => now.disk,
    purge: (parts: Parameters<typeof purgeFor>[0]) => now.purges.add(purgeFor(parts)),
    restart: async (): Promise<void> => {
      await now.close();
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

for (const isSoft of [false, true]) {
  const title = isSoft ? "a soft purge marks" : "a hard purge marks as removed";
  test(`${title} what it concerns, in memory and after a restart; nothing that is newer`, async (t) => {
    const rows: [parts: Parameters<typeof purgeFor>[0], marked: string[]][] = [
      [{ tags: [sourceTag("a/1")] }, ["a/1"]],
      [{ tagPrefixes: [sourceTag("a/")] }, ["a/1", "a/2"]],
      [{ isAll: true }, ["a/1", "a/2", "b"]],
      [{ tags: [sourceTag("new")] }, []],
      [{ tags: ["host:x"] }, []],
    ];
    const names = ["a/1", "a/2", "b", "new"];
    for (const [parts, marked] of rows) {
      const all = await openAll(t);
      for (const name of names) all.records().store(recordFor(name, { feedSeq: name === "new" ? 9 : 1 }));
      await all.purge({ seq: 5, isSoft, ...parts });
      const marks = async () => {
        const found = await Promise.all(names.map((name) => all.records().load(name)));
        return names.map((name, place) => [name, found[place] === undefined ? "gone" : found[place].mark]);
      };
      const mark = isSoft ? "soft" : "removed";
      const wanted = (purged: string) => names.map((name) => [name, marked.includes(name) ? purged : null]);
      assert.deepEqual(await marks(), wanted(mark), JSON.stringify(parts));
      for (const name of names) assert.equal(all.records().peek(name)?.mark, marked.includes(name) ? mark : null);
      await all.restart();
      assert.deepEqual(await marks(), wanted(isSoft ? "soft" : "gone"), `${JSON.stringify(parts)}, after a restart`);
    }
  });
}

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
  for (const isLookedUpBetween of [false, true]) {
    for (const [first, second, mark] of rows) {
      const all = await openAll(t);
      all.records().store(recordFor("a"));
      const set = async (one: SourceMark, seq: number): Promise<void> => {
        if (one === "replaced") await all.records().replaced(["a"], seq);
        else await all.purge({ seq, tags: [sourceTag("a")], isSoft: one === "soft" });
      };
      await set(first, 2);
      if (isLookedUpBetween) assert.equal((await all.records().load("a"))?.mark, first);
      await set(second, 3);
      assert.equal((await all.records().load("a"))?.mark, mark, `${first} then ${second}`);
      all.records().store(recordFor("a", { feedSeq: 3 }));
      assert.equal((await all.records().load("a"))?.mark, null, "a new answer of the origin clears it");
    }
  }
});

test("a name that got other bytes during the load of its record from disk is not taken for the old one", async (t) => {
  const all = await openAll(t);
  all.records().store(recordFor("a.jpg"));
  await all.restart();
  const loading = all.records().load("a.jpg");
  await all.records().replaced(["a.jpg"], 2);
  assert.equal(await loading, undefined, "the origin is asked");
  assert.equal(await all.records().load("a.jpg"), undefined);
});

test("a purge during the load of a record from disk is not lost", async (t) => {
  for (const isSoft of [false, true]) {
    const all = await openAll(t);
    all.records().store(recordFor("a.jpg"));
    await all.restart();
    const loading = all.records().load("a.jpg");
    await all.purge({ tags: [sourceTag("a.jpg")], isSoft });
    assert.equal((await loading)?.mark, isSoft ? "soft" : undefined);
  }
});

test("a name that got other bytes is asked for after a restart, and nothing else; what is newer stays", async (t) => {
  const all = await openAll(t);
  for (const name of ["a", "b"]) all.records().store(recordFor(name));
  all.records().store(recordFor("new", { feedSeq: 5 }));
  await all.records().replaced(["a", "new"], 5);
  assert.equal(all.records().peek("a")?.mark, "replaced");
  assert.equal(all.records().peek("new")?.mark, null);
  await all.restart();
  assert.equal(await all.records().load("a"), undefined);
  assert((await all.records().load("b")) !== undefined);
});

test("what was asked before a purge is not stored after it", async (t) => {
  const all = await openAll(t);
  await all.purge({ seq: 5, tags: [sourceTag("a")] });
  all.records().store(recordFor("a", { feedSeq: 4 }));
  all.records().storeInMemory(recordFor("a", { feedSeq: 4 }));
  assert.equal(await all.records().load("a"), undefined);
  all.records().store(recordFor("a", { feedSeq: 5 }));
  assert.equal((await all.records().load("a"))?.mark, null);
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
  const { records, purge } = await openAll(t);
  const [older, newer] = [recordFor("a.jpg", { validatedAtMs: 4 }), recordFor("a.jpg", { validatedAtMs: 6 })];
  records().store(recordFor("a.jpg"));
  records().storeInMemory(older);
  assert.deepEqual(records().peek("a.jpg"), recordFor("a.jpg"));
  records().storeInMemory(newer);
  assert.deepEqual(records().peek("a.jpg"), newer);
  await purge({ tags: [sourceTag("a.jpg")], isSoft: true });
  const confirmed = { ...older, feedSeq: 2 };
  records().storeInMemory(confirmed);
  assert.deepEqual(records().peek("a.jpg"), confirmed);
  const absent = recordFor("a.jpg", { meaning: { absentStatus: 410 }, validatedAtMs: 7, feedSeq: 2 });
  records().storeInMemory(absent);
  assert.deepEqual(records().peek("a.jpg"), absent);
  assert.equal(records().size(), 1);
});
