/**
 * The groups that one client is steered by, in order of preference, each with the rule that put it there. It shows
 * people, for one client, what the compiled tables hold for all clients at once. It takes the same steps as compiling
 * (candidates.ts, policies/), but continues after the end of a chain (chains.ts), to show which sites would come next.
 */
import type { SteeredName } from "#document/schema/steering.ts";
import type { GeoTables } from "../geo/tables.ts";
import type { IpAddress } from "../wire/address.ts";
import type { Plan } from "./plan.ts";
import { policies } from "./policies.ts";
import type { Rule } from "./policy.ts";

export interface Preference {
  readonly rule: Rule;
  /** Index of the override, or -1. */
  readonly overrideIndex: number;
  /** Indices in fleet.sites. */
  readonly sites: readonly number[];
}

/** @param self name of the answering site; `local` gives it the rule `self` */
export function preferencesOf(
  plan: Plan,
  steered: SteeredName,
  geo: GeoTables,
  self: string,
  client: IpAddress,
): Preference[] {
  const { candidates } = plan;
  const isUsed = new Uint8Array(candidates.length);
  const preferences: Preference[] = [];
  policies[plan.policy].addGroups({
    plan,
    overrides: steered.overrides,
    geo,
    client,
    self,
    isUsed,
    add(rule, overrideIndex, members) {
      const left = members.filter((position) => isUsed[position] === 0);
      if (left.length === 0) return;
      for (const position of left) isUsed[position] = 1;
      preferences.push({ rule, overrideIndex, sites: left.map((position) => candidates[position] ?? 0) });
    },
  });
  return preferences;
}
