/**
 * What the main thread knows about the lease, and what follows: the order for the thread that holds the session, and
 * the state that other parts and `nearcast status` show. Pure.
 */
import type { Damping } from "./damping.ts";
import { parsePrefix } from "./bgp/prefix.ts";
import type { LeaseOrder, LeaseReport } from "./lease-worker.ts";
import { withoutNextHop } from "./announced-routes.ts";
import type { SessionState } from "./session.ts";

export interface LeaseState {
  readonly session: SessionState;
  /** The prefixes that BIRD has from this node now. */
  readonly announced: readonly string[];
  /** True from drain() until undrain(). */
  readonly isShuttingDown: boolean;
  /** Why the prefixes are announced or not, for people. */
  readonly reason: string;
  /** When this reason began to apply, in ms since 1970. */
  readonly sinceMs: number;
  /** How often the announcement was withdrawn since the start; drains don't count. */
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
  /** The file of the session's TCP MD5 key. Without one, any user of this machine could take the lease. */
  readonly keyFile?: string;
  readonly shutdownMs: number;
}

export interface LeaseFacts {
  wanted: { readonly prefixes: readonly string[]; readonly as: number | undefined };
  damping: Damping;
  phase: "serving" | "shutting-down" | "withdrawn";
  /** Why the last self-check failed, if it did. */
  wrong: string | undefined;
  fellBecause: string | undefined;
  /** Announced although its answers are wrong, since no other site is healthy. */
  isKept: boolean;
  /** Drained but still announced, since no other node announces the same prefixes. */
  isStaying: boolean;
  isClosed: boolean;
  /** How many stalls of this thread the lease thread has reported. */
  stalls: number;
  report: LeaseReport;
}

/** The report of a thread that has no session yet, or has ended. */
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

/** @param before the previous state; `sinceMs` is kept while the reason stays the same */
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

/** Why the prefixes are announced or not, for people. */
export function reasonOf(facts: LeaseFacts, nextHops: readonly string[]): string {
  const { wanted, damping, phase, wrong, isKept, isStaying, isClosed, report } = facts;
  const { prefixes, as } = wanted;
  if (isClosed) return "closed: this node is stopping";
  if (prefixes.length === 0) return "no cloud in the fleet document lists this site, so there is nothing to announce";
  if (as === undefined) return "the fleet document has no `anycast.as`, so nothing can be announced";
  if (phase === "withdrawn") return "withdrawn: drained";
  if (!damping.isUp) return reasonDown(facts);
  if (report.isStalled) return "withdrawn: the main thread was blocked";
  if (report.session !== "established") {
    return `no session with BIRD${report.reason === "" ? "" : `: ${report.reason}`}`;
  }
  if (isStaying)
    return "drained, but still announced with GRACEFUL_SHUTDOWN: no other node announces the same prefixes";
  if (phase === "shutting-down") return "draining: announced with GRACEFUL_SHUTDOWN";
  if (isKept) return `still announced as the last healthy site, although ${wrong ?? "its own answers were wrong"}`;
  const left = prefixes.filter((prefix) => !report.announced.includes(prefix));
  return left.length === 0 ? "announced: its own answers are correct" : reasonLeft(left, facts, nextHops);
}

/** @param left the prefixes that may be announced but that BIRD does not have yet */
function reasonLeft(left: readonly string[], { wanted, report }: LeaseFacts, nextHops: readonly string[]): string {
  const isHopless = withoutNextHop(left, nextHops).length > 0;
  const isUnheard = left.some((prefix) => !report.families.includes(parsePrefix(prefix)?.family ?? 4));
  if (!isHopless && !isUnheard) return "sending the announcement to BIRD";
  const why = isHopless ? "`announce.nextHops` has no address of that family" : "BIRD has no channel for that family";
  const begin = left.length < wanted.prefixes.length ? "announced, except for" : "can't announce";
  return `${begin} ${left.join(", ")}: ${why}`;
}

function reasonDown({ damping, wrong, fellBecause }: LeaseFacts): string {
  const fell = fellBecause === undefined ? "" : `was withdrawn (${fellBecause}); `;
  if (wrong !== undefined) return `${fell}not announced: ${wrong}`;
  const seconds = Math.ceil(damping.needsMs / 1000);
  return `${fell}announces again when its own answers have been correct for ${seconds} s`;
}
