/** `fixed`: in the order of `sites`. */
import type { Policy } from "../policy.ts";
import { orderedOutcome } from "../ordered-outcome.ts";

export const fixed: Policy = {
  isOrderOfSites: true,
  outcomeOf: orderedOutcome,
  addGroups({ plan, add }) {
    for (const position of plan.candidates.keys()) add("order", -1, [position]);
  },
};
