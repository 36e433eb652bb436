import assert from "node:assert/strict";
import { test } from "node:test";
import { type NodeState, unknownHealth } from "#health/health.ts";
import { haveSameAddresses, liveFleet } from "#health/live-fleet.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

const node = (name: string, ...addresses: string[]) => ({ name, http: `http://${name}`, addresses });
const healthOf = (states: Readonly<Record<string, NodeState>>) =>
  new Map(Object.entries(states).map(([name, state]) => [name, { ...unknownHealth, state }]));

test("a site's addresses are the shared ones and those of its nodes that are up; else whatever may work", () => {
  const nodes = [node("a", "198.51.100.1", "2001:db8::1"), node("b", "198.51.100.2", "198.51.100.1"), node("c")];
  const [a, b] = [["198.51.100.1", "2001:db8::1"], ["198.51.100.2"]];
  const rows: [a: NodeState, b: NodeState, c: NodeState, shared: string[], own: string[]][] = [
    ["up", "up", "up", [...a, ...b], [...a, ...b]],
    ["down", "up", "up", [...b, "198.51.100.1"], [...b, "198.51.100.1"]],
    ["up", "draining", "up", a, a],
    ["down", "down", "up", [], [...a, ...b]],
    ["down", "draining", "up", [], [...b, "198.51.100.1"]],
    ["unknown", "down", "down", [], a],
    ["down", "down", "down", [], [...a, ...b]],
    ["unknown", "up", "up", [...b, "198.51.100.1"], [...b, "198.51.100.1"]], // it must answer once first
  ];
  for (const [stateA, stateB, stateC, beside, own] of rows) {
    const health = healthOf({ a: stateA, b: stateB, c: stateC });
    const row = `${stateA} ${stateB} ${stateC}`;
    const addressesOf = (addresses: string[]) => {
      const fleet = fleetWith({ sites: [siteValue("fra", { nodes, addresses }), siteValue("nyc")] });
      const live = liveFleet(fleet, health);
      assert.equal(live.sites[1], fleet.sites[1], "a site without such nodes stays as it is");
      assert.deepEqual({ ...live, sites: [] }, { ...fleet, sites: [] });
      return live.sites[0]?.addresses;
    };
    assert.deepEqual(addressesOf(["192.0.2.1"]), ["192.0.2.1", ...beside], row);
    assert.deepEqual(addressesOf([]), own, row);
  }
});

test("a fleet without nodes' addresses is itself; addresses that are the same can be told", () => {
  const plain = fleetWith();
  assert.equal(liveFleet(plain, new Map()), plain);
  const fleet = fleetWith({
    sites: [siteValue("fra", { nodes: [node("a", "198.51.100.1"), node("b", "198.51.100.2")] })],
  });
  const all = liveFleet(fleet, healthOf({ a: "up", b: "up" }));
  assert(haveSameAddresses(all, liveFleet(fleet, healthOf({ a: "up", b: "up" }))));
  assert(!haveSameAddresses(all, liveFleet(fleet, healthOf({ a: "up", b: "down" }))));
  assert(!haveSameAddresses(all, liveFleet(fleet, healthOf({ a: "draining", b: "up" }))));
});
