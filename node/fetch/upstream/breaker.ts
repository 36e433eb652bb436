/**
 * A circuit breaker in front of one origin; a state record and pure functions.
 *
 *   closed ──connection failures, or many URLs that fail──▶ open ──its wait is over, and a client asks──▶ probing
 *      ▲                                                      ▲                                              │
 *      │                                                      ├──────────────── no response ─────────────────┤
 *      └──nobody waits for a place─── recovering ◀────────────┼────────────────── a response ────────────────┘
 *                                         └───failures again──┘
 *
 * Only failures that concern the origin as a whole count:
 * - connections or TLS handshakes that fail: `connectFailuresMax` in a row open the breaker
 * - URLs that fail (no response in time, a connection that is cut off, no HTTP): `failedUrlsMax` different ones in a
 * row. Then the edge first requests a URL that worked before. The breaker opens only if that fails, too. So a client
 * that knows eight broken URLs can't take an origin away from the others.
 *
 * Any response is a sign of life, whatever its status: a 503 is passed on, so that the maintenance page of an origin
 * reaches its clients, and failing-urls.ts bounds how often it is requested.
 *
 * Open: requests are refused at once, so a dead origin costs its clients no time, and is not hammered when it returns.
 * Probing: one request that is known to be good is in progress; the others wait for it, but not for long.
 * Recovering: about half as many requests at a time, and per second, as the origin answered before it failed. Each
 * response allows one more at a time, and the responses of a fifth of a second double the rate, up to `rampMost` times
 * the rate before. An origin that is as fast as before has its usual load within a second, and never twice that. Each
 * step that is over while requests still wait doubles the limit: the origin has shown that it can take it.
 *
 *   rate  1.5 ┤          ┌────────────── as long as requests wait, 10 s
 *         1.0 ┤    ┌─────┘
 *         0.5 ┤────┘
 *             └────┴─────┴──▶
 *                 0.2   0.4 s
 */

const connectFailuresMax = 5;
const failedUrlsMax = 8;
const waitMsMin = 500;
const waitMsMax = 15_000;
/** Requests at one time when the recovery begins. */
const recoveryAllowanceMin = 2;
/** Factors of the rate before the failure: at first, and at most. Below 2, because some requests come in bursts. */
const rampStart = 0.5;
const rampMost = 1.5;
/** How many responses show that an origin can take more: at least this many, and those of this time. */
const rampAnswersMin = 10;
const rampAnswersSeconds = 0.2;
const rampStepMs = 10_000;
/**
 * If the usual rate is not known, for example after a start, the origin may be used to a lot: its recovery is faster.
 */
const rampStepUnknownMs = 2000;
/** Requests per second below which the usual rate counts as not known. */
const rateKnownMin = 1;
/** The minimum rate at which a recovery starts: the load before may be unknown, and this harms no origin. */
const recoveryRateMin = 32;
/** Requests that start late by no more than this are made up for: timers are some ms late, more on a busy machine. */
const catchUpMs = 20;
/** The rate of responses is averaged over about this time. */
const rateWindowMs = 10_000;

/**
 * How long requests wait for a probe's response. A working origin has answered by then, and a hanging one must not
 * delay the stale responses that are served instead.
 */
export const probeWaitMs = 500;

export type BreakerPhase = "closed" | "open" | "probing" | "recovering";

export interface Breaker {
  phase: BreakerPhase;
  connectFailures: number;
  readonly failedUrls: Set<string>;
  /** A request that is known to be good is in progress, because many URLs failed. */
  isVerifying: boolean;
  /** How long it stays open this time. */
  waitMs: number;
  /** When it opened, or began to probe. */
  openedAtMs: number;
  /** Responses per second while it is closed, as of the latest one. */
  rate: number;
  rateAtMs: number;
  /** Time of the oldest request since the latest response; undefined: none. From then on, silence is not a pause. */
  unansweredSinceMs: number | undefined;
  /** During a recovery: concurrent requests, and the rate, with the moment from which the next one may start. */
  allowance: number;
  recoveryRate: number;
  recoveryRateMax: number;
  /** Responses since the rate was last changed. */
  answers: number;
  nextStartMs: number;
  stepEndMs: number;
}

export function createBreaker(nowMs: number): Breaker {
  return {
    phase: "closed",
    connectFailures: 0,
    failedUrls: new Set(),
    isVerifying: false,
    waitMs: waitMsMin,
    openedAtMs: 0,
    rate: 0,
    rateAtMs: nowMs,
    unansweredSinceMs: undefined,
    allowance: 0,
    recoveryRate: 0,
    recoveryRateMax: 0,
    answers: 0,
    nextStartMs: 0,
    stepEndMs: 0,
  };
}

/**
 * What happens to a request that arrives now: it may wait for a place, it is refused, or it may wait while the caller
 * sends a probe, whose result goes to probed().
 */
export function admit(breaker: Breaker, nowMs: number): "admitted" | "refused" | "probe-first" {
  const passedMs = nowMs - breaker.openedAtMs;
  if (breaker.phase === "probing") return passedMs < probeWaitMs ? "admitted" : "refused";
  if (breaker.phase !== "open") return "admitted";
  if (passedMs < breaker.waitMs) return "refused";
  breaker.phase = "probing";
  breaker.openedAtMs = nowMs;
  return "probe-first";
}

/** How many requests may be in progress now. */
export function allowanceOf(breaker: Breaker): number {
  if (breaker.phase === "closed") return Number.POSITIVE_INFINITY;
  return breaker.phase === "recovering" ? breaker.allowance : 0;
}

/** How long the next request has to wait because of the rate; 0: it may start now. */
export function startDelayMs(breaker: Breaker, nowMs: number): number {
  return breaker.phase === "recovering" ? Math.max(0, breaker.nextStartMs - nowMs) : 0;
}

/** Notes that a request goes to the origin. */
export function started(breaker: Breaker, nowMs: number): void {
  if (breaker.phase === "recovering") {
    breaker.nextStartMs = Math.max(nowMs - catchUpMs, breaker.nextStartMs) + 1000 / breaker.recoveryRate;
    return;
  }
  if (breaker.phase === "closed") breaker.unansweredSinceMs ??= nowMs;
}

/** Notes a response, whatever its status. */
export function succeeded(breaker: Breaker, nowMs: number): void {
  breaker.connectFailures = 0;
  breaker.failedUrls.clear();
  breaker.unansweredSinceMs = undefined;
  if (breaker.phase === "closed") {
    fade(breaker, nowMs);
    breaker.rate += 1000 / rateWindowMs;
  }
  if (breaker.phase !== "recovering") return;
  breaker.allowance += 1;
  breaker.answers += 1;
  const answersMin = Math.max(rampAnswersMin, breaker.recoveryRate * rampAnswersSeconds);
  if (breaker.answers >= answersMin) setRecoveryRate(breaker, breaker.recoveryRate * 2);
}

/** The average up to now, without any further response. */
function fade(breaker: Breaker, nowMs: number): void {
  breaker.rate *= Math.exp(-Math.max(0, nowMs - breaker.rateAtMs) / rateWindowMs);
  breaker.rateAtMs = nowMs;
}

function setRecoveryRate(breaker: Breaker, rate: number): void {
  breaker.recoveryRate = Math.min(rate, breaker.recoveryRateMax);
  breaker.answers = 0;
}

/**
 * Ends a step of the recovery whose time is over.
 * @param isAnyoneWaiting for a place: then the recovery continues, twice as fast
 */
export function step(breaker: Breaker, isAnyoneWaiting: boolean, nowMs: number): void {
  if (breaker.phase !== "recovering" || nowMs < breaker.stepEndMs) return;
  if (isAnyoneWaiting) {
    breaker.recoveryRateMax *= 2;
    setRecoveryRate(breaker, breaker.recoveryRate * 2);
    breaker.stepEndMs = nowMs + stepMs(breaker);
    return;
  }
  breaker.phase = "closed";
  breaker.waitMs = waitMsMin;
  breaker.rateAtMs = nowMs;
  breaker.unansweredSinceMs = undefined;
}

/** A connection or a TLS handshake failed. @returns whether the breaker opened */
export function connectFailed(breaker: Breaker, nowMs: number): boolean {
  // Open or probing: this request began before, or is the probe, which reports separately.
  if (breaker.phase === "open" || breaker.phase === "probing") return false;
  breaker.connectFailures += 1;
  if (breaker.phase === "closed" && breaker.connectFailures < connectFailuresMax) return false;
  open(breaker, nowMs);
  return true;
}

/**
 * Notes a URL that brought no response over a working connection.
 * @returns `verify`: request one that is known to be good, and report to verified()
 */
export function urlFailed(breaker: Breaker, url: string): "noted" | "verify" {
  if (breaker.phase === "open" || breaker.phase === "probing" || breaker.isVerifying) return "noted";
  breaker.failedUrls.add(url);
  if (breaker.failedUrls.size < failedUrlsMax) return "noted";
  breaker.isVerifying = true;
  return "verify";
}

/** Notes the result of the request that is known to be good. @returns whether the breaker opened */
export function verified(breaker: Breaker, isAlive: boolean, nowMs: number): boolean {
  breaker.isVerifying = false;
  breaker.failedUrls.clear();
  if (isAlive || breaker.phase === "open" || breaker.phase === "probing") return false;
  open(breaker, nowMs);
  return true;
}

/**
 * Notes the result of the probe.
 * @param usualHeadMs how long the origin took for the head of a response before it failed; 0: not known
 */
export function probed(breaker: Breaker, isAlive: boolean, nowMs: number, usualHeadMs: number): void {
  if (breaker.phase !== "probing") return;
  if (!isAlive) {
    breaker.waitMs = Math.min(breaker.waitMs * 2, waitMsMax);
    breaker.phase = "open";
    breaker.openedAtMs = nowMs;
    return;
  }
  breaker.phase = "recovering";
  breaker.connectFailures = 0;
  breaker.failedUrls.clear();
  // The concurrency that this rate implies (Little's law).
  const usualAtOneTime = (breaker.rate * usualHeadMs) / 1000;
  breaker.allowance = Math.max(recoveryAllowanceMin, Math.ceil(usualAtOneTime * rampStart));
  breaker.recoveryRateMax = Math.max(recoveryRateMin, breaker.rate * rampMost);
  setRecoveryRate(breaker, Math.max(recoveryRateMin, breaker.rate * rampStart));
  breaker.nextStartMs = nowMs;
  breaker.stepEndMs = nowMs + stepMs(breaker);
}

function stepMs({ rate }: Breaker): number {
  return rate < rateKnownMin ? rampStepUnknownMs : rampStepMs;
}

function open(breaker: Breaker, nowMs: number): void {
  // What the origin is used to: its average up to the first request that it did not answer. From then on the average is
  // frozen, however long it takes until the failure is known.
  if (breaker.phase === "closed") fade(breaker, breaker.unansweredSinceMs ?? nowMs);
  if (breaker.phase === "recovering") breaker.waitMs = Math.min(breaker.waitMs * 2, waitMsMax);
  breaker.phase = "open";
  breaker.openedAtMs = nowMs;
  breaker.connectFailures = 0;
  breaker.failedUrls.clear();
}
