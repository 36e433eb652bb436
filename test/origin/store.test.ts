/** Blobs on the disk, the sweep beside uploads, and uploads on a disk that fails at every step in turn. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, readdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Catalogue } from "../../origin/catalogue/catalogue.ts";
import { openSqliteCatalogue } from "../../origin/catalogue/sqlite.ts";
import { defaultLimits } from "../../origin/fleet/upload-limits.ts";
import { noPrecondition } from "../../origin/precondition.ts";
import { shardCount, type BlobStore } from "../../origin/store/blob-store.ts";
import { openDirectoryStore } from "../../origin/store/directory-store.ts";
import { openHolds, type Holds } from "../../origin/store/holds.ts";
import { sweepShard } from "../../origin/store/sweep-blobs.ts";
import { openUploads, type Uploads } from "../../origin/upload/store-upload.ts";
import { fakeClock } from "../support/fake-clock.ts";
import { filePool, jpeg, startTestOrigin, temporaryDirectory } from "./running-origin.ts";
import { tester, wideLimits } from "./tester.ts";

const change = { actor: tester, precondition: noPrecondition };
const sha256Of = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function add(store: BlobStore, bytes: Buffer): Promise<string> {
  const incoming = await store.begin();
  await incoming.write(bytes);
  const { sha256 } = await incoming.finish();
  await incoming.commit();
  return sha256;
}

async function openParts(t: TestContext) {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const store = await openDirectoryStore(directory);
  const keep = { ...wideLimits, versionsPerName: 1 };
  const catalogue = openSqliteCatalogue(join(directory, "catalogue.sqlite"), keep, systemClock);
  t.after(async () => await catalogue.close());
  return { directory, store, catalogue, holds: openHolds() };
}

function uploadsOver(store: BlobStore, catalogue: Catalogue, holds: Holds): Uploads {
  const limits = {
    uploadsMax: 2,
    inspectionsMax: 1,
    inspectionTimeoutMs: 30_000,
    uploadStallMs: 5000,
    uploadTimeoutMs: 60_000,
  };
  return openUploads({ store, catalogue, holds, inspector: filePool(), clock: systemClock, limits });
}

async function sweepAll(store: BlobStore, catalogue: Catalogue, holds: Holds): Promise<number> {
  let removed = 0;
  for (let shard = 0; shard < shardCount; shard += 1) removed += await sweepShard(shard, store, catalogue, holds);
  return removed;
}

test("a blob is stored once under its SHA-256 and read in whole or in part", async (t) => {
  const { directory, store } = await openParts(t);
  const bytes = Buffer.from("some bytes that stand for a picture");
  const incoming = await store.begin();
  await incoming.write(bytes.subarray(0, 10));
  await incoming.write(bytes.subarray(10));
  assert.deepEqual(await incoming.finish(), { sha256: sha256Of(bytes), sizeBytes: bytes.length });
  assert.deepEqual(await incoming.read(), bytes);
  assert.deepEqual(await incoming.commit(), { before: "none" });
  await incoming.discard();
  const path = join(directory, "blobs", sha256Of(bytes).slice(0, 2), sha256Of(bytes));
  assert.deepEqual(await readFile(path), bytes);

  const again = await store.begin();
  await again.write(bytes);
  await again.finish();
  assert.deepEqual(await again.commit(), { before: "good" });
  assert.deepEqual(await readdir(join(directory, "incoming")), []);

  const opened = await store.open(sha256Of(bytes), bytes.length);
  assert.deepEqual(await buffer(opened?.stream(5, 5) ?? Readable.from([])), bytes.subarray(5, 10));
  assert.equal(await store.open(sha256Of(Buffer.from("x")), 1), undefined);
  await truncate(path, 3);
  await assert.rejects(store.open(sha256Of(bytes), bytes.length), { code: "DISK_FAILED" });
});

test("what a kill left half-written is removed at the next start", async (t) => {
  const { directory } = await openParts(t);
  await writeFile(join(directory, "incoming", "abcdef.part"), "half");
  await openDirectoryStore(directory);
  assert.deepEqual(await readdir(join(directory, "incoming")), []);
});

test("the sweep takes blobs that no version stands for, and no others", async (t) => {
  const { store, catalogue, holds } = await openParts(t);
  const uploads = uploadsOver(store, catalogue, holds);
  const [first, second] = [await jpeg(1), await jpeg(2)];
  await uploads.put("a.jpg", Readable.from([first]), change, defaultLimits);
  const orphan = await add(store, Buffer.from("left between store and catalogue"));
  assert.equal(await sweepAll(store, catalogue, holds), 1);
  assert.equal(await store.has(orphan), false);
  // One version is kept here, so replacing it leaves its bytes to nobody.
  await uploads.put("a.jpg", Readable.from([second]), change, defaultLimits);
  assert.equal(await sweepAll(store, catalogue, holds), 1);
  assert.deepEqual([await store.has(sha256Of(first)), await store.has(sha256Of(second))], [false, true]);
  // What was swept can be stored again.
  await uploads.put("b.jpg", Readable.from([first]), change, defaultLimits);
  assert.equal(await store.has(sha256Of(first)), true);
});

test("the sweep never takes a blob between its store and its version", async (t) => {
  const { store, catalogue, holds } = await openParts(t);
  const bytes = await jpeg(3);
  // Each await of the upload is a chance for the sweep to run whole.
  let sweeps = 0;
  const sweeping: Catalogue = {
    ...catalogue,
    put: async (name, blob, by) => {
      assert.equal(await sweepAll(store, catalogue, holds), 0);
      sweeps += 1;
      return await catalogue.put(name, blob, by);
    },
  };
  await uploadsOver(store, sweeping, holds).put("a.jpg", Readable.from([bytes]), change, defaultLimits);
  assert.equal(sweeps, 1);
  assert.equal(await store.has(sha256Of(bytes)), true);
});

test("an upload waits while its blob is being swept, and stores it again", async (t) => {
  const { store, catalogue, holds } = await openParts(t);
  const bytes = await jpeg(4);
  const key = await add(store, bytes);
  const asked = Promise.withResolvers<void>();
  const watched: Holds = {
    ...holds,
    hold: async (name, work) => {
      asked.resolve();
      return await holds.hold(name, work);
    },
  };
  let uploading: Promise<unknown> | undefined;
  const slowStore: BlobStore = {
    ...store,
    remove: async (sha256) => {
      const uploads = uploadsOver(store, catalogue, watched);
      uploading = uploads.put("a.jpg", Readable.from([bytes]), change, defaultLimits);
      await asked.promise;
      await nextTurn();
      await store.remove(sha256);
    },
  };
  assert.equal(await sweepShard(Number.parseInt(key.slice(0, 2), 16), slowStore, catalogue, holds), 1);
  await uploading;
  assert.equal(await store.has(key), true);
  assert.equal((await catalogue.version("a.jpg"))?.blob?.sha256, key);
});

async function nextTurn(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test("holders of one key don't exclude each other, and a removal excludes all", async () => {
  const holds = openHolds();
  const order: string[] = [];
  const release = Promise.withResolvers<void>();
  const first = holds.hold("k", async () => {
    order.push("first");
    await release.promise;
  });
  await holds.hold("k", async () => void order.push("second"));
  assert.equal(await holds.seize("k", async () => void order.push("never")), false);
  assert.equal(await holds.seize("other", async () => void order.push("other")), true);
  release.resolve();
  await first;
  const removal = Promise.withResolvers<void>();
  const seized = holds.seize("k", async () => await removal.promise);
  const waiting = holds.hold("k", async () => void order.push("after"));
  await nextTurn();
  order.push("removed");
  removal.resolve();
  assert.equal(await seized, true);
  await waiting;
  assert.deepEqual(order, ["first", "second", "other", "removed", "after"]);
});

test("an upload on a disk that fails at any step is refused whole, and works again afterwards", async (t) => {
  const { directory, store, catalogue, holds } = await openParts(t);
  const bytes = await jpeg(5);
  let failAt = 0;
  let step = 0;
  const mayFail = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    step += 1;
    if (step === failAt) throw new NearcastError("DISK_FAILED", "no space left");
    return await work();
  };
  const faulty: BlobStore = {
    ...store,
    begin: async () =>
      await mayFail(async () => {
        const incoming = await store.begin();
        return {
          ...incoming,
          write: async (chunk) => await mayFail(async () => await incoming.write(chunk)),
          finish: async () => await mayFail(incoming.finish),
          read: async () => await mayFail(incoming.read),
          commit: async () => await mayFail(incoming.commit),
        };
      }),
  };
  const uploads = uploadsOver(faulty, catalogue, holds);
  for (failAt = 1; ; failAt += 1) {
    step = 0;
    const put = uploads.put(
      "a.jpg",
      Readable.from([bytes.subarray(0, 100), bytes.subarray(100)]),
      change,
      defaultLimits,
    );
    if (failAt <= 6) {
      await assert.rejects(put, { code: "DISK_FAILED" }, `step ${failAt}`);
      assert.equal(await catalogue.version("a.jpg"), undefined);
      assert.deepEqual(await readdir(join(directory, "incoming")), [], `step ${failAt}`);
      assert.equal(uploads.counts().running, 0);
      continue;
    }
    assert.equal((await put).outcome, "stored");
    break;
  }
  assert.equal(step, 6);
});

test("a running origin sweeps one shard after the other", async (t) => {
  const clock = fakeClock();
  const scope = { after: (cleanUp: () => Promise<void>) => t.after(cleanUp) };
  const origin = await startTestOrigin(scope, {
    clock,
    config: { keep: { versionsPerName: 1 }, sweepIntervalMs: 1000 },
  });
  const first = await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(7) });
  const second = await origin.json(200, "PUT", "/images/a.jpg", { body: await jpeg(8) });
  const fileOf = (sha256: unknown): string => join(origin.dataDir, "blobs", String(sha256).slice(0, 2), String(sha256));
  for (let metrics = ""; !metrics.includes("nearcast_origin_blobs_swept_total 1\n");) {
    clock.advance(1000);
    metrics = await (await origin.call("GET", `${origin.url}/metrics`)).text();
  }
  await assert.rejects(readFile(fileOf(first["sha256"])), { code: "ENOENT" });
  await readFile(fileOf(second["sha256"]));
});

test("one upload too many is turned away at once", async (t) => {
  const { store, catalogue, holds } = await openParts(t);
  const uploads = uploadsOver(store, catalogue, holds);
  const bytes = await jpeg(6);
  const bodies = [1, 2].map(() => new Readable({ read: () => undefined }));
  const running = bodies.map(async (body, index) => await uploads.put(`${index}.jpg`, body, change, defaultLimits));
  await assert.rejects(uploads.put("late.jpg", Readable.from([bytes]), change, defaultLimits), { code: "OVERLOADED" });
  for (const body of bodies) {
    body.push(bytes);
    body.push(null);
  }
  await Promise.all(running);
  await uploads.settled();
  assert.equal((await uploads.put("late.jpg", Readable.from([bytes]), change, defaultLimits)).outcome, "stored");
});
