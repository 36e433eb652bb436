import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { BodyReader } from "#base/body.ts";
import type { BodyWriter } from "../../../node/cache/disk/body-writer.ts";
import type { DiskTier } from "../../../node/cache/disk/disk-tier.ts";
import { type Fill, startFill } from "../../../node/cache/fill.ts";
import { FellBehind } from "../../../node/cache/fill-reader.ts";
import type { FillOptions } from "../../../node/cache/fill-state.ts";
import { mebibyte, openTier } from "../../support/disk-tier.ts";
import { faultyFiles } from "../../support/faulty-files.ts";
import { bodyFor, keyFor } from "../../support/objects.ts";
import { type ScriptedSource, scriptedSource } from "../../support/scripted-source.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { turnsUntil } from "../../support/turns-until.ts";

const kibibyte = 1024;

type Options = Partial<Omit<FillOptions<BodyWriter>, "source">>;

/** A fill that keeps nothing, has no place and can't be resumed, unless the options say otherwise. */
function start(options: Options = {}): { fill: Fill<BodyWriter>; release: () => void; source: ScriptedSource } {
  const source = scriptedSource();
  const begun = startFill<BodyWriter>({
    source,
    lengthBytes: null,
    bytesMax: 100 * mebibyte,
    keepBytesMax: 0,
    openPlace: () => null,
    abandonedBytesMax: mebibyte,
    windowBytesMax: mebibyte,
    resume: () => Promise.resolve(undefined),
    ...options,
  });
  return { ...begun, source };
}

async function diskTier(t: TestContext, files = faultyFiles()): Promise<DiskTier> {
  return await openTier(t, await temporaryDirectory(t), { bytesMax: 128 * mebibyte, files });
}

const placeIn =
  (tier: DiskTier, lengthBytes: number | null = null, key = keyFor("o")) =>
  (): BodyWriter | null =>
    tier.write(key, lengthBytes) ?? null;

/** The next piece, when there is one. */
async function pieceOf(reader: BodyReader, bytesMax = 64 * kibibyte): Promise<Buffer | null> {
  await reader.ready();
  return await reader.next(bytesMax);
}

async function restOf(reader: BodyReader): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let piece = await pieceOf(reader); piece !== null; piece = await pieceOf(reader)) pieces.push(piece);
  reader.close();
  return Buffer.concat(pieces);
}

/** Gives a body in chunks, and its end. */
function giveAll(source: ScriptedSource, body: Buffer, chunkBytes = 64 * kibibyte): void {
  for (let at = 0; at < body.length; at += chunkBytes) source.give(body.subarray(at, at + chunkBytes));
  source.end();
}

/** So many turns of the event loop that whatever does not wait for the test has happened. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 50; turns += 1) await turn();
}

test("the first bytes go on at once, to the first reader and to those that join", async () => {
  const { fill, release, source } = start();
  const first = fill.open(0, null);
  release();
  const ready = first.ready();
  assert.notEqual(ready, true, "nothing is here yet");
  source.give(Buffer.from("a"));
  await ready;
  assert.deepEqual(first.next(10), Buffer.from("a"));
  const second = fill.open(0, null);
  assert.equal(second.ready(), true);
  assert.deepEqual(second.next(10), Buffer.from("a"));
  source.give(Buffer.from("bc"));
  source.end();
  assert.deepEqual([String(await restOf(first)), String(await restOf(second))], ["bc", "bc"]);
  assert.deepEqual(await fill.ended, { end: "whole", lengthBytes: 3, bytes: null, place: null });
});

test("a reader gets its part of the body, whatever of it is here, and no byte more", async () => {
  const { fill, release, source } = start({ keepBytesMax: mebibyte });
  const rows: [start: number, end: number | null, text: string][] = [
    [0, null, "0123456789"],
    [3, null, "3456789"],
    [3, 5, "34"],
    [0, 0, ""],
    [9, 99, "9"],
    [10, null, ""],
    [12, 14, ""],
  ];
  const early = rows.map(([from, end]) => fill.open(from, end));
  release();
  for (const digit of "0123456789") source.give(Buffer.from(digit));
  source.end();
  const late = rows.map(([from, end]) => fill.open(from, end));
  for (const [index, [from, end, text]] of rows.entries()) {
    for (const reader of [early[index], late[index]]) {
      assert(reader !== undefined);
      assert.equal(String(await restOf(reader)), text, `${from} to ${end}`);
    }
  }
  const reader = fill.open(2, null);
  assert.equal(String(await pieceOf(reader, 3)), "234", "at most as much as it asks for");
  reader.close();
});

test("a slow reader does not slow the source down when a disk has the bytes, and misses none", async (t) => {
  const tier = await diskTier(t);
  const body = bodyFor("o", 1, 20 * mebibyte);
  const { fill, release, source } = start({ lengthBytes: body.length, openPlace: placeIn(tier, body.length) });
  const slow = fill.open(0, null);
  release();
  giveAll(source, body);
  const ended = await fill.ended;
  assert.equal(ended.end, "whole");
  assert((await restOf(slow)).equals(body));
});

test("without a disk the source keeps the pace of the fastest reader; one out of the window fell behind", async () => {
  const body = bodyFor("o", 1, 4 * mebibyte);
  const { fill, release, source } = start({ lengthBytes: body.length });
  const [fast, slow] = [fill.open(0, null), fill.open(0, null)];
  release();
  giveAll(source, body);
  await settled();
  const aheadMax = 512 * kibibyte;
  assert.equal(fill.arrivedBytes(), aheadMax, "before anybody reads");
  assert((await pieceOf(slow, 10))?.equals(body.subarray(0, 10)));
  for (let bytes = 0; bytes < 3 * mebibyte;) {
    bytes += (await pieceOf(fast))?.length ?? 0;
    await turn();
    assert(fill.arrivedBytes() < bytes + aheadMax + 64 * kibibyte);
  }
  await assert.rejects(pieceOf(slow), FellBehind);
  slow.close();
  assert((await restOf(fast)).equals(body.subarray(3 * mebibyte)));
  assert.equal((await fill.ended).end, "whole");
});

test("without a disk, readers of about the same pace stay in the window together", async () => {
  const body = bodyFor("o", 1, 8 * mebibyte);
  const { fill, release, source } = start();
  const readers = Array.from({ length: 5 }, () => fill.open(0, null));
  release();
  giveAll(source, body);
  // In turn, each a little behind the one before, and the last a quarter of the window.
  const bytesRead = readers.map(() => 0);
  for (let step = 0; bytesRead.some((bytes) => bytes < body.length); step += 1) {
    for (const [index, reader] of readers.entries()) {
      if (step < index) continue;
      bytesRead[index] = (bytesRead[index] ?? 0) + ((await pieceOf(reader))?.length ?? 0);
    }
  }
  for (const reader of readers) reader.close();
  assert.equal((await fill.ended).end, "whole");
});

for (const [shareBytes, aheadBytes] of [
  [16 * mebibyte, 512 * kibibyte],
  [256 * kibibyte, 128 * kibibyte],
] as const) {
  test(`nobody has read yet: without a disk, ${aheadBytes} bytes wait in memory for the first reader`, async () => {
    const body = bodyFor("o", 1, 4 * mebibyte);
    const { fill, release, source } = start({ windowBytesMax: shareBytes });
    giveAll(source, body);
    await fill.untilArrived(mebibyte);
    await settled();
    assert.equal(fill.arrivedBytes(), aheadBytes);
    const reader = fill.open(0, null);
    release();
    assert((await restOf(reader)).equals(body));
  });
}

test("a small body is kept whole, and given at the end; a larger one goes to disk from byte 0 on", async (t) => {
  const tier = await diskTier(t);
  for (const isKnown of [true, false]) {
    for (const sizeBytes of [0, 1, 100_000, 100_001, 500_000]) {
      const body = bodyFor("o", 1, sizeBytes);
      let opened = 0;
      const { fill, release, source } = start({
        lengthBytes: isKnown ? sizeBytes : null,
        keepBytesMax: 100_000,
        openPlace() {
          opened += 1;
          return placeIn(tier, isKnown ? sizeBytes : null)();
        },
      });
      const reader = fill.open(0, null);
      release();
      giveAll(source, body, 30_000);
      const ended = await fill.ended;
      const message = `${sizeBytes}, ${isKnown}`;
      assert(ended.end === "whole", message);
      assert.equal(opened, sizeBytes > 100_000 ? 1 : 0, message);
      if (sizeBytes > 100_000) {
        assert(ended.bytes === null && ended.place !== null, message);
        assert((await ended.place.read(0, 1000)).equals(body.subarray(0, 1000)), message);
        ended.place.abort();
      } else assert(ended.place === null && ended.bytes?.equals(body), message);
      assert((await restOf(reader)).equals(body), message);
    }
  }
});

test("the place has all bytes by the end of the fill, so that it can be committed", async (t) => {
  const tier = await diskTier(t);
  const body = bodyFor("o", 1, 3 * mebibyte);
  const { fill, release, source } = start({ openPlace: placeIn(tier) });
  giveAll(source, body, 10_000);
  const free = fill.keep();
  release();
  const ended = await fill.ended;
  free();
  assert(ended.end === "whole" && ended.place !== null);
  const facts = { status: 200, tags: [], storedAtMs: 0, feedSeq: 0, notes: {} };
  assert(await ended.place.commit(facts, Buffer.alloc(0)));
  assert((await tier.load(keyFor("o")))?.body.equals(body));
});

test("a fill that nobody waits for stops its source at once, also while it hangs", async (t) => {
  const tier = await diskTier(t);
  for (const openPlace of [() => null, placeIn(tier, 90 * mebibyte)]) {
    for (const given of [0, 1000]) {
      const source = scriptedSource({ hangs: true });
      const { fill, release } = startFill<BodyWriter>({
        source,
        lengthBytes: 30 * mebibyte,
        bytesMax: 100 * mebibyte,
        keepBytesMax: 0,
        openPlace,
        abandonedBytesMax: mebibyte,
        windowBytesMax: mebibyte,
        resume: () => assert.fail("it did not fail"),
      });
      const [one, other] = [fill.open(0, null), fill.open(0, 10)];
      if (given > 0) source.give(Buffer.alloc(given));
      await settled();
      release();
      one.close();
      one.close();
      await settled();
      assert(!source.isStopped(), "one still waits");
      other.close();
      const ended = await fill.ended;
      assert(ended.end === "failed" && fill.failure() === ended.error);
      assert(source.isStopped());
      assert.throws(() => fill.open(given, null).next(1), ended.error);
    }
  }
});

test("a fill that nobody waits for goes on when it is nearly done and can be stored", async (t) => {
  const tier = await diskTier(t);
  const rows: [missing: number, isKnown: boolean, hasPlace: boolean, end: string][] = [
    [mebibyte, true, true, "whole"],
    [mebibyte + 1, true, true, "failed"],
    [1, false, true, "failed"],
    [1, true, false, "failed"],
  ];
  for (const [missing, isKnown, hasPlace, end] of rows) {
    const body = bodyFor("o", 1, 100_000 + missing);
    const lengthBytes = isKnown ? body.length : null;
    const openPlace = hasPlace ? placeIn(tier, lengthBytes) : () => null;
    const { fill, release, source } = start({ lengthBytes, openPlace });
    const reader = fill.open(0, null);
    source.give(body.subarray(0, 100_000));
    await pieceOf(reader);
    release();
    reader.close();
    source.give(body.subarray(100_000));
    source.end();
    const ended = await fill.ended;
    assert.equal(ended.end, end, `${missing}, ${isKnown}, ${hasPlace}`);
    if (ended.end === "whole") ended.place?.abort();
  }
});

test("keep() lets a fill go on without readers, until it is given up", async (t) => {
  const tier = await diskTier(t);
  const { fill, release, source } = start({ openPlace: placeIn(tier) });
  const [free, other] = [fill.keep(), fill.keep()];
  release();
  source.give(Buffer.alloc(100_000));
  free();
  free();
  await settled();
  assert(!source.isStopped(), "the other keeps it; that one gave up twice does not count");
  other();
  assert.equal((await fill.ended).end, "failed");
  assert(source.isStopped());
});

test("what can't be stored is not kept for its own sake: it would wait for a reader for ever", async () => {
  const { fill, release, source } = start({ lengthBytes: 10 * mebibyte });
  fill.keep();
  for (let index = 0; index < 100; index += 1) source.give(Buffer.alloc(100_000));
  await settled();
  assert(!source.isStopped());
  release();
  assert.equal((await fill.ended).end, "failed");
  assert(source.isStopped());
});

test("a body that is too large passes through to its readers, and has no place", async (t) => {
  const tier = await diskTier(t);
  const body = bodyFor("o", 1, 6 * mebibyte);
  for (const isKnown of [true, false]) {
    let opened = 0;
    const { fill, release, source } = start({
      lengthBytes: isKnown ? body.length : null,
      bytesMax: 4 * mebibyte,
      openPlace() {
        opened += 1;
        return placeIn(tier)();
      },
    });
    const reader = fill.open(0, null);
    release();
    giveAll(source, body);
    if (!isKnown) await fill.untilArrived(4 * mebibyte + 1); // so far the disk takes all, and its reader is behind
    assert((await restOf(reader)).equals(body), String(isKnown));
    assert.deepEqual(await fill.ended, { end: "too-large" });
    assert.equal(opened, isKnown ? 0 : 1);
  }
  const leap = start({ bytesMax: 1000, keepBytesMax: 500, openPlace: () => assert.fail("it can't be stored") });
  const reader = leap.fill.open(0, null);
  leap.release();
  giveAll(leap.source, body.subarray(0, 2000), 2000);
  assert.equal((await restOf(reader)).length, 2000);
  assert.deepEqual(await leap.fill.ended, { end: "too-large" });
});

test("a source that fails is asked for the rest, at most twice, and readers notice nothing", async () => {
  const body = bodyFor("o", 1, 1000);
  for (const failures of [1, 2, 3]) {
    const sources: ScriptedSource[] = [];
    const offsets: number[] = [];
    const { fill, release, source } = start({
      lengthBytes: 1000,
      keepBytesMax: 1000,
      resume(offset) {
        const rest = scriptedSource();
        sources.push(rest);
        offsets.push(offset);
        return Promise.resolve(rest);
      },
    });
    sources.push(source);
    const reader = fill.open(0, null);
    release();
    for (let failure = 0; failure < failures; failure += 1) {
      await turnsUntil(() => sources.length > failure);
      sources[failure]?.give(body.subarray(failure * 100, (failure + 1) * 100));
      sources[failure]?.fail(new Error(`failure ${failure}`));
    }
    if (failures === 3) {
      await assert.rejects(restOf(reader), /failure 2/);
      assert.equal((await fill.ended).end, "failed");
      assert(sources.every((one) => one.isStopped()));
      continue;
    }
    await turnsUntil(() => sources.length > failures);
    giveAll(sources[failures] ?? source, body.subarray(failures * 100));
    assert((await restOf(reader)).equals(body));
    assert.deepEqual(offsets, [100, 200].slice(0, failures));
    assert(sources.slice(0, -1).every((one) => one.isStopped()));
    const ended = await fill.ended;
    assert(ended.end === "whole" && ended.bytes?.equals(body));
  }
});

test("what arrived before a failure is still read, and then the failure", async (t) => {
  const tier = await diskTier(t);
  const body = bodyFor("o", 1, 3 * mebibyte);
  for (const hasPlace of [false, true]) {
    const { fill, release, source } = start({ openPlace: hasPlace ? placeIn(tier) : () => null });
    const reader = fill.open(0, null);
    release();
    const given = hasPlace ? body : body.subarray(0, 500_000);
    for (let at = 0; at < given.length; at += 50_000) source.give(given.subarray(at, at + 50_000));
    source.fail(new Error("the origin is gone"));
    assert.equal((await fill.ended).end, "failed");
    const pieces: Buffer[] = [];
    await assert.rejects(async () => {
      for (;;) pieces.push((await pieceOf(reader)) ?? assert.fail("no end"));
    }, /the origin is gone/);
    assert(Buffer.concat(pieces).equals(given));
    reader.close();
  }
});

test("a body that is shorter or longer than was announced is no body", async () => {
  for (const sizeBytes of [99, 101]) {
    let resumed = 0;
    const { fill, release, source } = start({
      lengthBytes: 100,
      keepBytesMax: 1000,
      resume() {
        resumed += 1;
        return Promise.resolve(undefined);
      },
    });
    const reader = fill.open(0, null);
    release();
    giveAll(source, Buffer.alloc(sizeBytes), 50);
    await assert.rejects(restOf(reader), { code: "ORIGIN_BAD_ANSWER" });
    assert.equal((await fill.ended).end, "failed");
    assert(source.isStopped());
    assert.equal(resumed, sizeBytes < 100 ? 1 : 0, "the rest of a short one may be had");
  }
});

test("the rest of a body that comes when nobody waits any more is stopped", async () => {
  const rest = scriptedSource();
  const { promise, resolve } = Promise.withResolvers<ScriptedSource>();
  const { fill, release, source } = start({ resume: () => promise });
  const reader = fill.open(0, null);
  release();
  source.fail(new Error("cut"));
  await settled();
  reader.close();
  assert.equal((await fill.ended).end, "failed", "without waiting for it");
  resolve(rest);
  await settled();
  assert(rest.isStopped());
});

test("a disk that refuses midway costs readers nothing, however far behind they are", async (t) => {
  const body = bodyFor("o", 1, 12 * mebibyte);
  for (const lengthBytes of [null, body.length]) {
    const files = faultyFiles();
    const tier = await diskTier(t, files);
    const { fill, release, source } = start({ lengthBytes, openPlace: placeIn(tier, lengthBytes) });
    const reader = fill.open(0, null);
    release();
    for (let at = 0; at < body.length; at += 50_000) source.give(body.subarray(at, at + 50_000));
    source.end();
    await fill.untilArrived(5 * mebibyte);
    files.fail(["write"], "ENOSPC");
    assert((await restOf(reader)).equals(body));
    const ended = await fill.ended;
    assert(ended.end === "whole" && ended.place === null);
  }
});

test("bytes that the disk can't give back are a case of having fallen behind", async (t) => {
  const files = faultyFiles();
  const tier = await diskTier(t, files);
  const body = bodyFor("o", 1, 3 * mebibyte);
  const { fill, release, source } = start({ lengthBytes: body.length, openPlace: placeIn(tier, body.length) });
  const reader = fill.open(0, null);
  release();
  giveAll(source, body);
  await fill.ended;
  files.fail(["read"], "EIO");
  await assert.rejects(pieceOf(reader), FellBehind);
  reader.close();
});

test("everyone who waits is woken: by the end, by a failure, and by closing", async () => {
  for (const how of ["end", "failure", "close"] as const) {
    const { fill, release, source } = start();
    const readers = Array.from({ length: 100 }, (_, index) => fill.open(index * 1000, null));
    const waits = readers.map((reader) => reader.ready());
    const arrived = fill.untilArrived(1000);
    assert(waits.every((ready) => ready !== true));
    release();
    if (how === "end") source.end();
    else if (how === "failure") source.fail(new Error("gone"));
    else for (const reader of readers) reader.close();
    await Promise.all([...waits, arrived]);
    assert(readers.every((reader) => reader.ready() === true));
    await fill.ended;
  }
});

/** The largest that the memory of buffers grows by while `work` runs. */
async function memoryGrowth(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }, 5);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return most;
}

test("memory holds a window, not the body: 30 MiB on disk with a reader that does not read", async (t) => {
  const tier = await diskTier(t);
  const lengthBytes = 30 * mebibyte; // a quarter of the disk at most
  const growth = await memoryGrowth(async () => {
    let given = 0;
    const { fill, release } = startFill<BodyWriter>({
      source: {
        next: () => Promise.resolve((given += 65_536) > lengthBytes ? null : Buffer.allocUnsafeSlow(65_536)),
        stop: () => undefined,
      },
      lengthBytes,
      bytesMax: lengthBytes,
      keepBytesMax: 0,
      openPlace: placeIn(tier, lengthBytes),
      abandonedBytesMax: 0,
      windowBytesMax: mebibyte,
      resume: () => Promise.resolve(undefined),
    });
    const reader = fill.open(0, null);
    release();
    assert.equal((await fill.ended).end, "whole");
    reader.close();
  });
  // What is not collected yet counts as well: a window and a backlog are 1.3 MiB.
  assert(growth < 25 * mebibyte, `${growth} bytes`);
});
