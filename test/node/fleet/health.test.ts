import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import type { Fleet } from "#fleet/document.ts";
import {
  judge,
  type NodeHealth,
  type NodeState,
  type ProbeResult,
  siteLoads,
  siteStates,
  soonestChangesMs,
  toldShares,
  unknownHealth,
} from "#fleet/health.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";
import { rounds, seedOr } from "../../support/long.ts";

const settings = fleetWith().probe; // 3 failures down, 2 successes up
const ready: ProbeResult = { outcome: "ready" };
const draining: ProbeResult = { outcome: "draining" };
const failed: ProbeResult = { outcome: "failed", reason: "timeout" };

const letters: Readonly<Record<string, ProbeResult>> = { r: ready, d: draining, f: failed };

test("a node's state after each run of probes", () => {
  const rows: [results: string, state: NodeState][] = [
    ["", "unknown"],
    ["r", "up"],
    ["f", "down"], // the first judgement stands before the first answer
    ["d", "draining"],
    ["rf", "up"],
    ["rff", "up"],
    ["rfff", "down"],
    ["rffrff", "up"], // failures count only in a row
    ["fr", "down"],
    ["frr", "up"],
    ["frfr", "down"], // so do successes
    ["fd", "down"],
    ["fdd", "draining"],
    ["frd", "draining"],
    ["rd", "draining"],
    ["dr", "up"],
    ["dff", "draining"],
    ["dfff", "down"],
    ["rfffrr", "up"],
    ["rffffffrr", "up"],
  ];
  for (const [results, state] of rows) {
    const after = results.split("").reduce<NodeHealth>((before, letter) => {
      const result = letters[letter];
      assert(result !== undefined);
      return judge(before, result, settings);
    }, unknownHealth);
    assert.equal(after.state, state, results);
  }
});

test("a node that is down says why it is", () => {
  const down = [ready, failed, failed, { outcome: "failed", reason: "ECONNREFUSED" } as const].reduce<NodeHealth>(
    (before, result) => judge(before, result, settings),
    unknownHealth,
  );
  assert.deepEqual(down, { state: "down", contraryCount: 0, reason: "ECONNREFUSED" });
});

test("a site is up while one of its nodes is, and draining only when no node is up", () => {
  const rows: [states: NodeState[], site: string][] = [
    [["up", "down"], "up"],
    [["down", "draining"], "draining"],
    [["down", "down"], "down"],
    [["unknown", "down"], "up"], // never probed counts as up
    [["up", "draining"], "up"],
  ];
  const nodes = ["a", "b"].map((name) => ({ name, http: `http://${name}` }));
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes })] });
  for (const [states, wanted] of rows) {
    const health = new Map(states.map((state, index) => [index === 0 ? "a" : "b", { ...unknownHealth, state }]));
    assert.equal(siteStates(fleet, health).get("fra"), wanted, states.join());
  }
  assert.equal(siteStates(fleet, new Map()).get("fra"), "up");
});

const nodeStates: readonly NodeState[] = ["unknown", "up", "down", "draining"];

test("a state that the document forces is final, whatever probes of it and of the others say", () => {
  const states = ["auto", "up", "down", "draining"];
  for (const fra of states) {
    for (const nyc of states) {
      const fleet = fleetWith({ sites: [siteValue("fra", { state: fra }), siteValue("nyc", { state: nyc })] });
      for (const seen of nodeStates) {
        const health = new Map(["fra1", "nyc1"].map((name) => [name, { ...unknownHealth, state: seen }]));
        const bySeen = seen === "unknown" ? "up" : seen;
        const wanted = [fra, nyc].map((state) => (state === "auto" ? bySeen : state));
        assert.deepEqual([...siteStates(fleet, health).values()], wanted, `${fra} ${nyc} ${seen}`);
      }
    }
  }
});

test("the load of a site is the sum over its nodes that are up, and not known where none of them says", () => {
  const nodes = ["a", "b", "c", "d"].map((name) => ({ name, http: `http://${name}` }));
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes }), siteValue("nyc")] });
  const health = new Map(
    (["up", "up", "draining", "down"] as const).map((state, index) => [
      "abcd"[index] ?? "",
      { ...unknownHealth, state },
    ]),
  );
  const words = new Map(["a", "b", "c", "d", "nyc1"].map((name, index) => [name, { load: 10 ** index }]));
  assert.deepEqual([...siteLoads(fleet, health, words)], [["fra", 11]]);
  assert.deepEqual([...siteLoads(fleet, health, new Map([["b", {}]]))], []);
  assert.deepEqual([...siteLoads(fleet, health, new Map([["b", { load: 0 }]]))], [["fra", 0]]);
});

test("a site's share is told by the first of its nodes that is up, unless that is this node", () => {
  const nodes = ["a", "b", "c"].map((name) => ({ name, http: `http://${name}` }));
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes })] });
  const words = new Map(["a", "b", "c"].map((name, index) => [name, { keptShare: (index + 1) / 10 }]));
  const rows: [states: NodeState[], self: string, told: number | undefined][] = [
    [["up", "up", "up"], "x", 0.1],
    [["down", "up", "up"], "x", 0.2],
    [["draining", "unknown", "up"], "x", 0.3],
    [["down", "down", "down"], "x", undefined],
    [["up", "up", "up"], "a", undefined],
    [["up", "up", "up"], "b", 0.1],
    [["down", "up", "up"], "b", undefined],
  ];
  for (const [states, self, told] of rows) {
    const health = new Map(states.map((state, index) => ["abc"[index] ?? "", { ...unknownHealth, state }]));
    assert.equal(toldShares(fleet, health, words, self).get("fra"), told, `${states.join()} ${self}`);
  }
  const up = new Map([["a", { ...unknownHealth, state: "up" as const }]]);
  assert.equal(toldShares(fleet, up, new Map([["a", { load: 1 }]]), "x").get("fra"), undefined);
});

const calm: ReadonlySet<string> = new Set();
/** Spacing of probes is 950 ms at least, 475 ms for a node that is down; a probe lasts 100 ms at most. */
const quick = { intervalMs: 1000, timeoutMs: 100 };

test("how soon a judgement could change, by what its nodes still need", () => {
  const nodes = ["a", "b"].map((name) => ({ name, http: `http://${name}` }));
  const fleet = fleetWith({
    sites: [siteValue("fra", { nodes })],
    probe: { ...quick, failuresDown: 4, successesUp: 3 },
  });
  const rows: [a: [NodeState, number], b: [NodeState, number], leastMs: number][] = [
    [["up", 0], ["down", 0], 3 * 950 - 100],
    [["up", 1], ["down", 2], 2 * 950 - 100],
    [["up", 3], ["down", 0], 0],
    [["up", 3], ["up", 1], 2 * 950 - 100], // both must fail
    [["unknown", 0], ["down", 0], 0],
    [["unknown", 0], ["up", 0], 3 * 950 - 100],
    [["down", 0], ["down", 0], 2 * 475 - 100],
    [["down", 1], ["down", 0], 475 - 100], // one of them is enough
    [["down", 2], ["down", 0], 0],
    [["draining", 0], ["down", 0], 0],
  ];
  for (const [a, b, leastMs] of rows) {
    const health = new Map<string, NodeHealth>(
      [a, b].map(([state, contraryCount], index) => ["ab"[index] ?? "", { state, contraryCount, reason: "" }]),
    );
    assert.deepEqual([...soonestChangesMs(fleet, health, calm, 5000)], [["fra", leastMs]], `${a.join()} ${b.join()}`);
  }
});

test("a forced state can't change, but the share of a site that sheds can", () => {
  const sites = ["up", "down", "draining", "auto"].map((state) => siteValue(state, { state }));
  const fleet = fleetWith({ sites, probe: { intervalMs: 10_000, timeoutMs: 1000, failuresDown: 3 } });
  const health = new Map([["auto1", { ...unknownHealth, state: "up" as const }]]);
  assert.deepEqual([...soonestChangesMs(fleet, health, calm, 5000)], [["auto", 18_000]]);
  assert.deepEqual(
    [...soonestChangesMs(fleet, health, new Set(["up", "auto"]), 5000)],
    [
      ["up", 5000],
      ["auto", 5000],
    ],
  );
});

/** Nodes probed as probe.ts does, with chance for every delay, duration and answer; no clock. */
function* randomJudgements(fleet: Fleet, seed: number): Generator<{ atMs: number; health: Map<string, NodeHealth> }> {
  const random = seededRandom(seed);
  const { probe } = fleet;
  const health = new Map<string, NodeHealth>();
  const longestMs = Math.min(probe.timeoutMs, probe.intervalMs);
  const chance = random();
  const due = fleet.sites.flatMap((site) =>
    site.nodes.map(({ name }) => ({ name, startMs: random() * probe.intervalMs, tookMs: random() * longestMs })),
  );
  for (let n = 0; n < 400; n++) {
    const next = due.toSorted((a, b) => a.startMs + a.tookMs - b.startMs - b.tookMs)[0];
    if (next === undefined) return;
    const result: ProbeResult = random() < chance ? ready : failed;
    const after = judge(health.get(next.name) ?? unknownHealth, result, probe);
    health.set(next.name, after);
    yield { atMs: next.startMs + next.tookMs, health };
    const intervalMs = probe.intervalMs * (after.state === "down" ? 0.5 : 1) * (0.95 + random() * 0.05);
    next.startMs += Math.max(intervalMs, next.tookMs + 10);
    next.tookMs = random() < 0.5 ? 0 : random() * longestMs;
  }
}

test("no judgement changes sooner than was said at any moment before", () => {
  const first = seedOr(1);
  for (let seed = first; seed < first + rounds(300, 20_000); seed++) {
    const random = seededRandom(seed);
    const below = (limit: number): number => Math.floor(random() * limit);
    const nodes = Array.from({ length: 1 + below(3) }, (_, n) => ({ name: `n${n}`, http: "http://192.0.2.1" }));
    const fleet = fleetWith({
      sites: [siteValue("fra", { nodes })],
      probe: {
        intervalMs: 200 + below(5000),
        timeoutMs: 50 + below(3000),
        failuresDown: 1 + below(6),
        successesUp: 1 + below(4),
      },
    });
    let earliestMs = 0;
    let state = siteStates(fleet, new Map()).get("fra");
    for (const { atMs, health } of randomJudgements(fleet, seed)) {
      const now = siteStates(fleet, health).get("fra");
      if (now !== state) {
        assert(atMs >= earliestMs, `SEED=${seed}: ${state} became ${now} ${earliestMs - atMs} ms early`);
        earliestMs = 0;
      }
      state = now;
      const soonest = soonestChangesMs(fleet, health, calm, 5000).get("fra");
      assert(soonest !== undefined && soonest >= 0);
      earliestMs = Math.max(earliestMs, atMs + soonest);
    }
  }
});
