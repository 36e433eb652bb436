/**
 * The steering policies of the fleet document: one entry each, with its meaning and its rules for a steered name. What
 * DNS does is in the entry of the same name in dns/steer/policies.ts, which may import more. The TypeScript compiler
 * ensures that both tables have the same names.
 */

/** The input of a policy's rules. */
interface PolicyUse {
  readonly sites?: readonly string[];
  readonly anycastAddresses: readonly string[];
}

interface PolicyTerms {
  /** What a client gets; a part of the documentation. */
  readonly means: string;
  /** It gives the shared addresses: no site is chosen, so no site's state counts. */
  readonly isShared?: true;
  /** It never answers with a site of weight 0. */
  readonly isWeighing?: true;
  /** It orders sites by distance from the client, so `withinKm` applies to it. */
  readonly isByDistance?: true;
  /** What the schema can't say; `key` is one of the steered name's. */
  readonly problemOf?: (use: PolicyUse) => { readonly key: string; readonly message: string } | undefined;
}

const table = {
  geo: { means: "nearest site", isByDistance: true },
  anycast: {
    means: "the shared anycast addresses",
    isShared: true,
    problemOf: ({ anycastAddresses }) =>
      anycastAddresses.length > 0
        ? undefined
        : { key: "policy", message: `"anycast" requires at least one address in anycast.addresses` },
  },
  local: { means: "the site that answers the query" },
  weighted: { means: "a site by weight, which a client network keeps", isWeighing: true },
  fixed: {
    means: "the first of `sites` that is up",
    problemOf: ({ sites }) =>
      sites !== undefined ? undefined : { key: "sites", message: `is missing; "fixed" requires a list of sites` },
  },
} as const satisfies Record<string, PolicyTerms>;

export type PolicyName = keyof typeof table;

export const policies: Readonly<Record<PolicyName, PolicyTerms>> = table;

/** In the order of the table, which is that of the documentation. */
export const policyNames = Object.keys(table) as PolicyName[];

/** All of them in one sentence. */
export const policiesText = policyNames.map((name) => `${name}: ${table[name].means}`).join("; ");
