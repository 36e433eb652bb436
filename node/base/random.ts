/** Randomness as a dependency, so that a test can replay it from a seed. */

/** Returns a number in [0, 1), like Math.random. */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** A small repeatable generator (mulberry32). Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
