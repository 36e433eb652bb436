/** Networks that draw: how many get which site, and who moves when something changes. */
import type { SteeredName } from "#document/schema/steering.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyGeo } from "../../../dns/geo/tables.ts";
import { compileSteering, decide, type Decision } from "../../../dns/steer/steering.ts";
import { octetGeo } from "../support/fleet.ts";
import { fleetOf, scratchAddress } from "./worlds.ts";

const names = ["fra", "ams", "nyc", "tyo"];
const sites = [
  { name: "fra", place: { latitude: 50.11, longitude: 8.68 }, addresses: ["127.0.1.1"] },
  { name: "ams", place: { latitude: 52.37, longitude: 4.9 }, addresses: ["127.0.1.2"] },
  { name: "nyc", place: { latitude: 40.71, longitude: -74.01 }, addresses: ["127.0.2.1"] },
  { name: "tyo", place: { latitude: 35.68, longitude: 139.69 }, addresses: ["127.0.3.1"] },
];

/** Networks 1.0.0.0/24 … are in Frankfurt. */
const networksCount = 40_000;

interface Scene {
  readonly steered: Partial<SteeredName>;
  readonly kept?: Readonly<Record<string, number>>;
  readonly down?: readonly string[];
  readonly family?: 4 | 6;
}

/** The site of each network. */
function assign({ steered, kept = {}, down = [], family = 4 }: Scene): string[] {
  const whole: SteeredName = {
    name: "img.cdn.test",
    policy: "geo",
    ttlSeconds: 30,
    ttlFloorSeconds: 10,
    withinKm: 0,
    overrides: [],
    ...steered,
  };
  const steering = compileSteering({
    fleet: fleetOf(sites, [whole]),
    self: "fra",
    states: new Map(down.map((name) => [name, "down" as const])),
    keptShares: new Map(Object.entries(kept)),
    geo: steered.policy === "geo" || steered.policy === undefined ? octetGeo : emptyGeo,
  });
  const address = scratchAddress(family);
  const decision: Decision = { site: 0, scope: 0 };
  const step = family === 4 ? 40n : 16n;
  return Array.from({ length: networksCount }, (_, network) => {
    decide(steering, 0, 4, address((1n << 56n) + (BigInt(network) << step)), decision);
    return names[decision.site] ?? "none";
  });
}

function shareOf(assigned: readonly string[], name: string): number {
  return assigned.filter((one) => one === name).length / assigned.length;
}

/** Within five standard deviations of a fair draw. */
function expectShares(assigned: readonly string[], expected: Readonly<Record<string, number>>, what: string): void {
  for (const name of names) {
    const share = expected[name] ?? 0;
    const tolerance = 5 * Math.sqrt((share * (1 - share)) / networksCount);
    const found = shareOf(assigned, name);
    assert.ok(Math.abs(found - share) <= tolerance, `${what}: ${name} has ${found}, not ${share} ± ${tolerance}`);
  }
}

/** From which site to which networks went. */
function moves(before: readonly string[], after: readonly string[]): string[] {
  const found = new Set<string>();
  before.forEach((site, network) => {
    if (site !== after[network]) found.add(`${site}>${after[network]}`);
  });
  return [...found].toSorted();
}

const weights = { fra: 5, ams: 3, nyc: 2, tyo: 0 };

test("a draw gives each site its weight's share, of IPv4 and of IPv6 networks", () => {
  for (const family of [4, 6] as const) {
    const weighted = assign({ steered: { policy: "weighted", weights }, family });
    expectShares(weighted, { fra: 0.5, ams: 0.3, nyc: 0.2 }, `weighted, IPv${family}`);
  }
  const thin = { fra: 997, ams: 1, nyc: 2, tyo: 0 };
  expectShares(
    assign({ steered: { policy: "weighted", weights: thin } }),
    { fra: 0.997, ams: 0.001, nyc: 0.002 },
    "thin",
  );
  const within = assign({ steered: { withinKm: 1000, weights } });
  expectShares(within, { fra: 5 / 8, ams: 3 / 8 }, "within 1000 km of the nearest");
  const overridden = assign({ steered: { weights, overrides: [{ cidr: "1.0.0.0/8", sites: ["ams", "nyc", "tyo"] }] } });
  expectShares(overridden, { ams: 0.6, nyc: 0.4 }, "an override's sites");
});

test("what is shed goes to the next best, by the formula of the chain", () => {
  const steered = {};
  expectShares(assign({ steered, kept: { fra: 0.7 } }), { fra: 0.7, ams: 0.3 }, "one sheds");
  expectShares(
    assign({ steered, kept: { fra: 0.7, ams: 0.5 } }),
    { fra: 0.7, ams: 0.15, nyc: 0.15 },
    "two shed, the third keeps",
  );
  expectShares(
    assign({ steered, kept: { fra: 0.5, ams: 0.5, nyc: 0.5, tyo: 0.1 } }),
    { fra: 0.5, ams: 0.25, nyc: 0.125, tyo: 0.125 },
    "all shed: the last takes the rest",
  );
  expectShares(
    assign({ steered: { withinKm: 1000, weights }, kept: { fra: 0.5 } }),
    { fra: 5 / 16, ams: 3 / 8, nyc: 5 / 16 },
    "of a group: to the next best outside",
  );
  expectShares(
    assign({ steered: { policy: "weighted", weights }, kept: { fra: 0.2 } }),
    { fra: 1 / 6, ams: 3 / 6, nyc: 2 / 6 },
    "none is outside: in proportion to what each keeps",
  );
  expectShares(
    assign({ steered: { policy: "weighted", weights }, kept: { fra: 0, ams: 0, nyc: 0 } }),
    { fra: 0.5, ams: 0.3, nyc: 0.2 },
    "nobody keeps anything: as if all kept all",
  );
  expectShares(assign({ steered: { policy: "fixed" }, kept: { fra: 0.7 } }), { fra: 0.7, ams: 0.3 }, "fixed");
});

test("the same networks leave as the kept share falls, and they come back in the opposite order", () => {
  const schemes: readonly (readonly [string, Partial<SteeredName>, Record<string, number>])[] = [
    ["geo", {}, {}],
    ["geo, the next sheds as well", {}, { ams: 0.4 }],
    ["within", { withinKm: 1000, weights }, { ams: 0.6 }],
    ["weighted", { policy: "weighted", weights }, { ams: 0.6 }],
    ["fixed", { policy: "fixed" }, { ams: 0.5, nyc: 0.3 }],
  ];
  for (const [what, steered, others] of schemes) {
    let before = assign({ steered, kept: { ...others, fra: 1 } });
    for (const share of [0.9, 0.6, 0.59, 0.2, 0.01]) {
      const after = assign({ steered, kept: { ...others, fra: share } });
      for (const move of moves(before, after)) assert.match(move, /^fra>/, `${what}, to ${share}: ${move}`);
      assert.ok(shareOf(after, "fra") < shareOf(before, "fra"), `${what}, to ${share}`);
      before = after;
    }
  }
});

test("a network keeps its site while others come and go", () => {
  for (const steered of [{ policy: "weighted", weights } as const, { withinKm: 1000, weights }]) {
    for (const kept of [{}, { ams: 0.5 }]) {
      const all = assign({ steered, kept });
      const without = assign({ steered, kept, down: ["fra"] });
      for (const move of moves(all, without)) assert.match(move, /^fra>/, `${JSON.stringify(kept)} ${move}`);
      const lighter = assign({ steered: { ...steered, weights: { ...weights, fra: 4 } }, kept });
      for (const move of moves(all, lighter)) assert.match(move, /^fra>/, `${JSON.stringify(kept)} ${move}`);
    }
  }
});

test("a whole network goes to one site, and the scope says so", () => {
  const steering = compileSteering({
    fleet: fleetOf(sites, [
      {
        name: "img.cdn.test",
        policy: "weighted",
        ttlSeconds: 30,
        ttlFloorSeconds: 10,
        withinKm: 0,
        overrides: [],
        weights,
      },
    ]),
    self: "fra",
    states: new Map(),
    keptShares: new Map(),
    geo: emptyGeo,
  });
  const address = scratchAddress(6);
  const first: Decision = { site: 0, scope: 0 };
  const other: Decision = { site: 0, scope: 0 };
  const scopes = new Map<number, number>();
  for (let i = 0n; i < 1000n; i++) {
    const network = (0x2001_0db8n << 32n) + (i << 16n);
    decide(steering, 0, 6, address(network), first);
    decide(steering, 0, 6, address(network + 0xffffn), other);
    assert.deepEqual(other, first);
    scopes.set(first.scope, (scopes.get(first.scope) ?? 0) + 1);
  }
  assert.ok(
    [...scopes.keys()].every((scope) => scope >= 44 && scope <= 48),
    [...scopes.keys()].join(),
  );
  assert.ok((scopes.get(48) ?? 0) > 400 && (scopes.get(47) ?? 0) > 50, JSON.stringify([...scopes]));
});
