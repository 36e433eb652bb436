/** The limit of a tier on a disk that is full before the tier is: how it shrinks, grows, and where it gives up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  createSpaceLimit,
  grow,
  mustOnlyRemove,
  saysFull,
  shrink,
  type SpaceLimit,
} from "../../../../node/cache/disk/space-limit.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { rounds, seedOr } from "../../../support/long.ts";

const minuteMs = 60_000;

test("a full disk lowers the limit to 95 % of what is in use; again only when that much was removed", () => {
  const space = createSpaceLimit(10_000, 500, 0);
  assert.equal(space.limitBytes, 10_000);
  assert(!mustOnlyRemove(space, 9000));
  assert(shrink(space, 4000, 1));
  assert.equal(space.limitBytes, 3800);
  assert(mustOnlyRemove(space, 4000) && !mustOnlyRemove(space, 3800));
  assert(!shrink(space, 3900, 2), "it has yet to remove 100 bytes");
  assert.equal(space.limitBytes, 3800);
  assert(shrink(space, 3800, 3));
  assert.equal(space.limitBytes, 3610);
});

test("at the floor, the limit stays, and what is below it is left alone", () => {
  const space = createSpaceLimit(10_000, 500, 0);
  assert(shrink(space, 510, 1));
  assert.equal(space.limitBytes, 500);
  assert(!shrink(space, 500, 2) && !shrink(space, 10, 3));
  assert.equal(space.limitBytes, 500);
  const little = createSpaceLimit(10_000, 500, 0);
  assert(!shrink(little, 400, 1));
  assert.equal(little.limitBytes, 10_000, "something else fills the disk");
  assert(!mustOnlyRemove(little, 400));
  assert.equal(createSpaceLimit(100, 500, 0).floorBytes, 100);
});

test("the limit grows by 1 % for every ten minutes with a write that succeeded", () => {
  const clock = fakeClock();
  const space = createSpaceLimit(10_000, 500, clock.monotonicMs());
  clock.advance(minuteMs);
  shrink(space, 1000, clock.monotonicMs());
  const look = (writtenMsAgo: number): number => {
    grow(space, clock.monotonicMs(), clock.monotonicMs() - writtenMsAgo);
    return space.limitBytes;
  };
  assert.equal(look(0), 950);
  clock.advance(9 * minuteMs);
  assert.equal(look(0), 950, "too early");
  clock.advance(minuteMs);
  assert.equal(look(10 * minuteMs), 950, "nothing was written since");
  assert.equal(look(minuteMs), 960);
  assert.equal(look(0), 960, "once");
  clock.advance(9 * minuteMs);
  shrink(space, 100, clock.monotonicMs());
  clock.advance(9 * minuteMs);
  assert.equal(look(0), 960, "ten minutes since the last failure");
  for (let step = 0; step < 300; step += 1) {
    clock.advance(10 * minuteMs);
    look(0);
  }
  assert.equal(space.limitBytes, 10_000, "never more than configured");
});

test("a disk of any capacity: the limit stays within its bounds, and failures become rare", () => {
  const seed = seedOr(41);
  const random = seededRandom(seed);
  for (let round = 0; round < rounds(50, 2000); round += 1) {
    const clock = fakeClock();
    const space = createSpaceLimit(1_000_000, Math.floor(random() * 50_000), clock.monotonicMs());
    const capacity = Math.floor(100_000 + random() * 1_000_000);
    let used = 0;
    let failures = 0;
    for (let minute = 0; minute < 2000; minute += 1) {
      clock.advance(minuteMs);
      used = Math.min(used + Math.floor(random() * 20_000), space.limitBytes, capacity);
      // The tier fills up to its limit; a disk with less space fails.
      if (used === capacity && space.limitBytes > capacity) {
        failures += 1;
        shrink(space, used, clock.monotonicMs());
      } else {
        grow(space, clock.monotonicMs(), clock.monotonicMs());
      }
      checkBounds(space, `round ${round}, seed ${seed}`);
    }
    // At most one for each 50 minutes: 95 % grows to 100 % in six steps.
    assert(failures <= 2000 / 50 + 1, `${failures} failures in round ${round}, seed ${seed}`);
  }
});

function checkBounds({ floorBytes, limitBytes, bytesMax }: SpaceLimit, message: string): void {
  assert(floorBytes <= limitBytes && limitBytes <= bytesMax, `${message}: ${floorBytes}, ${limitBytes}, ${bytesMax}`);
}

test("a full disk and an exhausted quota are full; nothing else is", () => {
  for (const code of ["ENOSPC", "EDQUOT"]) assert(saysFull(Object.assign(new Error(code), { code })));
  for (const code of ["EIO", "EROFS", "EFBIG"]) assert(!saysFull(Object.assign(new Error(code), { code })));
  assert(!saysFull(new Error("ENOSPC")));
});
