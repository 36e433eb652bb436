import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { Fleet } from "#document/document.ts";
import type { NodeHealth, HealthAnswer } from "#health/health.ts";
import { capacityOf, loadsOf, roomOf, sitePressures } from "#health/site-pressure.ts";
import { checkFleet } from "#document/read-document.ts";

function fleetOf(capacities: Record<string, object | undefined>): Fleet {
  const longitudes = [0, 10, 40, 90];
  const checked = checkFleet({
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }] }],
    hosts: [{ name: "img.cdn.test", kind: "images" }],
    sites: Object.entries(capacities).map(([name, capacity], index) => ({
      name,
      place: { latitude: 0, longitude: longitudes[index] },
      addresses: ["192.0.2.80"],
      ...(capacity === undefined ? {} : { capacity }),
      nodes: [1, 2].map((n) => ({ name: `${name}${n}`, http: `http://192.0.2.${index * 10 + n}` })),
    })),
  });
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems));
  return checked.value;
}

const up: NodeHealth = { state: "up", contraryCount: 0, reason: "" };
const healthOf = (fleet: Fleet): Map<string, NodeHealth> =>
  new Map(fleet.sites.flatMap((site) => site.nodes.map((node) => [node.name, up])));

function pressures(fleet: Fleet, answers: Record<string, HealthAnswer>): Map<string, number> {
  return new Map(sitePressures(fleet, healthOf(fleet), new Map(Object.entries(answers))));
}

test("the fullest part counts: requests, bytes, event loop, waiting renderings", () => {
  const fleet = fleetOf({ a: { requestsPerSecond: 100, bytesPerSecond: 10_000 } });
  equal(pressures(fleet, { a1: { load: 30 }, a2: { load: 40 } }).get("a"), 0.7);
  equal(
    pressures(fleet, { a1: { load: 30, bytesPerSecond: 9000 }, a2: { load: 0, bytesPerSecond: 6000 } }).get("a"),
    1.5,
  );
  equal(pressures(fleet, { a1: { load: 1, loopDelayMs: 300 }, a2: { load: 1, loopDelayMs: 100 } }).get("a"), 2);
  equal(pressures(fleet, { a1: { load: 1, rendersWaiting: 100 }, a2: { load: 1, rendersWaiting: 0 } }).get("a"), 0.5);
});

test("a site without a capacity, or of which nobody says anything, has no pressure", () => {
  const fleet = fleetOf({ a: undefined, b: { requestsPerSecond: 10 } });
  deepEqual(pressures(fleet, { a1: { load: 1000, loopDelayMs: 1000 }, b1: { rendersWaiting: 5 } }), new Map());
});

test("the answers of a node that is not up count no more", () => {
  const fleet = fleetOf({ a: { requestsPerSecond: 100 } });
  const health = new Map<string, NodeHealth>([
    ["a1", up],
    ["a2", { ...up, state: "down" }],
  ]);
  const answers = new Map<string, HealthAnswer>([
    ["a1", { load: 50 }],
    ["a2", { load: 500 }],
  ]);
  equal(sitePressures(fleet, health, answers).get("a"), 0.5);
});

test("pressures become requests per second, so that sites can be weighed against each other", () => {
  const fleet = fleetOf({ a: { requestsPerSecond: 100 }, b: { bytesPerSecond: 2_000_000 }, c: undefined });
  deepEqual(fleet.sites.map(capacityOf), [100, 100, Infinity]);
  const loads = loadsOf(
    fleet,
    new Map([
      ["a", 1.5],
      ["b", 0.5],
    ]),
    new Map([
      ["a", 20],
      ["b", 1],
      ["c", 7],
    ]),
  );
  deepEqual(
    [...loads],
    [
      ["a", 150],
      ["b", 50],
      ["c", 7],
    ],
  );
});

test("room is elsewhere only while the own site is full: nearest first, where up and not nearly full", () => {
  const stated = { requestsPerSecond: 100 };
  const fleet = fleetOf({ a: stated, b: stated, c: stated, d: undefined });
  const states = new Map([
    ["a", "up"],
    ["b", "up"],
    ["c", "up"],
    ["d", "up"],
  ] as const);
  const filled = (a: number, b: number): ReadonlyMap<string, number> =>
    new Map([
      ["a", a],
      ["b", b],
      ["c", 0.2],
    ]);
  deepEqual(roomOf(fleet, states, filled(0.99, 0), "a"), { isFull: false, sitesWithRoom: [] });
  deepEqual(roomOf(fleet, states, filled(1, 0), "a"), { isFull: true, sitesWithRoom: ["b", "c", "d"] });
  deepEqual(roomOf(fleet, states, filled(1, 0.9), "a").sitesWithRoom, ["c", "d"]);
  const down = new Map([...states, ["c", "down"]] as const);
  deepEqual(roomOf(fleet, down, filled(1, 0), "a").sitesWithRoom, ["b", "d"]);
  deepEqual(roomOf(fleet, states, filled(1, 0), "nowhere"), { isFull: false, sitesWithRoom: [] });
});
