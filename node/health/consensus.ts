/**
 * Decides whether a node is up, from this node's own probes and the health answers of the nodes that it reaches; pure.
 * "I" is the node that decides.
 *
 * What my own probes say about a node:
 *
 *   unknown ──answer───▶ reached ──failuresDown attempts in a row fail─▶ lost ──successesUp answers in a row─▶ reached
 *   unknown ──failure──▶ lost      (until the first answer, the first result decides)
 *
 * A node that is reached is probed once per interval. A late attempt does not delay the next: another begins beside it,
 * and one more each tenth of the interval until one of them is answered, which cancels the earlier failures. So many
 * chances in so little time distinguish packet loss from death. With the default settings, in ms after the death:
 *
 *   0 ──────▶ ≤ 1000 ───────▶ ≤ 1250 ── 1350 ── 1450 ‥ 1750 ‥ 2650    attempts begin
 *               └─ 1000: timeout ──▶ 2000 ── 2250 ── 2350 ‥ 2750    they fail; the seventh: lost, after 16 chances
 *
 * The rules:
 *
 *   1. A node that I reach is up; or draining, if it or the document says so.
 *   2. A node that I lost is up as long as it has a witness: another node, heard recently, that does not name it as
 *      unreachable. So a broken link between two nodes takes neither of them down for anybody. If something answers me
 *      in its place without proof, only nodes that would not have believed that either are witnesses.
 *   3. A node that I lost and that has no witness is down: no node that I can reach can reach it.
 *   4. Answers can keep others up but never take them down. So neither a minority nor a faulty node takes the majority
 *      down, and in a partitioned fleet each side sees the other as down, whichever is larger: that is what its own
 *      clients see.
 *   5. A node names another as unreachable 1.8 intervals after the beginning of its last answered attempt, or after
 *      three failures, sooner than it would consider it lost. An answer counts for 1.1 intervals from the beginning of
 *      its attempt. So the last witness of a dead node is silent 2.9 intervals after the death, and the node is out
 *      everywhere within three, whether or not the news travels. While I am about to lose a node, I probe three of its
 *      witnesses four times as often.
 *   6. An answer counts only if its node probes the same nodes (`watched`); silence from a node that does not know
 *      another, or has not judged it yet, means nothing.
 *   7. A node knows its own readiness, but not whether it can be reached: it may be unable to connect to itself. It
 *      also considers itself down if, for ten intervals, others answered and none of them reached it.
 *   8. A node that reaches no other machine, and hears of no node that does, is isolated. It considers all others down
 *      and answers with its own site, because it can't know which of them are well.
 *   9. Hold-down: a node that went down for the third time within five minutes is up again only after it has been well
 *      for five intervals, and for twice as long after each further fall, up to thirty. My own isolation does not count
 *      as a fall of others.
 *
 * In a fleet without a secret there are no answers, and each node decides by its own probes alone. After a restart, a
 * node is no witness for another before it has judged it.
 */
import { createHash } from "node:crypto";
import { counted } from "#base/counted.ts";
import type { ProbeSettings } from "#document/schema/probes.ts";
import { type NodeHealth, type NodeState, type HealthAnswer, type ProbeResult, retryMs } from "./health.ts";

/** What my own probes say about one node. Times are from the monotonic clock. */
export interface Sight {
  readonly reach: "unknown" | "reached" | "lost";
  /** Its last answer. */
  readonly answer: "ready" | "draining";
  /** When its last answered attempt began. */
  readonly answeredMs: number;
  /** Attempts begun since that answer. */
  readonly begun: number;
  /** The failed ones among them; counted until the node is lost. */
  readonly failures: number;
  /** Consecutive answers of a lost node. */
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

/** The state after another attempt began. */
export function afterBegin(sight: Sight): Sight {
  return { ...sight, begun: sight.begun + 1 };
}

/** The state after an attempt was held back. */
export function afterHold(sight: Sight): Sight {
  return { ...sight, begun: Math.max(sight.begun - 1, 0) };
}

/**
 * The state after an attempt ended. Don't pass the result of an attempt that began before an answered one: it is
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
/** Time between two attempts at a node that is down, in intervals, so that its return is noticed within a second. */
const lostSpacing = 0.5;
/** Time between two probes of a witness that keeps a node up, in intervals. */
const hurriedSpacing = 0.25;
/** Number of witnesses of each lost node that are probed that often. */
const hurriedWitnesses = 3;

/**
 * When the next attempt begins, in milliseconds after the beginning of the last one.
 * @param usualMs usual response time of the node
 * @param isHurried the node is a witness of one that I lost
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

/** A health answer, in the form kept for judging other nodes. */
export interface Heard {
  /** When the attempt that brought it began. Its content is from then or later. */
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
  /** The nodes that reach it; names in the order of `answers`. */
  readonly witnesses: readonly string[];
  /** Whether the node reported to one of them that it is draining. */
  readonly isDraining: boolean;
}

export const noTestimony: Testimony = { witnesses: [], isDraining: false };

/**
 * @param isUnproven rule 2: something answers me in its place without proof
 * @param answers by the name of the answering node; without my own
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
 * The nodes to probe more often, so that no witness of a lost node falls silent by chance: the quickest of those whose
 * last answer, whatever its age, supports it.
 * @param lost names of nodes that I lost, or am about to
 * @param usualMsOf response time of a node; Infinity: it is not answering
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

/** Rule 7: when another node's answer last said that it reaches me, and when an answer last covered me. */
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
  /** The time since which rules 1 and 2 have held continuously; undefined: they don't hold. */
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
    const doubt = isIsolated ? "; it may be up, since no other machine can be reached from here" : "";
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
