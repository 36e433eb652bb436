/** A steered name with everything that its answers depend on except the client. candidates.ts makes it. */
import type { UnitVector } from "#base/great-circle.ts";
import type { SteeredName } from "#document/schema/steering.ts";

/** The state that qualifies a site as a candidate: the best one that any allowed site has. */
export type Standing = "up" | "draining" | "all";

export interface Plan {
  readonly policy: SteeredName["policy"];
  /** Allowed sites that suit the queried family, in any state: indices in fleet.sites. */
  readonly allowed: readonly number[];
  readonly standing: Standing;
  /** Indices in fleet.sites: for `fixed` and `local` in the order of preference, otherwise in the document's order. */
  readonly candidates: readonly number[];
  // Parallel to candidates.
  readonly names: readonly string[];
  readonly vectors: readonly UnitVector[];
  readonly weights: readonly number[];
  readonly keptShares: readonly number[];
  readonly withinKm: number;
  /** Whether the answering site is in the document: `local` orders sites by the distance from it. */
  readonly isSelfKnown: boolean;
}
