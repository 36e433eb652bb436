/** A steered name with all that its answers rest on but the client. candidates.ts makes it. */
import type { UnitVector } from "#base/great-circle.ts";
import type { SteeredName } from "#document/schema/steering.ts";

/** Which sites are candidates, the best kind that there is. */
export type Standing = "up" | "draining" | "all";

export interface Plan {
  readonly policy: SteeredName["policy"];
  /** Allowed and fit for the family that is asked for, in any state: indices in fleet.sites. */
  readonly allowed: readonly number[];
  readonly standing: Standing;
  /** Indices in fleet.sites: for `fixed` and `local` in the order of preference, else in the document's. */
  readonly candidates: readonly number[];
  // Parallel to candidates.
  readonly names: readonly string[];
  readonly vectors: readonly UnitVector[];
  readonly weights: readonly number[];
  readonly keptShares: readonly number[];
  readonly withinKm: number;
  /** Whether the answering site is in the document: `local` goes by the distance from it. */
  readonly isSelfKnown: boolean;
}
