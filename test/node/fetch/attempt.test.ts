import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { attempt } from "../../../node/fetch/attempt.ts";
import { createBreaker } from "../../../node/fetch/breaker.ts";
import { fakeClock, type FakeClock } from "../../support/fake-clock.ts";

function bench(timeoutMs = 5000) {
  const clock = fakeClock();
  const breaker = createBreaker(clock);
  return { clock, breaker, settings: { breaker, clock, random: () => 0, timeoutMs } };
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
  assert(never.status === "rejected" && (never.reason as NearcastError).code === "ORIGIN_UNREACHABLE");
  assert.equal(tries, 2);
});

test("what is not the origin's fault is not tried again and does not count against it", async () => {
  const { clock, breaker, settings } = bench();
  for (const thrown of [
    new NearcastError("BODY_TOO_LARGE", "x"),
    new TypeError("bug"),
    Object.assign(new Error("x"), { code: "UND_ERR_INVALID_ARG" }),
  ]) {
    let tries = 0;
    for (let round = 0; round < 6; round += 1) {
      const result = await settled(
        clock,
        attempt(settings, () => {
          tries += 1;
          return Promise.reject(thrown);
        }),
      );
      assert.equal(result.status, "rejected");
    }
    assert.equal(tries, 6);
    assert.equal(breaker.state(), "closed");
  }
});

test("an answer that is refused here closes a breaker that was half open: the origin lives", async () => {
  const { clock, breaker, settings } = bench();
  for (let count = 0; count < 5; count += 1) breaker.failed();
  clock.advance(500);
  await settled(
    clock,
    attempt(settings, () => Promise.reject(new NearcastError("BODY_TOO_LARGE", "x"))),
  );
  assert.equal(breaker.state(), "closed");
});

test("while the breaker is open work is refused at once, without being begun", async () => {
  const { clock, breaker, settings } = bench();
  for (let count = 0; count < 5; count += 1) breaker.failed();
  let tries = 0;
  const refused = await settled(
    clock,
    attempt(settings, async () => {
      tries += 1;
    }),
  );
  assert(refused.status === "rejected" && (refused.reason as NearcastError).code === "ORIGIN_UNREACHABLE");
  assert.equal(tries, 0);
});

test("a first failure that opens the breaker is reported, not the refusal of the second try", async () => {
  const { clock, breaker, settings } = bench();
  for (let count = 0; count < 4; count += 1) breaker.failed();
  const result = await settled(
    clock,
    attempt(settings, () => Promise.reject(new NearcastError("ORIGIN_BAD_ANSWER", "status 500"))),
  );
  assert(result.status === "rejected" && (result.reason as NearcastError).code === "ORIGIN_BAD_ANSWER");
});

test("the names of the system's failures in our words", async () => {
  const rows: [thrown: object, code: string][] = [
    [{ name: "TimeoutError", message: "t" }, "ORIGIN_TIMEOUT"],
    [{ name: "AbortError", message: "t" }, "ORIGIN_TIMEOUT"],
    [{ name: "HeadersTimeoutError", code: "UND_ERR_HEADERS_TIMEOUT" }, "ORIGIN_TIMEOUT"],
    [{ name: "Error", code: "ETIMEDOUT" }, "ORIGIN_TIMEOUT"],
    [{ name: "SocketError", code: "UND_ERR_SOCKET" }, "ORIGIN_UNREACHABLE"],
    [{ name: "Error", code: "ENOTFOUND" }, "ORIGIN_UNREACHABLE"],
    [{ name: "Error", code: "ECONNRESET" }, "ORIGIN_UNREACHABLE"],
    [{ name: "HTTPParserError", message: "Expected HTTP/" }, "ORIGIN_BAD_ANSWER"],
    [{ name: "TypeError", message: "x is not a function" }, "INTERNAL"],
  ];
  for (const [thrown, code] of rows) {
    const { clock, settings } = bench();
    const result = await settled(
      clock,
      attempt(settings, () => Promise.reject(Object.assign(new Error("x"), thrown))),
    );
    assert(result.status === "rejected" && (result.reason as NearcastError).code === code, JSON.stringify(thrown));
  }
});

/** Keeps the process alive until the test is over, however it ends. */
function keepAlive(t: TestContext): void {
  const alive = setInterval(() => undefined, 1000);
  t.after(() => {
    clearInterval(alive);
  });
}

test("a connection that does not come about is tried until the deadline, which is what is reported", async (t) => {
  const breaker = createBreaker(systemClock);
  let tries = 0;
  keepAlive(t); // neither the deadline's timer nor the pauses do
  const unconnected = attempt({ breaker, clock: systemClock, random: () => 0, timeoutMs: 400 }, async () => {
    tries += 1;
    throw Object.assign(new Error("x"), { name: "ConnectTimeoutError", code: "UND_ERR_CONNECT_TIMEOUT" });
  });
  await assert.rejects(unconnected, { code: "ORIGIN_TIMEOUT", message: "no answer within 400 ms" });
  assert.ok(tries >= 3, `${tries} tries`);
});

test("the deadline is one for all attempts: past it nothing is tried again", async (t) => {
  const { clock, settings } = bench(20);
  let tries = 0;
  keepAlive(t); // the deadline's own timer does not
  const result = await Promise.allSettled([
    attempt(settings, (signal) => {
      tries += 1;
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    }),
  ]);
  clock.advance(1000);
  assert(result[0].status === "rejected" && (result[0].reason as NearcastError).code === "ORIGIN_TIMEOUT");
  assert.equal(tries, 1);
});
