/** Turns of the event loop: a chunk waits for one when the bound of this turn is reached, and none is forgotten. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { openChunkTurns } from "../../../node/deliver/turns.ts";

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
