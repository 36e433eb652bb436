import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { attempt } from "../../../node/fetch/attempt.ts";
import { fakeClock, type FakeClock } from "../../support/fake-clock.ts";

function bench(timeoutMs = 5000) {
  const clock = fakeClock();
  return { clock, settings: { clock, random: () => 0, timeoutMs, name: "origin.test" } };
}

/** Moves the clock on until the work has ended. */
async function settled<Result>(clock: FakeClock, work: Promise<Result>): Promise<PromiseSettledResult<Result>> {
  const ending = Promise.allSettled([work]);
  for (let count = 0; count < 20; count += 1) {
    await turn();
    clock.advance(10);
  }
  return (await ending)[0];
}

const unreachable = (): Error => Object.assign(new Error("connect"), { code: "ECONNREFUSED" });

test("work that fails for the origin's sake is tried once more after a pause, not more often", async () => {
  const { clock, settings } = bench();
  let tries = 0;
  const second = attempt(settings, async () => {
    if ((tries += 1) === 1) throw unreachable();
    return "done";
  });
  await turn();
  assert.equal(tries, 1, "not before the pause is over");
  assert.deepEqual(await settled(clock, second), { status: "fulfilled", value: "done" });
  tries = 0;
  const never = await settled(
    clock,
    attempt(settings, async () => {
      tries += 1;
      throw unreachable();
    }),
  );
  assert(never.status === "rejected");
  assert.equal((never.reason as NearcastError).code, "ORIGIN_UNREACHABLE");
  assert.equal((never.reason as NearcastError).message, "origin.test: connection refused");
  assert.equal(tries, 2);
});

test("what is not the origin's fault is not tried again", async () => {
  const { clock, settings } = bench();
  for (const thrown of [
    new NearcastError("BODY_TOO_LARGE", "x"),
    new NearcastError("ORIGIN_REFUSED", "x"),
    new TypeError("bug"),
    Object.assign(new Error("x"), { code: "UND_ERR_INVALID_ARG" }),
  ]) {
    let tries = 0;
    const work = attempt(settings, () => {
      tries += 1;
      return Promise.reject(thrown);
    });
    assert.equal((await settled(clock, work)).status, "rejected");
    assert.equal(tries, 1);
  }
});

test("the deadline is one for all attempts: past it nothing is tried again", async (t) => {
  const alive = setInterval(() => undefined, 1000); // the deadline's own timer does not keep the process alive
  t.after(() => {
    clearInterval(alive);
  });
  let tries = 0;
  const settings = { clock: systemClock, random: () => 0, timeoutMs: 20, name: "origin.test" };
  const late = attempt(settings, (signal) => {
    tries += 1;
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        reject(new Error("whatever words the work has for it"));
      });
    });
  });
  await assert.rejects(late, { code: "ORIGIN_TIMEOUT", message: "origin.test: no response within 20 ms" });
  assert.equal(tries, 1);
});
