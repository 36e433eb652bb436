import assert from "node:assert/strict";
import { test } from "node:test";
import type { SiteState } from "#health/health.ts";
import { keptSharesOf, loadIntervalMs, nextShedding, restlessSites, type Shedding } from "#health/load-shedding.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

interface Seen {
  capacity?: number;
  load?: number;
  state?: SiteState;
  told?: number;
}

/** Sites a, b, … over rounds; what they see may change from one to the next. */
function bench(ttlSeconds = 30) {
  let shedding: ReadonlyMap<string, Shedding> = new Map();
  const name = (index: number): string => "abcdefgh"[index] ?? "";
  const round = (...seen: Seen[]): number[] => {
    const fleet = fleetWith({
      sites: seen.map(({ capacity }, index) =>
        siteValue(name(index), {
          nodes: [{ name: `${name(index)}1`, http: "http://192.0.2.1" }],
          ...(capacity === undefined ? {} : { capacity: { requestsPerSecond: capacity } }),
        }),
      ),
      steering: [{ name: "img.cdn.test", policy: "geo", ttlSeconds }],
    });
    const states = new Map(seen.map(({ state = "up" }, index) => [name(index), state]));
    const loads = new Map(
      seen.flatMap(({ load }, index) => (load === undefined ? [] : [[name(index), load] as const])),
    );
    const told = new Map(
      seen.flatMap(({ told: one }, index) => (one === undefined ? [] : [[name(index), one] as const])),
    );
    shedding = nextShedding(shedding, fleet, states, loads, told);
    return [...keptSharesOf(fleet, shedding).values()];
  };
  return {
    round,
    /** Rounds until the first share is another one, at most 200; with what it became. */
    until: (...seen: Seen[]): { rounds: number; kept: number | undefined } => {
      const before = shedding.get("a")?.kept ?? 1;
      for (let rounds = 1; rounds <= 200; rounds++) {
        const kept = round(...seen)[0];
        if (kept !== before) return { rounds, kept };
      }
      return { rounds: 200, kept: before };
    },
    restless: (...seen: Seen[]): string[] => {
      round(...seen);
      const fleet = fleetWith({
        sites: seen.map(({ capacity = 100 }, index) =>
          siteValue(name(index), {
            nodes: [{ name: `${name(index)}1`, http: "http://192.0.2.1" }],
            capacity: { requestsPerSecond: capacity },
          }),
        ),
      });
      return [...restlessSites(fleet, shedding, new Map(seen.map(({ load = 0 }, index) => [name(index), load])))];
    },
  };
}

const full = (load: number): Seen => ({ capacity: 100, load });
const empty: Seen = { capacity: 1000, load: 0 };
const away = loadIntervalMs / 1000;

test("one round, by loads in parts of capacity 100 and what the other site has room for", () => {
  const rows: [what: string, seen: Seen[], kept: number[]][] = [
    ["below capacity", [full(100), empty], [1, 1]],
    ["a little above", [full(101), empty], [0.941, 1]],
    ["a quarter above", [full(125), empty], [0.76, 1]],
    ["far above: half at once", [full(1000), empty], [0.5, 1]],
    ["no capacity stated: never full", [{ load: 1e9 }, empty], [1, 1]],
    ["the other one has room without end", [full(125), { load: 1e9 }], [0.76, 1]],
    ["the other one's load is not known: no room", [full(125), { capacity: 1000 }], [1, 1]],
    ["its own load is not known", [{ capacity: 100 }, empty], [1, 1]],
    ["the other one is down", [full(125), { ...empty, state: "down" }], [1, 1]],
    ["the other one drains", [full(125), { ...empty, state: "draining" }], [1, 1]],
    ["it is down itself", [{ ...full(125), state: "down" }, empty], [1, 1]],
    ["alone", [full(500)], [1]],
    ["all are full", [full(125), full(500)], [1, 1]],
    ["the other one has no room: nine tenths are taken", [full(125), full(90)], [1, 1]],
    ["room for a third of it", [full(125), full(80)], [0.92, 1]],
    ["two share the room", [full(125), full(125), { capacity: 1000, load: 870 }], [0.88, 0.88, 1]],
    ["so little that it moves nobody", [full(125), { capacity: 1000, load: 899.5 }], [1, 1]],
  ];
  for (const [what, seen, kept] of rows) assert.deepEqual(bench().round(...seen), kept, what);
});

test("after it shed, a site waits for one TTL and the measurement before it sheds more", () => {
  for (const [ttlSeconds, waitSeconds] of [
    [30, 40],
    [60, 70],
    [1, 15],
    [86_400, 130],
  ] as const) {
    const { round, until } = bench(ttlSeconds);
    assert.equal(round(full(200), empty)[0], 0.5);
    const { rounds, kept } = until(full(200), empty);
    assert.equal(rounds, Math.ceil(waitSeconds / away), `TTL ${ttlSeconds}`);
    assert(kept !== undefined && kept < 0.5);
  }
});

test("while clients are still on their way, the room that they will take is spoken for", () => {
  const { round } = bench();
  // b and c have room for 120, and a sheds 95 of its 190.
  assert.deepEqual(round(full(190), { capacity: 200, load: 100 }, full(50)), [0.5, 1, 1]);
  // They have not left yet when c is full too: of b's 80 none are free. Once some have, some are.
  assert.deepEqual(round(full(190), { capacity: 200, load: 100 }, full(125)), [0.5, 1, 1]);
  assert.deepEqual(round(full(120), { capacity: 200, load: 120 }, full(125)), [0.5, 1, 0.866]);
});

test("between 0.85 and 1.00 of its capacity nothing changes", () => {
  const { round } = bench();
  round(full(125), empty);
  for (let n = 0; n < 500; n++) assert.equal(round(full(85 + (n % 16)), empty)[0], 0.76);
});

test("below that it takes back by steps, as far as is foreseen to fill nine tenths", () => {
  const { round, until } = bench();
  round(full(200), empty);
  for (let n = 0; n < 100; n++) round(full(95), empty);
  // 84 with half of its clients: 90 with 0.536.
  assert.deepEqual(until(full(84), empty), { rounds: 3, kept: 0.536 });
  // 45 with 0.536 of them: 84 with all, which is below 90, but not by a tenth.
  assert.equal(round(full(45), empty)[0], 0.586);
});

test("where all its clients fit by far, the rush is over: it takes back by strides, whatever its patience", () => {
  const { round } = bench();
  round(full(200), empty);
  for (let n = 0; n < 100; n++) round(full(95), empty);
  const steps: number[] = [];
  for (let n = 0; n < 8; n++) steps.push(round(full(5), empty)[0] ?? 0);
  assert.deepEqual(steps, [0.5, 0.5, 0.85, 1, 1, 1, 1, 1]);
});

test("each time that it took back too much it waits twice as long, up to five minutes", () => {
  const { round, until } = bench();
  round(full(125), empty);
  const waits: number[] = [];
  for (let n = 0; n < 8; n++) {
    for (let settled = 0; settled < 20; settled++) round(full(95), empty);
    waits.push(until(full(84), empty).rounds);
    until(full(110), empty); // sheds again
  }
  assert.deepEqual(waits, [3, 6, 12, 24, 48, 60, 60, 60]);
  // Once all is taken back and it stays quiet, the next time is the first.
  for (let n = 0; n < 300; n++) round(full(10), empty);
  assert.equal(round(full(125), empty)[0], 0.76);
  for (let settled = 0; settled < 20; settled++) round(full(95), empty);
  assert.equal(until(full(84), empty).rounds, 3);
});

test("a share never falls below 0.05", () => {
  const { round } = bench();
  let kept = 1;
  for (let n = 0; n < 500; n++) {
    const next = round(full(10_000), { load: 0 })[0] ?? 0;
    assert(next <= kept && next >= 0.05);
    kept = next;
  }
  assert.equal(kept, 0.05);
});

test("a site that was away starts with all its clients", () => {
  for (const state of ["down", "draining"] as const) {
    const { round } = bench();
    round(full(200), empty);
    assert.equal(round({ ...full(200), state }, empty)[0], 1, state);
    assert.equal(round(full(95), empty)[0], 1, state);
  }
  const { round } = bench();
  round(empty, full(200));
  round(empty);
  assert.deepEqual(round(empty, full(95)), [1, 1], "a site that left the document and came again");
});

test("where the load is not known any more, or no capacity is stated, all is taken back", () => {
  for (const [seen, stepMost] of [
    [{ capacity: 100 }, 0.05],
    [{ load: 500 }, 0.35],
  ] as const) {
    const { round } = bench();
    round(full(200), empty);
    let kept = 0.5;
    for (let n = 0; n < 60; n++) {
      const next = round(seen, empty)[0] ?? 0;
      assert(next - kept <= stepMost + 1e-9);
      kept = next;
    }
    assert.equal(kept, 1);
  }
});

test("what a site's own node tells is taken as it is; should it fall silent, the wait goes on", () => {
  const { round } = bench();
  assert.equal(round({ ...full(95), told: 0.3 }, empty)[0], 0.3);
  assert.equal(round({ ...full(500), told: 0.35 }, empty)[0], 0.35);
  assert.equal(round({ ...full(500), state: "down", told: 0.35 }, empty)[0], 1);
  assert.equal(round({ ...full(500), told: 0.4 }, empty)[0], 0.4);
  const kept = Array.from({ length: 10 }, () => round(full(200), empty)[0]);
  assert.deepEqual(
    kept.slice(0, 7),
    Array.from({ length: 7 }, () => 0.4),
  );
  assert((kept.at(-1) ?? 1) < 0.4);
});

test("restless are the sites that shed, and those close to their capacity", () => {
  const { restless } = bench();
  assert.deepEqual(restless(full(95), full(96), empty), ["b"]);
  assert.deepEqual(restless(full(125), full(50), empty), ["a"]);
  assert.deepEqual(restless(full(50), full(50), empty), ["a"], "it has not taken all back yet");
});
