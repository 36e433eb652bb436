import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { addChunk, bytesAt, createWindow, dropBefore, joinPieces } from "../../../node/cache/fill-window.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { bodyFor } from "../../support/objects.ts";

test("a window gives back what it got, from any position, however the chunks are cut", () => {
  const seed = seedOr(31);
  const random = seededRandom(seed);
  const upTo = (most: number): number => Math.floor(random() * (most + 1));
  for (let round = 0; round < rounds(200, 5000); round += 1) {
    const message = `SEED=${seed}, round ${round}`;
    const body = bodyFor("o", round, upTo(60_000));
    const chunkBytesMax = [1, 100, 5000, 20_000][upTo(3)] ?? 1;
    const window = createWindow();
    const taken: [start: number, bytes: Buffer][] = [];
    while (window.end < body.length) {
      // A copy: a source may use its memory again.
      addChunk(window, Buffer.from(body.subarray(window.end, window.end + upTo(chunkBytesMax))));
      if (random() < 0.1) {
        dropBefore(window, window.end - 10_000);
        assert(window.end - window.start <= 10_000 + 20_000, message);
      }
      if (window.end === window.start || random() < 0.9) continue;
      const position = window.start + upTo(window.end - window.start - 1);
      taken.push([position, bytesAt(window, position, position + 1 + upTo(window.end - position - 1))]);
    }
    // Also what was read from a piece that has grown since.
    for (const [start, bytes] of taken) {
      assert(bytes.length > 0 && bytes.equals(body.subarray(start, start + bytes.length)), message);
    }
    if (window.start === 0) assert(joinPieces(window).equals(body), message);
    for (let at = window.start; at < window.end; at += bytesAt(window, at, window.end).length) {
      assert(bytesAt(window, at, window.end).equals(body.subarray(at, at + bytesAt(window, at, window.end).length)));
    }
  }
});

test("a source that sends single bytes costs no more pieces than one that sends blocks", () => {
  const window = createWindow();
  for (let index = 0; index < 100_000; index += 1) addChunk(window, Buffer.of(index & 255));
  assert.equal(window.pieces.length, Math.ceil(100_000 / 4096));
  for (let index = 0; index < 100; index += 1) {
    addChunk(window, Buffer.alloc(1));
    addChunk(window, Buffer.alloc(4096));
    addChunk(window, Buffer.alloc(0));
  }
  assert(window.pieces.length <= 25 + 200);
});

test("positions outside the window are refused, and a body without bytes is one", () => {
  const window = createWindow();
  assert.throws(() => bytesAt(window, 0, 1), /no such position/);
  assert.equal(joinPieces(window).length, 0);
  addChunk(window, Buffer.alloc(5000));
  addChunk(window, Buffer.alloc(5000));
  dropBefore(window, 5000);
  assert.deepEqual([window.start, window.end], [5000, 10_000]);
  assert.throws(() => bytesAt(window, 4999, 6000), /no such position/);
  assert.throws(() => bytesAt(window, 10_000, 10_001), /no such position/);
});
