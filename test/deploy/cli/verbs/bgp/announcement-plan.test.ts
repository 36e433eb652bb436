/** What a node announces and to whom, as the fleet document says it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { announcementPlan } from "../../../../../deploy/cli/verbs/bgp/announcement-plan.ts";
import { anycastFleet, clouds, planOf } from "../../../support/anycast-fleet.ts";

test("a site announces the clouds that name it, and no other", () => {
  const fleet = anycastFleet();
  assert.deepEqual(planOf(fleet).prefixes, { 4: ["198.51.100.0/24"], 6: ["2001:db8:a::/48"] });
  assert.deepEqual(planOf(fleet).addresses[4], ["198.51.100.53", "198.51.100.80"]);
  assert.deepEqual(planOf(fleet, { site: "ams" }).prefixes, { 4: ["203.0.113.0/24"], 6: [] });
});

test("a session carries its own family; where all routers are of one, it carries both", () => {
  const families = (addresses: readonly string[]) =>
    planOf(anycastFleet({ routers: addresses.map((address) => ({ address, as: 64501 })) })).routers.map(
      (router) => router.families,
    );
  assert.deepEqual(families(["192.0.2.1", "2001:db8:1::1"]), [[4], [6]]);
  assert.deepEqual(families(["192.0.2.1", "192.0.2.2"]), [
    [4, 6],
    [4, 6],
  ]);
  assert.deepEqual(families(["2001:db8:1::1"]), [[4, 6]]);
  const onlyFour = [{ ...clouds[0], prefixes: ["198.51.100.0/24"], addresses: ["198.51.100.53"] }];
  const plan = planOf(anycastFleet({ clouds: onlyFour }));
  assert.deepEqual(
    plan.routers.map((router) => router.families),
    [[4], []],
  );
});

test("the router id is the node's own IPv4 address: of its peer listener, its URL, its own service addresses", () => {
  const idOf = (node: object): string | undefined =>
    planOf(anycastFleet({ fraNodes: [{ name: "fra1", http: "http://n.example.com", ...node }] }), {
      node: "fra1",
    }).routerId;
  assert.equal(idOf({ peer: { host: "192.0.2.77" }, addresses: ["192.0.2.78"] }), "192.0.2.77");
  assert.equal(idOf({ http: "http://192.0.2.79:8080", addresses: ["192.0.2.78"] }), "192.0.2.79");
  assert.equal(idOf({ peer: { host: "2001:db8::1" }, addresses: ["2001:db8::2", "192.0.2.78"] }), "192.0.2.78");
  // An address that others have, too, is no identity.
  const shared = [{ name: "fra1", http: "http://198.51.100.80" }];
  const refused = announcementPlan(anycastFleet({ fraNodes: shared }), { site: "fra", node: "fra1" });
  assert.ok(!refused.ok);
  assert.match(refused.reason, /no IPv4 address that only fra1 uses/);
  assert.match(refused.hints.join(), /--router-id/);
  assert.equal(planOf(anycastFleet({ fraNodes: shared }), { node: "fra1", routerId: "10.0.0.1" }).routerId, "10.0.0.1");
});

test("without a plan it says why, and what there is", () => {
  const cases: [fleet: Parameters<typeof anycastFleet>[0], wanted: { site: string; node?: string }, says: RegExp][] = [
    [{}, { site: "fro" }, /no site "fro".*sites: fra, ams, nyc, tyo/],
    [{}, { site: "fra", node: "ams1" }, /no node "ams1".*its nodes: fra1, fra-2/],
    [{}, { site: "ams", node: "fra1" }, /no node "fra1"; it is in site fra.*its nodes: none/],
    [{ as: undefined }, { site: "fra" }, /no anycast\.as/],
    [{}, { site: "tyo" }, /site tyo is in no cloud.*anycast\.clouds\[\]\.sites; clouds: a, b/],
    [{ clouds: [] }, { site: "fra" }, /site fra is in no cloud.*there are no clouds/],
    [{}, { site: "nyc" }, /site nyc has no bgp.*bgp\.routers/],
  ];
  for (const [changes, wanted, says] of cases) {
    const planned = announcementPlan(anycastFleet(changes), wanted);
    assert.ok(!planned.ok);
    assert.match([planned.reason, ...planned.hints].join(". "), says);
  }
});
