/**
 * Which site is a client sent to, and for how much of the Internet does that answer hold? Pure.
 *
 *   steered name + site states ──▶ candidates ──policy──▶ one site, the rule that chose it, the scope
 *
 * Candidates are the sites that the name may be answered with and that are `up`; when none is, all of them, since an
 * answer that may work beats one that can't. For A they are further only those that have an IPv4 address: a client
 * that knows IPv4 alone must reach something. For AAAA the best site counts even if it has no IPv6 address, and the
 * answer is then NODATA: nearly every client speaks IPv4 as well and is better off at its best site than at a
 * farther one, to which it would be drawn by its preference for IPv6.
 *
 *   geo       overrides in order, the first whose client network or country matches and whose site is a candidate;
 *             else the nearest site; the document's order where the client's place is not known
 *   local     the answering site; else the nearest to it
 *   weighted  by the client's network, in proportion to the weights; the same network keeps its site
 *   fixed     the first candidate in the order of `sites`
 *   anycast   the shared addresses: no site is chosen, health is the business of the routes
 *
 * The scope is the number of leading bits that the choice rests on (RFC 7871 §7.2.1): every address that shares them
 * gets the same answer. It is 0 where the client plays no part, as with a single candidate.
 */
import type { SteeredName } from "#fleet/document.ts";
import type { SiteStates } from "#fleet/health.ts";
import type { GeoSource, Place } from "../geo/place.ts";
import { bitsOf, parsePrefix, type Family, type IpAddress } from "../wire/address.ts";
import { closeness, unitVector } from "./great-circle.ts";
import { buildPrefixRules, matchPrefix, noRule } from "./prefix-rules.ts";
import { draw, hashNetwork, networkBits } from "./rendezvous.ts";
import type { SteerSite } from "./sites.ts";

export type Rule = "cidr" | "country" | "distance" | "order" | "weight" | "self" | "anycast" | "single";

export interface Choice {
  /** Undefined for anycast, and when no candidate is left (weights of 0, no site of that family). */
  readonly site: SteerSite | undefined;
  readonly rule: Rule;
  /** Index of the override that matched, else -1. */
  readonly overrideIndex: number;
  /** Leading bits of the client's address that this rests on. */
  readonly scope: number;
}

/** Chooses for one client address; `prefixLength` bits of it are known, the others zero. */
export interface Chooser {
  readonly candidates: readonly SteerSite[];
  /** Whether no site was up, so that all count. */
  readonly isAsIfAllUp: boolean;
  choose: (client: IpAddress) => Choice;
}

export interface ChooserInputs {
  readonly steered: SteeredName;
  readonly sites: readonly SteerSite[];
  readonly states: SiteStates;
  /** Name of the answering site. */
  readonly self: string;
  readonly geo: GeoSource;
  /** Family of the addresses that are asked for: 4 for A, 6 for AAAA. */
  readonly asked: Family;
}

export function makeChooser(inputs: ChooserInputs): Chooser {
  const { steered } = inputs;
  const allowed = allowedSites(inputs);
  const up = allowed.filter((site) => isUp(inputs.states, site));
  const candidates = up.length > 0 ? up : allowed;
  return { candidates, isAsIfAllUp: up.length === 0, choose: policyOf(steered, candidates, inputs) };
}

/** Sites that were never judged count as up. */
function isUp(states: SiteStates, site: SteerSite): boolean {
  return (states.get(site.name) ?? "up") === "up";
}

/** The sites that may be answered, in the order that `fixed` and the static order go by. */
function allowedSites({ steered, sites, asked }: ChooserInputs): SteerSite[] {
  const named = steered.sites;
  let allowed = [...sites];
  if (named !== undefined) {
    allowed =
      steered.policy === "fixed"
        ? [...new Set(named)].flatMap((name) => sites.filter((site) => site.name === name))
        : sites.filter((site) => named.includes(site.name));
  }
  return asked === 4 ? allowed.filter((site) => site.addresses[4].length > 0) : allowed;
}

function policyOf(
  steered: SteeredName,
  candidates: readonly SteerSite[],
  inputs: ChooserInputs,
): (client: IpAddress) => Choice {
  switch (steered.policy) {
    case "anycast":
      return always(undefined, "anycast");
    case "fixed":
      return always(candidates[0], "order");
    case "local":
      return localChoice(candidates, inputs);
    case "weighted":
      return weightedChoice(candidates, steered.weights ?? {});
    case "geo":
      return candidates.length <= 1 ? always(candidates[0], "single") : geoChoice(steered, candidates, inputs.geo);
  }
}

function always(site: SteerSite | undefined, rule: Rule): () => Choice {
  const choice: Choice = { site, rule, overrideIndex: -1, scope: 0 };
  return () => choice;
}

function localChoice(candidates: readonly SteerSite[], { sites, self }: ChooserInputs): () => Choice {
  const own = sites.find((site) => site.name === self);
  if (own === undefined) return always(candidates[0], "order");
  if (candidates.includes(own)) return always(own, "self");
  return always(
    best(candidates, (site) => closeness(own.vector, site.vector)),
    "distance",
  );
}

function weightedChoice(
  candidates: readonly SteerSite[],
  weights: Readonly<Record<string, number>>,
): (client: IpAddress) => Choice {
  const weightOf = (site: SteerSite): number => weights[site.name] ?? 1;
  const weighing = candidates.filter((site) => weightOf(site) > 0);
  if (weighing.length <= 1) return always(weighing[0], "single");
  return (client) => {
    const network = hashNetwork(client);
    const site = best(weighing, (one) => draw(network, one.nameHash, weightOf(one)));
    return { site, rule: "weight", overrideIndex: -1, scope: networkBits[client.family] };
  };
}

function geoChoice(
  steered: SteeredName,
  candidates: readonly SteerSite[],
  geo: GeoSource,
): (client: IpAddress) => Choice {
  const siteOfRule = new Map<number, SteerSite>();
  const ruleOfCountry = new Map<string, number>();
  const networks: { address: IpAddress; prefixLength: number; rule: number }[] = [];
  let firstCountryRule = noRule;
  for (const [rule, { cidr, country, site: name }] of steered.overrides.entries()) {
    const site = candidates.find((one) => one.name === name);
    if (site === undefined) continue;
    siteOfRule.set(rule, site);
    const network = cidr === undefined ? undefined : parsePrefix(cidr);
    if (network !== undefined) networks.push({ ...network, rule });
    if (country !== undefined && !ruleOfCountry.has(country)) {
      ruleOfCountry.set(country, rule);
      firstCountryRule = Math.min(firstCountryRule, rule);
    }
  }
  const rules = buildPrefixRules(networks);

  return (client) => {
    const byNetwork = matchPrefix(rules, client, noRule);
    if (byNetwork.rule < firstCountryRule) {
      const site = siteOfRule.get(byNetwork.rule);
      return { site, rule: "cidr", overrideIndex: byNetwork.rule, scope: byNetwork.prefixLength };
    }
    const { place, prefixLength } = geo.find(client);
    const countryRule = ruleOfCountry.get(place?.country ?? "") ?? noRule;
    const matched = matchPrefix(rules, client, countryRule);
    const scope = Math.min(Math.max(prefixLength, matched.prefixLength), bitsOf(client.family));
    if (matched.rule !== noRule) {
      const site = siteOfRule.get(matched.rule);
      const rule = matched.rule === countryRule ? "country" : "cidr";
      return { site, rule, overrideIndex: matched.rule, scope };
    }
    const nearest = place === undefined ? undefined : nearestTo(place, candidates);
    if (nearest === undefined) return { site: candidates[0], rule: "order", overrideIndex: -1, scope };
    return { site: nearest, rule: "distance", overrideIndex: -1, scope };
  };
}

function nearestTo({ latitude, longitude }: Place, candidates: readonly SteerSite[]): SteerSite | undefined {
  if (latitude === undefined || longitude === undefined) return undefined;
  const client = unitVector({ latitude, longitude });
  return best(candidates, (site) => closeness(client, site.vector));
}

/** The site with the greatest score, the first of equals. */
function best(candidates: readonly SteerSite[], scoreOf: (site: SteerSite) => number): SteerSite | undefined {
  let winner: SteerSite | undefined;
  let highest = Number.NEGATIVE_INFINITY;
  for (const site of candidates) {
    const score = scoreOf(site);
    if (score > highest) {
      winner = site;
      highest = score;
    }
  }
  return winner;
}
