/** `weighted`: all candidates form one group. */
import type { Plan } from "../plan.ts";
import type { Policy } from "../policy.ts";

export const weighted: Policy = {
  outcomeOf(plan, _overrides, _geo, builder) {
    const members = weighing(plan);
    if (members.length === 0) return "nothing";
    builder.begin();
    builder.add(members, members.length);
    return builder.finish();
  },
  addGroups({ plan, add }) {
    add("weight", -1, weighing(plan));
  },
};

/** Positions of the candidates with a weight above 0. */
function weighing({ weights }: Plan): number[] {
  return weights.flatMap((weight, position) => (weight > 0 ? [position] : []));
}
