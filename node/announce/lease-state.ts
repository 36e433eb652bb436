/**
 * What the main thread knows of the lease, and what follows from it: the order for the thread that holds the session,
 * and the state that people and other parts see. Pure.
 */
import type { Damping } from "./damping.ts";
import { parsePrefix } from "./bgp/prefix.ts";
import type { LeaseOrder, LeaseReport } from "./lease-worker.ts";
import { withoutNextHop } from "./routes.ts";
import type { SessionState } from "./session.ts";

export interface LeaseState {
  readonly session: SessionState;
  /** The prefixes that BIRD has from us at this moment. */
  readonly announced: readonly string[];
  /** From drain() until undrain(). */
  readonly isShuttingDown: boolean;
  /** Why it is as it is, a sentence for people. */
  readonly reason: string;
  /** Since when this reason holds, in ms since 1970. */
  readonly sinceMs: number;
  /** How often it had to take back its announcement since the start; drains don't count. */
  readonly falls: number;
  /** The last NOTIFICATION and who sent it, such as `BIRD said 2/2 bad peer AS`. */
  readonly lastNotification: string | null;
}

/** The `announce` part of an edge's configuration. */
export interface LeaseSettings {
  readonly neighbor: { readonly host: string; readonly port: number };
  readonly source: string;
  readonly holdSeconds: number;
  readonly nextHops: readonly string[];
  /** Of the session's TCP MD5 key; absent: any user of this machine could take the lease. */
  readonly keyFile?: string;
  readonly shutdownMs: number;
}

export interface LeaseFacts {
  wanted: { readonly prefixes: readonly string[]; readonly as: number | undefined };
  damping: Damping;
  phase: "serving" | "shutting-down" | "withdrawn";
  /** The reason of the last check, when it was wrong. */
  wrong: string | undefined;
  fellBecause: string | undefined;
  /** Announced although its answers are wrong, since no other site is well. */
  isKept: boolean;
  /** Drained, and still announced, since no other node announces the same. */
  isStaying: boolean;
  isClosed: boolean;
  /** Stalls of this thread that the other one has reported. */
  stalls: number;
  report: LeaseReport;
}

/** What a thread reports that has no session yet, or is gone. */
export const noReport: LeaseReport = {
  session: "idle",
  announced: [],
  reason: "",
  lastNotification: null,
  families: [],
  isStalled: false,
};

export function firstFacts(wanted: LeaseFacts["wanted"], damping: Damping): LeaseFacts {
  return {
    wanted,
    damping,
    phase: "serving",
    wrong: undefined,
    fellBecause: undefined,
    isKept: false,
    isStaying: false,
    isClosed: false,
    stalls: 0,
    report: noReport,
  };
}

/** @param identifier the BGP identifier of this end of the session */
export function orderOf(
  { wanted, damping, phase, stalls }: LeaseFacts,
  { holdSeconds, nextHops }: Pick<LeaseSettings, "holdSeconds" | "nextHops">,
  identifier: number,
): LeaseOrder {
  const { prefixes, as } = wanted;
  const isOn = damping.isUp && phase !== "withdrawn";
  return {
    kind: "order",
    stalls,
    session: as === undefined || prefixes.length === 0 ? null : { as, identifier, holdSeconds },
    wanted: { prefixes: isOn ? prefixes : [], nextHops, isShuttingDown: phase === "shutting-down" },
  };
}

/** @param before the state before, whose `sinceMs` stays as long as its reason does */
export function stateOf(
  facts: LeaseFacts,
  nextHops: readonly string[],
  before: Pick<LeaseState, "reason" | "sinceMs">,
  wallMs: number,
): LeaseState {
  const { report, phase, damping } = facts;
  const reason = reasonOf(facts, nextHops);
  return {
    session: report.session,
    announced: report.announced,
    isShuttingDown: phase !== "serving",
    reason,
    sinceMs: reason === before.reason ? before.sinceMs : wallMs,
    falls: damping.falls,
    lastNotification: report.lastNotification,
  };
}

/** Why it is announced, or not: a sentence for people. */
export function reasonOf(facts: LeaseFacts, nextHops: readonly string[]): string {
  const { wanted, damping, phase, wrong, isKept, isStaying, isClosed, report } = facts;
  const { prefixes, as } = wanted;
  if (isClosed) return "closed";
  if (prefixes.length === 0) return "the fleet document gives this site nothing to announce";
  if (as === undefined) return "the fleet document has no AS number";
  if (phase === "withdrawn") return "drained";
  if (!damping.isUp) return reasonDown(facts);
  if (report.isStalled) return "withdrawn: the main thread stood still";
  if (report.session !== "established") {
    return `no session with BIRD${report.reason === "" ? "" : `: ${report.reason}`}`;
  }
  if (isStaying) return "drained, but no other node announces the same: it stays, with GRACEFUL_SHUTDOWN";
  if (phase === "shutting-down") return "draining: announced with GRACEFUL_SHUTDOWN";
  if (isKept) return `last healthy site: stays announced although ${wrong ?? "its answers were wrong"}`;
  const left = prefixes.filter((prefix) => !report.announced.includes(prefix));
  return left.length === 0 ? "announced: its own answers are right" : reasonLeft(left, facts, nextHops);
}

/** @param left the prefixes that BIRD does not have from us although they may be announced */
function reasonLeft(left: readonly string[], { wanted, report }: LeaseFacts, nextHops: readonly string[]): string {
  const isHopless = withoutNextHop(left, nextHops).length > 0;
  const isUnheard = left.some((prefix) => !report.families.includes(parsePrefix(prefix)?.family ?? 4));
  if (!isHopless && !isUnheard) return "is being announced";
  const why = isHopless ? "`nextHops` has no address of that family" : "BIRD has no channel of that family";
  const begin = left.length < wanted.prefixes.length ? "announced, but not" : "can't announce";
  return `${begin} ${left.join(", ")}: ${why}`;
}

function reasonDown({ damping, wrong, fellBecause }: LeaseFacts): string {
  const fell = fellBecause === undefined ? "" : `fell (${fellBecause}); `;
  if (wrong !== undefined) return `${fell}not announced: ${wrong}`;
  const seconds = Math.ceil(damping.needsMs / 1000);
  return `${fell}waits until its own answers were right for ${seconds} s`;
}
