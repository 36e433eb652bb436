/** Long runs: `npm run test:long` does what the tests do, for longer. Without it the short form holds. */
const isLong = process.env["NEARCAST_TEST_LONG"] === "1";

/** How often a fuzz, crash or soak loop goes round. */
export function rounds(short: number, long: number): number {
  return isLong ? long : short;
}

/** The seed of this run, printed by whoever fails: SEED=… repeats it. */
export function seedOr(fallback: number): number {
  return Number(process.env["SEED"] ?? fallback);
}
