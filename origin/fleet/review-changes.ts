/**
 * Reviews a fleet document before it is published: what it changes, and what it would take out of service. The rules
 * are pure and are in node/review/.
 */
import { counted } from "#base/counted.ts";
import { NearcastError } from "#base/errors.ts";
import type { Fleet } from "#document/document.ts";
import type { IsLive } from "#review/dns-answers.ts";
import { type FleetDanger, dangersOf } from "#review/dangers.ts";
import { diffOf, type FleetChange, isAdditive } from "#review/diff.ts";
import { type Roster, withRoster } from "#document/roster.ts";

/** The maximum number of changes and dangers in one answer, which could be as many as there are records. */
const listedMax = 200;

export interface FleetReview {
  readonly changes: readonly FleetChange[];
  readonly changeCount: number;
  /** Nothing that existed is removed or changed. */
  readonly additive: boolean;
  readonly dangers: readonly FleetDanger[];
  readonly dangerCount: number;
}

/** @param before null: there is no document yet, or it is unreadable: then nothing can be taken out of service */
export function reviewFleet(before: Fleet | null, after: Fleet, roster: Roster, isLive: IsLive): FleetReview {
  const old = before === null ? undefined : withRoster(before, roster);
  const now = withRoster(after, roster);
  const changes = diffOf(old, now);
  const dangers = old === undefined ? [] : dangersOf(old, now, isLive);
  return {
    changes: changes.slice(0, listedMax),
    changeCount: changes.length,
    additive: isAdditive(changes),
    dangers: dangers.slice(0, listedMax),
    dangerCount: dangers.length,
  };
}

/** @throws NearcastError DANGEROUS_FLEET with `dangers` */
export function refuseDangers({ dangers, dangerCount }: FleetReview): void {
  if (dangerCount === 0) return;
  const count = `${counted(dangerCount, "thing")} that ${dangerCount === 1 ? "is" : "are"}`;
  throw new NearcastError(
    "DANGEROUS_FLEET",
    `this document would take down ${count} being served; nothing was published (force=true publishes it anyway)`,
    { facts: { dangers, dangerCount } },
  );
}
