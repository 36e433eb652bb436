import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, type NodeHealth, type NodeState, type ProbeResult, siteStates, unknownHealth } from "#fleet/health.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

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

test("a state that the document forces holds against all probes", () => {
  for (const state of ["up", "down", "draining"]) {
    const fleet = fleetWith({ sites: [siteValue("fra", { state })] });
    for (const seen of ["up", "down"] as const) {
      assert.equal(siteStates(fleet, new Map([["fra1", { ...unknownHealth, state: seen }]])).get("fra"), state);
    }
  }
});
