/** `probe` of the fleet document: how often nodes probe each other, and when a node counts as down. */
import { type Static, Type } from "typebox";
import { strict } from "#base/schema-terms.ts";

export const probe = Type.Object(
  {
    intervalMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 1000,
      unit: "ms",
      description: "interval between probes; after a late answer, a tenth of it",
    }),
    timeoutMs: Type.Integer({
      minimum: 50,
      maximum: 60_000,
      default: 1000,
      unit: "ms",
      description: "time limit for one probe; at most intervalMs",
    }),
    failuresDown: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 7,
      description: "consecutive failures that take a node down, unless a reachable node still reaches it",
    }),
    successesUp: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 2,
      description: "consecutive successes that bring a node up",
    }),
  },
  { ...strict, default: {}, description: "how often nodes probe each other, and when a node counts as down" },
);
export type ProbeSettings = Static<typeof probe>;
