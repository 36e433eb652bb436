/**
 * Rules for `steering` that the schema can't express: sites that must exist, networks that must be valid, settings that
 * must fit together. Called by read-document.ts; the compiler of steering relies on it.
 */
import { isIP } from "node:net";
import type { ValueProblem } from "#base/schema.ts";
import type { Fleet } from "./document.ts";
import { type Override, type SteeredName, ttlFloorSecondsDefault } from "./schema/steering.ts";
import { policies } from "./policies.ts";

/** IPv6 addresses are distinguished by their first 64 bits, the half that routing uses. */
const prefixLengthMax = { 4: 32, 6: 64 } as const;

/** Maximum number of distinct steering plans. Each is compiled into a table of all client networks, some megabytes. */
const plansMax = 32;

/**
 * A copy of a document's value in which a `ttlSeconds` below the default floor is its own floor, where none is stated:
 * `ttlSeconds: 5` alone then means 5 always. Values of a wrong shape are left for the schema to refuse.
 */
export function withTtlFloors(value: unknown): unknown {
  if (!isObject(value) || !Array.isArray(value["steering"])) return value;
  const steering = (value["steering"] as unknown[]).map((one) => {
    if (!isObject(one) || one["ttlFloorSeconds"] !== undefined) return one;
    const ttlSeconds = one["ttlSeconds"];
    const isLow =
      Number.isInteger(ttlSeconds) && Number(ttlSeconds) >= 0 && Number(ttlSeconds) < ttlFloorSecondsDefault;
    return isLow ? { ...one, ttlFloorSeconds: ttlSeconds } : one;
  });
  return { ...value, steering };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** read-document.ts checks that its name lies in a zone. */
export function* contradictionsOfPolicy(
  steered: SteeredName,
  fleet: Fleet,
  siteNames: ReadonlySet<string>,
  path: string,
): Generator<ValueProblem> {
  const { policy, sites, weights, overrides, ttlSeconds, ttlFloorSeconds, withinKm } = steered;
  const allowed = sites === undefined ? siteNames : new Set(sites);
  const named = [
    ...(sites ?? []).map((one, index) => ({ one, at: `${path}.sites[${index}]` })),
    ...Object.keys(weights ?? {}).map((one) => ({ one, at: `${path}.weights.${one}` })),
    ...overrides.flatMap((each, o) => sitesNamedBy(each, `${path}.overrides[${o}]`)),
  ];
  for (const { one, at } of named) {
    if (!siteNames.has(one)) yield { path: at, message: `"${one}" is not one of the sites` };
    else if (!allowed.has(one)) yield { path: at, message: `"${one}" is not in the sites of this name` };
  }
  if (sites !== undefined) yield* namedTwice(sites, `${path}.sites`);
  if (weighNothing([...allowed], weights)) {
    yield { path: `${path}.weights`, message: "are all 0; at least one site must have a weight above 0" };
  }
  const terms = policies[policy];
  const problem = terms.problemOf?.({ ...(sites && { sites }), anycastAddresses: fleet.anycast.addresses });
  if (problem !== undefined) yield { path: `${path}.${problem.key}`, message: problem.message };
  if (withinKm > 0 && terms.isByDistance !== true) {
    yield {
      path: `${path}.withinKm`,
      message: `${withinKm} has no effect with policy "${policy}"; use it with "geo" only`,
    };
  }
  if (ttlFloorSeconds > ttlSeconds) {
    yield { path: `${path}.ttlFloorSeconds`, message: `${ttlFloorSeconds} is above ttlSeconds, ${ttlSeconds}` };
  }
  yield* contradictionsOfOverrides(overrides, weights, path);
}

function sitesNamedBy(override: Override, path: string): { one: string; at: string }[] {
  const { site, sites = [] } = override;
  return [
    ...(site === undefined ? [] : [{ one: site, at: `${path}.site` }]),
    ...sites.map((one, index) => ({ one, at: `${path}.sites[${index}]` })),
  ];
}

function* contradictionsOfOverrides(
  overrides: readonly Override[],
  weights: SteeredName["weights"],
  path: string,
): Generator<ValueProblem> {
  const firstOf = new Map<string, number>();
  for (const [o, each] of overrides.entries()) {
    const at = `${path}.overrides[${o}]`;
    const { cidr, asn, country, site, sites } = each;
    if ([cidr, asn, country].filter((one) => one !== undefined).length !== 1) {
      yield { path: at, message: "must have exactly one of cidr, asn and country" };
      continue;
    }
    if ((site === undefined) === (sites === undefined)) {
      yield { path: at, message: "must have exactly one of site and sites" };
    }
    if (sites !== undefined) {
      yield* namedTwice(sites, `${at}.sites`);
      if (weighNothing(sites, weights)) {
        yield { path: `${at}.sites`, message: "all have weight 0; at least one must have a weight above 0" };
      }
    }
    let key = `${asn ?? country}`;
    if (cidr !== undefined) {
      const network = networkOf(cidr);
      if (!network.ok) {
        yield { path: `${at}.cidr`, message: `"${cidr}" ${network.reason}` };
        continue;
      }
      key = network.key;
    }
    const first = firstOf.get(key);
    if (first === undefined) firstOf.set(key, o);
    else yield { path: at, message: `is for the same clients as overrides[${first}]` };
  }
}

/** Where weights share clients out, 0 for all of them leaves nobody to answer; a site without one weighs 1. */
function weighNothing(sites: readonly string[], weights: SteeredName["weights"]): boolean {
  return weights !== undefined && sites.every((site) => weights[site] === 0);
}

function* namedTwice(names: readonly string[], path: string): Generator<ValueProblem> {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (seen.has(name)) yield { path: `${path}[${index}]`, message: `"${name}" appears twice` };
    seen.add(name);
  }
}

/**
 * Names that are steered alike share one compiled table; `fleet` may not have more than `plansMax` ways of steering.
 * TTLs are no part of it.
 */
export function* contradictionsOfPlans(fleet: Fleet): Generator<ValueProblem> {
  const plans = new Set<string>();
  for (const [index, { policy, sites, weights, overrides, withinKm }] of fleet.steering.entries()) {
    plans.add(JSON.stringify([policy, sites, weights, overrides, withinKm]));
    if (plans.size <= plansMax) continue;
    const message = `is steered in yet another way; names may differ in at most ${plansMax} ways in policy, sites,`;
    yield { path: `steering[${index}]`, message: `${message} weights, overrides and withinKm` };
    return;
  }
}

type Network = { ok: true; key: string } | { ok: false; reason: string };

/** The network that a CIDR means, bits beyond the prefix dropped: 10.1.2.3/8 and 10.0.0.0/8 have the same key. */
function networkOf(cidr: string): Network {
  const [address = "", length = ""] = cidr.split("/");
  const family = isIP(address);
  if (family !== 4 && family !== 6) return { ok: false, reason: "is not an address prefix such as 192.0.2.0/24" };
  const bits = Number(length);
  if (bits > prefixLengthMax[family]) {
    return { ok: false, reason: `is too narrow: IPv${family} prefixes have at most ${prefixLengthMax[family]} bits` };
  }
  const number = family === 4 ? numberOfIpv4(address) : numberOfIpv6(address);
  const dropped = BigInt(prefixLengthMax[family] - bits);
  return { ok: true, key: `${family} ${(number >> dropped).toString(16)}/${bits}` };
}

function numberOfIpv4(address: string): bigint {
  return address.split(".").reduce((number, part) => (number << 8n) | BigInt(part), 0n);
}

/** The first 64 bits: four groups (RFC 4291 §2.2). */
function numberOfIpv6(address: string): bigint {
  const [groups = [], tail] = address.split("::").map((half) => (half === "" ? [] : half.split(":")));
  if (tail !== undefined) {
    // The last two groups may be written as an IPv4 address.
    const tailLength = tail.length + (tail.at(-1)?.includes(".") === true ? 1 : 0);
    while (groups.length + tailLength < 8) groups.push("0");
    groups.push(...tail);
  }
  return groups.slice(0, 4).reduce((number, group) => (number << 16n) | BigInt(`0x${group}`), 0n);
}
