import assert from "node:assert/strict";
import { mkdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { silentLog } from "#base/log.ts";
import type { Purge } from "../../../node/cache/purge.ts";
import { openPurgeJournal, readPurgeJournal } from "../../../node/cache/purge-journal.ts";
import { keptLog } from "../../support/kept-log.ts";
import { purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const purges: readonly Purge[] = [
  purgeFor({ seq: 5, tags: ["tag:a", "host:h"] }),
  purgeFor({ seq: 6, tagPrefixes: ["source:shop/"], isSoft: true }),
  purgeFor({ seq: 7, isAll: true }),
];

async function journalPath(t: TestContext): Promise<string> {
  return join(await temporaryDirectory(t), "purges");
}

test("what was added is read again, and a file that is not there has no purges", async (t) => {
  const path = await journalPath(t);
  assert.deepEqual(await readPurgeJournal(path, silentLog), []);
  const journal = openPurgeJournal(path, silentLog);
  await Promise.all(purges.map(journal.add));
  assert.deepEqual(await readPurgeJournal(path, silentLog), purges);
  await openPurgeJournal(path, silentLog).add(purgeFor({ seq: 8 }));
  assert.deepEqual(await readPurgeJournal(path, silentLog), [...purges, purgeFor({ seq: 8 })]);
});

test("a replaced journal has the purges that are in force then, and those that were added since", async (t) => {
  const path = await journalPath(t);
  const journal = openPurgeJournal(path, silentLog);
  const inForce = [purgeFor({ seq: 3 })];
  const add = (purge: Purge): Promise<void> => {
    inForce.push(purge);
    return journal.add(purge);
  };
  void add(purgeFor({ seq: 5, tags: ["tag:a"] }));
  inForce.pop(); // it was forgotten
  const replaced = journal.replace(() => inForce);
  await Promise.all([add(purgeFor({ seq: 9 })), replaced]);
  await add(purgeFor({ seq: 10 }));
  const read = await readPurgeJournal(path, silentLog);
  assert.deepEqual(
    read?.map(({ seq }) => seq),
    [3, 9, 10],
  );
});

test("the last line may be cut short; any other damage means that everything is purged", async (t) => {
  const path = await journalPath(t);
  const journal = openPurgeJournal(path, silentLog);
  for (const purge of purges) await journal.add(purge);
  const whole = await readFile(path);
  const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
  for (let length = lastLine; length < whole.length; length += 1) {
    await writeFile(path, whole.subarray(0, length));
    assert.deepEqual(await readPurgeJournal(path, silentLog), purges.slice(0, 2), `cut to ${length} bytes`);
  }
  for (let at = 0; at < lastLine; at += 7) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    await writeFile(path, damaged);
    const log = keptLog();
    assert.equal(await readPurgeJournal(path, log.log), undefined, `byte ${at}`);
    assert(log.lines.some(({ message }) => message === "a file of this edge is damaged"));
  }
});

test("a disk that refuses delays nothing, and gets the purges as soon as it takes them", async (t) => {
  const path = await journalPath(t);
  // A directory where the file should be: it can't be opened for writing.
  await mkdir(path);
  const log = keptLog();
  const journal = openPurgeJournal(path, log.log);
  for (const purge of purges.slice(0, 2)) await journal.add(purge);
  assert(log.lines.some(({ message }) => message.includes("in force until this process ends")));
  await rm(path, { recursive: true });
  await journal.add(purges[2] as Purge);
  assert.deepEqual(await readPurgeJournal(path, silentLog), purges);
});

test("a line that was cut short is removed before the next one is added", async (t) => {
  const path = await journalPath(t);
  const first = openPurgeJournal(path, silentLog);
  for (const purge of purges) await first.add(purge);
  await truncate(path, (await readFile(path)).length - 3);
  const left = await readPurgeJournal(path, silentLog);
  assert.deepEqual(left, purges.slice(0, 2));
  // As at a start: what was read is written anew, then the feed brings the last one again.
  const second = openPurgeJournal(path, silentLog);
  await second.replace(() => left);
  await second.add(purges[2] as Purge);
  assert.deepEqual(await readPurgeJournal(path, silentLog), purges);
});
