/**
 * Distances on the earth, approximated as a sphere. The error is at most half a percent, far less than the detours of
 * networks.
 */

export interface Point {
  /** Degrees north. */
  readonly latitude: number;
  /** Degrees east. */
  readonly longitude: number;
}

/**
 * A point as a vector of length 1 from the earth's centre. The greater the dot product of two vectors, the nearer the
 * points.
 */
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

/** Cosine of the angle between two points: 1 for the same point, -1 for opposite ones. */
export function closeness(a: UnitVector, b: UnitVector): number {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

/** Distance along the great circle, computed from the chord, which is exact for near points, too. */
export function distanceKm(a: UnitVector, b: UnitVector): number {
  const chord = Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
  return 2 * earthRadiusKm * Math.asin(Math.min(1, chord / 2));
}
