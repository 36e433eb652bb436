import { seededRandom } from "#base/random.ts";
import type { SteeredName } from "#fleet/document.ts";
import type { SiteState } from "#fleet/health.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeChooser, type Choice } from "../../../dns/steer/choose.ts";
import { compileSites } from "../../../dns/steer/sites.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { noGeo, type GeoSource } from "../../../dns/geo/place.ts";
import { octetGeo, testFleet } from "../support/fleet.ts";

const sites = compileSites(testFleet());

interface Scene {
  readonly steered: Partial<SteeredName>;
  readonly states?: Readonly<Record<string, SiteState>>;
  readonly self?: string;
  readonly geo?: GeoSource;
  readonly asked?: 4 | 6;
}

function choose(scene: Scene, client = "1.0.0.1"): Choice {
  const { steered, states = {}, self = "fra", geo = octetGeo, asked = 4 } = scene;
  const whole: SteeredName = { name: "img.cdn.test", policy: "geo", ttlSeconds: 30, overrides: [], ...steered };
  const address = parseIp(client);
  assert.ok(address);
  return makeChooser({ steered: whole, sites, states: new Map(Object.entries(states)), self, geo, asked }).choose(
    address,
  );
}

/** `site rule scope` */
const said = (choice: Choice): string => `${choice.site?.name ?? "none"} ${choice.rule} /${choice.scope}`;

function expectAll(cases: readonly (readonly [string, Scene, string, string])[]): void {
  for (const [what, scene, client, expected] of cases) assert.equal(said(choose(scene, client)), expected, what);
}

test("geo answers the nearest site that is up", () => {
  const steered = { policy: "geo" } as const;
  expectAll([
    ["Frankfurt", { steered }, "1.0.0.1", "fra distance /16"],
    ["New York", { steered }, "2.0.0.1", "nyc distance /16"],
    ["Tokyo", { steered }, "3.0.0.1", "tyo distance /16"],
    ["Tokyo down", { steered, states: { tyo: "down" } }, "3.0.0.1", "fra distance /16"],
    ["Tokyo draining", { steered, states: { tyo: "draining" } }, "3.0.0.1", "fra distance /16"],
    ["one site left", { steered, states: { tyo: "down", fra: "down" } }, "3.0.0.1", "nyc single /0"],
    [
      "none up: as if all were",
      { steered, states: { tyo: "down", fra: "down", nyc: "draining" } },
      "3.0.0.1",
      "tyo distance /16",
    ],
    ["only some sites allowed", { steered: { ...steered, sites: ["tyo", "nyc"] } }, "1.0.0.1", "nyc distance /16"],
    ["place not known: the document's order", { steered }, "9.0.0.1", "fra order /8"],
    ["place not known, first down", { steered, states: { fra: "down" } }, "9.0.0.1", "nyc order /8"],
    ["no geo data: the document's order for everybody", { steered, geo: noGeo }, "3.0.0.1", "fra order /0"],
  ]);
});

test("geo overrides go by their order, while their site may be answered", () => {
  const overrides = [
    { cidr: "3.0.0.0/24", site: "nyc" },
    { cidr: "3.0.0.0/16", site: "fra" },
    { country: "US", site: "tyo" },
    { cidr: "2.5.0.0/16", site: "fra" },
  ];
  const steered = { policy: "geo", overrides } as const;
  expectAll([
    ["the first", { steered }, "3.0.0.9", "nyc cidr /24"],
    ["beside it, the second", { steered }, "3.0.1.9", "fra cidr /24"],
    ["far from the first, in the second", { steered }, "3.0.128.9", "fra cidr /17"],
    ["a country, before a later network", { steered }, "2.5.0.1", "tyo country /16"],
    ["no rule", { steered }, "1.0.0.1", "fra distance /16"],
    ["the first's site down: the second", { steered, states: { nyc: "down" } }, "3.0.0.9", "fra cidr /16"],
    ["the country's site down: the later network", { steered, states: { tyo: "down" } }, "2.5.0.1", "fra cidr /16"],
    ["a site that is not allowed", { steered: { ...steered, sites: ["fra", "tyo"] } }, "3.0.0.9", "fra cidr /16"],
  ]);
  assert.equal(choose({ steered }, "3.0.1.9").overrideIndex, 1);
});

test("a network override needs no geo data, a country override without them matches nobody", () => {
  const steered: Partial<SteeredName> = {
    policy: "geo",
    overrides: [
      { country: "JP", site: "nyc" },
      { cidr: "2001:db8::/32", site: "tyo" },
    ],
  };
  expectAll([
    ["inside", { steered, geo: noGeo }, "2001:db8::1", "tyo cidr /32"],
    ["one bit off", { steered, geo: noGeo }, "2001:db9::1", "fra order /32"],
    ["far off", { steered, geo: noGeo }, "9001:db8::1", "fra order /1"],
    ["IPv4, for which there is no rule", { steered, geo: noGeo }, "3.0.0.1", "fra order /0"],
  ]);
});

test("A is answered by sites with IPv4 only, AAAA by the best site whatever it has", () => {
  const fleet = testFleet({
    sites: `
sites:
  - {name: six, place: {latitude: 35, longitude: 139}, addresses: ["2001:db8::6"],
     nodes: [{name: a, http: "http://127.0.0.1:1"}]}
  - {name: four, place: {latitude: 50, longitude: 8}, addresses: [192.0.2.4],
     nodes: [{name: b, http: "http://127.0.0.1:2"}]}
hosts: [{name: img.cdn.test, kind: images}]
`,
    steering: "",
  });
  const mixed = compileSites(fleet);
  const steered: SteeredName = { name: "img.cdn.test", policy: "geo", ttlSeconds: 30, overrides: [] };
  const pick = (asked: 4 | 6, client: string): string | undefined => {
    const address = parseIp(client);
    assert.ok(address);
    return makeChooser({ steered, sites: mixed, states: new Map(), self: "six", geo: octetGeo, asked }).choose(address)
      .site?.name;
  };
  assert.equal(pick(4, "3.0.0.1"), "four");
  assert.equal(pick(6, "3.0.0.1"), "six");
  assert.equal(pick(6, "1.0.0.1"), "four");
});

test("local answers the site that was asked, else the nearest to it", () => {
  const steered = { policy: "local" } as const;
  expectAll([
    ["itself", { steered, self: "nyc" }, "3.0.0.1", "nyc self /0"],
    ["itself down", { steered, self: "nyc", states: { nyc: "down" } }, "3.0.0.1", "fra distance /0"],
    ["all down", { steered, self: "nyc", states: { nyc: "down", fra: "down", tyo: "down" } }, "3.0.0.1", "nyc self /0"],
    [
      "itself not allowed",
      { steered: { ...steered, sites: ["tyo", "fra"] }, self: "nyc" },
      "3.0.0.1",
      "fra distance /0",
    ],
    ["a site that the document does not know", { steered, self: "moon" }, "3.0.0.1", "fra order /0"],
  ]);
});

test("fixed answers the first of its sites that is up", () => {
  const steered = { policy: "fixed", sites: ["nyc", "tyo"] } as const satisfies Partial<SteeredName>;
  const named = { ...steered, sites: [...steered.sites] };
  expectAll([
    ["the first", { steered: named }, "3.0.0.1", "nyc order /0"],
    ["the first down", { steered: named, states: { nyc: "down" } }, "3.0.0.1", "tyo order /0"],
    [
      "all of them down, others up",
      { steered: named, states: { nyc: "down", tyo: "down" } },
      "3.0.0.1",
      "nyc order /0",
    ],
  ]);
});

test("anycast chooses no site", () => {
  assert.equal(said(choose({ steered: { policy: "anycast" }, states: { fra: "down" } })), "none anycast /0");
});

test("weighted keeps a network's site and gives each site its share", () => {
  const weights = { fra: 5, nyc: 3, tyo: 0 };
  const scene: Scene = { steered: { policy: "weighted", weights } };
  const random = seededRandom(11);
  const counts: Record<string, number> = {};
  const networks = 20_000;
  let moved = 0;
  for (let i = 0; i < networks; i++) {
    const network = `${Math.floor(random() * 200)}.${Math.floor(random() * 256)}.${Math.floor(random() * 256)}`;
    const one = choose(scene, `${network}.1`);
    assert.equal(one.site, choose(scene, `${network}.254`).site, "the whole /24 goes to one site");
    assert.equal(one.scope, 24);
    counts[one.site?.name ?? ""] = (counts[one.site?.name ?? ""] ?? 0) + 1;
    const without = choose({ ...scene, states: { fra: "down" } }, `${network}.1`);
    if (one.site?.name !== "fra" && without.site !== one.site) moved++;
  }
  assert.equal(counts["tyo"], undefined, "weight 0");
  assert.ok(Math.abs((counts["fra"] ?? 0) / networks - 5 / 8) < 0.02, JSON.stringify(counts));
  assert.equal(moved, 0, "networks of other sites stay where they are");
});

test("weighted with one site left does not depend on the client", () => {
  const steered = { policy: "weighted", weights: { fra: 0, nyc: 1, tyo: 1 } } as const;
  assert.equal(said(choose({ steered, states: { tyo: "down" } })), "nyc single /0");
  assert.equal(said(choose({ steered: { ...steered, weights: { fra: 0, nyc: 0, tyo: 0 } } })), "none single /0");
});
