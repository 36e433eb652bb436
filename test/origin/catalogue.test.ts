/** The SQLite catalogue by itself: what its transactions hold together, and what it forgets. */
import assert from "node:assert/strict";
import { copyFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import type { BlobFacts, Catalogue } from "../../origin/catalogue/catalogue.ts";
import { openSqliteCatalogue } from "../../origin/catalogue/sqlite.ts";
import { noPrecondition } from "../../origin/precondition.ts";
import { fakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "./running-origin.ts";
import { tester } from "./tester.ts";

const limits = { versionsPerName: 3, fleetVersions: 3, events: 5, auditDays: 400, auditEntries: 1000 };
const change = { actor: tester, precondition: noPrecondition };

function blob(mark: number): BlobFacts {
  const sha256 = mark.toString(16).padStart(64, "0");
  return { sha256, sizeBytes: 10, type: "png", width: 1, height: 2, frames: 3, hasAlpha: true };
}

async function openIn(
  t: TestContext,
): Promise<{ catalogue: Catalogue; path: string; clock: ReturnType<typeof fakeClock> }> {
  const path = join(await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) }), "catalogue.sqlite");
  const clock = fakeClock();
  const catalogue = openSqliteCatalogue(path, limits, clock);
  t.after(async () => await catalogue.close());
  return { catalogue, path, clock };
}

test("the catalogue keeps a write-ahead log", async (t) => {
  const { path } = await openIn(t);
  const other = new DatabaseSync(path, { readOnly: true });
  t.after(() => other.close());
  assert.equal(other.prepare("PRAGMA journal_mode").get()?.["journal_mode"], "wal");
});

test("versions and their blobs say what was put, and when", async (t) => {
  const { catalogue, clock } = await openIn(t);
  clock.advance(1000);
  await catalogue.put("a", blob(1), change);
  const version = await catalogue.version("a");
  assert.deepEqual(version, {
    name: "a",
    version: 1,
    blob: blob(1),
    author: "test",
    createdMs: clock.wallMs(),
    reason: "put",
    fromVersion: undefined,
  });
  assert.deepEqual(await catalogue.blob(blob(1).sha256), blob(1));
  assert.equal(await catalogue.blob(blob(2).sha256), undefined);
  assert.equal(await catalogue.version("b"), undefined);
});

test("the oldest versions go, their numbers never come back, and their blobs may be forgotten", async (t) => {
  const { catalogue } = await openIn(t);
  for (let mark = 1; mark <= 5; mark += 1) await catalogue.put("a", blob(mark), change);
  const numbers = async () => (await catalogue.versions("a")).map((each) => each.version);
  assert.deepEqual(await numbers(), [5, 4, 3]);
  await catalogue.remove("a", change);
  await catalogue.put("a", blob(9), change);
  assert.deepEqual(await numbers(), [7, 6, 5]);

  assert.equal(await catalogue.forgetBlob(blob(1).sha256), true);
  assert.equal(await catalogue.blob(blob(1).sha256), undefined);
  assert.equal(await catalogue.forgetBlob(blob(5).sha256), false);
  assert.deepEqual(await catalogue.blob(blob(5).sha256), blob(5));
  assert.equal(await catalogue.forgetBlob(blob(77).sha256), true);
});

test("events are numbered without gaps, pruned from the front, and only for what changed", async (t) => {
  const { catalogue } = await openIn(t);
  assert.deepEqual(await catalogue.feedBounds(), { latestSeq: 0, oldestSeq: 1 });
  await catalogue.put("a", blob(1), change);
  await catalogue.put("a", blob(1), change);
  await catalogue.put("a", blob(2), { ...change, precondition: { kind: "absent" } });
  await catalogue.remove("nobody", change);
  await catalogue.rollback("a", 1, tester);
  assert.deepEqual(await catalogue.feedBounds(), { latestSeq: 1, oldestSeq: 1 });
  for (let mark = 2; mark <= 8; mark += 1) await catalogue.put("a", blob(mark), change);
  assert.deepEqual(await catalogue.feedBounds(), { latestSeq: 8, oldestSeq: 4 });
  const events = await catalogue.eventsAfter(5, 2);
  assert.deepEqual(
    events.map((event) => [event.seq, event.kind, JSON.parse(event.json) as unknown]),
    [
      [6, "purge", { reason: "put", names: ["a"], version: 6 }],
      [7, "purge", { reason: "put", names: ["a"], version: 7 }],
    ],
  );
});

test("a change whose event can't be written is not there either", async (t) => {
  const { catalogue, path } = await openIn(t);
  await catalogue.put("a", blob(1), change);
  const saboteur = new DatabaseSync(path);
  saboteur.exec("CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END");
  saboteur.close();
  await assert.rejects(catalogue.put("a", blob(2), change), { code: "DISK_FAILED" });
  await assert.rejects(catalogue.remove("a", change), { code: "DISK_FAILED" });
  await assert.rejects(
    catalogue.publishFleet("text", change, () => ""),
    { code: "DISK_FAILED" },
  );
  assert.equal((await catalogue.version("a"))?.version, 1);
  assert.equal(await catalogue.blob(blob(2).sha256), undefined);
  assert.equal(await catalogue.fleet(), undefined);
  assert.equal((await catalogue.feedBounds()).latestSeq, 1);
});

test("the identity stays with the file, and a file put there from elsewhere is another origin", async (t) => {
  const { catalogue, path, clock } = await openIn(t);
  const { originId } = catalogue;
  await catalogue.put("a", blob(1), change);
  await catalogue.close();
  const again = openSqliteCatalogue(path, limits, clock);
  assert.equal(again.originId, originId);
  await again.close();

  await copyFile(path, `${path}.backup`);
  await rename(`${path}.backup`, path);
  const restored = openSqliteCatalogue(path, limits, clock);
  assert.notEqual(restored.originId, originId);
  assert.equal((await restored.version("a"))?.version, 1);
  const { originId: newId } = restored;
  await restored.close();
  const settled = openSqliteCatalogue(path, limits, clock);
  assert.equal(settled.originId, newId);
  await settled.close();
});

test("a catalogue of a newer nearcast is left alone", async (t) => {
  const { catalogue, path, clock } = await openIn(t);
  await catalogue.close();
  const db = new DatabaseSync(path);
  db.exec("PRAGMA user_version = 99");
  db.close();
  assert.throws(() => openSqliteCatalogue(path, limits, clock), /newer nearcast/);
});

test("a list of many names begins after any of them, and finds exactly its prefix", async (t) => {
  const { catalogue } = await openIn(t);
  const names = ["a", "a/b", "a/c", "ab", "b", "z\u{10FFFD}", "ä", "日本/東京", "😀"];
  for (const name of names) await catalogue.put(name, blob(1), change);
  const byBytes = names.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  const listed = async (prefix: string, after = "", limit = 100) =>
    (await catalogue.list(prefix, after, limit)).map((version) => version.name);
  assert.deepEqual(await listed(""), byBytes);
  for (const prefix of ["a", "a/", "z", "日", "😀", "nothing", "ä"]) {
    assert.deepEqual(
      await listed(prefix),
      byBytes.filter((name) => name.startsWith(prefix)),
      prefix,
    );
  }
  for (const [index, name] of byBytes.entries())
    assert.deepEqual(await listed("", name, 2), byBytes.slice(index + 1, index + 3));
});
