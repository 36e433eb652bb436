/**
 * The steering policies as DNS applies them: one file each in policies/, and one line here. The rules of a policy in
 * the fleet document are the entry of the same name in node/document/policies.ts.
 */
import type { PolicyName } from "#document/policies.ts";
import { anycast } from "./policies/anycast.ts";
import { fixed } from "./policies/fixed.ts";
import { geo } from "./policies/geo.ts";
import { local } from "./policies/local.ts";
import { weighted } from "./policies/weighted.ts";
import type { Policy } from "./policy.ts";

export const policies: Readonly<Record<PolicyName, Policy>> = { geo, anycast, local, weighted, fixed };
