/**
 * All that publishing wants to know of a fleet document, from its text to its dangers: is it valid, what does it
 * change, what would it take down, does every live node understand it, and how is that said in one line. Pure; for a
 * long document it takes seconds, so judge-in-thread.ts does it in a thread.
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

/** Values alone, so that they can be handed to a thread. */
export interface FleetCase {
  readonly text: string;
  /** The newest version's; undefined: there is none. */
  readonly before: string | undefined;
  readonly roster: Roster;
  /** Names of the nodes that may be alive; "all": nobody can say. */
  readonly live: "all" | ReadonlySet<string>;
  /** What those who are connected understand. */
  readonly connected: readonly Understanding[];
}

export interface FleetJudgement {
  /** Its zones are packed: their records are for edges. */
  readonly fleet: Fleet;
  readonly summary: string;
  readonly review: FleetReview;
  readonly words: readonly FleetDanger[];
}

export function judgeFleet({ text, before, roster, live, connected }: FleetCase): Checked<FleetJudgement> {
  const parsed = parseFleet(text);
  if (!parsed.ok) return parsed;
  const fleet = parsed.value;
  // One that this release can't read any more is as good as none: edges do not follow it either.
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
