/** A warning about a valid fleet document; warnings.ts collects them. */
import type { ValueProblem } from "#base/schema.ts";

export interface FleetWarning extends ValueProblem {
  readonly value: string;
  /** What the author can do about it. */
  readonly advice: string;
}

/** How many names a message lists. */
const namesShownMax = 3;

/** `fra, nyc, tyo and 2 more`. */
export function namesText(names: readonly string[]): string {
  const more = names.length - namesShownMax;
  return names.slice(0, namesShownMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
