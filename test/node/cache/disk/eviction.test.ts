import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { createGhost, rememberDropped, streamOfNewcomer } from "../../../../node/cache/disk/eviction.ts";
import { field, get, lengthOf } from "../../../../node/cache/disk/index-table.ts";
import { blocksOf, bytesOfBodies, type Layout, segmentBytesFor } from "../../../../node/cache/disk/layout.ts";
import { createDiskModel, request } from "../../../../node/cache/disk/model.ts";
import { rounds, seedOr } from "../../../support/long.ts";

const seed = seedOr(11);
const message = `SEED=${seed}`;
const kibibyte = 1024;

interface Trace {
  readonly keys: Uint32Array;
  readonly bytes: readonly number[];
  /** Object of each request. */
  readonly requests: readonly number[];
}

/** Zipf popularity, sizes from 1 to 200 KiB, and half of the requests for objects that are requested once. */
function traceOf(objects: number, requests: number): Trace {
  const random = seededRandom(seed);
  const total = objects + requests;
  const keys = new Uint32Array(4 * total).map(() => Math.floor(random() * 2 ** 32));
  const bytes = Array.from({ length: total }, () => Math.floor(kibibyte * 200 ** random()));
  let once = objects;
  return {
    keys,
    bytes,
    requests: Array.from({ length: requests }, () =>
      random() < 0.5 ? once++ : Math.min(objects - 1, Math.floor(objects ** random() - 1)),
    ),
  };
}

function byteHitRatio({ bytes, requests }: Trace, isHit: (object: number) => boolean): number {
  let hits = 0;
  let all = 0;
  for (const object of requests) {
    all += bytes[object] ?? 0;
    if (isHit(object)) hits += bytes[object] ?? 0;
  }
  return hits / all;
}

/** Plain S3-FIFO, an object at a time, without copies and segments. */
function s3Fifo(bytes: readonly number[], bytesMax: number): (object: number) => boolean {
  const [small, main, ghost] = [new Set<number>(), new Set<number>(), new Set<number>()];
  const sums = { small: 0, main: 0, ghost: 0 };
  const uses = new Uint8Array(bytes.length);
  const first = (set: Set<number>): number => set.values().next().value ?? -1;
  const evictMain = (): void => {
    for (;;) {
      const object = first(main);
      main.delete(object);
      if ((uses[object] ?? 0) === 0) {
        sums.main -= bytes[object] ?? 0;
        return;
      }
      uses[object] = (uses[object] ?? 0) - 1;
      main.add(object);
    }
  };
  const evictSmall = (): void => {
    const object = first(small);
    const size = bytes[object] ?? 0;
    small.delete(object);
    sums.small -= size;
    if ((uses[object] ?? 0) > 0) {
      uses[object] = 0;
      main.add(object);
      sums.main += size;
      return;
    }
    ghost.add(object);
    sums.ghost += size;
    while (sums.ghost > 0.9 * bytesMax) {
      sums.ghost -= bytes[first(ghost)] ?? 0;
      ghost.delete(first(ghost));
    }
  };
  return (object) => {
    const size = bytes[object] ?? 0;
    if (small.has(object) || main.has(object)) {
      uses[object] = Math.min(3, (uses[object] ?? 0) + 1);
      return true;
    }
    while (sums.small + sums.main + size > bytesMax) {
      if (sums.small >= 0.1 * bytesMax || main.size === 0) evictSmall();
      else evictMain();
    }
    uses[object] = 0;
    const isBack = ghost.delete(object);
    if (isBack) sums.ghost -= size;
    (isBack ? main : small).add(object);
    sums[isBack ? "main" : "small"] += size;
    return false;
  };
}

test("the byte hit ratio is at most a point below that of S3-FIFO, and little is copied", () => {
  const trace = traceOf(20_000, rounds(150_000, 2_000_000));
  for (const bytesMax of [20 * 1024 * kibibyte, 100 * 1024 * kibibyte]) {
    const model = createDiskModel(bytesMax);
    let missedBytes = 0;
    const ours = byteHitRatio(trace, (object) => {
      const isHit = request(model, trace.keys.subarray(4 * object, 4 * object + 4), trace.bytes[object] ?? 0);
      if (!isHit) missedBytes += trace.bytes[object] ?? 0;
      return isHit;
    });
    const reference = byteHitRatio(trace, s3Fifo(trace.bytes, bytesMax));
    assert(ours >= reference - 0.01, `${message}: ${ours.toFixed(3)}, S3-FIFO ${reference.toFixed(3)}`);
    assert(model.copiedBytes < 0.3 * missedBytes, `${message}: ${model.copiedBytes / missedBytes} copied per written`);
  }
});

/** Lists, sums and places of a layout, from its rows. */
function checkLayout(layout: Layout): void {
  const { index } = layout;
  let rows = 0;
  const bytes = { small: 0, main: 0 };
  for (const volume of layout.volumes.values()) {
    bytes[volume.stream] += blocksOf(volume.bytes);
    let live = 0;
    const places: [number, number][] = [];
    for (let row = volume.firstRow, previous = 0; row !== 0; previous = row, row = get(index, row, field.next)) {
      assert.equal(get(index, row, field.previous), previous, message);
      assert.equal(get(index, row, field.volume), volume.number, message);
      const offset = get(index, row, field.offset);
      if (lengthOf(index, row) >= 16 * kibibyte) assert.equal(offset % 4096, 0, message);
      places.push([offset, offset + lengthOf(index, row)]);
      live += lengthOf(index, row);
      rows += 1;
    }
    assert.equal(volume.liveBytes, live, message);
    const inOrder = places.toSorted(([a], [b]) => a - b);
    for (const [at, [start]] of inOrder.entries()) assert(at === 0 || start >= (inOrder[at - 1]?.[1] ?? 0), message);
    assert((inOrder.at(-1)?.[1] ?? 0) <= volume.bytes, message);
  }
  assert.equal(rows, index.count, message);
  assert.deepEqual(bytes, layout.bytes, message);
}

test("no two bodies share a byte, sums are right, and the bound is not passed", () => {
  const trace = traceOf(3000, rounds(20_000, 200_000));
  const model = createDiskModel(8 * 1024 * kibibyte);
  for (const [at, object] of trace.requests.entries()) {
    request(model, trace.keys.subarray(4 * object, 4 * object + 4), trace.bytes[object] ?? 0);
    assert(bytesOfBodies(model.layout) <= model.bytesMax, message);
    if (at % 1000 === 0) checkLayout(model.layout);
  }
});

test("a tier has at least 128 segments, of 64 MiB where it is large, and not too many where it is huge", () => {
  assert.equal(segmentBytesFor(10 * 1024 ** 3), 64 * 1024 ** 2);
  assert.equal(segmentBytesFor(1024 ** 3), 8 * 1024 ** 2);
  assert.equal(segmentBytesFor(1024 ** 4), 256 * 1024 ** 2);
  assert.equal(segmentBytesFor(1024 ** 5), 1024 ** 3);
  assert.equal(segmentBytesFor(1024 ** 2), 16 * 1024);
});

test("a hundred large bodies that are all used stay when one newcomer after the other is not", () => {
  const bytesMax = 64 * 1024 * kibibyte;
  const model = createDiskModel(bytesMax);
  const largeBytes = 256 * kibibyte;
  const key = (number: number): Uint32Array => Uint32Array.of(number * 2_654_435_761, number, number, number);
  const used = Array.from({ length: 100 }, (_, number) => key(number + 1));
  for (let times = 0; times < 3; times += 1) for (const one of used) request(model, one, largeBytes);
  for (let number = 1000; number < 1500; number += 1) request(model, key(number), largeBytes);
  for (const one of used) assert(request(model, one, largeBytes));
});

test("the ghost forgets a key after as many others as there are objects in the cache", () => {
  const ghost = createGhost(1024);
  for (let key = 1; key <= 20; key += 1) rememberDropped(ghost, key, key);
  assert.equal(streamOfNewcomer(ghost, 5, 5, 15), "small", "15 others were dropped since");
  assert.equal(streamOfNewcomer(ghost, 6, 6, 15), "main");
  assert.equal(streamOfNewcomer(ghost, 6, 6, 15), "small", "it came back already");
  assert.equal(streamOfNewcomer(ghost, 20, 21, 15), "small", "another key in the same place");
});
