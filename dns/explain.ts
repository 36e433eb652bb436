/**
 * Explains an answer: runs the same lookups and the same decision as for a real query, and reports the reasons and the
 * alternatives. Pure.
 *
 *   name ──aliases──▶ node ──▶ records, or a steered address ──decide()──▶ site, scope
 *                                                   └─preferencesOf()──▶ the rule, and the sites before and after
 */
import { canonicalName, ownerOf } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { policies as policyTerms } from "#document/policies.ts";
import type { SteeredName } from "#document/schema/steering.ts";
import type { SiteState, SiteStates } from "#health/health.ts";
import { placeAt, type Whereabouts } from "./geo/tables.ts";
import type { Snapshot } from "./snapshot.ts";
import { distanceKm, unitVector } from "#base/great-circle.ts";
import { planOf } from "./steer/candidates.ts";
import type { Plan, Standing } from "./steer/plan.ts";
import { preferencesOf, type Preference } from "./steer/preference.ts";
import { policies } from "./steer/policies.ts";
import type { Rule } from "./steer/policy.ts";
import { addressSlot, anycastSite, decide, noSite, type Decision } from "./steer/steering.ts";
import { ttlOf } from "./steer/ttl.ts";
import { emptyAddress, ipToText, maskIp, parsePrefix, type Family, type IpAddress } from "./wire/address.ts";
import { intAt } from "./wire/bytes.ts";
import { nameFromText, nameToText, type WireName } from "./wire/name.ts";
import { typeNumberFrom } from "#record/type-numbers.ts";
import { recordTypes } from "./wire/numbers.ts";
import {
  followAlias,
  lookUpTarget,
  newAliasChain,
  startChain,
  stepMissing,
  stepOf,
  stepRecords,
  stepReferral,
} from "./zone/alias-chain.ts";
import {
  hintSteered,
  hintWords,
  nodeSteered,
  nodeTtlMax,
  nodeWords,
  setCount,
  setExtra,
  setTtl,
  setWords,
} from "./zone/compiled-zones.ts";
import { foundByWildcard, hasSets, setOf } from "./zone/lookup.ts";

export interface DnsQuestion {
  readonly name: string;
  /** `A`, `AAAA`, `TXT`, `TYPE65` … */
  readonly type: string;
  /** The client: an address, or a network such as `192.0.2.0/24`, as a resolver would send it. */
  readonly ip: string;
}

/** What an answer depends on. */
export interface ExplainInputs {
  readonly snapshot: Snapshot;
  /** The document, states and shares that the snapshot was compiled from. */
  readonly fleet: Fleet;
  readonly states: SiteStates;
  readonly keptShares: ReadonlyMap<string, number>;
  /** As for ttlOf(). */
  readonly soonestChangeMs: ReadonlyMap<string, number>;
}

export type DnsExplanation =
  | { readonly outcome: "invalid"; readonly reason: string }
  | { readonly outcome: "refused" | "notimp"; readonly name: string; readonly type: string; readonly reason: string }
  | {
      readonly outcome: "records" | "nodata" | "nxdomain" | "yxdomain" | "referral" | "steered";
      readonly name: string;
      readonly type: string;
      readonly zone: string;
      /** The names that CNAME and DNAME records led to. The answer comes from the last one. */
      readonly aliases: readonly string[];
      /** The target of the ALIAS that supplies the addresses of the last name, or null. */
      readonly aliasTarget: string | null;
      /** The wildcard that matches the name, or null. */
      readonly wildcard: string | null;
      readonly steering: SteeringExplanation | null;
      /** For each HTTPS or SVCB record with a steered target: how its address hints were chosen. */
      readonly hints: readonly { readonly ipv4: SteeringExplanation; readonly ipv6: SteeringExplanation }[];
    };

export interface CandidateExplanation {
  readonly site: string;
  readonly state: SiteState;
  /** From the client, or null when its location is unknown. */
  readonly distanceKm: number | null;
  /** Where several sites share clients; otherwise null. */
  readonly weight: number | null;
  /** Kept share, 0 to 1; the other clients go to the next best site. */
  readonly keptShare: number;
  readonly isCandidate: boolean;
  /**
   * 1: preferred for this client. 2: gets the clients that the sites before it shed, and so on. Null: not a candidate.
   */
  readonly preference: number | null;
  readonly isChosen: boolean;
}

export interface SteeringExplanation {
  readonly name: string;
  readonly policy: SteeredName["policy"];
  readonly rule: Rule | "anycast" | "single" | "none";
  /** One sentence. */
  readonly why: string;
  readonly overrideIndex: number | null;
  /** Preferred sites that shed this client's network. */
  readonly shedBy: readonly string[];
  readonly chosen: string | null;
  readonly addresses: readonly string[];
  readonly ttlSeconds: number;
  readonly ttlReason: string;
  /** The prefix for which this answer is valid; /0 if it does not depend on the client. */
  readonly scope: string;
  readonly scopePrefixLength: number;
  /** Which sites are candidates: those that are up; `draining` if none is up; `all` if none is draining either. */
  readonly standing: Standing;
  readonly client: {
    readonly ip: string;
    readonly latitude: number | null;
    readonly longitude: number | null;
    readonly country: string | null;
    readonly city: string | null;
    readonly asn: number | null;
    readonly geo: string;
  };
  readonly candidates: readonly CandidateExplanation[];
}

/** Returns a plain value that can be serialized as JSON. */
export function explainAnswer(inputs: ExplainInputs, question: DnsQuestion): DnsExplanation {
  const name = nameFromText(question.name);
  const type = typeNumberFrom(question.type);
  const client = parsePrefix(question.ip)?.address;
  if (name === undefined)
    return { outcome: "invalid", reason: `the name must be a domain name (got "${question.name}")` };
  if (type === undefined)
    return {
      outcome: "invalid",
      reason: `the type must be a record type such as A or TYPE65 (got "${question.type}")`,
    };
  if (client === undefined)
    return { outcome: "invalid", reason: `the client must be an address or a network (got "${question.ip}")` };
  const asked = { name: nameToText(name), type: question.type.toUpperCase() };
  if (type === recordTypes.OPT || type === recordTypes.TSIG || type === recordTypes.TKEY) {
    return { outcome: "invalid", reason: `${asked.type} is not a query type (FORMERR)` };
  }
  if (type === recordTypes.AXFR || type === recordTypes.IXFR) {
    return { outcome: "refused", ...asked, reason: "zone transfers are not supported" };
  }
  const compiled = inputs.snapshot.zones;
  const chain = newAliasChain();
  const { found } = chain;
  startChain(compiled, name, type, chain);
  const { zone } = chain;
  if (zone < 0) return { outcome: "refused", ...asked, reason: outsideOf(compiled.zoneNames) };
  if (type === recordTypes.MAILA || type === recordTypes.MAILB) {
    return { outcome: "notimp", ...asked, reason: `${asked.type} is obsolete (RFC 973)` };
  }

  const aliases: string[] = [];
  const inZone = {
    ...asked,
    zone: compiled.zoneNames[zone] ?? "",
    aliases,
    aliasTarget: null,
    wildcard: null,
    steering: null,
    hints: [],
  };
  for (let step = stepOf(compiled, found); step !== stepRecords; step = stepOf(compiled, found)) {
    if (step === stepReferral) return { outcome: "referral", ...inZone };
    if (step === stepMissing) return { outcome: "nxdomain", ...inZone };
    if (!followAlias(compiled, chain)) return { outcome: "yxdomain", ...inZone };
    aliases.push(nameToText(chain.owner));
    if (!lookUpTarget(compiled, type, chain)) return { outcome: "records", ...inZone };
  }

  const { owner } = chain;
  const { node } = found;
  const wildcard = found.kind === foundByWildcard ? wildcardText(owner, found.nodeLabels) : null;
  const aliasTarget = aliasTargetOf(inputs.fleet, inZone.zone, wildcard ?? nameToText(owner));
  const here = { ...inZone, wildcard, aliasTarget };
  const steeredIndex = intAt(compiled.nodes, node * nodeWords + nodeSteered);
  if (steeredIndex >= 0 && (type === recordTypes.A || type === recordTypes.AAAA)) {
    const ttlMaxSeconds = intAt(compiled.nodes, node * nodeWords + nodeTtlMax);
    const steering = explainSteering(inputs, steeredIndex, type === recordTypes.A ? 4 : 6, client, ttlMaxSeconds);
    return { outcome: "steered", ...here, steering };
  }
  const isAny = type === recordTypes.ANY && (hasSets(compiled, node) || steeredIndex >= 0);
  const set = setOf(compiled, node, type);
  if (!isAny && set < 0) return { outcome: "nodata", ...here };
  const hints =
    set >= 0 && (type === recordTypes.HTTPS || type === recordTypes.SVCB) ? explainHints(inputs, set, client) : [];
  return { outcome: "records", ...here, hints };
}

/** The maximum number of zones to list. */
const zonesToldMax = 20;

function outsideOf(zones: readonly string[]): string {
  if (zones.length === 0) return "there are no zones yet";
  const more = zones.length > zonesToldMax ? ` and ${zones.length - zonesToldMax} more` : "";
  return `the name lies in none of the zones (${zones.slice(0, zonesToldMax).join(", ")}${more})`;
}

function wildcardText(owner: WireName, parentLabels: number): string {
  // A label may contain an escaped dot.
  const labels = nameToText(owner).match(/(?:\\.|[^.\\])+/g) ?? [];
  return ["*", ...labels.slice(labels.length - parentLabels)].join(".");
}

/** The target of the document's ALIAS record at this name, or null. */
function aliasTargetOf(fleet: Fleet, apex: string, owner: string): string | null {
  const zone = fleet.zones.find((one) => canonicalName(one.name) === apex);
  const alias = zone?.records.find((record) => record.type === "ALIAS" && ownerOf(record.name, apex) === owner);
  return alias?.type === "ALIAS" ? ownerOf(alias.target, apex) : null;
}

function explainHints(
  inputs: ExplainInputs,
  set: number,
  client: IpAddress,
): { readonly ipv4: SteeringExplanation; readonly ipv6: SteeringExplanation }[] {
  const { sets, hints } = inputs.snapshot.zones;
  const base = set * setWords;
  const first = intAt(sets, base + setExtra);
  if (first < 0) return [];
  const steered: number[] = [];
  for (let record = first; record < first + intAt(sets, base + setCount); record++) {
    const steeredIndex = intAt(hints, record * hintWords + hintSteered);
    if (steeredIndex >= 0) steered.push(steeredIndex);
  }
  // One RRset has one TTL (RFC 2181 §5.2): the minimum of the records' TTLs and of all their targets' TTLs.
  const { ttlSeconds } = inputs.snapshot.steering;
  const ttlMaxSeconds = Math.min(intAt(sets, base + setTtl), ...steered.map((index) => ttlSeconds[index] ?? 0));
  return steered.map((index) => ({
    ipv4: explainSteering(inputs, index, 4, client, ttlMaxSeconds),
    ipv6: explainSteering(inputs, index, 6, client, ttlMaxSeconds),
  }));
}

/** @param ttlMaxSeconds the upper bound that the aliases before this answer impose on its TTL */
function explainSteering(
  inputs: ExplainInputs,
  steeredIndex: number,
  asked: Family,
  client: IpAddress,
  ttlMaxSeconds: number,
): SteeringExplanation {
  const { snapshot, fleet, states, keptShares, soonestChangeMs } = inputs;
  const { steering, geo } = snapshot;
  const steered = fleet.steering[steeredIndex];
  if (steered === undefined) throw new RangeError(`there is no steered name ${steeredIndex}`);
  const decision: Decision = { site: noSite, scope: 0 };
  decide(steering, steeredIndex, asked, client, decision);
  const { site, scope } = decision;
  const self = fleet.sites[steering.selfSite]?.name ?? "";
  const plan = planOf({ fleet, self, states, keptShares }, steered, asked);
  const preferences = preferencesOf(plan, steered, geo, self, client);
  const ranked = preferences.findIndex((preference) => preference.sites.includes(site));
  const preference = preferences[ranked];
  const place = placeAt(geo, client);
  const nameOf = (at: number): string => fleet.sites[at]?.name ?? "";
  const shedBy = preferences.slice(0, Math.max(0, ranked)).flatMap((one) => one.sites.map(nameOf));
  const isSharing =
    policyTerms[plan.policy].isWeighing === true || plan.withinKm > 0 || (preference?.sites.length ?? 0) > 1;
  const scopeAddress: IpAddress = { family: client.family, bytes: Uint8Array.from(client.bytes) };
  maskIp(scopeAddress, scope);
  const kmTo = (at: number): number | null => kmBetween(place, fleet, at);
  const allowedNames = steered.sites ?? fleet.sites.map((one) => one.name);
  const { reason } = ttlOf(steered, allowedNames, soonestChangeMs);
  const ownTtlSeconds = steering.ttlSeconds[steeredIndex] ?? 0;
  return {
    name: steered.name,
    policy: steered.policy,
    rule: ruleOf(site, plan, preference),
    why: whyOf(site, plan, preference, place, nameOf, kmTo, shedBy),
    overrideIndex: preference === undefined || preference.overrideIndex < 0 ? null : preference.overrideIndex,
    shedBy,
    chosen: site >= 0 ? nameOf(site) : null,
    addresses: site === noSite ? [] : addressesOf(snapshot, site, asked),
    ttlSeconds: Math.min(ownTtlSeconds, ttlMaxSeconds),
    ttlReason: ttlMaxSeconds < ownTtlSeconds ? "limited by an alias or another record of the answer" : reason,
    scope: `${ipToText(scopeAddress)}/${scope}`,
    scopePrefixLength: scope,
    standing: plan.standing,
    client: {
      ip: ipToText(client),
      latitude: place.latitude ?? null,
      longitude: place.longitude ?? null,
      country: place.country ?? null,
      city: place.city ?? null,
      asn: place.asn ?? null,
      geo: geo.description,
    },
    candidates: plan.allowed.map((at) => {
      const rank = preferences.findIndex((one) => one.sites.includes(at));
      return {
        site: nameOf(at),
        state: states.get(nameOf(at)) ?? "up",
        distanceKm: kmTo(at),
        weight: isSharing ? (steered.weights?.[nameOf(at)] ?? 1) : null,
        keptShare: keptShares.get(nameOf(at)) ?? 1,
        isCandidate: plan.candidates.includes(at),
        preference: rank < 0 ? null : rank + 1,
        isChosen: at === site,
      };
    }),
  };
}

function kmBetween({ latitude, longitude }: Whereabouts, fleet: Fleet, at: number): number | null {
  const place = fleet.sites[at]?.place;
  if (latitude === undefined || longitude === undefined || place === undefined) return null;
  return Math.round(distanceKm(unitVector({ latitude, longitude }), unitVector(place)));
}

function addressesOf({ steering }: Snapshot, site: number, asked: Family): string[] {
  const { addresses, addressIndex } = steering;
  const slot = addressSlot(site, asked);
  const octets = asked === 4 ? 4 : 16;
  const from = addressIndex[slot] ?? 0;
  return Array.from({ length: addressIndex[slot + 1] ?? 0 }, (_, number) => {
    const address = emptyAddress();
    address.family = asked;
    address.bytes.set(addresses.subarray(from + number * octets, from + (number + 1) * octets));
    return ipToText(address);
  });
}

function ruleOf(site: number, plan: Plan, preference: Preference | undefined): SteeringExplanation["rule"] {
  if (site === anycastSite) return "anycast";
  if (preference === undefined) return "none";
  return plan.candidates.length === 1 && preference.overrideIndex < 0 ? "single" : preference.rule;
}

function whyOf(
  site: number,
  plan: Plan,
  preference: Preference | undefined,
  place: Whereabouts,
  nameOf: (at: number) => string,
  kmTo: (at: number) => number | null,
  shedBy: readonly string[],
): string {
  if (site === anycastSite) return "all sites share the anycast addresses";
  if (preference === undefined) {
    return plan.candidates.length === 0 ? "no candidate site has an address of this family" : "every site has weight 0";
  }
  const because = reasonOf(site, plan, preference, place, nameOf, kmTo, shedBy.length > 0);
  if (shedBy.length === 0) return because;
  return `${shedBy.join(", ")} ${shedBy.length === 1 ? "sheds" : "shed"} this client network for load; ${because}`;
}

function reasonOf(
  site: number,
  plan: Plan,
  { rule, overrideIndex, sites }: Preference,
  place: Whereabouts,
  nameOf: (at: number) => string,
  kmTo: (at: number) => number | null,
  isNext: boolean,
): string {
  const chosen = nameOf(site);
  if (plan.candidates.length === 1 && overrideIndex < 0) return `${chosen} is the only candidate`;
  const isShared = sites.length > 1;
  const all = sites.map(nameOf).join(", ");
  const to = isShared ? `${all} by weight: ${chosen} won this network` : chosen;
  const km = kmTo(site);
  switch (rule) {
    case "cidr":
      return `overrides[${overrideIndex}] sends this client network to ${to}`;
    case "asn":
      return `overrides[${overrideIndex}] sends clients of AS${place.asn} to ${to}`;
    case "country":
      return `overrides[${overrideIndex}] sends clients in ${place.country} to ${to}`;
    case "distance":
      if (policies[plan.policy].isOrderFromSelf === true) return `${chosen} is the nearest to this site`;
      if (isShared) {
        const near = `${all} are at most ${plan.withinKm} km farther than the nearest of them`;
        return `${near} and share its clients by weight: ${chosen} won this network`;
      }
      return `${chosen} is the nearest${isNext ? " of the others" : ""}${km === null ? "" : `, ${km} km away`}`;
    case "order": {
      const list = policies[plan.policy].isOrderOfSites === true ? "`sites`" : "the fleet document";
      return `${chosen} comes first in the order of ${list}`;
    }
    case "weight":
      return `${chosen} won this client network by weight`;
    case "self":
      return `${chosen} is the site of this node`;
  }
}
