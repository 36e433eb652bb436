/** Only so much at one time, in order, and nobody waits for ever. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openGate } from "#base/gate.ts";
import { fakeClock } from "../../support/fake-clock.ts";

test("work passes in order, never more than there are slots, whatever fails", async () => {
  const gate = openGate({ slots: 2, waitingMax: () => 100, waitMsMax: 1000, clock: fakeClock() });
  const order: number[] = [];
  let running = 0;
  const passes = Array.from(
    { length: 9 },
    async (_, index) =>
      await gate.pass(async () => {
        running += 1;
        assert.ok(running <= 2);
        order.push(index);
        await Promise.resolve();
        running -= 1;
        if (index % 3 === 0) throw new Error("of the work itself");
      }),
  );
  const results = await Promise.allSettled(passes);
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(results.filter((result) => result.status === "rejected").length, 3);
  assert.deepEqual(gate.counts(), { running: 0, waiting: 0 });
});

test("who waits too long is turned away, and its slot goes to the next", async () => {
  const clock = fakeClock();
  const gate = openGate({ slots: 1, waitingMax: () => 100, waitMsMax: 1000, clock });
  const release = Promise.withResolvers<void>();
  const first = gate.pass(async () => await release.promise);
  const impatient = gate.pass(async () => "never");
  clock.advance(600);
  const patient = gate.pass(async () => "later");
  const refused = assert.rejects(impatient, { code: "OVERLOADED" });
  clock.advance(600);
  await refused;
  assert.deepEqual(gate.counts(), { running: 1, waiting: 1 });
  release.resolve();
  await first;
  assert.equal(await patient, "later");
  clock.advance(10_000);
  assert.deepEqual(gate.counts(), { running: 0, waiting: 0 });
});

test("past the bound of those who wait the next is turned away at once, and the bound may change", async () => {
  let waitingMax = 1;
  const gate = openGate({ slots: 1, waitingMax: () => waitingMax, waitMsMax: 1000, clock: fakeClock() });
  const release = Promise.withResolvers<void>();
  const passed = [gate.pass(async () => await release.promise), gate.pass(async () => undefined)];
  await assert.rejects(
    gate.pass(async () => undefined),
    { code: "OVERLOADED" },
  );
  waitingMax = 2;
  passed.push(gate.pass(async () => undefined));
  release.resolve();
  await Promise.all(passed);
  assert.deepEqual(gate.counts(), { running: 0, waiting: 0 });
});
