/** `anycast`: the shared addresses. No site is chosen: BGP withdraws the routes of a site that fails. */
import type { Policy } from "../policy.ts";

export const anycast: Policy = { outcomeOf: () => "shared", addGroups: () => {} };
