/**
 * Steering as it is written down, said as simply as possible: lists and loops, a new one for every question. What the
 * compiled tables answer is held against this. Only the draws of the hash are shared with the product: they are
 * arbitrary, so nobody could say them anew.
 *
 * Addresses are keys of 64 bits: an IPv4 address in the high half, the first 64 bits of an IPv6 one.
 */
import type { SteeredName } from "#document/schema/steering.ts";
import assert from "node:assert/strict";
import { draw, drawAgain, hashNetwork4, hashNetwork6, hashSite, isKept } from "../../../dns/steer/rendezvous.ts";
import { parsePrefix, type Family, type IpAddress } from "../../../dns/wire/address.ts";
import type { World, WorldPlace } from "./world.ts";

export interface Outcome {
  /** Groups of sites, by index, in the order of preference. Empty: nothing to answer. */
  readonly groups: readonly (readonly number[])[];
  /** Two outcomes are the same when this is. */
  readonly text: string;
}

export interface Question {
  readonly world: World;
  readonly steered: SteeredName;
  readonly asked: Family;
}

export const networkBits = { 4: 24, 6: 48 } as const;
const groupsMax = 8;

/** Of an IPv4 address the octets after the fourth are zero. */
export function keyOf({ bytes }: IpAddress): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0);
}

export function outcomeAt({ world, steered, asked }: Question, family: Family, key: bigint): Outcome {
  const { fleet, self, states, keptShares } = world;
  const names = fleet.sites.map((site) => site.name);
  const named = steered.sites ?? names;
  let allowed = [...new Set(named)].map((name) => names.indexOf(name));
  if (steered.policy !== "fixed") allowed = names.map((_, index) => index).filter((index) => allowed.includes(index));
  if (asked === 4) allowed = allowed.filter((at) => fleet.sites[at]?.addresses.some((text) => !text.includes(":")));
  const inState = (state: string) => allowed.filter((at) => (states.get(names[at] ?? "") ?? "up") === state);
  const candidates = [inState("up"), inState("draining"), allowed].find((list) => list.length > 0) ?? [];
  const weightOf = (at: number) => steered.weights?.[names[at] ?? ""] ?? 1;
  const keptOf = (at: number) => keptShares.get(names[at] ?? "") ?? 1;
  const place = world.placeAt(family, key);
  const asn = world.asnAt(family, key);
  const own = fleet.sites.find((site) => site.name === self)?.place;

  const matching = steered.overrides
    .filter((override) => {
      if (override.cidr !== undefined) return covers(override.cidr, family, key);
      if (override.asn !== undefined) return override.asn === asn;
      return override.country !== undefined && override.country === place.country;
    })
    .toSorted((a, b) => lengthOf(b) - lengthOf(a));

  /** The group that is first when only these sites are left. */
  function firstGroup(left: readonly number[]): number[] {
    switch (steered.policy) {
      case "anycast":
        return [];
      case "weighted":
        return left.length < candidates.length ? [] : left.filter((at) => weightOf(at) > 0);
      case "fixed":
        return left.slice(0, 1);
      case "local":
        if (own === undefined) return left.slice(0, 1);
        return left.some((at) => names[at] === self)
          ? left.filter((at) => names[at] === self)
          : byDistance(left, own).slice(0, 1);
      case "geo":
        break;
    }
    for (const { site, sites } of matching) {
      const group = left.filter((at) =>
        sites === undefined ? names[at] === site : sites.includes(names[at] ?? "") && weightOf(at) > 0,
      );
      if (group.length > 0) return group;
    }
    if (steered.withinKm === 0) return byDistance(left, place).slice(0, 1);
    const weighing = left.filter((at) => weightOf(at) > 0);
    if (weighing.length === 0) return byDistance(left, place).slice(0, 1);
    const [nearest = 0] = byDistance(weighing, place);
    if (!isKnown(place)) return [nearest];
    const limit = kmBetween(world.sitePlace(nearest), place) + steered.withinKm;
    return weighing.filter((at) => at === nearest || kmBetween(world.sitePlace(at), place) <= limit);
  }

  function byDistance(left: readonly number[], from: WorldPlace): number[] {
    if (!isKnown(from)) return [...left];
    const km = (at: number) => kmBetween(world.sitePlace(at), from);
    return left.toSorted((a, b) => km(a) - km(b) || a - b);
  }

  const groups: number[][] = [];
  let left = candidates;
  while (groups.length < groupsMax) {
    const group = firstGroup(left);
    if (group.length === 0) break;
    groups.push(group);
    left = left.filter((at) => !group.includes(at));
    if (group.every((at) => keptOf(at) >= 1)) break;
  }
  const lasting = groups.filter((group, index) => index === groups.length - 1 || group.some((at) => keptOf(at) > 0));
  return { groups: lasting, text: JSON.stringify(lasting) };
}

/** The site that the network of this address gets; undefined for NODATA. */
export function answerOf({ world, steered }: Question, outcome: Outcome, family: Family, key: bigint) {
  const { groups } = outcome;
  const network = BigInt.asUintN(64, key) >> BigInt(64 - networkBits[family]);
  const hash =
    family === 4 ? hashNetwork4(Number(network)) : hashNetwork6(Number(network >> 16n), Number(network & 0xffffn));
  const nameOf = (at: number) => world.fleet.sites[at]?.name ?? "";
  const siteHash = (at: number) => hashSite(nameOf(at));
  const weightOf = (at: number) => steered.weights?.[nameOf(at)] ?? 1;
  const keptOf = (at: number) => world.keptShares.get(nameOf(at)) ?? 1;
  let last: number | undefined;
  for (const [index, group] of groups.entries()) {
    const drawn = greatest(group, (at) => (group.length === 1 ? 0 : draw(hash, siteHash(at), weightOf(at))));
    if (drawn === undefined || isKept(hash, siteHash(drawn), keptOf(drawn))) return drawn;
    last = drawn;
    if (index < groups.length - 1) continue;
    const keeping = group.filter((at) => keptOf(at) > 0);
    const again = greatest(keeping, (at) => drawAgain(hash, siteHash(at), weightOf(at) * keptOf(at)));
    return group.length === 1 ? last : (again ?? last);
  }
  return last;
}

function greatest(sites: readonly number[], scoreOf: (at: number) => number): number | undefined {
  let best: number | undefined;
  let highest = Number.NEGATIVE_INFINITY;
  for (const at of sites) {
    const score = scoreOf(at);
    if (best === undefined || score > highest) {
      best = at;
      highest = score;
    }
  }
  return best;
}

/** CIDRs before AS numbers before countries, and the longest CIDR first. */
function lengthOf(override: SteeredName["overrides"][number]): number {
  if (override.cidr !== undefined) return 10 + Number(override.cidr.split("/")[1]);
  return override.asn === undefined ? 0 : 1;
}

/** First key and shift of networks seen before, for they are asked about again and again. */
const networks = new Map<string, { family: Family; shift: bigint; stem: bigint }>();
const networksMax = 1000;

function covers(cidr: string, family: Family, key: bigint): boolean {
  let network = networks.get(cidr);
  if (network === undefined) {
    const prefix = parsePrefix(cidr);
    assert.ok(prefix, cidr);
    const shift = BigInt(64 - prefix.prefixLength);
    network = { family: prefix.address.family, shift, stem: keyOf(prefix.address) >> shift };
    if (networks.size === networksMax) networks.clear();
    networks.set(cidr, network);
  }
  return network.family === family && network.stem === key >> network.shift;
}

function isKnown({ latitude }: WorldPlace): boolean {
  return !Number.isNaN(latitude);
}

/** By the haversine formula, which shares nothing with vectors. */
export function kmBetween(a: WorldPlace, b: WorldPlace): number {
  const radians = (degrees: number) => (degrees * Math.PI) / 180;
  const north = Math.sin(radians(a.latitude - b.latitude) / 2);
  const east = Math.sin(radians(a.longitude - b.longitude) / 2);
  const square = north * north + Math.cos(radians(a.latitude)) * Math.cos(radians(b.latitude)) * east * east;
  return 2 * 6371.0088 * Math.asin(Math.min(1, Math.sqrt(square)));
}
