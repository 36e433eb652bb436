/** Memory for fills: how much each gets, who waits, and what slow readers of ended fills lose. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { BodyReader } from "#base/body.ts";
import { startFill } from "../../../node/cache/fill.ts";
import { FellBehind } from "../../../node/cache/fill-reader.ts";
import { type FillRoom, type FillRooms, openFillRooms, type RoomWish } from "../../../node/serve/fill-room.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { seededRandom } from "#base/random.ts";
import { seedOr } from "../../support/long.ts";
import { type ScriptedSource, scriptedSource } from "../../support/scripted-source.ts";

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const never = new AbortController().signal;

function wish(lengthBytes: number | null, network = "a"): RoomWish {
  return { lengthBytes, keepBytesMax: mebibyte, network, signal: never };
}

/** A fill of a body that is kept whole if its room is large enough, with one reader. */
function begin(room: FillRoom, lengthBytes: number | null): { source: ScriptedSource; reader: BodyReader } {
  const source = scriptedSource();
  const { fill, release } = startFill({
    source,
    lengthBytes,
    bytesMax: Infinity,
    get keepBytesMax() {
      return Math.min(mebibyte, room.bytes);
    },
    get windowBytesMax() {
      return room.bytes;
    },
    openPlace: () => null,
    abandonedBytesMax: 0,
    resume: () => Promise.resolve(undefined),
  });
  room.hold(fill);
  const reader = fill.open(0, null);
  release();
  return { source, reader };
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await turn();
}

/** With a disk, 64 MiB in all, and 16 for a network; without one, twice as much. */
function open(hasDisk = true): { rooms: FillRooms; clock: FakeClock } {
  const clock = fakeClock();
  return { rooms: openFillRooms({ hasDisk, clock }), clock };
}

test("a small body gets what it needs, a large one a window, and windows shrink while room is short", async () => {
  const { rooms } = open();
  assert.equal((await rooms.take(wish(10_000))).bytes, 10_000);
  assert.equal((await rooms.take(wish(mebibyte))).bytes, mebibyte);
  assert.equal((await rooms.take(wish(null))).bytes, mebibyte);
  const windows: number[] = [];
  for (let count = 0; count < 50; count += 1) windows.push((await rooms.take(wish(60_000_000))).bytes);
  assert((windows[0] ?? 0) > 256 * kibibyte);
  assert(windows.every((bytes, index) => index === 0 || bytes <= (windows[index - 1] ?? 0)));
  assert.equal(windows.at(-1), 128 * kibibyte);
});

test("without a disk, a body of some MiB is kept whole, as long as half of the room is left", async () => {
  const { rooms } = open(false);
  const large = { ...wish(10 * mebibyte), keepBytesMax: 32 * mebibyte };
  assert.equal((await rooms.take(large)).bytes, 10 * mebibyte);
  assert((await rooms.take(large)).bytes <= mebibyte);
});

test("one network does not take the room of others; without room, a fill waits, then fails with 503", async () => {
  const { rooms, clock } = open();
  let taken = 0;
  for (;;) {
    const room = rooms.take(wish(60_000_000)).catch((error: unknown) => error as { code: string });
    await settled();
    clock.advance(5000);
    const got = await room;
    if ("code" in got) {
      assert.equal(got.code, "ORIGIN_BUSY");
      break;
    }
    taken += 1;
  }
  assert(taken >= 64 && taken <= 128, String(taken));
  assert.equal((await rooms.take(wish(60_000_000, "b"))).bytes, 512 * kibibyte);
});

test("one that nobody waits for any more does not wait for room", async () => {
  const { rooms, clock } = open();
  const leaving = new AbortController();
  for (;;) {
    let isTaken = false;
    const room = rooms.take({ ...wish(60_000_000), signal: leaving.signal }).then(() => (isTaken = true));
    await settled();
    if (isTaken) continue;
    leaving.abort(new Error("gone"));
    await assert.rejects(room, { message: "gone" });
    break;
  }
  clock.advance(5000);
});

test("a fill holds its room until its last reader has left", async () => {
  const { rooms } = open();
  const { source, reader } = begin(await rooms.take(wish(1000)), 1000);
  source.give(Buffer.alloc(1000));
  source.end();
  await settled();
  assert.deepEqual(rooms.counts(), { running: 0, bytes: 1000 });
  reader.close();
  await settled();
  assert.deepEqual(rooms.counts(), { running: 0, bytes: 0 });
});

test("bodies that drip give back the room that they have not filled, so that others need not wait", async () => {
  for (const lengthBytes of [null, mebibyte]) {
    const { rooms, clock } = open();
    const slow: FillRoom[] = [];
    for (let count = 0; count < 320; count += 1) {
      const taking = rooms.take(wish(lengthBytes, `n${count % 100}`));
      if (count % 8 === 7) clock.advance(1000);
      const room = await taking;
      slow.push(room);
      const { source } = begin(room, lengthBytes);
      source.give(Buffer.alloc(10));
      await settled();
    }
    clock.advance(1000);
    assert.equal((await rooms.take(wish(mebibyte, "other"))).bytes, mebibyte);
    const bytes = slow.map((room) => room.bytes);
    assert.ok(Math.min(...bytes) >= 128 * kibibyte, "each keeps a window");
    assert.ok(bytes.filter((one) => one > 128 * kibibyte).length < 64);
  }
});

test("a body that goes on after its room has shrunk is not kept in memory, and its reader gets all of it", async () => {
  const { rooms, clock } = open();
  const slow = await rooms.take(wish(null));
  assert.equal(slow.bytes, mebibyte);
  const { source, reader } = begin(slow, null);
  source.give(Buffer.alloc(1000, 1));
  for (let count = 0; count < 70; count += 1) {
    begin(await rooms.take(wish(mebibyte, `n${count}`)), mebibyte);
    clock.advance(1000);
  }
  assert.equal(slow.bytes, 128 * kibibyte);
  let got = 0;
  const read = async (): Promise<void> => {
    for (;;) {
      await reader.ready();
      const chunk = await reader.next(64 * kibibyte);
      if (chunk === null) return;
      got += chunk.length;
    }
  };
  const reading = read();
  for (let count = 0; count < 20; count += 1) {
    source.give(Buffer.alloc(60_000, 2));
    await settled();
  }
  source.end();
  await reading;
  assert.equal(got, 1000 + 20 * 60_000);
});

test("slow readers of bodies that have arrived give their room to new fills", async () => {
  const { rooms, clock } = open();
  const readers: BodyReader[] = [];
  for (let count = 0; count < 200; count += 1) {
    const { source, reader } = begin(await rooms.take(wish(512 * kibibyte)), 512 * kibibyte);
    readers.push(reader);
    source.give(Buffer.alloc(512 * kibibyte));
    source.end();
    await settled();
    clock.advance(1000);
    assert(rooms.counts().bytes <= 16 * mebibyte, `${count}: ${rooms.counts().bytes}`);
  }
  const [first, last] = [readers[0] ?? assert.fail(), readers.at(-1) ?? assert.fail()];
  await assert.rejects(async () => await first.next(10), FellBehind);
  assert.equal((await last.next(10))?.length, 10);
});

test("one that waits for room gets that of a fill that ends meanwhile", async () => {
  const { rooms, clock } = open();
  const begun: { source: ScriptedSource; reader: BodyReader }[] = [];
  let isWaiting = false;
  for (let index = 0; !isWaiting; index += 1) {
    isWaiting = true;
    void (async () => {
      begun.push(begin(await rooms.take(wish(128 * kibibyte)), 128 * kibibyte));
      isWaiting = false;
    })();
    await settled();
  }
  const before = begun.length;
  begun[0]?.source.give(Buffer.alloc(128 * kibibyte));
  begun[0]?.source.end();
  await settled();
  clock.advance(1000);
  await settled();
  assert.equal(begun.length, before + 1);
});

/** A whole fill, if it gets room. */
async function fillFrom(room: Promise<FillRoom>, lengthBytes: number): Promise<ReturnType<typeof begin> | undefined> {
  const taken = await room.catch(() => undefined);
  if (taken === undefined) return undefined;
  const fill = begin(taken, lengthBytes);
  for (let left = lengthBytes; left > 0; left -= 65_536) fill.source.give(Buffer.alloc(Math.min(left, 65_536)));
  fill.source.end();
  return fill;
}

test("in any order of events, memory stays within the limit, and all of it is freed", async () => {
  const seed = seedOr(7);
  const random = seededRandom(seed);
  const clock = fakeClock();
  const rooms = openFillRooms({ hasDisk: true, clock });
  const begun = new Set<ReturnType<typeof begin>>();
  for (let step = 0; step < 600; step += 1) {
    const chance = random();
    const [one] = begun;
    if (chance < 0.6) {
      const lengthBytes = Math.floor(random() * 3 * mebibyte) + 1;
      const network = "abcdefghij"[Math.floor(random() * 10)] ?? "a";
      void fillFrom(rooms.take(wish(lengthBytes, network)), lengthBytes).then((fill) => fill && begun.add(fill));
    } else if (chance < 0.75 && one !== undefined) {
      begun.delete(one);
      one.reader.close();
    } else if (chance < 0.9) clock.advance(Math.floor(random() * 2000));
    await turn();
    // A chunk of a socket may come beyond each window.
    const bound = 64 * mebibyte + rooms.counts().running * 65_536;
    assert(rooms.counts().bytes <= bound, `SEED=${seed}, step ${step}: ${rooms.counts().bytes}`);
  }
  for (let rest = 0; rest < 5; rest += 1) {
    clock.advance(5000);
    await settled();
    for (const { reader } of begun) reader.close();
    await settled();
  }
  assert.deepEqual(rooms.counts(), { running: 0, bytes: 0 }, `SEED=${seed}`);
});
