import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyRoster, type Roster, rosterSchema, withRoster } from "#document/roster.ts";
import { check } from "#base/schema.ts";
import { fleetWith } from "../../support/fleet.ts";

const document = fleetWith();
const joined = { name: "fra2", site: "fra", http: "http://10.0.0.2", addresses: ["10.0.0.2"] };

test("an empty roster leaves the document as it is", () => {
  assert.equal(withRoster(document, emptyRoster), document);
});

test("nodes that joined stand after those of the document, and the document stays as it was", () => {
  const peer = { host: "10.0.0.2", port: 8082 };
  const before = structuredClone(document);
  const fleet = withRoster(document, { revision: 1, nodes: [{ ...joined, peer }], draining: [] });
  assert.deepEqual(
    fleet.sites.map(({ nodes }) => nodes.map(({ name }) => name)),
    [["fra1", "fra2"], ["nyc1"]],
  );
  assert.deepEqual(fleet.sites[0]?.nodes[1], {
    name: "fra2",
    http: "http://10.0.0.2",
    peer,
    addresses: ["10.0.0.2"],
    state: "auto",
  });
  assert.deepEqual(document, before);
});

test("the document is the stronger one: its names stand, and sites that it does not have are left out", () => {
  const nodes = [
    { ...joined, name: "nyc1" },
    { ...joined, site: "tyo" },
  ];
  assert.deepEqual(withRoster(document, { revision: 1, nodes, draining: [] }).sites, document.sites);
});

test("draining concerns nodes of both, and names of nobody mean nothing", () => {
  const roster: Roster = { revision: 1, nodes: [joined], draining: ["fra1", "fra2", "ghost"] };
  assert.deepEqual(
    withRoster(document, roster).sites.map(({ nodes }) => nodes.map(({ state }) => state)),
    [["draining", "draining"], ["auto"]],
  );
});

test("what a later release adds to a node is let through, so that an edge can be upgraded after the origin", () => {
  const nodes = [{ ...joined, colour: "red" }];
  const checked = check(rosterSchema, { revision: 1, nodes, draining: [], more: 1 });
  assert.ok(checked.ok);
  assert.ok(!("colour" in (withRoster(document, checked.value).sites[0]?.nodes[1] ?? {})));
});
