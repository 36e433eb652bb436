/**
 * Everything that publishing needs to know about a fleet document: whether it is valid, what it changes, what it would
 * take out of service, whether every live node understands it, and a one-line summary. Pure; a long document takes
 * seconds, so judge-in-thread.ts runs this in a thread.
 */
import type { Checked } from "#base/schema.ts";
import type { Fleet } from "#document/document.ts";
import { packZones } from "#document/packed-zones.ts";
import { parseFleet } from "#document/read-document.ts";
import type { FleetDanger } from "#review/dangers.ts";
import type { Roster } from "#document/roster.ts";
import { type Understanding, wordDangers } from "../channel/understanding.ts";
import { type FleetReview, reviewFleet } from "./review-changes.ts";
import { summarizeFleet } from "./summary.ts";

/** Plain values, so that they can be passed to a thread. */
export interface FleetCase {
  readonly text: string;
  /** The newest version's text; undefined: there is none. */
  readonly before: string | undefined;
  readonly roster: Roster;
  /** Names of the nodes that may be alive; "all": unknown. */
  readonly live: "all" | ReadonlySet<string>;
  /** The vocabularies of the connected nodes. */
  readonly connected: readonly Understanding[];
}

export interface FleetJudgement {
  /** Its zones are packed: only edges need their records. */
  readonly fleet: Fleet;
  readonly summary: string;
  readonly review: FleetReview;
  readonly words: readonly FleetDanger[];
}

export function judgeFleet({ text, before, roster, live, connected }: FleetCase): Checked<FleetJudgement> {
  const parsed = parseFleet(text);
  if (!parsed.ok) return parsed;
  const fleet = parsed.value;
  // A version that this release can no longer read counts as none: edges do not follow it either.
  const stored = before === undefined ? undefined : before === text ? parsed : parseFleet(before);
  const old = stored?.ok === true ? stored.value : null;
  const isLive = (node: string): boolean => live === "all" || live.has(node);
  return {
    ok: true,
    value: {
      fleet: packZones(fleet),
      summary: summarizeFleet(old ?? undefined, fleet),
      review: reviewFleet(old, fleet, roster, isLive),
      words: wordDangers(text, fleet, connected),
    },
  };
}
