/** Turns of the event loop: how many waiters begin in each, which is next, and which is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { NearcastError } from "../../../node/base/errors.ts";
import { openChunkTurns, openTurns, type TurnWish } from "../../../node/deliver/turns.ts";

test("four chunks go at once, and the rest in the turns that follow, in order", async () => {
  const turns = openChunkTurns();
  const granted: number[] = [];
  for (let number = 0; number < 10; number += 1) {
    const turn = turns.take("a");
    if (turn === true) granted.push(number);
    else void turn.then(() => granted.push(number));
  }
  assert.equal(granted.length, 4);
  await nextTurn();
  assert.equal(granted.length, 8);
  await nextTurn();
  assert.deepEqual(
    granted,
    Array.from({ length: 10 }, (_, number) => number),
  );
});

test("one that takes turns without end leaves each turn of the loop to others", async () => {
  const turns = openChunkTurns();
  let taken = 0;
  const over = new AbortController();
  const greedy = (async () => {
    while (!over.signal.aborted) {
      const turn = turns.take("a");
      if (turn !== true) await turn;
      taken += 1;
    }
  })();
  for (let turn = 1; turn <= 5; turn += 1) {
    await nextTurn();
    assert.ok(taken <= 4 * (turn + 1), `${taken} chunks in ${turn} turns`);
  }
  over.abort();
  await greedy;
});

test("a chunk goes at once when the turns before were full and nobody waits any more", async () => {
  const turns = openChunkTurns();
  for (let number = 0; number < 4; number += 1) assert.equal(turns.take("a"), true);
  await nextTurn();
  assert.equal(turns.take("a"), true);
});

test("a share with a thousand that wait gets no more turns than one with a single one", async () => {
  const turns = openChunkTurns();
  const granted: string[] = [];
  const take = async (share: string): Promise<void> => {
    await turns.take(share);
    granted.push(share);
  };
  for (let number = 0; number < 1000; number += 1) void take("many");
  void take("one");
  void take("other");
  await nextTurn();
  await nextTurn();
  assert.deepEqual(granted.slice(4, 8).toSorted(), ["many", "many", "one", "other"]);
});

/** Turns of a loop that the test advances by hand, with a clock of its own. */
function openByHand(limits: { waitingMax?: number; waitingOfShareMax?: number; restTurnsMax?: number } = {}) {
  const { restTurnsMax = 0, waitingMax = 100, waitingOfShareMax = waitingMax } = limits;
  let scheduled: (() => void)[] = [];
  let nowMs = 0;
  const clock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    after: () => () => undefined,
    every: () => () => undefined,
  };
  const turns = openTurns({
    perRoundMax: 1,
    restTurnsMax,
    queue: { waitingMax, waitingOfShareMax, waitMsMax: 1000, what: "requests", clock },
    inNextTurn: (run) => scheduled.push(run),
  });
  const ends: string[] = [];
  return {
    turns,
    /** What became of each, in that order: its name, or its name and the code or reason of its end. */
    ends,
    take: (name: string, share: string, wish?: TurnWish): void => {
      const turn = turns.take(share, wish);
      if (turn === true) ends.push(name);
      else {
        turn.then(
          () => ends.push(name),
          (error: unknown) => ends.push(`${name} ${error instanceof NearcastError ? error.code : String(error)}`),
        );
      }
    },
    skip: (ms: number): void => {
      nowMs += ms;
    },
    /** One turn of the loop; returns whether anything was scheduled for it. */
    turn: async (): Promise<boolean> => {
      const now = scheduled;
      scheduled = [];
      for (const run of now) run();
      await nextTurn(); // all that was granted has gone on
      return now.length > 0;
    },
  };
}

test("while turns accept connections, nothing begins in some of them; otherwise one begins in each", async () => {
  const { take, turn, turns, ends } = openByHand({ restTurnsMax: 3 });
  for (let number = 0; number < 6; number += 1) take(`a${number}`, "a");
  const begun: number[] = [];
  for (let number = 0; number < 9; number += 1) {
    begun.push(ends.length);
    turns.accepted();
    await turn();
  }
  assert.deepEqual(begun, [1, 1, 1, 1, 2, 2, 2, 2, 3]);
  await turn();
  await turn();
  assert.equal(ends.length, 5);
});

test("nothing is scheduled when nobody waits any more", async () => {
  const { take, turn, ends } = openByHand({ restTurnsMax: 1 });
  take("a1", "a");
  take("a2", "a");
  let turns = 0;
  while (await turn()) turns += 1;
  assert.equal(turns, 2);
  take("a3", "a");
  assert.deepEqual(ends, ["a1", "a2", "a3"]);
});

test("two thousand waiters of one share delay one of another share by one round", async () => {
  const { take, turn, ends, turns: all } = openByHand({ restTurnsMax: 3, waitingMax: 5000 });
  for (let number = 0; number < 2000; number += 1) take(`a${number}`, "a");
  take("b", "b");
  let turns = 0;
  for (; !ends.includes("b"); turns += 1) {
    all.accepted();
    await turn();
  }
  assert.ok(turns <= 8, `${turns} turns`);
});

test("a waiter whose client leaves is dropped from the queue, and one whose client has left gets no turn", async () => {
  const { take, turn, ends, turns } = openByHand();
  const leaving = new AbortController();
  take("a1", "a");
  for (const name of ["a2", "a3"]) take(name, "a", { signal: leaving.signal });
  take("b1", "b");
  leaving.abort("left");
  take("a4", "a", { signal: leaving.signal });
  await turn();
  assert.deepEqual(ends.toSorted(), ["a1", "a2 left", "a3 left", "a4 left", "b1"]);
  assert.deepEqual(turns.counts(), { waiting: 0, refused: 0, left: 3 });
});

test("waiters with the same key all begin with the first of them, whatever their share", async () => {
  const { take, turn, ends, turns } = openByHand();
  take("a1", "a");
  take("a2", "a", { key: "other" });
  take("a3", "a", { key: "same" });
  take("b1", "b", { key: "same" });
  take("c1", "c", { key: "same" });
  await turn();
  assert.deepEqual(ends, ["a1", "a2"]);
  await turn();
  assert.deepEqual(ends, ["a1", "a2", "b1", "a3", "c1"]);
  assert.equal(turns.counts().waiting, 0);
});

test("beyond its limit a share is refused, and beyond the total limit the share with the most loses one", async () => {
  const { take, turn, ends, turns } = openByHand({ waitingMax: 4, waitingOfShareMax: 3 });
  for (const name of ["a1", "a2", "a3", "a4", "a5"]) take(name, "a");
  for (const name of ["b1", "b2"]) take(name, "b");
  await nextTurn();
  assert.deepEqual(ends, ["a1", "a5 OVERLOADED", "a2 OVERLOADED"]);
  take("b3", "b");
  await nextTurn();
  assert.deepEqual(ends.slice(3), ["b3 OVERLOADED"]);
  while (await turn());
  assert.deepEqual(ends.slice(4), ["a3", "b1", "a4", "b2"]);
  assert.deepEqual(turns.counts(), { waiting: 0, refused: 3, left: 0 });
});

test("nobody waits for longer than the limit", async () => {
  const { take, turn, ends, skip } = openByHand();
  for (const name of ["a1", "a2", "a3"]) take(name, "a");
  skip(999);
  await turn();
  skip(1);
  await turn();
  assert.deepEqual(ends, ["a1", "a2", "a3 OVERLOADED"]);
});

test("whatever happens, each waiter ends once, and no share gets two turns while another waits", async () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    let state = seed;
    const random = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((state / 2_147_483_648) * below);
    };
    const { take, turn, ends, turns } = openByHand({ waitingMax: 20, waitingOfShareMax: 12 });
    const clients = new Map<string, AbortController>();
    for (let step = 0; step < 400; step += 1) {
      const what = random(10);
      if (what < 6) {
        const name = `${"abcd"[random(4)]}${step}`;
        const client = new AbortController();
        clients.set(name, client);
        take(name, name.charAt(0), { signal: client.signal });
      } else if (what < 8) [...clients.values()][random(clients.size)]?.abort("left");
      else await turn();
      assert.ok(turns.counts().waiting <= 20);
    }
    while (await turn());
    assert.equal(new Set(ends.map((end) => end.split(" ", 1)[0])).size, ends.length, `seed ${seed}`);
    assert.equal(ends.length, clients.size, `seed ${seed}`);
  }
});
