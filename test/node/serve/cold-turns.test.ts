/** When requests begin that no cache can answer: in turns of the real event loop. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { openColdTurns } from "../../../node/serve/cold-turns.ts";
import { testContext } from "../../support/request-context.ts";

const many = "192.0.2.0/24";
const other = "198.51.100.0/24";

test("two thousand waiting requests of one network delay another network by at most two rounds", async () => {
  const coldTurns = openColdTurns(systemClock);
  let begun = 0;
  const leaving = new AbortController();
  for (let number = 0; number < 2000; number += 1) {
    const turn = coldTurns.take(testContext(many, leaving.signal), `/${number}`);
    if (turn === true) begun += 1;
    else turn.then(() => (begun += 1)).catch(() => undefined);
  }
  const ofOther: string[] = [];
  void Promise.resolve(coldTurns.take(testContext(other), "/other")).then(() => ofOther.push("begun"));
  let turns = 0;
  for (; ofOther.length === 0; turns += 1) {
    coldTurns.accepted();
    await nextTurn();
  }
  assert.ok(turns <= 40, `${turns} turns`);
  assert.ok(begun <= 4, `${begun} of the others had begun`);
  leaving.abort(new Error("left"));
  assert.equal(coldTurns.counts().waiting, 0);
});

test("a network that fills its half of the queue is refused, and the other half is for others", async () => {
  const coldTurns = openColdTurns(systemClock);
  const ends: Promise<string>[] = [];
  const leaving = new AbortController();
  const take = (network: string, key: string): void => {
    const turn = coldTurns.take(testContext(network, leaving.signal), key);
    const end = Promise.resolve(turn).then(
      () => "begun",
      (error: unknown) => (error as { code?: string }).code ?? "left",
    );
    ends.push(end);
  };
  for (let number = 0; number < 2100; number += 1) take(many, `/${number}`);
  take(other, "/other");
  assert.equal(await ends.at(-1), "begun");
  leaving.abort(new Error("left"));
  const ofMany = await Promise.all(ends.slice(0, -1));
  const refused = ofMany.filter((end) => end === "OVERLOADED").length;
  assert.equal(refused, 2100 - 2048 - 1);
});

test("requests with the same key begin with the first of them, and background work counts as a network", async () => {
  const coldTurns = openColdTurns(systemClock);
  assert.equal(coldTurns.take(testContext(many), "/a"), true);
  const order: string[] = [];
  const waits = [
    Promise.resolve(coldTurns.take(testContext(many), "/b")).then(() => order.push("b")),
    Promise.resolve(coldTurns.take(testContext(many), "/c")).then(() => order.push("c")),
    coldTurns.takeBehind("/d").then(() => order.push("d")),
    coldTurns.takeBehind("/d").then(() => order.push("d again")),
    Promise.resolve(coldTurns.take(testContext(other), "/c")).then(() => order.push("c of another")),
  ];
  assert.equal(coldTurns.counts().waiting, 4);
  await Promise.all(waits);
  assert.deepEqual(order, ["b", "d", "d again", "c of another", "c"]);
});

test("a request whose client has left gets no turn, and delays nobody", async () => {
  const coldTurns = openColdTurns(systemClock);
  const gone = AbortSignal.abort(new Error("left"));
  await assert.rejects(Promise.resolve(coldTurns.take(testContext(many, gone), "/a")), /left/);
  assert.equal(coldTurns.take(testContext(other), "/b"), true);
  assert.equal(coldTurns.counts().left, 1);
});
