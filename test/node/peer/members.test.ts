import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { NodeHealth, NodeState } from "#health/health.ts";
import { isSiteOpen, membersOf, type MembersInput, waitingMost } from "../../../node/peer/members.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

function nodeValue(name: string, parts: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { name, http: `http://${name}.test:8080`, peer: { host: "192.0.2.1" }, ...parts };
}

function fleetOf(...nodes: Record<string, unknown>[]): { fleet: Fleet; site: Site } {
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes })] });
  const [site] = fleet.sites;
  assert(site !== undefined);
  return { fleet, site };
}

const judged = (states: Readonly<Record<string, NodeState>>): Map<string, NodeHealth> =>
  new Map(Object.entries(states).map(([name, state]) => [name, { state, contraryCount: 0, reason: "" }]));

const self = { node: "fra1", process: 0, processes: 1, isReady: true };

test("who is a member, by what is known of the node", () => {
  const rows: [what: string, node: Record<string, unknown>, input: Partial<MembersInput>, names: string[]][] = [
    ["up", {}, { health: judged({ fra2: "up" }) }, ["fra1", "fra2"]],
    ["not judged yet", {}, {}, ["fra1", "fra2"]],
    ["down", {}, { health: judged({ fra2: "down" }) }, ["fra1"]],
    ["draining by its own word", {}, { health: judged({ fra2: "draining" }) }, ["fra1"]],
    ["drained by an operator", { state: "draining" }, { health: judged({ fra2: "up" }) }, ["fra1"]],
    ["without an endpoint", { peer: undefined }, { health: judged({ fra2: "up" }) }, ["fra1"]],
    ["two processes", {}, { answers: new Map([["fra2", { processes: 2 }]]) }, ["fra1", "fra2", "fra2.1"]],
    ["ourselves not ready", {}, { self: { ...self, isReady: false } }, ["fra2"]],
    ["ourselves said to be down", {}, { health: judged({ fra1: "down" }) }, ["fra1", "fra2"]],
    ["our own processes", {}, { self: { ...self, processes: 2 } }, ["fra1", "fra1.1", "fra2"]],
  ];
  for (const [what, parts, more, names] of rows) {
    const { fleet, site } = fleetOf(nodeValue("fra1"), nodeValue("fra2", parts));
    const input = { fleet, health: new Map(), answers: new Map(), self, ...more };
    assert.deepEqual(
      membersOf(site, input).map(({ name }) => name),
      names,
      what,
    );
  }
});

test("process i of a node listens i ports above its first, up to the last port and to sixty-four", () => {
  const { fleet, site } = fleetOf(
    nodeValue("fra1"),
    nodeValue("fra2", { peer: { host: "2001:db8::2", port: 65_534 } }),
    nodeValue("fra3"),
  );
  const answers = new Map([
    ["fra2", { processes: 4 }],
    ["fra3", { processes: 1_000_000 }],
  ]);
  const members = membersOf(site, { fleet, health: new Map(), answers, self });
  assert.deepEqual(
    members.filter(({ node }) => node === "fra2"),
    [
      { name: "fra2", node: "fra2", site: "fra", host: "2001:db8::2", port: 65_534 },
      { name: "fra2.1", node: "fra2", site: "fra", host: "2001:db8::2", port: 65_535 },
    ],
  );
  assert.equal(members.filter(({ node }) => node === "fra3").length, 64);
});

test("others ask a site that is up and that no operator takes out", () => {
  for (const [state, isOpen] of [
    ["auto", true],
    ["up", true],
    ["down", false],
    ["draining", false],
  ] as const) {
    const [site] = fleetWith({ sites: [siteValue("fra", { state })] }).sites;
    assert(site !== undefined);
    assert.equal(isSiteOpen(site, new Map()), isOpen, state);
    assert.equal(isSiteOpen(site, new Map([["fra", "down"]])), false, state);
  }
});

test("a node is busy well above its site's mean, where two say what waits", () => {
  const { site } = fleetOf(nodeValue("fra1"), nodeValue("fra2"), nodeValue("fra3"));
  const mostOf = (...waiting: number[]): number =>
    waitingMost(site, { answers: new Map(waiting.map((rendersWaiting, at) => [`fra${at + 1}`, { rendersWaiting }])) });
  assert.equal(mostOf(), Infinity);
  assert.equal(mostOf(500), Infinity);
  assert.equal(mostOf(0, 0, 0), 8);
  assert.equal(mostOf(40, 0, 80), 58);
});
