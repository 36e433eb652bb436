/** Any number of readers, at any offset and pace, get exactly the bytes of the body, whatever source and disk do. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Random, seededRandom } from "#base/random.ts";
import type { BodyWriter } from "../../../node/cache/disk/body-writer.ts";
import type { DiskTier } from "../../../node/cache/disk/disk-tier.ts";
import { type Fill, startFill } from "../../../node/cache/fill.ts";
import { FellBehind } from "../../../node/cache/fill-reader.ts";
import type { FillSource } from "../../../node/cache/fill-state.ts";
import { mebibyte, openTier } from "../../support/disk-tier.ts";
import { type FaultyFiles, faultyFiles } from "../../support/faulty-files.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { bodyFor, keyFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const bytesMax = 3 * mebibyte;

interface World {
  readonly random: Random;
  readonly body: Buffer;
  readonly lengthBytes: number | null;
  readonly keepBytesMax: number;
  readonly disk: "none" | "works" | "fails-writing" | "fails";
  readonly chunkBytesMax: number;
  readonly failures: number;
  /** How far the reader has come that reads as fast as it can, from the beginning to the end. */
  readonly patient: { position: number };
  /** How far any reader has come. */
  readonly front: { position: number };
}

function isOnDisk({ disk, body }: World): boolean {
  return disk === "works" && body.length <= bytesMax;
}

function upTo(random: Random, most: number): number {
  return Math.floor(random() * (most + 1));
}

function pick<Choice>(random: Random, choices: readonly [Choice, ...Choice[]]): Choice {
  return choices[upTo(random, choices.length - 1)] ?? choices[0];
}

function drawWorld(random: Random, round: number): World {
  const sizeBytes = upTo(random, pick(random, [0, 1, 1000, 50_000, 400_000, 3 * mebibyte, 5 * mebibyte]));
  return {
    random,
    body: bodyFor("o", round, sizeBytes),
    lengthBytes: random() < 0.5 ? null : sizeBytes,
    keepBytesMax: pick(random, [0, 10_000, 300_000]),
    disk: pick(random, ["none", "works", "works", "fails-writing", "fails"]),
    // Single bytes only for a body that has few of them.
    chunkBytesMax: sizeBytes > 10_000 ? pick(random, [5000, 65_536, 500_000]) : pick(random, [1, 1000, 65_536]),
    failures: pick(random, [0, 0, 1, 2]),
    patient: { position: 0 },
    front: { position: 0 },
  };
}

/** The bytes from `start` on, at a random pace; it fails now and then, while failures are left. */
function sourceOf(world: World, start: number, failuresLeft: { count: number }): FillSource {
  const { random, body, chunkBytesMax } = world;
  let at = start;
  let isStopped = false;
  return {
    async next() {
      if (random() < 0.3) await turn();
      if (isStopped) throw new Error("stopped");
      // A rest that brings no byte is not asked for again.
      if (failuresLeft.count > 0 && at > start && random() < 0.2) {
        failuresLeft.count -= 1;
        throw new Error("cut");
      }
      if (at >= body.length) return null;
      const chunk = body.subarray(at, at + 1 + upTo(random, chunkBytesMax - 1));
      at += chunk.length;
      return chunk;
    },
    stop() {
      isStopped = true;
    },
  };
}

type Read = "whole" | "left" | "fell-behind";

/** Reads until its end, or leaves; checks each piece. */
async function read(fill: Fill<BodyWriter>, world: World, isPatient: boolean, message: string): Promise<Read> {
  const { random, body } = world;
  // Where no disk has the bytes, one that starts further ahead would make the source leave the patient one behind.
  const startMax = isOnDisk(world) ? body.length + 10 : world.patient.position;
  const start = isPatient ? 0 : upTo(random, startMax);
  const end = isPatient || random() < 0.5 ? null : start + upTo(random, body.length);
  const pauses = isPatient ? 0 : pick(random, [0, 0.3, 0.95]);
  const leavesAfter = isPatient || random() < 0.7 ? Infinity : upTo(random, body.length);
  const what = `${message}, from ${start} to ${end}`;
  const reader = fill.open(start, end);
  let position = start;
  try {
    for (;;) {
      while (random() < pauses) await turn();
      await reader.ready();
      const bytesAsked = 1 + upTo(random, 65_535);
      const piece = await reader.next(bytesAsked);
      if (piece === null) break;
      assert(piece.length > 0 && piece.length <= bytesAsked, what);
      assert(piece.equals(body.subarray(position, position + piece.length)), `${what}, at ${position}`);
      position += piece.length;
      if (isPatient) world.patient.position = position;
      world.front.position = Math.max(world.front.position, position);
      if (position - start > leavesAfter) return "left";
    }
  } catch (error) {
    if (error instanceof FellBehind) return "fell-behind";
    throw error;
  } finally {
    reader.close();
  }
  assert.equal(position, Math.max(start, Math.min(end ?? Infinity, body.length)), what);
  return "whole";
}

async function diskOf(
  t: TestContext,
  { disk }: World,
  working: DiskTier,
): Promise<[DiskTier, FaultyFiles] | undefined> {
  const files = faultyFiles();
  if (disk === "works") return [working, files];
  if (disk === "none") return undefined;
  return [await openTier(t, await temporaryDirectory(t), { bytesMax: 64 * mebibyte, files }), files];
}

/** One fill from its beginning to its end. Returns how often a reader fell behind. */
async function runRound(t: TestContext, working: DiskTier, world: World, message: string): Promise<number> {
  const { random, body, lengthBytes, keepBytesMax } = world;
  const [tier, files] = (await diskOf(t, world, working)) ?? [undefined, undefined];
  const failuresLeft = { count: world.failures };
  const { fill, release } = startFill<BodyWriter>({
    source: sourceOf(world, 0, failuresLeft),
    lengthBytes,
    bytesMax,
    keepBytesMax,
    openPlace: () => tier?.write(keyFor("o"), lengthBytes) ?? null,
    abandonedBytesMax: 0,
    windowBytesMax: mebibyte,
    resume: (offset) => Promise.resolve(sourceOf(world, offset, failuresLeft)),
  });
  const patient = read(fill, world, true, message);
  release();
  const reads: Promise<Read>[] = [];
  for (let index = upTo(random, 12); index > 0; index -= 1) {
    reads.push(read(fill, world, false, message));
    if (random() < 0.5) await turn();
    if (files !== undefined && world.disk !== "works" && random() < 0.3)
      files.fail(world.disk === "fails" ? ["write", "read"] : ["write"], "EIO");
  }
  const outcomes = await Promise.all([patient, ...reads]);
  const behind = outcomes.filter((outcome) => outcome === "fell-behind").length;
  const ended = await fill.ended;
  if (outcomes[0] === "fell-behind") {
    // While the disk worked, another may have overtaken it. Without one, half of the window is for those behind.
    const lead = world.front.position - world.patient.position;
    const isFar = world.disk === "none" && lead > mebibyte / 2 - world.chunkBytesMax;
    assert(isFar || world.disk.startsWith("fails"), `${message}: one that was ${lead} bytes behind fell behind`);
    return behind;
  }
  const isTooLarge = body.length > bytesMax;
  if (body.length <= keepBytesMax || isOnDisk(world)) assert.equal(behind, 0, message);
  if (isTooLarge) assert.equal(ended.end, "too-large", message);
  else {
    assert(ended.end === "whole" && ended.lengthBytes === body.length, message);
    if (body.length <= keepBytesMax) assert(ended.bytes?.equals(body), message);
    else assert.equal(ended.bytes, null, message);
    if (world.disk === "works") assert.equal(ended.place === null, body.length <= keepBytesMax, message);
    const facts = { status: 200, tags: [], storedAtMs: 0, feedSeq: 0, notes: {} };
    if (world.disk === "works" && ended.place !== null) {
      assert(await ended.place.commit(facts, Buffer.alloc(0)), message);
      assert((await working.load(keyFor("o")))?.body.equals(body), message);
    } else ended.place?.abort();
  }
  return behind;
}

test("readers at any offset and pace get exactly the bytes, with a disk, without one, and when it fails", async (t) => {
  const seed = seedOr(47);
  const random = seededRandom(seed);
  const working = await openTier(t, await temporaryDirectory(t), { bytesMax: 64 * mebibyte });
  let behind = 0;
  for (let round = 0; round < rounds(150, 5000); round += 1) {
    const world = drawWorld(random, round);
    const { body, lengthBytes, keepBytesMax, disk, chunkBytesMax, failures } = world;
    const drawn = JSON.stringify({ sizeBytes: body.length, lengthBytes, keepBytesMax, disk, chunkBytesMax, failures });
    behind += await runRound(t, working, world, `SEED=${seed}, round ${round}: ${drawn}`);
  }
  assert(behind > 0, "some fall behind where no disk has the bytes");
});
