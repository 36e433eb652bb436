import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet } from "#document/document.ts";
import type { NodeHealth, NodeState, SiteState } from "#health/health.ts";
import { openDirectory, type PeerDirectory, type Room } from "../../../node/peer/directory.ts";
import { rankOwners } from "../../../node/peer/owners.ts";
import type { MemberAnswer } from "../../../node/peer/members.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

const keys = Array.from({ length: 300 }, (_, index) => `shop/${index}.jpg`);

function siteOf(name: string, count: number, parts: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const nodes = Array.from({ length: count }, (_, index) => ({
    name: `${name}${index + 1}`,
    http: `http://${name}${index + 1}.test:8080`,
    peer: { host: "192.0.2.1", port: 8000 + index },
  }));
  return siteValue(name, { nodes, ...parts });
}

/** The directory of one process, and all that it looks at. */
interface Seen {
  directory: PeerDirectory;
  clock: FakeClock;
  fleet: Fleet | null;
  health: Map<string, NodeHealth>;
  answers: Map<string, MemberAnswer>;
  states: Map<string, SiteState>;
  self: { node: string; process: number; processes: number; isReady: boolean };
  room: Room;
  shunned: Set<string>;
  judge: (node: string, state: NodeState) => void;
}

function seenBy(node: string, fleet: Fleet | null, process = 0, processes = 1): Seen {
  const clock = fakeClock();
  const site = node.replace(/\d+$/, "");
  const seen: Omit<Seen, "directory"> = {
    clock,
    fleet,
    health: new Map(),
    answers: new Map(),
    states: new Map(),
    self: { node, process, processes, isReady: true },
    room: { isFull: false, sitesWithRoom: [] },
    shunned: new Set(),
    judge(name, state) {
      seen.health.set(name, { state, contraryCount: 0, reason: "" });
      clock.advance(100);
    },
  };
  const directory = openDirectory({
    fleet: () => seen.fleet,
    health: () => seen.health,
    answers: () => seen.answers,
    siteStates: () => seen.states,
    self: () => seen.self,
    site,
    room: () => seen.room,
    isShunned: ({ name }) => seen.shunned.has(name),
    clock,
  });
  return Object.assign(seen, { directory });
}

const namesOf = (members: readonly { name: string }[]): string[] => members.map(({ name }) => name);
/** The whole order of a key, as a table that nobody caches. */
const orderOf = (key: string, names: readonly string[]): string[] =>
  namesOf(
    rankOwners(
      key,
      names.map((name) => ({ name })),
    ),
  );

test("all nodes of a site send a key to one of them, which does the work itself", () => {
  const fleet = fleetWith({ sites: [siteOf("fra", 4)] });
  const names = ["fra1", "fra2", "fra3", "fra4"];
  const nodes = names.map((name) => seenBy(name, fleet));
  for (const key of keys) {
    const order = orderOf(key, names);
    for (const { directory, self } of nodes) {
      const before = order.slice(0, order.indexOf(self.node)).slice(0, 2);
      assert.deepEqual(namesOf(directory.ownersBefore(key)), before, `${self.node} for ${key}`);
    }
  }
});

test("the processes of a node are members like any other", () => {
  const fleet = fleetWith({ sites: [siteOf("fra", 2)] });
  const other = seenBy("fra2", fleet);
  other.answers.set("fra1", { processes: 3 });
  const own = seenBy("fra1", fleet, 2, 3);
  const order = (key: string): string[] => orderOf(key, ["fra1", "fra1.1", "fra1.2", "fra2"]);
  for (const key of keys) {
    const asked = order(key);
    assert.deepEqual(namesOf(other.directory.ownersBefore(key)), asked.slice(0, asked.indexOf("fra2")).slice(0, 2));
    assert.deepEqual(namesOf(own.directory.ownersBefore(key)), asked.slice(0, asked.indexOf("fra1.2")).slice(0, 2));
  }
  assert.deepEqual(namesOf(own.directory.site()), ["fra1", "fra1.1", "fra2"]);
  assert.deepEqual(
    own.directory.site().map(({ port }) => port),
    [8000, 8001, 8001],
  );
});

test("who is shunned, down, draining or busy is passed over by all, for the same next one", () => {
  const fleet = fleetWith({ sites: [siteOf("fra", 4)] });
  const names = ["fra1", "fra2", "fra3", "fra4"];
  const rows: [what: string, change: (seen: Seen) => void][] = [
    ["shunned", ({ shunned }) => shunned.add("fra3")],
    ["down", ({ judge }) => judge("fra3", "down")],
    ["draining", ({ judge }) => judge("fra3", "draining")],
    [
      "busy",
      ({ answers }) => {
        for (const name of names) answers.set(name, { rendersWaiting: name === "fra3" ? 60 : 4 });
      },
    ],
  ];
  for (const [what, change] of rows) {
    for (const name of ["fra1", "fra2", "fra4"]) {
      const seen = seenBy(name, fleet);
      change(seen);
      for (const key of keys) {
        const order = orderOf(key, names).filter((one) => one !== "fra3");
        const before = order.slice(0, order.indexOf(name)).slice(0, 2);
        assert.deepEqual(namesOf(seen.directory.ownersBefore(key)), before, `fra3 ${what}, ${name} for ${key}`);
      }
    }
  }
});

test("a node that is busy or drains itself asks the others for what it owned", () => {
  const fleet = fleetWith({ sites: [siteOf("fra", 3)] });
  const names = ["fra1", "fra2", "fra3"];
  const busy = seenBy("fra1", fleet);
  for (const name of names) busy.answers.set(name, { rendersWaiting: name === "fra1" ? 60 : 4 });
  const draining = seenBy("fra1", fleet);
  assert.equal(draining.directory.site().length, 2);
  draining.self = { ...draining.self, isReady: false };
  for (const { directory } of [busy, draining]) {
    for (const key of keys) {
      const others = orderOf(key, names).filter((one) => one !== "fra1");
      assert.deepEqual(namesOf(directory.ownersBefore(key)), others);
    }
  }
});

test("no key is asked for elsewhere where nobody is: no document, no such site, alone, not a member", () => {
  const alone = fleetWith({ sites: [siteOf("fra", 1), siteOf("nyc", 2)] });
  const notThere = fleetWith({ sites: [siteOf("nyc", 2)] });
  for (const fleet of [null, alone, notThere]) {
    const { directory } = seenBy("fra1", fleet);
    assert.deepEqual(directory.ownersBefore("a.jpg"), []);
    assert.deepEqual(directory.shieldFor("a.jpg"), []);
    assert.deepEqual(directory.roomElsewhere("a.jpg"), []);
    assert.deepEqual(directory.site(), []);
  }
});

test("the shield is asked by all but itself, at the key's best two there, while it is up", () => {
  const fleet = fleetWith({ sites: [siteOf("fra", 2), siteOf("nyc", 3)], shield: "nyc" });
  const seen = seenBy("fra1", fleet);
  const order = (key: string): string[] => orderOf(key, ["nyc1", "nyc2", "nyc3"]);
  for (const key of keys) {
    assert.deepEqual(namesOf(seen.directory.shieldFor(key)), order(key).slice(0, 2));
    assert.deepEqual(seenBy("nyc1", fleet).directory.shieldFor(key), []);
  }
  const [first = ""] = order("a.jpg");
  seen.shunned.add(first);
  assert.deepEqual(namesOf(seen.directory.shieldFor("a.jpg")), order("a.jpg").slice(1, 3));
  for (const name of order("a.jpg").slice(0, 2)) seen.judge(name, "down");
  assert.deepEqual(namesOf(seen.directory.shieldFor("a.jpg")), order("a.jpg").slice(2));
  seen.states.set("nyc", "down");
  seen.clock.advance(100);
  assert.deepEqual(seen.directory.shieldFor("a.jpg"), []);
});

test("a full site hands a key to the nearest with room, and to the next should that fail", () => {
  const fleet = fleetWith({ sites: [siteOf("fra", 2), siteOf("ams", 2), siteOf("nyc", 2), siteOf("sin", 0)] });
  const seen = seenBy("fra1", fleet);
  const best = (key: string, site: string): string => orderOf(key, [`${site}1`, `${site}2`])[0] ?? "";
  const roomFor = (isFull: boolean, ...sitesWithRoom: string[]): string[][] => {
    seen.room = { isFull, sitesWithRoom };
    return keys.map((key) => namesOf(seen.directory.roomElsewhere(key)));
  };
  const none = keys.map(() => []);
  assert.deepEqual(roomFor(false, "ams", "nyc"), none);
  assert.deepEqual(roomFor(true), none);
  assert.deepEqual(roomFor(true, "sin", "mars"), none);
  assert.deepEqual(
    roomFor(true, "ams", "sin", "nyc"),
    keys.map((key) => [best(key, "ams"), best(key, "nyc")]),
  );
  assert.deepEqual(
    roomFor(true, "nyc"),
    keys.map((key) => orderOf(key, ["nyc1", "nyc2"])),
  );
  assert.deepEqual(
    roomFor(true, "fra", "ams"),
    keys.map((key) => orderOf(key, ["ams1", "ams2"])),
    "it never hands work to itself",
  );
});

test("what changes is seen at once where it is the document or ourselves, else after a tenth of a second", () => {
  const three = fleetWith({ sites: [siteOf("fra", 3)] });
  const two = fleetWith({ sites: [siteOf("fra", 2)] });
  const seen = seenBy("fra1", three);
  assert.deepEqual(namesOf(seen.directory.site()), ["fra2", "fra3"]);
  seen.fleet = two;
  assert.deepEqual(namesOf(seen.directory.site()), ["fra2"]);
  seen.health.set("fra2", { state: "down", contraryCount: 0, reason: "" });
  assert.deepEqual(namesOf(seen.directory.site()), ["fra2"]);
  seen.clock.advance(100);
  assert.deepEqual(seen.directory.site(), []);
});
