/**
 * The head of a response, with a second request when the first is late (Dean and Barroso, The Tail at Scale, 2013):
 *
 *   first  ──────────────────── later than 95 % of the recent ones ───────────────▶ cancelled
 *   second                       └──── within the budget, if a place is free ──▶ its head counts
 *
 * The head that arrives first is used. The other request gets a while to end by itself, so that its connection can be
 * used again. After that, or when others wait for its place, it is cancelled.
 */
import type { Dispatcher } from "undici";
import { isSettledWithin } from "#base/settled-within.ts";
import { dropBody } from "../body.ts";
import { leave, tryEnterAgain } from "./admission.ts";
import { trySpend } from "./budget.ts";
import { beginExchange, type Exchange, type ExchangeWish } from "./exchange.ts";
import { headTimeQuantileMs, recordHeadTime } from "./head-times.ts";
import type { PlaceWish } from "#base/places.ts";
import type { Upstream } from "./upstream.ts";

const lateShare = 0.95;
/** A shorter delay, which nobody notices, is no reason for a second request. */
const hedgeMsMin = 20;
/**
 * How long the slower request may still take while nobody waits for its place: late origins are late by seconds, and
 * closing the connection would not stop most of them. A small body is read to its end (body.ts).
 */
const graceMs = 5000;
const lookMs = 100;

export interface HeadOf {
  readonly head: Dispatcher.ResponseData;
  readonly exchange: Exchange;
}

/** One of up to two requests for the same head. */
interface Runner {
  readonly exchange: Exchange;
  readonly startedMs: number;
}

/**
 * @param isHedged false: never send a second request
 * @param begun called with each request that is sent, so that the caller can cancel it
 * @throws the failure of the first request, if no head arrived
 */
export async function firstHead(
  upstream: Upstream,
  wish: ExchangeWish,
  place: PlaceWish,
  isHedged: boolean,
  begun: (exchange: Exchange) => void,
): Promise<HeadOf> {
  const first = begin(upstream, wish, begun);
  const delayMs = isHedged ? hedgeDelayMs(upstream) : undefined;
  if (delayMs === undefined || (await isSettledWithin(upstream.clock, first.exchange.head, delayMs))) {
    return await headOf(upstream, first);
  }
  const second = tryHedge(upstream, wish, place, first, begun);
  if (second === undefined) return await headOf(upstream, first);
  try {
    const winner = await Promise.any([headOf(upstream, first), headOf(upstream, second)]);
    if (winner.exchange === second.exchange) upstream.counts.hedgesWon += 1;
    void giveUp(upstream, winner.exchange === first.exchange ? second : first);
    return winner;
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}

function begin({ connections, clock, counts }: Upstream, wish: ExchangeWish, begun: (one: Exchange) => void): Runner {
  counts.requests += 1;
  const exchange = beginExchange(connections, wish);
  begun(exchange);
  return { exchange, startedMs: clock.monotonicMs() };
}

function tryHedge(
  upstream: Upstream,
  wish: ExchangeWish,
  place: PlaceWish,
  first: Runner,
  begun: (exchange: Exchange) => void,
): Runner | undefined {
  // Other requests for this URL hang too: the URL itself is slow, and one more request would hang as well.
  const isUrlSlow = (upstream.places.inUseByUrl.get(place.url) ?? 0) > 1;
  if (isUrlSlow || !tryEnterAgain(upstream, place)) return undefined;
  if (!trySpend(upstream.hedges, upstream.clock.monotonicMs())) {
    leave(upstream, place);
    return undefined;
  }
  upstream.counts.hedges += 1;
  const second = begin(upstream, wish, begun);
  // The slower one ends soon; the faster one keeps the place of the request.
  void Promise.race([first.exchange.ended, second.exchange.ended]).finally(() => {
    leave(upstream, place);
  });
  return second;
}

function hedgeDelayMs({ headTimes }: Upstream): number | undefined {
  const lateMs = headTimeQuantileMs(headTimes, lateShare);
  return lateMs === undefined ? undefined : Math.max(hedgeMsMin, lateMs);
}

async function headOf(upstream: Upstream, { exchange, startedMs }: Runner): Promise<HeadOf> {
  const head = await exchange.head;
  const nowMs = upstream.clock.monotonicMs();
  recordHeadTime(upstream.headTimes, nowMs - startedMs, nowMs);
  return { head, exchange };
}

/** Gives the slower request a while to end by itself, then cancels it. */
async function giveUp({ clock, headTimes, places }: Upstream, { exchange, startedMs }: Runner): Promise<void> {
  const givenUpMs = clock.monotonicMs();
  let hasHead = false;
  let isLate = false;
  const cancel = clock.every(lookMs, () => {
    const nowMs = clock.monotonicMs();
    // It takes even longer. Without this, slow responses would be missing from the statistics.
    if (!hasHead && !isLate) recordHeadTime(headTimes, nowMs - startedMs, nowMs);
    isLate = true;
    if (places.waiting > 0 || nowMs - givenUpMs >= graceMs)
      exchange.cancel(new Error("the other request got the head first"));
  });
  try {
    const head = await exchange.head;
    hasHead = true;
    dropBody(head);
    await exchange.ended;
  } catch {
    // Cancelled, or failed by itself: only the other request's head counts.
  } finally {
    cancel();
  }
}
