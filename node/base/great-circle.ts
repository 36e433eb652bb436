/**
 * Distances on the earth, taken as a sphere: off by at most half a percent, far less than networks stray from
 * straight lines.
 */

export interface Point {
  /** Degrees north. */
  readonly latitude: number;
  /** Degrees east. */
  readonly longitude: number;
}

/** A point as a vector of length 1 from the earth's centre. The greater the dot product of two, the nearer they are. */
export interface UnitVector {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

/** Mean radius (IUGG). */
export const earthRadiusKm = 6371.0088;

export function unitVector({ latitude, longitude }: Point): UnitVector {
  const north = (latitude * Math.PI) / 180;
  const east = (longitude * Math.PI) / 180;
  return { x: Math.cos(north) * Math.cos(east), y: Math.cos(north) * Math.sin(east), z: Math.sin(north) };
}

/** Cosine of the angle between the two: 1 for the same point, -1 for the opposite one. */
export function closeness(a: UnitVector, b: UnitVector): number {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

/** Along the great circle, by the chord, which is exact for near points too. */
export function distanceKm(a: UnitVector, b: UnitVector): number {
  const chord = Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
  return 2 * earthRadiusKm * Math.asin(Math.min(1, chord / 2));
}
