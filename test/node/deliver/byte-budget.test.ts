import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "#base/clock.ts";
import { seededRandom } from "#base/random.ts";
import { type ByteBudget, openByteBudget } from "../../../node/deliver/byte-budget.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { rounds, seedOr } from "../../support/long.ts";

const idle = { heldBytes: 0, waiting: 0, refused: 0, shares: 0 };

/** Takes, and writes the name down when it is granted or refused. */
function takeAs(budget: ByteBudget, log: string[], name: string, share: string, bytes = 10, waitMs = 1000): void {
  void Promise.resolve(budget.take(bytes, share, waitMs)).then((isGranted) =>
    log.push(isGranted ? name : `no ${name}`),
  );
}

/** A budget of 100 bytes that four others have filled. */
function openFull(clock: Clock = fakeClock()): ByteBudget {
  const budget = openByteBudget(100, clock);
  for (const share of ["w", "x", "y", "z"]) assert.equal(budget.take(25, share, 0), true);
  return budget;
}

test("room is taken at once while there is some, and the bound holds", () => {
  const budget = openFull();
  assert.equal(budget.take(1, "a", 0), false);
  assert.deepEqual(budget.counts(), { heldBytes: 100, waiting: 0, refused: 1, shares: 4 });
  budget.free(25, "w");
  assert.equal(budget.take(25, "a", 0), true);
  for (const share of ["a", "x", "y", "z"]) budget.free(25, share);
  assert.deepEqual(budget.counts(), { ...idle, refused: 1 });
  budget.free(1, "nobody");
  assert.deepEqual(budget.counts(), { ...idle, refused: 1 });
});

test("one that is larger than the whole budget goes alone", async () => {
  const budget = openByteBudget(100, fakeClock());
  assert.equal(budget.take(500, "a", 0), true);
  const log: string[] = [];
  takeAs(budget, log, "b", "b");
  takeAs(budget, log, "huge", "c", 500);
  takeAs(budget, log, "d", "d");
  budget.free(500, "a");
  await turn();
  assert.deepEqual(log, ["b"]);
  budget.free(10, "b");
  await turn();
  assert.deepEqual(log, ["b", "huge"], "it was before d, and d does not pass it for ever");
  budget.free(500, "c");
  await turn();
  assert.deepEqual(log, ["b", "huge", "d"]);
});

test("a share gets a quarter of the budget, its first taker any part; the rest is for the others", async () => {
  const budget = openByteBudget(100, fakeClock());
  const log: string[] = [];
  for (const name of ["a1", "a2", "a3", "a4"]) takeAs(budget, log, name, "a");
  takeAs(budget, log, "b1", "b", 60);
  takeAs(budget, log, "b2", "b", 1);
  await turn();
  assert.deepEqual(log, ["a1", "a2", "b1"]);
  budget.free(10, "a");
  await turn();
  assert.deepEqual(log, ["a1", "a2", "b1", "a3"]);
  assert.equal(budget.take(10, "c", 0), true, "although others wait: they wait for themselves");
});

test("shares that wait take turns, and within a share the first comes first", async () => {
  const budget = openFull();
  const log: string[] = [];
  for (const name of ["a1", "a2", "a3", "b1", "b2", "c1"]) takeAs(budget, log, name, name.slice(0, 1), 25);
  for (const [share, expected] of [
    ["w", "a1"],
    ["x", "b1"],
    ["y", "c1"],
    ["z", undefined], // a and b hold their part
    ["a", "a2"],
    ["b", "b2"],
    ["a", "a3"],
  ] as const) {
    budget.free(25, share);
    await turn();
    if (expected !== undefined) assert.equal(log.at(-1), expected, share);
  }
  assert.deepEqual(log, ["a1", "b1", "c1", "a2", "b2", "a3"]);
});

test("whoever waits for room in all keeps its turn, however many wait", async () => {
  const clock = fakeClock();
  const budget = openFull(clock);
  const log: string[] = [];
  const names = Array.from({ length: 100 }, (_, index) => `n${index}`);
  for (const name of names) takeAs(budget, log, name, name, 25);
  for (const share of ["w", "x", "y", "z", ...names.slice(0, 96)]) budget.free(25, share);
  await turn();
  assert.deepEqual(log, names);
});

test("no room within the time is a refusal, and the turns go on behind it", async () => {
  const clock = fakeClock();
  const budget = openFull(clock);
  const log: string[] = [];
  takeAs(budget, log, "a", "a", 25, 1000);
  takeAs(budget, log, "b", "b", 25, 2000);
  clock.advance(999);
  await turn();
  assert.deepEqual(log, []);
  clock.advance(1);
  await turn();
  assert.deepEqual(log, ["no a"]);
  budget.free(25, "w");
  await turn();
  assert.deepEqual(log, ["no a", "b"]);
  clock.advance(5000);
  for (const share of ["b", "x", "y", "z"]) budget.free(25, share);
  await turn();
  assert.deepEqual(log, ["no a", "b"]);
  assert.deepEqual(budget.counts(), { ...idle, refused: 1 });
});

test("one that leaves while it waits gives up its place at once, and is not counted as refused", async () => {
  const clock = fakeClock();
  const budget = openFull(clock);
  const left = new AbortController();
  const waits = [budget.take(100, "a", 1000, left.signal), budget.take(10, "a", 1000)];
  assert.equal(budget.counts().waiting, 2);
  budget.free(25, "w");
  left.abort();
  assert.deepEqual([await waits[0], await waits[1]], [false, true], "who waited behind it fits");
  assert.equal(budget.take(100, "b", 1000, left.signal), false, "and does not wait when it has left before");
  assert.deepEqual(budget.counts(), { heldBytes: 85, waiting: 0, refused: 0, shares: 4 });
});

test("one share can't take all places of those that wait", async () => {
  const timers = new Set<() => void>();
  const after = (_: number, action: () => void): (() => void) => {
    timers.add(action);
    return () => timers.delete(action);
  };
  const budget = openFull({ ...fakeClock(), after });
  const waits = Array.from({ length: 3000 }, () => budget.take(10, "a", 1000));
  assert.deepEqual([budget.counts().waiting, budget.counts().refused], [2500, 500]);
  const other = budget.take(10, "b", 1000);
  assert.notEqual(other, false);
  for (let index = 0; index < 9000; index += 1) waits.push(budget.take(10, `s${index}`, 1000));
  assert.equal(budget.counts().waiting, 10_000, "and all together have a bound");
  assert.equal(timers.size, 10_000);
  for (const refuse of timers) refuse();
  for (const wait of [other, ...waits]) assert.equal(await wait, false);
  assert.equal(timers.size, 0);
  for (const share of ["w", "x", "y", "z"]) budget.free(25, share);
  assert.deepEqual(budget.counts(), { ...idle, refused: 12_001 });
});

test("many shares that hold on leave room for those who come next", () => {
  const budget = openByteBudget(1000, fakeClock());
  for (let round = 0; round < 50; round += 1)
    for (let share = 0; share < 9; share += 1) void budget.take(10, `slow${share}`, 0);
  const { heldBytes } = budget.counts();
  assert(heldBytes >= 850 && heldBytes <= 950, `${heldBytes} bytes are held`);
  for (let share = 0; share < 5; share += 1) assert.equal(budget.take(10, `next${share}`, 0), true);
});

test("freeing is cheap while 10,000 shares wait, and nothing is left at the end", async () => {
  const budget = openByteBudget(64, fakeClock());
  for (let index = 0; index < 64; index += 1) assert.equal(budget.take(1, `h${index}`, 0), true);
  const names = Array.from({ length: 10_000 }, (_, index) => `s${index}`);
  const waits = names.map((name) => budget.take(1, name, 1000));
  const begunMs = performance.now();
  for (let index = 0; index < 64; index += 1) budget.free(1, `h${index}`);
  for (const [index, name] of names.entries()) {
    assert.equal(await waits[index], true);
    budget.free(1, name);
  }
  // 10,064 times, measured as 0.09 s.
  assert(performance.now() - begunMs < 2000);
  assert.deepEqual(budget.counts(), idle);
});

interface Grant {
  share: string;
  bytes: number;
}

test("whatever is taken, freed and left in whatever order: the bounds hold, and no room stays unused", async () => {
  const seed = seedOr(53);
  const random = seededRandom(seed);
  const upTo = (most: number): number => Math.floor(random() * (most + 1));
  for (let round = 0; round < rounds(60, 3000); round += 1) {
    const clock = fakeClock();
    const bytesMax = 100 + upTo(400);
    const isUniform = random() < 0.5;
    const budget = openByteBudget(bytesMax, clock);
    const held: Grant[] = [];
    const leavers: AbortController[] = [];
    let open = 0;
    const sumOf = (share?: string): number =>
      held.reduce((sum, one) => sum + (share === undefined || one.share === share ? one.bytes : 0), 0);
    const settle = async (taken: Promise<boolean>, grant: Grant): Promise<void> => {
      open += 1;
      const isGranted = await taken;
      open -= 1;
      if (isGranted) held.push(grant);
    };
    const check = (message: string): void => {
      assert.equal(budget.counts().heldBytes, sumOf(), message);
      assert.equal(budget.counts().waiting, open, message);
      assert(sumOf() <= bytesMax || held.length === 1, message);
      for (const share of new Set(held.map((one) => one.share))) {
        const ofShare = held.filter((one) => one.share === share);
        assert(sumOf(share) <= bytesMax / 4 || ofShare.length === 1, message);
      }
    };
    for (let step = 0; step < 300; step += 1) {
      const message = `SEED=${seed}, round ${round}, step ${step}`;
      const choice = random();
      if (choice < 0.5) {
        const grant = { share: `s${upTo(12)}`, bytes: isUniform ? 20 : 1 + upTo(random() < 0.05 ? 600 : 60) };
        const leaver = new AbortController();
        leavers.push(leaver);
        const taken = budget.take(grant.bytes, grant.share, upTo(2) * 500, leaver.signal);
        if (taken === true) held.push(grant);
        else if (taken !== false) {
          void settle(taken, grant);
        }
      } else if (choice < 0.85) {
        const [grant] = held.splice(upTo(held.length - 1), 1);
        if (grant !== undefined) budget.free(grant.bytes, grant.share);
      } else if (choice < 0.95) clock.advance(upTo(300));
      else leavers[upTo(leavers.length - 1)]?.abort();
      await turn();
      check(message);
      if (!isUniform || open === 0) continue;
      const isFull = sumOf() + 20 > bytesMax && held.length > 0;
      // Shares that could take more: only those that hold their part may be among the waiting ones.
      assert(
        isFull ||
          [...new Set(held.map((one) => one.share))].some(
            (share) => sumOf(share) + 20 > Math.min(bytesMax / 4, bytesMax - sumOf()),
          ),
        message,
      );
    }
    clock.advance(10_000);
    await turn();
    for (const { bytes, share } of held.splice(0)) budget.free(bytes, share);
    await turn();
    assert.deepEqual({ ...budget.counts(), refused: 0 }, idle, `SEED=${seed}, round ${round}`);
  }
});
