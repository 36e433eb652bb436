/** A reader that fell behind its fill, and its own fetch: what it waits for, and how it ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BodyReader } from "#base/body.ts";
import { type Fill, startFill } from "../../../node/cache/fill.ts";
import type { FillSource } from "../../../node/cache/fill-state.ts";
import { readFill } from "../../../node/serve/rest-reader.ts";
import { bodyFor } from "../../support/objects.ts";
import { type ScriptedSource, scriptedSource } from "../../support/scripted-source.ts";
import { turnsUntil } from "../../support/turns-until.ts";

const chunkBytes = 65_536;
const body = bodyFor("a", 1, 40 * chunkBytes);

interface Behind {
  readonly fill: Fill;
  readonly own: ScriptedSource;
  readonly reader: BodyReader;
  /** Where the own fetch begins. */
  readonly asked: number[];
  /** Whether whoever asks the origin for it is told that nobody wants it any more. */
  readonly isGivenUp: () => boolean;
  /** Lets the own fetch come; until then, the origin hangs. */
  readonly come: (source?: FillSource) => void;
}

/** A reader at the beginning of a body whose beginning has left memory, of which it has just noticed that. */
async function fallBehind(isKnown: boolean, isWhole = true): Promise<Behind> {
  const source = scriptedSource();
  const { fill, release } = startFill({
    source,
    lengthBytes: isKnown ? body.length : null,
    bytesMax: Infinity,
    keepBytesMax: 0,
    openPlace: () => null,
    abandonedBytesMax: 0,
    windowBytesMax: 4 * chunkBytes,
    resume: () => Promise.resolve(undefined),
  });
  const asked: number[] = [];
  const coming = Promise.withResolvers<FillSource | undefined>();
  let ending: AbortSignal | undefined;
  const reader = readFill(fill, { start: 0, end: null }, (offset, signal) => {
    asked.push(offset);
    ending = signal;
    return coming.promise;
  });
  const fast = fill.open(0, null);
  release();
  for (let at = 0; at < body.length; at += chunkBytes) source.give(body.subarray(at, at + chunkBytes));
  if (isWhole) source.end();
  for (let bytes = 0; bytes < body.length;) {
    await fast.ready();
    bytes += (await fast.next(chunkBytes))?.length ?? assert.fail("the fill is whole");
  }
  assert.equal(reader.ready(), true);
  assert.equal((await reader.next(chunkBytes))?.length, 0, "nothing yet, and nothing to wait for in next()");
  const own = scriptedSource();
  return {
    fill,
    own,
    reader,
    asked,
    isGivenUp: () => ending?.aborted ?? assert.fail(),
    come: (given = own) => coming.resolve(given),
  };
}

async function read(reader: BodyReader): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (;;) {
    await reader.ready();
    const piece = await reader.next(10_000);
    if (piece === null) return Buffer.concat(pieces);
    pieces.push(piece);
  }
}

test("it is not ready while its own fetch hangs, before the head and between chunks", async () => {
  const { own, reader, asked, come } = await fallBehind(true);
  assert.deepEqual(asked, [0]);
  let isReady = false;
  const waitFor = (): void => {
    isReady = false;
    const ready = reader.ready();
    assert(ready !== true);
    void ready.then(() => (isReady = true));
  };
  waitFor();
  come();
  await turnsUntil(() => own.isAsked());
  assert(!isReady, "a head is no byte");
  own.give(body.subarray(0, 10));
  await turnsUntil(() => isReady);
  assert.deepEqual(await reader.next(100), body.subarray(0, 10));
  waitFor();
  await turnsUntil(() => own.isAsked());
  assert(!isReady);
  own.give(body.subarray(10));
  own.end();
  assert((await read(reader)).equals(body.subarray(10)));
});

test("an own fetch that ends early is a failure, whether the length was announced or not", async () => {
  for (const isKnown of [true, false]) {
    for (const isWhole of [true, false]) {
      const { own, reader, come } = await fallBehind(isKnown, isWhole);
      come();
      own.give(body.subarray(0, 100_000));
      own.end();
      await assert.rejects(read(reader), { code: "ORIGIN_BAD_ANSWER", message: /ended at 100000 of 2621440 bytes/ });
      await assert.rejects(read(reader), { code: "ORIGIN_BAD_ANSWER" }, "once failed, it stays so");
      reader.close();
    }
  }
});

test("the whole rest is the whole body", async () => {
  for (const isKnown of [true, false]) {
    const { own, reader, come } = await fallBehind(isKnown);
    come();
    own.give(body);
    own.end();
    assert((await read(reader)).equals(body));
  }
});

test("a failure of the own fetch is the reader's", async () => {
  const { own, reader, come } = await fallBehind(true);
  come();
  own.give(body.subarray(0, 100));
  own.fail(new Error("cut"));
  await assert.rejects(read(reader), { message: "cut" });
});

test("one that is closed while it waits is woken, and its fetch is stopped, also when it comes later", async () => {
  const { own, reader, come, isGivenUp } = await fallBehind(true);
  const ready = reader.ready();
  assert.equal(isGivenUp(), false);
  reader.close();
  await ready;
  assert.equal(isGivenUp(), true);
  come();
  await turnsUntil(() => own.isStopped());
});
