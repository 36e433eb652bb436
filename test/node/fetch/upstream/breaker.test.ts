import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  admit,
  allowanceOf,
  type Breaker,
  type BreakerPhase,
  connectFailed,
  createBreaker,
  probed,
  startDelayMs,
  started,
  step,
  succeeded,
  urlFailed,
  verified,
} from "../../../../node/fetch/upstream/breaker.ts";

type Step = "admitted" | "refused" | "probe-first" | "ok" | "unconnected" | "alive" | "dead" | number | { url: string };

function run(steps: readonly Step[]): { breaker: Breaker; nowMs: number; said: string[] } {
  const breaker = createBreaker(0);
  const said: string[] = [];
  let nowMs = 0;
  for (const [index, one] of steps.entries()) {
    if (typeof one === "number") nowMs += one;
    else if (typeof one === "object") said.push(urlFailed(breaker, one.url));
    else if (one === "ok") succeeded(breaker, nowMs);
    else if (one === "unconnected") connectFailed(breaker, nowMs);
    else if (one === "alive" || one === "dead") probed(breaker, one === "alive", nowMs, 0);
    else assert.equal(admit(breaker, nowMs), one, `step ${index}`);
  }
  return { breaker, nowMs, said };
}

const unconnected = (count: number): Step[] => Array.from({ length: count }, () => "unconnected" as const);
const urls = (count: number): Step[] => Array.from({ length: count }, (_, index) => ({ url: `/${index}` }));

test("the phases of a breaker, step by step", () => {
  const rows: [what: string, steps: Step[], phase: BreakerPhase][] = [
    ["it begins closed", ["admitted"], "closed"],
    ["four connections that fail do not open it", [...unconnected(4), "admitted"], "closed"],
    ["the fifth in a row does", [...unconnected(5), "refused"], "open"],
    ["a response in between begins the count anew", [...unconnected(4), "ok", ...unconnected(4), "admitted"], "closed"],
    ["it stays open for its wait", [...unconnected(5), 499, "refused"], "open"],
    ["then a probe goes first, and the others wait", [...unconnected(5), 500, "probe-first", "admitted"], "probing"],
    ["for half a second", [...unconnected(5), 500, "probe-first", 499, "admitted", 1, "refused"], "probing"],
    [
      "a response to it begins the recovery",
      [...unconnected(5), 500, "probe-first", "alive", "admitted"],
      "recovering",
    ],
    [
      "none keeps it open for twice as long",
      [...unconnected(5), 500, "probe-first", "dead", 999, "refused", 1, "probe-first"],
      "probing",
    ],
    [
      "up to fifteen seconds",
      [
        ...unconnected(5),
        ...[500, 1000, 2000, 4000, 8000, 15_000].flatMap((ms): Step[] => [ms, "probe-first", "dead"]),
        14_999,
        "refused",
        1,
        "probe-first",
      ],
      "probing",
    ],
    [
      "one connection that fails while it recovers opens it, for twice as long",
      [...unconnected(5), 500, "probe-first", "alive", "unconnected", 999, "refused", 1, "probe-first"],
      "probing",
    ],
    [
      "late failures of older requests do not keep it open longer",
      [...unconnected(5), 400, ...unconnected(9), 100, "probe-first"],
      "probing",
    ],
  ];
  for (const [what, steps, phase] of rows) assert.equal(run(steps).breaker.phase, phase, what);
});

test("one URL that fails a thousand times opens nothing; eight different ones ask for a proof", () => {
  const same = run(Array.from({ length: 1000 }, () => ({ url: "/slow" })));
  assert.deepEqual(new Set(same.said), new Set(["noted"]));
  assert.equal(same.breaker.phase, "closed");
  assert.deepEqual(
    run(urls(7)).said,
    Array.from({ length: 7 }, () => "noted"),
  );
  assert.deepEqual(run([...urls(7), "ok", { url: "/8" }]).said.at(-1), "noted", "a response in between");
  const many = run(urls(8));
  assert.deepEqual(many.said.at(-1), "verify");
  assert.equal(urlFailed(many.breaker, "/9"), "noted", "once, while the proof is under way");
  assert.equal(verified(many.breaker, true, 0), false);
  assert.equal(many.breaker.phase, "closed", "the URL that is known to be good works: these eight are broken, no more");
  const broken = run(urls(8)).breaker;
  assert.equal(verified(broken, false, 0), true);
  assert.equal(broken.phase, "open");
});

test("a recovery begins with half as many requests at a time as usual, and one more for each response", () => {
  const { breaker } = run([...unconnected(5), 500, "probe-first"]);
  assert.equal(allowanceOf(breaker), 0, "while the probe is under way");
  probed(breaker, true, 500, 100);
  assert.equal(allowanceOf(breaker), 2, "at the least");
  succeeded(breaker, 500);
  succeeded(breaker, 500);
  assert.equal(allowanceOf(breaker), 4);
  step(breaker, false, 5500);
  assert.equal(allowanceOf(breaker), Number.POSITIVE_INFINITY);
  const busy = run([...unconnected(5), 500, "probe-first"]).breaker;
  busy.rate = 100;
  probed(busy, true, 500, 400);
  assert.equal(allowanceOf(busy), 20, "of 40 under way at one time");
});

interface Outage {
  /** Requests per second, at random moments. */
  readonly rate: number;
  /** How long nothing is answered until the failure is known. */
  readonly silenceMs: number;
  readonly seed: number;
}

/** A breaker after a minute of requests at this rate, and a failure that has just ended: its probe was answered. */
function afterOutage({ rate, silenceMs, seed }: Outage): { breaker: Breaker; nowMs: number } {
  const random = seededRandom(seed);
  const breaker = createBreaker(0);
  let nowMs = 0;
  const next = (): number => (2 * random() * 1000) / rate;
  for (; nowMs < 60_000; nowMs += next()) {
    started(breaker, nowMs);
    succeeded(breaker, nowMs);
  }
  for (const endMs = nowMs + silenceMs; nowMs < endMs; nowMs += next()) started(breaker, nowMs);
  for (let count = 0; count < 5; count += 1) connectFailed(breaker, nowMs);
  nowMs += 3_600_000; // an hour later the origin is used to the same
  assert.equal(admit(breaker, nowMs), "probe-first");
  probed(breaker, true, nowMs, 0);
  return { breaker, nowMs };
}

/** Requests in each tenth of a second of a recovery, with as many waiting as possible. */
function recover(outage: Outage, seconds: number): number[] {
  const { breaker, nowMs: startMs } = afterOutage(outage);
  const perTenth = Array.from({ length: seconds * 10 }, () => 0);
  for (let nowMs = startMs; nowMs < startMs + seconds * 1000; nowMs += 1) {
    step(breaker, true, nowMs);
    while (startDelayMs(breaker, nowMs) === 0) {
      started(breaker, nowMs);
      succeeded(breaker, nowMs);
      const tenth = Math.floor((nowMs - startMs) / 100);
      perTenth[tenth] = (perTenth[tenth] ?? 0) + 1;
    }
  }
  return perTenth;
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

test("a recovering origin gets its usual rate within a second, and at most twice that in any second", (t) => {
  for (const rate of [40, 100, 400, 2000]) {
    for (const silenceMs of [0, 15_000]) {
      const perTenth = recover({ rate, silenceMs, seed: rate + silenceMs }, 10);
      const seconds = perTenth.slice(9).map((_, index) => sum(perTenth.slice(index, index + 10)));
      t.diagnostic(`${rate}/s, silent for ${silenceMs} ms: ${perTenth.slice(0, 12).join(" ")} per tenth of a second`);
      const what = `after ${rate} a second, and ${silenceMs} ms without a response`;
      assert.ok(Math.max(...seconds) <= 2 * rate, `${Math.max(...seconds)} in a second ${what}`);
      assert.ok(Math.min(...seconds.slice(10)) >= rate, `${Math.min(...seconds.slice(10))} in a second ${what}`);
      assert.ok(sum(perTenth.slice(0, 10)) >= 0.6 * rate, `${sum(perTenth.slice(0, 10))} in the first second ${what}`);
      assert.ok(sum(perTenth.slice(0, 2)) <= 0.3 * rate + 4, "it begins below the usual rate");
    }
  }
});

test("an origin's usual rate fades while there are no requests, but not while it does not answer", () => {
  const rateAfter = (pauseMs: number, silenceMs: number): number => {
    const breaker = createBreaker(0);
    for (let nowMs = 0; nowMs < 60_000; nowMs += 10) {
      started(breaker, nowMs);
      succeeded(breaker, nowMs);
    }
    started(breaker, 60_000 + pauseMs);
    for (let count = 0; count < 5; count += 1) connectFailed(breaker, 60_000 + pauseMs + silenceMs);
    return breaker.rate;
  };
  assert.ok(Math.abs(rateAfter(0, 0) - 100) < 2);
  assert.ok(Math.abs(rateAfter(0, 60_000) - 100) < 2, "silence");
  assert.ok(Math.abs(rateAfter(10_000, 0) - 100 / Math.E) < 2, "a pause");
});

test("a recovery continues while requests wait, up to twice as fast with each step, and ends when none waits", () => {
  for (const [rate, stepMs] of [
    [0, 2000],
    [100, 10_000],
  ] as const) {
    const { breaker, nowMs } = run([...unconnected(5), 500, "probe-first"]);
    breaker.rate = rate;
    probed(breaker, true, nowMs, 0);
    const before = breaker.recoveryRateMax;
    for (let count = 0; count < 1000; count += 1) succeeded(breaker, nowMs);
    assert.equal(breaker.recoveryRate, before);
    step(breaker, true, nowMs + stepMs - 1);
    assert.equal(breaker.recoveryRate, before);
    step(breaker, true, nowMs + stepMs);
    assert.equal(breaker.recoveryRate, 2 * before);
    step(breaker, false, nowMs + 2 * stepMs);
    assert.equal(breaker.phase, "closed");
  }
});
