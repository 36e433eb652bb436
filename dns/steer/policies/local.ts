/** `local`: the answering site, then the others by distance from it. */
import type { Policy } from "../policy.ts";
import { orderedOutcome } from "../ordered-outcome.ts";

export const local: Policy = {
  isOrderFromSelf: true,
  outcomeOf: orderedOutcome,
  addGroups({ plan, self, add }) {
    for (const [position, name] of plan.names.entries()) {
      add(!plan.isSelfKnown ? "order" : name === self ? "self" : "distance", -1, [position]);
    }
  },
};
