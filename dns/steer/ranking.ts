/**
 * The group that comes next by distance: the nearest candidate that is left and, with `withinKm`, those that are at
 * most that much farther from the client, which share it by their weights.
 *
 * Distances are compared by cosines. The nearest site stands at the angle a from the client; another one is within
 * the angle d more when its cosine is at least cos(a + d) = cos a cos d - sin a sin d, so no arc cosine is taken.
 */
import { earthRadiusKm } from "#base/great-circle.ts";
import type { Plan } from "./plan.ts";

export interface Ranking {
  /** Takes the client's place for the groups to come; NaN where it is not known: they go by the candidates' order. */
  setPlace: (x: number, y: number, z: number) => void;
  /**
   * @param isUsed by position in Plan.candidates: 1 where the site is in a group already
   * @param into takes the positions of the group, lowest first
   * @returns how many they are; 0: no candidate is left
   */
  nextGroup: (isUsed: Uint8Array, into: Uint16Array) => number;
}

/** No place: what nearestOfPlaces() has where the coordinates are not known. */
export const noPosition = 0xffff;

/**
 * For each place the position of the nearest of all candidates, the first of equals.
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
  // Of the angle between each candidate and the place, times the length of the place's vector.
  const cosines = new Float64Array(count);
  let length = 1;

  /** @param onlyWeighing sites of weight 0 do not count */
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
      // Places are kept in 32 bits a coordinate, so they lie a little off the sphere, which a cosine near 1 magnifies.
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
