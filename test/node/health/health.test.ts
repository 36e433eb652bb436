import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type NodeHealth,
  type NodeState,
  siteLoads,
  type SiteState,
  siteStates,
  soonestChangesMs,
  toldShares,
  unknownHealth,
} from "#health/health.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

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

test("without shared addresses only nodes with one of their own make a site up; without any it is down", () => {
  const nodes = [
    { name: "a", http: "http://a", addresses: ["198.51.100.1"] },
    { name: "b", http: "http://b" },
  ];
  const rows: [a: NodeState, b: NodeState, shared: SiteState, own: SiteState][] = [
    ["up", "down", "up", "up"],
    ["down", "up", "up", "down"],
    ["draining", "up", "up", "draining"],
    ["unknown", "down", "up", "up"],
  ];
  for (const [a, b, shared, own] of rows) {
    const health = new Map([
      ["a", { ...unknownHealth, state: a }],
      ["b", { ...unknownHealth, state: b }],
    ]);
    const stateWith = (parts: Record<string, unknown>) =>
      siteStates(fleetWith({ sites: [siteValue("fra", { nodes, ...parts })] }), health).get("fra");
    assert.equal(stateWith({}), shared, `${a} ${b}`);
    assert.equal(stateWith({ addresses: [] }), own, `${a} ${b}`);
    assert.equal(stateWith({ addresses: [], nodes: nodes.slice(1), state: "up" }), "down", `${a} ${b}: no address`);
  }
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
  const answers = new Map(["a", "b", "c", "d", "nyc1"].map((name, index) => [name, { load: 10 ** index }]));
  assert.deepEqual([...siteLoads(fleet, health, answers)], [["fra", 11]]);
  assert.deepEqual([...siteLoads(fleet, health, new Map([["b", {}]]))], []);
  assert.deepEqual([...siteLoads(fleet, health, new Map([["b", { load: 0 }]]))], [["fra", 0]]);
});

test("a site's share is reported by the first of its nodes that is up, unless that is this node", () => {
  const nodes = ["a", "b", "c"].map((name) => ({ name, http: `http://${name}` }));
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes })] });
  const answers = new Map(["a", "b", "c"].map((name, index) => [name, { keptShare: (index + 1) / 10 }]));
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
    assert.equal(toldShares(fleet, health, answers, self).get("fra"), told, `${states.join()} ${self}`);
  }
  const up = new Map([["a", { ...unknownHealth, state: "up" as const }]]);
  assert.equal(toldShares(fleet, up, new Map([["a", { load: 1 }]]), "x").get("fra"), undefined);
});

const calm: ReadonlySet<string> = new Set();

test("how soon a judgement could change, by the attempts that its nodes still need", () => {
  const nodes = ["a", "b"].map((name) => ({ name, http: `http://${name}` }));
  // Attempts of a node that does not answer begin 100 ms apart, 95 at least.
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes })], probe: { intervalMs: 1000, failuresDown: 4 } });
  const rows: [a: [NodeState, number], b: [NodeState, number], leastMs: number][] = [
    [["up", 0], ["down", 0], 285],
    [["up", 1], ["down", 2], 190],
    [["up", 3], ["down", 0], 0],
    [["up", 9], ["down", 0], 0],
    [["up", 3], ["up", 1], 190], // both must fail
    [["unknown", 0], ["down", 0], 0],
    [["unknown", 0], ["up", 0], 285],
    [["down", 0], ["down", 0], 0], // at any moment, by another node's answer
    [["draining", 0], ["down", 0], 0],
  ];
  for (const [a, b, leastMs] of rows) {
    const health = new Map<string, NodeHealth>(
      [a, b].map(([state, contraryCount], index) => ["ab"[index] ?? "", { state, contraryCount, reason: "" }]),
    );
    assert.deepEqual([...soonestChangesMs(fleet, health, calm, 5000)], [["fra", leastMs]], `${a.join()} ${b.join()}`);
  }
});

test("nodes with addresses of their own change what is answered each by itself", () => {
  const withOwn = (name: string, last: number) => ({ name, http: `http://${name}`, addresses: [`198.51.100.${last}`] });
  const health = new Map<string, NodeHealth>([
    ["a", { state: "up", contraryCount: 0, reason: "" }],
    ["b", { state: "up", contraryCount: 2, reason: "" }],
  ]);
  const probe = { intervalMs: 1000, failuresDown: 4 };
  const soonest = (site: Record<string, unknown>) =>
    soonestChangesMs(fleetWith({ sites: [siteValue("fra", site)], probe }), health, calm, 5000).get("fra");
  const nodes = [withOwn("a", 1), withOwn("b", 2)];
  assert.equal(soonest({ nodes, addresses: [] }), 95, "the sooner one");
  assert.equal(soonest({ nodes: nodes.map(({ name, http }) => ({ name, http })) }), 285, "the later one");
  assert.equal(soonest({ nodes, addresses: [], state: "up" }), 95, "whatever is forced on the site");
  assert.equal(soonest({ nodes: [withOwn("b", 2)], addresses: [], state: "up" }), undefined, "the only choice");
  assert.equal(soonest({ nodes: [withOwn("b", 2)], state: "up" }), 95, "not the only one");
});

test("a forced state can't change, but the share of a site that sheds can", () => {
  const sites = ["up", "down", "draining", "auto"].map((state) => siteValue(state, { state }));
  const fleet = fleetWith({ sites, probe: { intervalMs: 60_000, timeoutMs: 1000, failuresDown: 3 } });
  const health = new Map([["auto1", { ...unknownHealth, state: "up" as const }]]);
  assert.deepEqual([...soonestChangesMs(fleet, health, calm, 5000)], [["auto", 11_400]]);
  assert.deepEqual(
    [...soonestChangesMs(fleet, health, new Set(["up", "auto"]), 5000)],
    [
      ["up", 5000],
      ["auto", 5000],
    ],
  );
});
