/** Everything in the caches. */
import { flagShape, nothing, type PurgeKind } from "../purge-kind.ts";

export const all = {
  noun: "everything",
  option: { name: "all", help: "purge everything" },
  ...flagShape(),
  canonical: (selector) => selector,
  targetOf: () => ({ ...nothing, isAll: true }),
  audited: ([selector]) => (selector === undefined ? {} : { targetPrefixes: [""], fact: true }),
} as const satisfies PurgeKind;
