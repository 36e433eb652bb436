/**
 * Decides whether a node is up, from this node's own probes and the health answers of the nodes that it reaches; pure.
 * "I" is the node that judges.
 *
 * What my own probes say about a node:
 *
 *   unknown ──answer───▶ reached ──failuresDown attempts in a row fail─▶ lost ──successesUp answers in a row─▶ reached
 *   unknown ──failure──▶ lost      (the first judgement stands before the first answer)
 *
 * A node that is reached is asked once per interval. An attempt that is late is not waited for: another begins beside
 * it, and one more each tenth of the interval until one of them is answered, which takes back what failed before. So
 * many chances in so little time tell loss from death; with the default settings, in ms after the death:
 *
 *   0 ──────▶ ≤ 1000 ───────▶ ≤ 1250 ── 1350 ── 1450 ‥ 1750 ‥ 2650    attempts begin
 *               └─ 1000: timeout ──▶ 2000 ── 2250 ── 2350 ‥ 2750    they fail; the seventh: lost, after 16 chances
 *
 * The rules:
 *
 *   1. What I reach is up; or draining, by its own word or by the document's.
 *   2. What I lost is up as long as it has a witness: another node, heard of late, that does not name it as
 *      unreachable. A link that is cut between two nodes takes neither of them from anybody. Where something answers
 *      me in its place without proof, only those are witnesses who would not have believed that either.
 *   3. What I lost and nobody witnesses is down: nobody whom I can reach can reach it.
 *   4. Answers speak for others, never against them. So no minority takes the majority down, nor does a node gone mad,
 *      and in a parted fleet each side sees the other as down, whichever is larger: that is what its own clients see.
 *   5. A node names another as unreachable from 1.8 intervals after the beginning of its last answered attempt, or
 *      three failures, sooner than it would judge it lost; and an answer counts for 1.1 intervals from when it was
 *      asked for. So the last witness of a dead node is silent 2.9 intervals after its death, and it is out everywhere
 *      within three, whichever way the news travel, or don't. While I am about to lose a node, three of its witnesses
 *      are asked four times as often.
 *   6. An answer counts only if its node probes the same nodes (`watched`); silence of one that never heard of a
 *      node, or has not yet judged it, says nothing.
 *   7. Of itself a node knows its own readiness, not whether it can be reached: it need not be able to call itself. It
 *      is down for itself as well when for ten intervals others' answers came and none of them reaches it.
 *   8. A node that reaches no other machine, nor hears of anyone who does, is isolated. All others are down for it, so
 *      that it answers with its own site; it can't know who of them is well.
 *   9. Who fell for the third time within five minutes is up again only after it was well for five intervals, and for
 *      twice as long after each further fall, at most for thirty: hold-down. An own isolation is nobody's fall.
 *
 * In a fleet without a secret there are no answers, and each node judges by what it sees itself. After a restart a node
 * knows nothing and is nobody's witness for a node before it has judged it.
 */
import { createHash } from "node:crypto";
import { counted } from "#base/counted.ts";
import type { ProbeSettings } from "#document/schema/probes.ts";
import { type NodeHealth, type NodeState, type HealthAnswer, type ProbeResult, retryMs } from "./health.ts";

/** What my own probes say about one node. Times are of the monotonic clock. */
export interface Sight {
  readonly reach: "unknown" | "reached" | "lost";
  /** Its last answer. */
  readonly answer: "ready" | "draining";
  /** When its last answered attempt began. */
  readonly answeredMs: number;
  /** Attempts begun since that answer. */
  readonly begun: number;
  /** Of these, the ones that failed; counted until it is lost. */
  readonly failures: number;
  /** Answers in a row of one that is lost. */
  readonly successes: number;
  /** Why the last attempt failed, for people. */
  readonly reason: string;
  /** The last attempt was answered without proof. */
  readonly isUnproven: boolean;
}

export const unseen: Sight = {
  reach: "unknown",
  answer: "ready",
  answeredMs: -Infinity,
  begun: 0,
  failures: 0,
  successes: 0,
  reason: "",
  isUnproven: false,
};

/** One more attempt begins. */
export function afterBegin(sight: Sight): Sight {
  return { ...sight, begun: sight.begun + 1 };
}

/** The attempt did not begin. */
export function afterHold(sight: Sight): Sight {
  return { ...sight, begun: Math.max(sight.begun - 1, 0) };
}

/**
 * An attempt has ended. The result of an attempt that began before an answered one must not be passed here: it is
 * outdated, and would hide what later attempts show.
 * @param beganMs when it began
 */
export function afterResult(sight: Sight, result: ProbeResult, beganMs: number, settings: ProbeSettings): Sight {
  if (result.outcome === "failed") {
    const { reason, isUnproven = false } = result;
    if (sight.reach === "lost") return { ...sight, successes: 0, reason, isUnproven };
    const failures = sight.failures + 1;
    const isLost = sight.reach === "unknown" || failures >= settings.failuresDown;
    return { ...sight, failures, reason, isUnproven, reach: isLost ? "lost" : "reached" };
  }
  const successes = sight.successes + 1;
  const answeredMs = Math.max(sight.answeredMs, beganMs);
  const answered: Sight = { ...sight, answer: result.outcome, answeredMs, begun: 0, isUnproven: false };
  if (sight.reach === "lost" && successes < settings.successesUp) return { ...answered, successes };
  return { ...answered, reach: "reached", failures: 0, successes: 0 };
}

/** Rule 5. Three refusals count at once. */
const doubtIntervals = 1.8;
const doubtFailures = 3;
const answerIntervals = 1.1;
/** Rule 7. */
const selfIntervals = 10;
/** Rule 9. */
const fallsFree = 2;
const holdIntervals = 5;
const holdIntervalsMost = 30;
const fallsRememberedIntervals = 300;

/** Part of the interval after which a late attempt no longer delays the next one. */
const patienceMost = 0.25;
/** Of the interval, the time between two attempts at a node that is down: it is to be back within a second. */
const lostSpacing = 0.5;
/** Of the interval, the time between two questions to a witness that keeps a node up. */
const hurriedSpacing = 0.25;
/** How many witnesses of each lost node are probed that often. */
const hurriedWitnesses = 3;

/**
 * When the next attempt begins, in milliseconds after the beginning of the last one.
 * @param usualMs how long its answers usually take
 * @param isHurried it is the witness of a node that I lost
 */
export function spacingMs(sight: Sight, usualMs: number, isHurried: boolean, settings: ProbeSettings): number {
  const { intervalMs } = settings;
  if (sight.reach === "lost") return intervalMs * lostSpacing;
  if (sight.begun === 0) return intervalMs * (isHurried ? hurriedSpacing : 1);
  if (sight.begun > 1 || sight.failures > 0) return retryMs(settings);
  return Math.min(Math.max(2 * usualMs, retryMs(settings)), intervalMs * patienceMost);
}

/** Time limit of an attempt; it never delays the next regular one. */
export function timeoutMs(settings: ProbeSettings): number {
  return Math.min(settings.timeoutMs, settings.intervalMs);
}

/** Whether my answer names it as unreachable. */
export function isUnreachable(sight: Sight, nowMs: number, settings: ProbeSettings): boolean {
  if (sight.reach !== "reached" || sight.failures >= doubtFailures) return true;
  return nowMs - sight.answeredMs > doubtIntervals * settings.intervalMs;
}

/** A health answer, in the form that is kept for judging other nodes. */
export interface Heard {
  /** When the attempt began that brought it; what it says is from then or later. */
  readonly askedMs: number;
  readonly watched: string | undefined;
  readonly unreachable: ReadonlySet<string>;
  readonly draining: ReadonlySet<string>;
  readonly asksProof: boolean;
}

export function heardOf(answer: HealthAnswer, askedMs: number): Heard {
  const { watched, unreachable = [], draining = [], asksProof = false } = answer;
  return { askedMs, watched, unreachable: new Set(unreachable), draining: new Set(draining), asksProof };
}

/** Names the nodes that are probed, for comparison: 16 hexadecimal digits. */
export function watchedId(names: Iterable<string>): string {
  return createHash("sha256")
    .update([...names].toSorted().join(" "))
    .digest("hex")
    .slice(0, 16);
}

/** Rules 5 and 6: whether this answer counts. */
function isCounting({ askedMs, watched }: Heard, own: string, nowMs: number, settings: ProbeSettings): boolean {
  return watched === own && nowMs - askedMs <= answerIntervals * settings.intervalMs;
}

/** What health answers say about one node. */
export interface Testimony {
  /** Who reaches it; names in the order of `answers`. */
  readonly witnesses: readonly string[];
  /** Whether the node told one of them that it drains. */
  readonly isDraining: boolean;
}

export const noTestimony: Testimony = { witnesses: [], isDraining: false };

/**
 * @param isUnproven rule 2: something answers me in its place without proof
 * @param answers by the name of the node that said it; without my own
 * @param own the watchedId of my fleet
 */
export function testimonyOf(
  { name, isUnproven }: { readonly name: string; readonly isUnproven: boolean },
  answers: ReadonlyMap<string, Heard>,
  own: string,
  nowMs: number,
  settings: ProbeSettings,
): Testimony {
  const witnesses: string[] = [];
  let isDraining = false;
  for (const [by, heard] of answers) {
    if (by === name || heard.unreachable.has(name) || !isCounting(heard, own, nowMs, settings)) continue;
    if (isUnproven && !heard.asksProof) continue;
    witnesses.push(by);
    isDraining ||= heard.draining.has(name);
  }
  return { witnesses, isDraining };
}

/**
 * The nodes to be asked more often, so that no witness of a node that I lost falls silent by chance: of those whose
 * last answer speaks for it, whatever its age, the quickest.
 * @param lost names of nodes that I lost, or am about to
 * @param usualMsOf how long a node's answers take; Infinity: it is not answering
 */
export function hurriedOf(
  lost: readonly string[],
  answers: ReadonlyMap<string, Heard>,
  own: string,
  usualMsOf: (name: string) => number,
): Set<string> {
  const hurried = new Set<string>();
  if (lost.length === 0) return hurried;
  const byTime = [...answers]
    .filter(([, { watched }]) => watched === own)
    .map(([by, { unreachable }]) => ({ by, unreachable, usualMs: usualMsOf(by) }))
    .toSorted((a, b) => (a.usualMs < b.usualMs ? -1 : Number(a.usualMs > b.usualMs)));
  for (const name of lost) {
    let count = 0;
    for (const { by, unreachable } of byTime) {
      if (by === name || unreachable.has(name)) continue;
      hurried.add(by);
      if (++count === hurriedWitnesses) break;
    }
  }
  return hurried;
}

/** Rule 7: when an answer of another node last said that it reaches me, and when any last spoke of me. */
export interface Reputation {
  readonly reachedMs: number;
  readonly heardMs: number;
}

export function afterAnswer(reputation: Reputation, heard: Heard, self: string, own: string): Reputation {
  if (heard.watched !== own) return reputation;
  const heardMs = Math.max(reputation.heardMs, heard.askedMs);
  return heard.unreachable.has(self) ? { ...reputation, heardMs } : { reachedMs: heardMs, heardMs };
}

/** Whether other nodes answer, but none of them reaches me. */
export function isForsaken({ reachedMs, heardMs }: Reputation, nowMs: number, settings: ProbeSettings): boolean {
  const { intervalMs } = settings;
  // Both cover the same time, so a single late answer changes nothing.
  return nowMs - heardMs <= selfIntervals * intervalMs && nowMs - reachedMs > selfIntervals * intervalMs;
}

/** The judgement of one node, with the state that the next one needs. */
export interface Judgement {
  readonly state: NodeState;
  /** For people. */
  readonly reason: string;
  /** Since when rules 1 and 2 have held without a break; undefined: they don't. */
  readonly wellSinceMs: number | undefined;
  /** Recent changes to down, and the last of them. */
  readonly falls: number;
  readonly fellMs: number;
}

export const unjudged: Judgement = {
  state: "unknown",
  reason: "not probed yet",
  wellSinceMs: undefined,
  falls: 0,
  fellMs: -Infinity,
};

export interface Evidence {
  readonly sight: Sight;
  readonly testimony: Testimony;
  /** Whether the document or the roster drains the node. */
  readonly isToDrain: boolean;
  /** Whether I am isolated. */
  readonly isIsolated: boolean;
}

/** The judgement after this evidence. */
export function judge(before: Judgement, evidence: Evidence, nowMs: number, settings: ProbeSettings): Judgement {
  const { sight, testimony, isToDrain, isIsolated } = evidence;
  const { witnesses } = testimony;
  if (sight.reach === "unknown") return before;
  const isReached = sight.reach === "reached";
  if (!isReached && witnesses.length === 0) {
    const doubt = isIsolated ? "; it may be up, since no node can be reached from here" : "";
    return { ...fallen(before, isIsolated, nowMs, settings), reason: `${failedFromHere(sight)}${doubt}` };
  }
  const wellSinceMs = before.wellSinceMs ?? nowMs;
  const heldMs = before.state === "down" ? holdMs(before.falls, settings) - (nowMs - wellSinceMs) : 0;
  if (heldMs > 0) {
    return {
      ...before,
      wellSinceMs,
      reason: `answers again after failing ${before.falls} times; up when it has answered for longer`,
    };
  }
  const drains = isReached ? sight.answer === "draining" : testimony.isDraining;
  const seen = isReached ? "answers" : `${someOf(witnesses)} it; ${failedFromHere(sight)}`;
  return {
    ...before,
    wellSinceMs,
    state: isToDrain || drains ? "draining" : "up",
    reason: isToDrain ? "drained by an operator or by the fleet document" : isReached && drains ? "draining" : seen,
  };
}

function fallen(before: Judgement, isIsolated: boolean, nowMs: number, settings: ProbeSettings): Judgement {
  const down = { ...before, state: "down", wellSinceMs: undefined } as const;
  if (before.state !== "up" || isIsolated) return down;
  const isRemembered = nowMs - before.fellMs < fallsRememberedIntervals * settings.intervalMs;
  return { ...down, falls: isRemembered ? before.falls + 1 : 1, fellMs: nowMs };
}

/** Rule 9. */
function holdMs(falls: number, { intervalMs }: ProbeSettings): number {
  if (falls <= fallsFree) return 0;
  return Math.min(holdIntervals * 2 ** (falls - fallsFree - 1), holdIntervalsMost) * intervalMs;
}

function failedFromHere({ failures, reason }: Sight): string {
  return `${counted(failures, "probe")} from here failed: ${reason}`;
}

function someOf(witnesses: readonly string[]): string {
  const named = witnesses.slice(0, 3).join(", ");
  const more = witnesses.length > 3 ? ` and ${witnesses.length - 3} more` : "";
  return `${named}${more} ${witnesses.length === 1 ? "reaches" : "reach"}`;
}

/** The health of a node, for the rest of the program. */
export function healthOf(judgement: Judgement, sight: Sight, settings: ProbeSettings): NodeHealth {
  const { state, reason } = judgement;
  const said = { state, reason, ...(sight.isUnproven ? ({ isUnproven: true } as const) : {}) };
  if (state === "down") return { ...said, contraryCount: sight.successes };
  const lost = settings.failuresDown;
  return { ...said, contraryCount: sight.reach === "reached" ? Math.max(sight.begun - 1, 0) : lost };
}
