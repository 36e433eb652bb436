/**
 * The outcome of every place for a plan of policy `geo`: first for all places at once, since nearly all addresses match
 * no override by network; then, for the few that do, after the overrides that take precedence over the place.
 */
import type { GeoTables } from "../geo/tables.ts";
import type { ChainBuilder } from "./chains.ts";
import { placeVectors } from "./place-vectors.ts";
import type { PlanOverrides } from "./overrides.ts";
import type { Plan } from "./plan.ts";
import { nearestOfPlaces, noPosition, rankingOf } from "./ranking.ts";

/** The overrides by network and AS number that an address matches, in order of precedence. */
export interface Prelude {
  /** Positions in Plan.candidates, group by group. */
  readonly groups: readonly (readonly number[])[];
  /** The outcome, if it does not depend on the place; otherwise placeDecides. */
  readonly code: number;
  /** Outcomes found so far, by place. */
  readonly byPlace: Map<number, number>;
}

export const placeDecides = -1;

export interface GeoOutcomes {
  /** Outcome codes by place, where no override takes precedence. */
  readonly placeCodes: Uint16Array;
  preludeOf: (groups: readonly (readonly number[])[]) => Prelude;
  /** The outcome of a place after a prelude whose code is placeDecides. */
  codeAfter: (prelude: Prelude, place: number) => number;
}

/** Candidates at positions below this have a bit each. */
const maskBits = 30;

export function geoOutcomesOf(
  plan: Plan,
  { countries }: PlanOverrides,
  geo: GeoTables,
  builder: ChainBuilder,
): GeoOutcomes {
  const { candidates } = plan;
  const ranking = rankingOf(plan);
  const vectors = placeVectors(geo);
  const isShared = plan.withinKm > 0;
  const keepsAll = Uint8Array.from(plan.keptShares, (share) => (share >= 1 ? 1 : 0));
  const siteCodes = Uint16Array.from(candidates);
  const group = new Uint16Array(candidates.length);

  function goTo(place: number): void {
    const at = 3 * place;
    ranking.setPlace(vectors[at] ?? Number.NaN, vectors[at + 1] ?? Number.NaN, vectors[at + 2] ?? Number.NaN);
  }

  function codeOf(groups: readonly (readonly number[])[], place: number): number {
    builder.begin();
    for (const members of groups) if (builder.add(members, members.length)) return builder.finish();
    const country = countries.get(geo.countries[place] ?? 0);
    if (country !== undefined && builder.add(country.members, country.members.length)) return builder.finish();
    goTo(place);
    for (;;) {
      const count = ranking.nextGroup(builder.isUsed, group);
      if (count === 0 || builder.add(group, count)) return builder.finish();
    }
  }

  /** One outcome per set of sites that share a place, if all of them keep all their clients. */
  const codeOfMask = new Map<number, number>();
  const noneUsed = new Uint8Array(candidates.length);

  function sharedCode(place: number): number {
    goTo(place);
    const count = ranking.nextGroup(noneUsed, group);
    let mask = 0;
    for (let i = 0; i < count; i++) {
      const position = group[i] ?? 0;
      if (keepsAll[position] === 0 || position >= maskBits) return codeOf([], place);
      mask |= 1 << position;
    }
    let code = codeOfMask.get(mask);
    if (code === undefined) {
      code = codeOf([], place);
      codeOfMask.set(mask, code);
    }
    return code;
  }

  /** By country; 1: an override of this country takes precedence over distance. */
  const hasOverride = new Uint8Array(0x1_0000);
  for (const country of countries.keys()) hasOverride[country] = 1;
  const settledByCountry = new Map<number, number>();

  function countryCode(place: number): number {
    const country = geo.countries[place] ?? 0;
    let code = settledByCountry.get(country);
    if (code !== undefined) return code;
    code = codeOf([], place);
    // If one of the override's sites sheds, its other clients go by distance, so the outcome differs by place.
    const members = countries.get(country)?.members ?? [];
    if (members.every((position) => keepsAll[position] === 1)) settledByCountry.set(country, code);
    return code;
  }

  function codesOfPlaces(): Uint16Array {
    const nearest = nearestOfPlaces(plan, vectors);
    const codes = new Uint16Array(nearest.length);
    let unknownCode = -1;
    for (let place = 0; place < codes.length; place++) {
      const position = nearest[place] ?? noPosition;
      if (hasOverride[geo.countries[place] ?? 0] === 1) codes[place] = countryCode(place);
      else if (position === noPosition) {
        if (unknownCode < 0) unknownCode = codeOf([], place);
        codes[place] = unknownCode;
      } else if (isShared) codes[place] = sharedCode(place);
      else codes[place] = keepsAll[position] === 1 ? (siteCodes[position] ?? 0) : codeOf([], place);
    }
    return codes;
  }

  return {
    placeCodes: codesOfPlaces(),
    preludeOf(groups) {
      builder.begin();
      let isSettled = false;
      for (const members of groups) isSettled ||= builder.add(members, members.length);
      return { groups, code: isSettled ? builder.finish() : placeDecides, byPlace: new Map() };
    },
    codeAfter(prelude, place) {
      let code = prelude.byPlace.get(place);
      if (code === undefined) {
        code = codeOf(prelude.groups, place);
        prelude.byPlace.set(place, code);
      }
      return code;
    },
  };
}
