/**
 * Why does this client get this answer? The same look-up and the same choosers as the wire answer's, told in words
 * and figures. Pure.
 */
import type { SiteState } from "#fleet/health.ts";
import type { Choice, Rule } from "./steer/choose.ts";
import { distanceKm, unitVector } from "./steer/great-circle.ts";
import type { SteerSite } from "./steer/sites.ts";
import type { Snapshot } from "./snapshot.ts";
import { bitsOf, ipToText, maskIp, parsePrefix, type IpAddress } from "./wire/address.ts";
import { isAtOrBelow, nameFromText, nameToText } from "./wire/name.ts";
import { recordTypes, typeNumber } from "./wire/numbers.ts";
import { aliasesMax, findZone, lookUp } from "./zone/lookup.ts";

export interface DnsQuestion {
  readonly name: string;
  /** `A`, `AAAA`, `TXT`, `TYPE65` … */
  readonly type: string;
  /** The client: an address, or a network such as `192.0.2.0/24` as a resolver would send it. */
  readonly ip: string;
}

export type DnsExplanation =
  | { readonly outcome: "invalid"; readonly reason: string }
  /** No zone of ours: REFUSED. */
  | { readonly outcome: "refused"; readonly name: string; readonly type: string }
  | {
      readonly outcome: "records" | "nodata" | "nxdomain" | "referral" | "steered";
      readonly name: string;
      readonly type: string;
      readonly zone: string;
      /** Names that aliases led through, the last of them where the answer comes from. */
      readonly aliases: readonly string[];
      readonly steering: SteeringExplanation | null;
    };

export interface CandidateExplanation {
  readonly site: string;
  readonly state: SiteState;
  /** From the client, or null when its place is not known. */
  readonly distanceKm: number | null;
  readonly weight: number | null;
  readonly isCandidate: boolean;
  readonly isChosen: boolean;
}

export interface SteeringExplanation {
  readonly name: string;
  readonly policy: string;
  readonly rule: Rule;
  /** One sentence. */
  readonly why: string;
  readonly overrideIndex: number | null;
  readonly chosen: string | null;
  readonly addresses: readonly string[];
  readonly ttlSeconds: number;
  /** The prefix for which this answer holds; /0 where it does not depend on the client. */
  readonly scope: string;
  readonly scopePrefixLength: number;
  readonly isAsIfAllUp: boolean;
  readonly client: {
    readonly ip: string;
    readonly latitude: number | null;
    readonly longitude: number | null;
    readonly country: string | null;
    readonly city: string | null;
    readonly geo: string;
  };
  readonly candidates: readonly CandidateExplanation[];
}

/** A plain value, fit for JSON. */
export function explainAnswer(snapshot: Snapshot, question: DnsQuestion): DnsExplanation {
  const name = nameFromText(question.name);
  const type = typeNumber(question.type);
  const client = parsePrefix(question.ip);
  if (name === undefined) return { outcome: "invalid", reason: `"${question.name}" is not a domain name` };
  if (type === undefined) return { outcome: "invalid", reason: `"${question.type}" is not a record type` };
  if (client === undefined) return { outcome: "invalid", reason: `"${question.ip}" is not an address or network` };
  const zone = findZone(snapshot.compiled.zones.index, name, type);
  const asked = { name: nameToText(name), type: question.type.toUpperCase() };
  if (zone === undefined) return { outcome: "refused", ...asked };

  const aliases: string[] = [];
  const inZone = { ...asked, zone: zone.apexText, aliases };
  let owner = name;
  for (;;) {
    const found = lookUp(zone, owner, type);
    if (found.kind === "delegation") return { outcome: "referral", ...inZone, steering: null };
    if (found.kind === "missing") return { outcome: "nxdomain", ...inZone, steering: null };
    const { node } = found;
    if (node.alias !== undefined) {
      aliases.push(nameToText(node.alias.target));
      const ends = type === recordTypes.CNAME || type === recordTypes.ANY || aliases.length === aliasesMax;
      if (ends || !isAtOrBelow(node.alias.target, zone.apex)) return { outcome: "records", ...inZone, steering: null };
      owner = node.alias.target;
      continue;
    }
    if (node.steeredIndex >= 0 && (type === recordTypes.A || type === recordTypes.AAAA)) {
      const steering = explainSteering(snapshot, node.steeredIndex, type, client.address);
      return { outcome: "steered", ...inZone, steering };
    }
    const isAny = type === recordTypes.ANY && (node.sets.size > 0 || node.steeredIndex >= 0);
    return { outcome: isAny || node.sets.has(type) ? "records" : "nodata", ...inZone, steering: null };
  }
}

function explainSteering(
  snapshot: Snapshot,
  steeredIndex: number,
  type: number,
  client: IpAddress,
): SteeringExplanation | null {
  const { compiled, states, geo } = snapshot;
  const steered = compiled.fleet.steering[steeredIndex];
  if (steered === undefined) return null;
  const asked = type === recordTypes.A ? 4 : 6;
  const chooser = snapshot.chooserOf(steeredIndex, asked);
  const choice = snapshot.choose(steeredIndex, asked, client);
  const { place } = geo.find(client);
  const isPlaced = place?.latitude !== undefined && place.longitude !== undefined;
  const vector = isPlaced ? unitVector({ latitude: place.latitude, longitude: place.longitude }) : undefined;
  const distanceTo = (site: SteerSite): number | null =>
    vector === undefined ? null : Math.round(distanceKm(vector, site.vector));
  const scopeAddress: IpAddress = { family: client.family, bytes: Uint8Array.from(client.bytes) };
  maskIp(scopeAddress, choice.scope);
  const fromAnycast = choice.rule === "anycast" ? compiled.fleet.anycast.addresses : [];
  return {
    name: steered.name,
    policy: steered.policy,
    rule: choice.rule,
    why: whyOf(choice, choice.site === undefined ? null : distanceTo(choice.site), place?.country),
    overrideIndex: choice.overrideIndex < 0 ? null : choice.overrideIndex,
    chosen: choice.site?.name ?? null,
    addresses: choice.site?.addresses[asked] ?? fromAnycast.filter((text) => text.includes(":") === (asked === 6)),
    ttlSeconds: steered.ttlSeconds,
    scope: `${ipToText(scopeAddress)}/${choice.scope}`,
    scopePrefixLength: Math.min(choice.scope, bitsOf(client.family)),
    isAsIfAllUp: chooser.isAsIfAllUp,
    client: {
      ip: ipToText(client),
      latitude: place?.latitude ?? null,
      longitude: place?.longitude ?? null,
      country: place?.country ?? null,
      city: place?.city ?? null,
      geo: geo.description,
    },
    candidates: compiled.sites
      .filter((site) => steered.sites?.includes(site.name) ?? true)
      .map((site) => ({
        site: site.name,
        state: states.get(site.name) ?? "up",
        distanceKm: distanceTo(site),
        weight: steered.policy === "weighted" ? (steered.weights?.[site.name] ?? 1) : null,
        isCandidate: chooser.candidates.includes(site),
        isChosen: site === choice.site,
      })),
  };
}

function whyOf(choice: Choice, km: number | null, country: string | undefined): string {
  const site = choice.site?.name;
  if (site === undefined && choice.rule !== "anycast") return "no site has an address of this family";
  switch (choice.rule) {
    case "cidr":
      return `overrides[${choice.overrideIndex}] sends this client network to ${site}`;
    case "country":
      return `overrides[${choice.overrideIndex}] sends clients in ${country} to ${site}`;
    case "distance":
      return km === null ? `${site} is the nearest to this site` : `${site} is the nearest, ${km} km away`;
    case "order":
      return `${site} is the first in the fleet document's order`;
    case "weight":
      return `${site} drew the most for this client network`;
    case "self":
      return `${site} is the site that was asked`;
    case "single":
      return `${site} is the only candidate`;
    case "anycast":
      return "all sites share the anycast addresses";
  }
}
