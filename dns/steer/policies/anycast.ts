/** `anycast`: the shared addresses. No site is chosen; health is the business of the routes. */
import type { Policy } from "../policy.ts";

export const anycast: Policy = { outcomeOf: () => "shared", addGroups: () => {} };
