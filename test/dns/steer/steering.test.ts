import type { SteeredName } from "#document/schema/steering.ts";
import type { SiteState } from "#health/health.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyGeo, type GeoTables } from "../../../dns/geo/tables.ts";
import {
  addressSlot,
  anycastSite,
  compileSteering,
  decide,
  noSite,
  type Decision,
  type SteeringInputs,
} from "../../../dns/steer/steering.ts";
import { parsePrefix } from "../../../dns/wire/address.ts";
import { octetGeo } from "../support/fleet.ts";
import { fleetOf } from "./worlds.ts";

const sites = [
  { name: "fra", place: { latitude: 50.11, longitude: 8.68 }, addresses: ["127.0.1.1", "2001:db8:1::1"] },
  { name: "nyc", place: { latitude: 40.71, longitude: -74.01 }, addresses: ["127.0.2.1", "127.0.2.2", "127.0.2.1"] },
  { name: "tyo", place: { latitude: 35.68, longitude: 139.69 }, addresses: ["127.0.3.1", "2001:db8:3::1"] },
];

interface Scene {
  readonly steered?: Partial<SteeredName>;
  readonly states?: Readonly<Record<string, SiteState>>;
  readonly kept?: Readonly<Record<string, number>>;
  readonly self?: string;
  readonly geo?: GeoTables;
  readonly asked?: 4 | 6;
  readonly sites?: typeof sites;
}

const plain: SteeredName = {
  name: "img.cdn.test",
  policy: "geo",
  ttlSeconds: 30,
  ttlFloorSeconds: 10,
  withinKm: 0,
  overrides: [],
};

function inputsOf(scene: Scene): SteeringInputs {
  const { steered = {}, states = {}, kept = {}, self = "fra", geo = octetGeo } = scene;
  return {
    fleet: fleetOf(scene.sites ?? sites, [{ ...plain, ...steered }]),
    self,
    states: new Map(Object.entries(states)),
    keptShares: new Map(Object.entries(kept)),
    geo,
  };
}

/** `site /scope` */
function said(scene: Scene, client: string): string {
  const network = parsePrefix(client);
  assert.ok(network, client);
  const decision: Decision = { site: 0, scope: 0 };
  decide(compileSteering(inputsOf(scene)), 0, scene.asked ?? 4, network.address, decision);
  const { site, scope } = decision;
  const name = site === anycastSite ? "anycast" : site === noSite ? "none" : (scene.sites ?? sites)[site]?.name;
  return `${name} /${scope}`;
}

function expectAll(cases: readonly (readonly [string, Scene, string, string])[]): void {
  for (const [what, scene, client, expected] of cases) assert.equal(said(scene, client), expected, what);
}

test("geo answers the nearest site that is up", () => {
  const steered = { policy: "geo" } as const;
  expectAll([
    ["Frankfurt, together with the unknown addresses before", { steered }, "1.0.0.1", "fra /7"],
    ["New York", { steered }, "2.0.0.1", "nyc /8"],
    ["Tokyo, a network", { steered }, "3.0.0.0/8", "tyo /8"],
    ["Tokyo, a network that is too wide: its first address, told to ask finer", { steered }, "2.0.0.0/7", "nyc /8"],
    ["IPv6", { steered }, "300::1", "tyo /8"],
    ["Tokyo down", { steered, states: { tyo: "down" } }, "3.0.0.1", "fra /8"],
    ["Tokyo draining", { steered, states: { tyo: "draining" } }, "3.0.0.1", "fra /8"],
    ["one site left", { steered, states: { tyo: "down", fra: "down" } }, "3.0.0.1", "nyc /0"],
    ["none up, one drains", { steered, states: { tyo: "down", fra: "down", nyc: "draining" } }, "3.0.0.1", "nyc /0"],
    [
      "all down: as if all were up",
      { steered, states: { tyo: "down", fra: "down", nyc: "down" } },
      "3.0.0.1",
      "tyo /8",
    ],
    ["only some sites allowed", { steered: { ...steered, sites: ["tyo", "nyc"] } }, "1.0.0.1", "nyc /7"],
    ["place not known: the document's order", { steered }, "9.0.0.1", "fra /5"],
    ["place not known, first down", { steered, states: { fra: "down" } }, "9.0.0.1", "nyc /5"],
    ["no geo data: the document's order for everybody", { steered, geo: emptyGeo }, "3.0.0.1", "fra /0"],
  ]);
});

test("geo overrides: the longest network, then the AS number, then the country, while a site may be answered", () => {
  const asns = {
    v4Starts: Uint32Array.of(0, 0x0301_0000, 0x0302_0000),
    v4Values: Uint32Array.of(0, 64_500, 0),
    v6Starts: Uint32Array.of(0, 0),
    v6Values: Uint32Array.of(0),
  };
  const geo = { ...octetGeo, asns };
  const overrides = [
    { country: "JP", site: "fra" },
    { cidr: "3.0.0.0/9", site: "fra" },
    { cidr: "3.0.0.0/24", site: "nyc" },
    { asn: 64_500, site: "nyc" },
    { cidr: "3.1.128.0/17", site: "tyo" },
  ];
  const steered = { policy: "geo", overrides: [...overrides, { country: "US", site: "tyo" }] } as const;
  const named = { ...steered, overrides: [...steered.overrides] };
  const noWide = {
    ...named,
    overrides: named.overrides.filter(({ cidr }: SteeredName["overrides"][number]) => cidr !== "3.0.0.0/9"),
  };
  expectAll([
    ["the longest", { steered: named, geo }, "3.0.0.9", "nyc /24"],
    ["beside it, the wider one", { steered: named, geo }, "3.0.1.9", "fra /24"],
    ["a network before the AS number", { steered: named, geo }, "3.1.0.1", "fra /17"],
    ["the AS number before the country", { steered: noWide, geo }, "3.1.0.1", "nyc /17"],
    ["no AS data", { steered: noWide, geo: octetGeo }, "3.1.0.1", "fra /17"],
    ["a network inside the AS number's", { steered: noWide, geo }, "3.1.128.1", "tyo /17"],
    ["a country", { steered: named, geo }, "2.5.0.1", "tyo /8"],
    ["no rule", { steered: named, geo }, "1.0.0.1", "fra /7"],
    [
      "the longest's site is down: the wider one",
      { steered: named, geo, states: { nyc: "down" } },
      "3.0.0.9",
      "fra /16",
    ],
    ["the AS number's is down: the country", { steered: noWide, geo, states: { nyc: "down" } }, "3.1.0.1", "fra /17"],
    ["the country's is down: distance", { steered: named, geo, states: { tyo: "down" } }, "2.5.0.1", "nyc /8"],
    ["a site that is not allowed", { steered: { ...named, sites: ["fra", "tyo"] }, geo }, "3.0.0.9", "fra /16"],
  ]);
});

test("network overrides need no geo data; IPv6 is distinguished to /64", () => {
  const steered: Partial<SteeredName> = {
    overrides: [
      { country: "JP", site: "nyc" },
      { cidr: "2001:db8::/32", site: "tyo" },
      { cidr: "2001:db8:0:7::/64", site: "nyc" },
    ],
  };
  const geo = emptyGeo;
  expectAll([
    ["inside", { steered, geo }, "2001:db8:8000::1", "tyo /33"],
    ["the smallest network", { steered, geo }, "2001:db8:0:7:ffff::1", "nyc /64"],
    ["next to it", { steered, geo }, "2001:db8:0:6::1", "tyo /64"],
    ["one bit off", { steered, geo }, "2001:db9::1", "fra /32"],
    ["far off", { steered, geo }, "9001:db8::1", "fra /1"],
    ["IPv4, for which there is no override", { steered, geo }, "3.0.0.1", "fra /0"],
  ]);
});

test("A is answered by sites with IPv4 only, AAAA by the best site whatever it has", () => {
  const mixed = [
    { name: "six", place: { latitude: 35, longitude: 139 }, addresses: ["2001:db8::6"] },
    { name: "four", place: { latitude: 50, longitude: 8 }, addresses: ["192.0.2.4"] },
  ];
  expectAll([
    ["Tokyo asks for A", { sites: mixed, self: "six" }, "3.0.0.1", "four /0"],
    ["Tokyo asks for AAAA", { sites: mixed, self: "six", asked: 6 }, "3.0.0.1", "six /8"],
    ["Frankfurt asks for AAAA", { sites: mixed, self: "six", asked: 6 }, "1.0.0.1", "four /8"],
    ["no site has IPv4", { sites: mixed.slice(0, 1) }, "1.0.0.1", "none /0"],
  ]);
});

test("local answers the site that was asked, else the nearest to it; what it sheds goes there as well", () => {
  const steered = { policy: "local" } as const;
  expectAll([
    ["itself", { steered, self: "nyc" }, "3.0.0.1", "nyc /0"],
    ["itself down", { steered, self: "nyc", states: { nyc: "down" } }, "3.0.0.1", "fra /0"],
    ["all down", { steered, self: "nyc", states: { nyc: "down", fra: "down", tyo: "down" } }, "3.0.0.1", "nyc /0"],
    ["itself not allowed", { steered: { ...steered, sites: ["tyo", "fra"] }, self: "nyc" }, "3.0.0.1", "fra /0"],
    ["a site that the document does not know", { steered, self: "moon" }, "3.0.0.1", "fra /0"],
    ["it keeps nobody", { steered, self: "nyc", kept: { nyc: 0 } }, "3.0.0.1", "fra /0"],
    ["nobody keeps anybody: the last", { steered, self: "nyc", kept: { nyc: 0, fra: 0, tyo: 0 } }, "3.0.0.1", "tyo /0"],
  ]);
});

test("fixed answers the first of its sites that is up", () => {
  const steered: Partial<SteeredName> = { policy: "fixed", sites: ["nyc", "tyo", "nyc"] };
  expectAll([
    ["the first", { steered }, "3.0.0.1", "nyc /0"],
    ["the first down", { steered, states: { nyc: "down" } }, "3.0.0.1", "tyo /0"],
    ["all of them down, others up", { steered, states: { nyc: "down", tyo: "down" } }, "3.0.0.1", "nyc /0"],
    ["the first keeps nobody", { steered, kept: { nyc: 0 } }, "3.0.0.1", "tyo /0"],
  ]);
});

test("anycast chooses no site", () => {
  expectAll([["health", { steered: { policy: "anycast" }, states: { fra: "down" } }, "3.0.0.1", "anycast /0"]]);
});

test("weighted with one site left does not depend on the client; weights of 0 leave nobody", () => {
  const steered: Partial<SteeredName> = { policy: "weighted", weights: { fra: 0 } };
  expectAll([
    ["one left", { steered, states: { tyo: "down" } }, "3.0.0.1", "nyc /0"],
    ["none", { steered: { ...steered, weights: { fra: 0, nyc: 0, tyo: 0 } } }, "3.0.0.1", "none /0"],
  ]);
});

test("withinKm: sites of weight 0 are left out until no other is there", () => {
  const steered: Partial<SteeredName> = { withinKm: 1, weights: { tyo: 0 } };
  expectAll([
    ["the next", { steered }, "3.0.0.1", "fra /8"],
    ["others down", { steered, states: { fra: "down", nyc: "down" } }, "3.0.0.1", "tyo /0"],
    ["a weight counts only where clients are shared", { steered: { ...steered, withinKm: 0 } }, "3.0.0.1", "tyo /8"],
  ]);
});

test("a kept share that is no share is bounded, and what is no number keeps all", () => {
  expectAll([
    ["above 1", { kept: { tyo: 7 } }, "3.0.0.1", "tyo /8"],
    ["below 0", { kept: { tyo: -7 } }, "3.0.0.1", "fra /8"],
    ["NaN", { kept: { tyo: Number.NaN } }, "3.0.0.1", "tyo /8"],
  ]);
});

test("addresses stand once each, by site and family", () => {
  const { addresses, addressIndex } = compileSteering(inputsOf({}));
  const at = (site: number, asked: 4 | 6): number[][] => {
    const slot = addressSlot(site, asked);
    const size = asked === 4 ? 4 : 16;
    const from = addressIndex[slot] ?? 0;
    return Array.from({ length: addressIndex[slot + 1] ?? 0 }, (_, i) => [
      ...addresses.subarray(from + i * size, from + (i + 1) * size),
    ]);
  };
  assert.deepEqual(at(1, 4), [
    [127, 0, 2, 1],
    [127, 0, 2, 2],
  ]);
  assert.deepEqual(at(1, 6), []);
  assert.deepEqual(at(2, 4), [[127, 0, 3, 1]]);
  assert.deepEqual(at(2, 6), [[0x20, 1, 0x0d, 0xb8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]);
  assert.deepEqual(at(anycastSite, 4), [[203, 0, 113, 1]]);
});

test("names that are steered alike share one plan, TTLs and order aside", () => {
  const fleet = fleetOf(sites, [
    plain,
    { ...plain, name: "other.cdn.test", ttlSeconds: 5 },
    { ...plain, name: "far.cdn.test", withinKm: 10 },
  ]);
  const steering = compileSteering({ ...inputsOf({}), fleet });
  assert.deepEqual([...steering.planIndex], [0, 0, 0, 0, 1, 1]);
  assert.deepEqual([...steering.ttlSeconds], [30, 5, 30]);
});

test("a steering is posted to a thread as it is, over shared memory", () => {
  const steering = compileSteering(inputsOf({ kept: { tyo: 0.5 } }));
  const copy = structuredClone(steering);
  assert.equal(copy.ttlSeconds.buffer.byteLength, steering.ttlSeconds.buffer.byteLength);
  steering.ttlSeconds[0] = 17;
  assert.equal(copy.ttlSeconds[0], 17, "one memory");
  const decision: Decision = { site: 0, scope: 0 };
  const address = parsePrefix("1.0.0.1")?.address;
  assert.ok(address);
  decide(copy, 0, 4, address, decision);
  assert.deepEqual(decision, { site: 0, scope: 7 });
  const isShared = (value: unknown): boolean =>
    typeof value === "number" ||
    (ArrayBuffer.isView(value) && value.buffer instanceof SharedArrayBuffer) ||
    (typeof value === "object" && value !== null && Object.values(value).every(isShared));
  assert.ok(isShared(steering), "numbers and shared memory only");
});

test("what has not changed is taken from the steering before; what has is made again", () => {
  const first = compileSteering(inputsOf({ kept: { tyo: 0.5 } }));
  const [plan] = first.plans;
  const after = (scene: Scene) => compileSteering(inputsOf(scene), first);
  const share = after({ kept: { tyo: 0.25 } });
  assert.equal(share.plans[0], plan, "another share of a site that shed before");
  assert.equal(share.keptShares[2], 0.25);
  assert.notEqual(after({}).plans[0], plan, "it sheds no more");
  assert.notEqual(after({ kept: { tyo: 0.5 }, states: { nyc: "down" } }).plans[0], plan, "a site down");
  assert.notEqual(after({ kept: { tyo: 0.5 }, geo: { ...octetGeo } }).plans[0], plan, "other geo data");
  assert.notEqual(after({ kept: { tyo: 0.5 }, steered: { withinKm: 5 } }).plans[0], plan, "another document");
  const moved = sites.map((site) => ({ ...site, place: { latitude: 0, longitude: 0 } }));
  assert.notEqual(after({ kept: { tyo: 0.5 }, sites: moved }).plans[0], plan, "sites elsewhere");
  assert.equal(compileSteering(inputsOf({ kept: { tyo: 0.9 } }), share).plans[0], plan, "from one to the next");
});

test("more sites than a table of chains has room for, all of them shedding", () => {
  const many = Array.from({ length: 200 }, (_, at) => ({
    name: `s${at}`,
    place: { latitude: (at % 20) * 8 - 76, longitude: Math.floor(at / 20) * 36 - 180 },
    addresses: [`10.0.0.${at}`],
  }));
  const kept = Object.fromEntries(many.map(({ name }) => [name, 0.001]));
  const scene = { sites: many, kept, steered: { withinKm: 1500 }, self: "s0" };
  assert.match(said(scene, "1.0.0.1"), /^s\d+ \/24$/);
  assert.match(said({ ...scene, asked: 6 }, "300::"), /^s\d+ \/48$/);
});

test("a decision allocates nothing", () => {
  const scenes: readonly Scene[] = [
    {},
    { kept: { tyo: 0.5, nyc: 0.5 } },
    { steered: { withinKm: 9500 } },
    { steered: { policy: "weighted" } },
  ];
  const address = parsePrefix("1.0.0.1")?.address;
  assert.ok(address);
  const decision: Decision = { site: 0, scope: 0 };
  for (const scene of scenes) {
    const steering = compileSteering(inputsOf(scene));
    const decideMany = (count: number): void => {
      for (let i = 0; i < count; i++) {
        address.family = (i & 1) === 0 ? 4 : 6;
        address.bytes[0] = i >>> 3;
        address.bytes[1] = i >>> 1;
        address.bytes[5] = i;
        decide(steering, 0, (i & 2) === 0 ? 4 : 6, address, decision);
      }
    };
    // The median: some rounds run before the code is compiled, and in some a collection hides what was allocated.
    const growths: number[] = [];
    for (let round = 0; round < 15; round++) {
      const before = process.memoryUsage().heapUsed;
      decideMany(100_000);
      growths.push(process.memoryUsage().heapUsed - before);
    }
    const grownBytes = growths.toSorted((x, y) => x - y)[7] ?? 0;
    // One boxed number per decision would be 1.6 MB.
    assert.ok(grownBytes < 800_000, `${grownBytes} bytes for 100,000 decisions of ${JSON.stringify(scene)}`);
  }
});
