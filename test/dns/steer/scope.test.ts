/**
 * The scope of an answer against brute force. Random fleets, geo data, overrides and health over a world of 256
 * networks (the first octet of IPv4): each answer must be the same for every address inside its scope, whatever the
 * resolver asked with, and it must not be finer than the data that it rests on.
 */
import { seededRandom, type Random } from "#base/random.ts";
import type { SteeredName } from "#fleet/document.ts";
import type { SiteState } from "#fleet/health.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { GeoMatch, GeoSource, Place } from "../../../dns/geo/place.ts";
import { makeChooser } from "../../../dns/steer/choose.ts";
import { newDecisionCache } from "../../../dns/steer/decision-cache.ts";
import { buildPrefixRules, matchPrefix, noRule } from "../../../dns/steer/prefix-rules.ts";
import { compileSites } from "../../../dns/steer/sites.ts";
import type { IpAddress } from "../../../dns/wire/address.ts";
import { testFleet } from "../support/fleet.ts";

const sites = compileSites(testFleet());
const seed = 20_261_121;

const below = (random: Random, limit: number): number => Math.floor(random() * limit);
const address = (octet: number): IpAddress => ({
  family: 4,
  bytes: Uint8Array.of(octet, ...Array<number>(15).fill(0)),
});
const shares = (a: number, b: number, bits: number): boolean => a >> (8 - bits) === b >> (8 - bits);

/** Geo data as a random cut of the world into prefixes of 0 to 8 bits. */
function randomGeo(random: Random): GeoSource {
  const matches: GeoMatch[] = [];
  const countries = ["DE", "US", "JP"];
  const fill = (start: number, bits: number): void => {
    if (bits < 8 && random() < 0.75) {
      fill(start, bits + 1);
      fill(start + (1 << (7 - bits)), bits + 1);
      return;
    }
    const hasPoint = random() < 0.9;
    const place: Place | undefined =
      random() < 0.1
        ? undefined
        : {
            latitude: hasPoint ? below(random, 180) - 90 : undefined,
            longitude: hasPoint ? below(random, 360) - 180 : undefined,
            country: random() < 0.9 ? countries[below(random, 3)] : undefined,
            city: undefined,
          };
    for (let octet = start; octet < start + (1 << (8 - bits)); octet++) matches[octet] = { place, prefixLength: bits };
  };
  fill(0, 0);
  const nothing: GeoMatch = { place: undefined, prefixLength: 0 };
  return { description: "random", find: ({ bytes }) => matches[bytes[0] ?? 0] ?? nothing };
}

function randomSteered(random: Random): SteeredName {
  const names = ["fra", "nyc", "tyo"];
  const siteName = (): string => names[below(random, 3)] ?? "fra";
  const overrides = Array.from({ length: below(random, 6) }, () => {
    if (random() < 0.3) return { country: ["DE", "US", "JP"][below(random, 3)] ?? "DE", site: siteName() };
    const bits = below(random, 9);
    return { cidr: `${(below(random, 256) >> (8 - bits)) << (8 - bits)}.0.0.0/${bits}`, site: siteName() };
  });
  const policy = (["geo", "geo", "geo", "local", "fixed", "anycast"] as const)[below(random, 6)] ?? "geo";
  return {
    name: "img.cdn.test",
    policy,
    ttlSeconds: 30,
    overrides,
    sites: random() < 0.3 ? [siteName(), siteName()] : names,
  };
}

test("every address inside the scope gets the same answer", () => {
  const random = seededRandom(seed);
  let cases = 0;
  let specific = 0;
  for (let world = 0; world < 150; world++) {
    const geo = randomGeo(random);
    const steered = randomSteered(random);
    const states = new Map<string, SiteState>(sites.map((site) => [site.name, random() < 0.75 ? "up" : "down"]));
    const chooser = makeChooser({ steered, sites, states, self: "fra", geo, asked: 4 });
    const answers = Array.from({ length: 256 }, (_, octet) => chooser.choose(address(octet)));
    for (let trial = 0; trial < 100; trial++) {
      const octet = below(random, 256);
      const choice = answers[octet];
      assert.ok(choice);
      const where = `SEED=${seed} world ${world} octet ${octet} ${JSON.stringify(steered)} scope ${choice.scope}`;
      assert.ok(choice.scope <= 8, where);
      for (let other = 0; other < 256; other++) {
        if (shares(octet, other, choice.scope))
          assert.equal(answers[other]?.site, choice.site, `${where}, other ${other}`);
      }
      if (choice.scope > 0) specific++;
      cases++;
    }
  }
  assert.equal(cases, 15_000);
  assert.ok(specific > 3000, `only ${specific} answers depended on the client`);
});

test("remembered decisions equal fresh ones, in any order of asking", () => {
  const random = seededRandom(seed + 1);
  for (let world = 0; world < 20; world++) {
    const steered: SteeredName = {
      name: "img.cdn.test",
      policy: "geo",
      ttlSeconds: 30,
      overrides: Array.from({ length: 20 }, () => {
        const bits = 16 + below(random, 17);
        return {
          cidr: `10.0.${below(random, 4)}.${below(random, 256)}/${bits}`,
          site: ["fra", "nyc", "tyo"][below(random, 3)] ?? "fra",
        };
      }),
    };
    const geo = randomGeo(random);
    const chooser = makeChooser({ steered, sites, states: new Map(), self: "fra", geo, asked: 4 });
    const cache = newDecisionCache(64);
    for (let trial = 0; trial < 500; trial++) {
      const client: IpAddress = {
        family: 4,
        bytes: Uint8Array.of(10, 0, below(random, 4), below(random, 256), ...Array<number>(12).fill(0)),
      };
      assert.deepEqual(
        cache.get(client, chooser.choose),
        chooser.choose(client),
        `SEED=${seed + 1} world ${world} ${client.bytes.join(".")}`,
      );
    }
  }
});

test("the first of overlapping prefix rules wins, and its prefix length is the shortest that decides", () => {
  const random = seededRandom(seed + 2);
  for (let world = 0; world < 300; world++) {
    const list = Array.from({ length: below(random, 8) }, (_, rule) => {
      const bits = below(random, 9);
      return { octet: (below(random, 256) >> (8 - bits)) << (8 - bits), bits, rule };
    });
    const rules = buildPrefixRules(
      list.map(({ octet, bits, rule }) => ({ address: address(octet), prefixLength: bits, rule })),
    );
    const known = random() < 0.5 ? noRule : below(random, 8);
    const bestOf = (octet: number): number =>
      Math.min(known, ...list.filter((one) => shares(octet, one.octet, one.bits)).map((one) => one.rule));
    for (let octet = 0; octet < 256; octet += 7) {
      const match = matchPrefix(rules, address(octet), known);
      const where = `SEED=${seed + 2} world ${world} octet ${octet} ${JSON.stringify(list)} known ${known}`;
      assert.equal(match.rule, bestOf(octet), where);
      // Long enough to be inside the winner, and for no lower rule to begin further inside.
      const isEnough = (bits: number): boolean =>
        list.every(
          (one) =>
            (one.rule !== match.rule || match.rule === known || one.bits <= bits) &&
            !(one.rule < match.rule && one.bits > bits && shares(octet, one.octet, bits)),
        );
      const shortest = Array.from({ length: 9 }, (_, bits) => bits).find(isEnough);
      assert.equal(match.prefixLength, shortest, where);
    }
  }
});
