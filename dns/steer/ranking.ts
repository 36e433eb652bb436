/**
 * The next group by distance: the nearest remaining candidate and, with `withinKm`, those at most that much farther
 * from the client. They share the clients by weight.
 *
 * Distances are compared by cosines. The nearest site is at the angle a from the client; another one is within the
 * angle d more if its cosine is at least cos(a + d) = cos a cos d - sin a sin d, so no arc cosine is taken.
 */
import { earthRadiusKm } from "#base/great-circle.ts";
import type { Plan } from "./plan.ts";

export interface Ranking {
  /** Sets the client's location for the following groups. NaN: unknown, so the groups follow the candidates' order. */
  setPlace: (x: number, y: number, z: number) => void;
  /**
   * @param isUsed by position in Plan.candidates: 1 if the site is already in a group
   * @param into receives the positions of the group, in ascending order
   * @returns the number of positions; 0: no candidate is left
   */
  nextGroup: (isUsed: Uint8Array, into: Uint16Array) => number;
}

/** The entry of nearestOfPlaces() for a place without coordinates. */
export const noPosition = 0xffff;

/**
 * For each place, the position of the nearest candidate; among equals, the first.
 * @param places x, y, z per place
 */
export function nearestOfPlaces({ vectors }: Plan, places: Float32Array): Uint16Array {
  const nearest = new Uint16Array(places.length / 3);
  const sites = Float64Array.from(vectors.flatMap(({ x, y, z }) => [x, y, z]));
  for (let place = 0; place < nearest.length; place++) {
    const x = places[3 * place] ?? 0;
    const y = places[3 * place + 1] ?? 0;
    const z = places[3 * place + 2] ?? 0;
    let best = noPosition;
    let highest = -2;
    for (let at = 0; at < sites.length; at += 3) {
      const cosine = x * (sites[at] ?? 0) + y * (sites[at + 1] ?? 0) + z * (sites[at + 2] ?? 0);
      if (cosine > highest) {
        highest = cosine;
        best = at;
      }
    }
    nearest[place] = best === noPosition ? noPosition : best / 3;
  }
  return nearest;
}

export function rankingOf({ candidates, vectors, weights, withinKm }: Plan): Ranking {
  const count = candidates.length;
  const sites = Float64Array.from(vectors.flatMap(({ x, y, z }) => [x, y, z]));
  const isSharing = withinKm > 0;
  const isWeighing = Uint8Array.from(weights, (weight) => (weight > 0 ? 1 : 0));
  const within = withinKm / earthRadiusKm;
  const withinCosine = Math.cos(within);
  const withinSine = Math.sin(within);
  // Cosine of the angle between each candidate and the place, times the length of the place's vector.
  const cosines = new Float64Array(count);
  let length = 1;

  /** @param onlyWeighing ignore sites of weight 0 */
  function nearestLeft(isUsed: Uint8Array, onlyWeighing: boolean): number {
    let best = -1;
    let highest = Number.NEGATIVE_INFINITY;
    for (let position = 0; position < count; position++) {
      if (isUsed[position] === 1 || (onlyWeighing && isWeighing[position] === 0)) continue;
      const cosine = cosines[position] ?? 0;
      if (best < 0 || cosine > highest) {
        best = position;
        highest = cosine;
      }
    }
    return best;
  }

  return {
    setPlace(x, y, z) {
      for (let position = 0; position < count; position++) {
        const at = 3 * position;
        cosines[position] = x * (sites[at] ?? 0) + y * (sites[at + 1] ?? 0) + z * (sites[at + 2] ?? 0);
      }
      // Coordinates have 32 bits, so places are slightly off the sphere. A cosine near 1 magnifies the error.
      if (isSharing) length = Math.hypot(x, y, z);
    },
    nextGroup(isUsed, into) {
      let nearest = nearestLeft(isUsed, isSharing);
      const isShared = isSharing && nearest >= 0;
      if (isSharing && nearest < 0) nearest = nearestLeft(isUsed, false);
      if (nearest < 0) return 0;
      if (!isShared || Number.isNaN(length)) {
        into[0] = nearest;
        return 1;
      }
      const cosine = Math.min(1, (cosines[nearest] ?? 0) / length);
      const isEverywhere = Math.acos(cosine) + within >= Math.PI;
      const lowest = length * (cosine * withinCosine - Math.sqrt(1 - cosine * cosine) * withinSine);
      let found = 0;
      for (let position = 0; position < count; position++) {
        if (isUsed[position] === 1 || isWeighing[position] === 0) continue;
        if (position === nearest || isEverywhere || (cosines[position] ?? 0) >= lowest) into[found++] = position;
      }
      return found;
    },
  };
}
