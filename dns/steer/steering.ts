/**
 * Decides which site a client is sent to, and the scope for which that answer is valid. Pure.
 *
 *   fleet, states, kept shares, geo ──compileSteering()──▶ Steering ──decide()──▶ site, scope
 *        the compiler's thread: tens of milliseconds          the answering threads: a lookup, no allocation
 *
 * Everything that does not depend on the client is computed in advance: the address space is divided into ranges of
 * equal *outcome*, which is one site or a draw among a few by the client's network (draws.ts). So an answer costs the
 * same for every address, and there is no cache that unknown addresses could thrash. Names that are steered alike share
 * one plan.
 *
 * The scope is the length of the shortest prefix for which the answer is valid (RFC 7871 §7.2.1):
 *
 *   one site   the largest aligned block around the address in which the outcome is the same, exactly; 0 where the
 *              client plays no part. Overrides, AS numbers, health, and load have been taken in by then.
 *   a draw     of the prefixes in which the outcome is the same draw, the shortest in which all networks (/24,
 *              IPv6 /48) draw the same site, looked for at most draws.searchBits bits above the network: never shorter
 *              than /20, IPv6 /44. A neighbour with another outcome that happens to give the same site is not seen.
 *
 * IPv6 addresses are resolved to /64 and no finer. Addresses without data form ranges like any others.
 */
import { createHash } from "node:crypto";
import type { Fleet } from "#document/document.ts";
import { policies as policyTerms } from "#document/policies.ts";
import type { SteeredName } from "#document/schema/steering.ts";
import type { GeoTables } from "../geo/tables.ts";
import { parseIp, type Family, type IpAddress } from "../wire/address.ts";
import { chainBuilderOf } from "./chains.ts";
import { drawnScope4, drawnScope6, drawSite, type DrawingSites, type Draws } from "./draws.ts";
import {
  buildOutcomeTable,
  findRange4,
  findRange6,
  rangeScope4,
  rangeScope6,
  wordAt,
  type OutcomeTable,
  type SweptRanges,
} from "./outcome-table.ts";
import { keptShareOf, planOf, type PlanInputs } from "./candidates.ts";
import type { Plan } from "./plan.ts";
import { policies } from "./policies.ts";
import { hashNetwork4, hashNetwork6, hashSite, networkBits } from "./rendezvous.ts";

/** Decision.site if the answer is the addresses that all sites share. */
export const anycastSite = -1;
/** Decision.site if there is no address to answer with: NODATA. */
export const noSite = -2;

/** SteeringPlan.constant if the outcome is in the table. */
const byAddress = -3;

export interface SteeringPlan {
  /** The outcome for every client: a code, anycastSite or noSite; byAddress if it differs between clients. */
  readonly constant: number;
  /** Codes from this one on are chains of `draws`; lower codes are sites. */
  readonly firstDraw: number;
  readonly table: OutcomeTable;
  readonly draws: Draws;
}

/** Numbers and typed arrays over shared memory only: posted to threads without a copy. */
export interface Steering extends DrawingSites {
  /** Index of the answering site, or -1 if the document does not name it. */
  readonly selfSite: number;
  readonly plans: readonly SteeringPlan[];
  /** Plan of a steered name, at 2 × its index in fleet.steering, and 1 more for AAAA. */
  readonly planIndex: Uint16Array;
  /** Addresses, 4 octets each for A, 16 for AAAA. */
  readonly addresses: Uint8Array;
  /** Pairs (offset in `addresses`, number of addresses) at addressSlot(). */
  readonly addressIndex: Uint32Array;
  /** TTL per steered name: initially the maximum; the owner of the clock rewrites it in place. */
  readonly ttlSeconds: Uint32Array;
}

export interface SteeringInputs extends PlanInputs {
  readonly geo: GeoTables;
}

/** Filled in by decide(). */
export interface Decision {
  /** Index in fleet.sites, or anycastSite, or noSite. */
  site: number;
  /** Length of the prefix of the client's address for which this answer is valid. */
  scope: number;
}

/** Index in Steering.addressIndex of the offset of a site's (or anycastSite's) addresses. Their number follows it. */
export function addressSlot(site: number, asked: Family): number {
  return 4 * (site + 1) + (asked === 6 ? 2 : 0);
}

/**
 * Decides for one client. No allocation.
 * @param steeredIndex index in fleet.steering
 * @param asked 4: for A, 6: for AAAA; independent of the client's own family
 * @param client bits past the source prefix are zero
 */
export function decide(
  steering: Steering,
  steeredIndex: number,
  asked: Family,
  client: IpAddress,
  into: Decision,
): void {
  const plan = steering.plans[steering.planIndex[2 * steeredIndex + (asked === 6 ? 1 : 0)] ?? 0];
  into.site = noSite;
  into.scope = 0;
  if (plan === undefined) return;
  const { bytes, family } = client;
  let code = plan.constant;
  let scope = 0;
  if (family === 4) {
    const address = wordAt(bytes, 0);
    if (code === byAddress) {
      const range = findRange4(plan.table, address);
      code = plan.table.v4Ranges[2 * range + 1] ?? 0;
      scope = rangeScope4(plan.table, range, address);
    }
    if (code >= plan.firstDraw) {
      const chain = code - plan.firstDraw;
      const network = address >>> 8;
      code = drawSite(plan.draws, chain, steering, hashNetwork4(network));
      if (scope < networkBits[4]) scope = drawnScope4(plan.draws, chain, steering, network, scope, code);
    }
  } else {
    const high = wordAt(bytes, 0);
    const low = wordAt(bytes, 4);
    if (code === byAddress) {
      const range = findRange6(plan.table, high, low);
      code = plan.table.v6Ranges[3 * range + 2] ?? 0;
      scope = rangeScope6(plan.table, range, high, low);
    }
    if (code >= plan.firstDraw) {
      const chain = code - plan.firstDraw;
      const network = low >>> 16;
      code = drawSite(plan.draws, chain, steering, hashNetwork6(high, network));
      if (scope < networkBits[6]) scope = drawnScope6(plan.draws, chain, steering, high, network, scope, code);
    }
  }
  into.site = code;
  into.scope = scope;
}

/** What one compilation keeps for the next one. Only the compiler thread has it. */
interface Memory {
  readonly geo: GeoTables;
  /** By planKey(). */
  readonly plans: ReadonlyMap<string, SteeringPlan>;
}
const memories = new WeakMap<Steering, Memory>();

/**
 * @param previous the previous result of this function; unchanged parts are reused. With the same geo tables, a change
 *   of kept shares costs next to nothing, unless a site starts or stops shedding.
 */
export function compileSteering(inputs: SteeringInputs, previous?: Steering): Steering {
  const { fleet, geo, keptShares } = inputs;
  const before = previous === undefined ? undefined : memories.get(previous);
  const known = before?.geo === geo ? before.plans : undefined;
  const byKey = new Map<string, SteeringPlan>();
  const plans: SteeringPlan[] = [];
  const planAt = new Map<string, number>();
  const planIndex = new Uint16Array(new SharedArrayBuffer(4 * fleet.steering.length));
  const ttlSeconds = new Uint32Array(new SharedArrayBuffer(4 * fleet.steering.length));

  function planNumber(steered: SteeredName, asked: Family): number {
    const plan = planOf(inputs, steered, asked);
    const key = planKey(fleet, steered, plan);
    let compiled = byKey.get(key);
    if (compiled === undefined) {
      compiled = known?.get(key) ?? compilePlan(fleet.sites.length, steered, plan, geo);
      byKey.set(key, compiled);
      plans.push(compiled);
    }
    return plans.indexOf(compiled);
  }

  for (const [index, steered] of fleet.steering.entries()) {
    ttlSeconds[index] = steered.ttlSeconds;
    const wording = wordingOf(steered);
    for (const asked of [4, 6] as const) {
      const alike = `${asked} ${wording}`;
      const number = planAt.get(alike) ?? planNumber(steered, asked);
      planAt.set(alike, number);
      planIndex[2 * index + (asked === 6 ? 1 : 0)] = number;
    }
  }
  const siteHashes = new Int32Array(new SharedArrayBuffer(4 * fleet.sites.length));
  const shares = new Float64Array(new SharedArrayBuffer(8 * fleet.sites.length));
  for (const [index, { name }] of fleet.sites.entries()) {
    siteHashes[index] = hashSite(name);
    shares[index] = keptShareOf(keptShares, name);
  }
  const steering: Steering = {
    selfSite: fleet.sites.findIndex((site) => site.name === inputs.self),
    plans,
    planIndex,
    siteHashes,
    keptShares: shares,
    ttlSeconds,
    ...compileAddresses(fleet),
  };
  memories.set(steering, { geo, plans: byKey });
  return steering;
}

/** Digests of a name's steering settings, by object: the same document is compiled many times. */
const wordings = new WeakMap<SteeredName, string>();

/** Names with the same digest are steered alike. */
function wordingOf(steered: SteeredName): string {
  const known = wordings.get(steered);
  if (known !== undefined) return known;
  const { policy, sites, weights, withinKm, overrides } = steered;
  const text = JSON.stringify([policy, sites ?? null, weights ?? null, withinKm, overrides]);
  const wording = createHash("sha256").update(text).digest("base64");
  wordings.set(steered, wording);
  return wording;
}

/**
 * Everything that a compiled plan depends on, besides the geo tables. A kept share counts only as none, some or all.
 */
function planKey(fleet: Fleet, steered: SteeredName, plan: Plan): string {
  const sites = plan.candidates.map((at, position) => {
    const { latitude, longitude } = fleet.sites[at]?.place ?? { latitude: 0, longitude: 0 };
    const kept = Math.ceil(plan.keptShares[position] ?? 1) + Math.floor(plan.keptShares[position] ?? 1);
    return [at, plan.names[position], latitude, longitude, kept];
  });
  return JSON.stringify([wordingOf(steered), fleet.sites.length, sites]);
}

function compilePlan(sitesCount: number, steered: SteeredName, plan: Plan, geo: GeoTables): SteeringPlan {
  const builder = chainBuilderOf(plan, sitesCount);
  const constantPlan = (constant: number): SteeringPlan => ({
    constant,
    firstDraw: sitesCount,
    table: noTable(),
    draws: builder.draws(),
  });
  const policy = policies[plan.policy];
  const isAnswered = plan.candidates.length > 0 || policyTerms[plan.policy].isShared === true;
  const outcome = isAnswered ? policy.outcomeOf(plan, steered.overrides, geo, builder) : "nothing";
  if (outcome === "shared") return constantPlan(anycastSite);
  if (outcome === "nothing") return constantPlan(noSite);
  if (typeof outcome === "number") return constantPlan(outcome);
  return { ...constantPlan(byAddress), table: buildOutcomeTable(outcome.v4, outcome.v6) };
}

/** The table of plans whose outcome is constant. */
function noTable(): OutcomeTable {
  const nothing: SweptRanges = { starts: new Uint32Array(2), codes: new Uint16Array(1), count: 1 };
  return buildOutcomeTable(nothing, nothing);
}

function compileAddresses(fleet: Fleet): Pick<Steering, "addresses" | "addressIndex"> {
  const lists = [fleet.anycast.addresses, ...fleet.sites.map((site) => site.addresses)];
  const octets: number[] = [];
  const addressIndex = new Uint32Array(new SharedArrayBuffer(16 * lists.length));
  for (const [list, texts] of lists.entries()) {
    for (const family of [4, 6] as const) {
      const length = family === 4 ? 4 : 16;
      const slot = addressSlot(list - 1, family);
      addressIndex[slot] = octets.length;
      const seen = new Set<string>();
      for (const text of texts) {
        const address = parseIp(text);
        if (address?.family !== family || seen.has(address.bytes.join())) continue;
        seen.add(address.bytes.join());
        octets.push(...address.bytes.subarray(0, length));
      }
      addressIndex[slot + 1] = seen.size;
    }
  }
  const addresses = new Uint8Array(new SharedArrayBuffer(octets.length));
  addresses.set(octets);
  return { addresses, addressIndex };
}
