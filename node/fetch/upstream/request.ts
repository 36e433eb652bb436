/**
 * Sends a request to an origin, up to the head of its response; the body follows as it arrives.
 *
 *   failed a moment ago? ──▶ a place (admission.ts) ──▶ head (hedge.ts) ──▶ the place is free when the body has ended
 *                                                         │ no connection in time: again, until the deadline
 *                                                         └ cut, refused: again, once, within the budget
 *
 * Only requests that may be repeated go through here (GET and HEAD), and none is repeated once its response has begun.
 * Redirects are not followed: they belong to the client.
 */
import type { Dispatcher } from "undici";
import { type Cancel, sleep } from "#base/clock.ts";
import { keptFailure, NearcastError } from "#base/errors.ts";
import { before } from "#base/lifecycle.ts";
import { failureOf, rememberFailure } from "../failing-urls.ts";
import { originFailure } from "../origin-failure.ts";
import { enter, leave, pump, refuseWaiters } from "./admission.ts";
import { connectFailed, succeeded, urlFailed } from "./breaker.ts";
import { earn, trySpend } from "./budget.ts";
import { ConnectFailure } from "./connect.ts";
import type { Exchange } from "./exchange.ts";
import { firstHead } from "./hedge.ts";
import { holdIfSlow } from "./held-bodies.ts";
import type { Awaited } from "./overdue.ts";
import type { PlaceWish } from "#base/places.ts";
import { rememberGood, verify } from "./recovery-check.ts";
import type { Upstream } from "./upstream.ts";

export interface UpstreamWish {
  readonly method: "GET" | "HEAD";
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The headers that a probe may repeat: none that belongs to a client. */
  readonly probeHeaders: Readonly<Record<string, string>>;
  /** Distinguishes it from other requests: places are shared fairly, and failures kept, per URL. */
  readonly url: string;
  /** The network of the client that it is for (base/client-network.ts). */
  readonly network: string;
  /** The time until the head has arrived: waits, connecting and retries together. */
  readonly timeoutMs: number;
  /** How long the origin may be silent in the middle of the body. */
  readonly bodyTimeoutMs: number;
  /** How long a failure of this URL is kept and returned to all requests for it. */
  readonly failureMs: number;
  readonly isHedged: boolean;
  /** Aborted when nobody needs the response any more: ends whatever is in progress, at once. */
  readonly signal?: AbortSignal | undefined;
}

/** A request that was sent. A connection that is not established in time is neither load nor an attempt. */
const attemptsMax = 2;
const pauseMsMin = 50;

/** A request in progress. */
interface Running {
  readonly upstream: Upstream;
  readonly wish: UpstreamWish;
  readonly place: PlaceWish;
  /** Aborted by the deadline, and by the caller. */
  readonly ending: AbortController;
  readonly exchanges: Set<Exchange>;
  /** Ends whatever is in progress. */
  readonly end: (reason: unknown) => void;
  readonly cancelDeadline: Cancel;
  readonly unlink: () => void;
  /** Whether it ended while a request was at the origin, and not before. */
  wasAtOrigin: boolean;
}

/**
 * To be called before request(): checks whether the URL failed a moment ago.
 * @throws NearcastError that failure
 */
export function refuseFailing({ failing, url: { origin }, clock }: Upstream, url: string): void {
  const known = failureOf(failing, origin, url, clock.monotonicMs());
  if (known !== undefined) throw keptFailure(known);
}

/**
 * @returns the head; the body must be read or given up (body.ts), as it holds its connection
 * @throws NearcastError ORIGIN_BUSY, ORIGIN_UNREACHABLE, ORIGIN_TIMEOUT, ORIGIN_BAD_ANSWER, ORIGIN_NOT_ALLOWED; or the
 *   reason of `signal`
 */
export async function request(upstream: Upstream, wish: UpstreamWish): Promise<Dispatcher.ResponseData> {
  const { url, network } = wish;
  const running = begin(upstream, wish, { url, network });
  const { place, ending } = running;
  try {
    await enter(upstream, place, ending.signal);
  } catch (error) {
    finish(running);
    throw error;
  }
  const awaited = awaitedOf(running);
  upstream.awaited.add(awaited);
  try {
    const { head, exchange } = await attempts(running);
    running.cancelDeadline();
    // A reader of the body gets its error; a body that nobody reads yet must not end the process when it is cut off.
    head.body.on("error", () => undefined);
    void leaveWhenEnded(running, exchange);
    return head;
  } catch (error) {
    finish(running);
    leave(upstream, place);
    throw error;
  } finally {
    upstream.awaited.delete(awaited);
  }
}

function awaitedOf({ upstream, place, exchanges, end }: Running): Awaited {
  return {
    place,
    sinceMs: upstream.clock.monotonicMs(),
    isAtOrigin: () => [...exchanges].some((exchange) => exchange.isConnected()),
    giveWay() {
      end(
        new NearcastError(
          "ORIGIN_BUSY",
          `${upstream.name}: no response yet, and other requests are waiting; try again later`,
        ),
      );
    },
  };
}

function begin(upstream: Upstream, wish: UpstreamWish, place: PlaceWish): Running {
  const { clock, name } = upstream;
  const { signal, timeoutMs } = wish;
  const ending = new AbortController();
  const exchanges = new Set<Exchange>();
  const end = (reason: unknown): void => {
    running.wasAtOrigin = [...exchanges].some((exchange) => exchange.isConnected());
    ending.abort(reason);
    for (const exchange of exchanges) exchange.cancel(reason as Error);
  };
  const cancelDeadline = clock.after(timeoutMs, () => {
    end(new NearcastError("ORIGIN_TIMEOUT", `${name}: no response within ${timeoutMs} ms`));
  });
  const abandon = (): void => {
    end(signal?.reason);
  };
  signal?.addEventListener("abort", abandon, { once: true });
  const unlink = (): void => signal?.removeEventListener("abort", abandon);
  const running: Running = {
    upstream,
    wish,
    place,
    ending,
    exchanges,
    end,
    cancelDeadline,
    unlink,
    wasAtOrigin: false,
  };
  if (signal?.aborted === true) abandon();
  return running;
}

function finish({ cancelDeadline, unlink }: Running): void {
  cancelDeadline();
  unlink();
}

/** The place is free when the body has ended or has been given up, or when it is slow (held-bodies.ts). */
async function leaveWhenEnded({ upstream, place, unlink }: Running, { ended, watch, cancel }: Exchange): Promise<void> {
  let hasLeft = false;
  const leaveOnce = (): void => {
    if (hasLeft) return;
    hasLeft = true;
    leave(upstream, place);
  };
  const body = {
    network: place.network,
    sinceMs: upstream.clock.monotonicMs(),
    watch,
    cut() {
      cancel(
        new NearcastError("ORIGIN_BUSY", `${upstream.name}: the response is slow, and other requests are waiting`),
      );
    },
  };
  const release = holdIfSlow(upstream, body, leaveOnce);
  await ended;
  release();
  unlink();
  leaveOnce();
}

async function attempts(running: Running): Promise<{ head: Dispatcher.ResponseData; exchange: Exchange }> {
  const { upstream, wish, place, ending, exchanges } = running;
  const { breaker, clock, random } = upstream;
  earn(upstream.retries);
  earn(upstream.hedges);
  for (let sent = 1; ;) {
    try {
      const first = firstHead(upstream, wish, place, wish.isHedged, (exchange) => {
        exchanges.add(exchange);
        // It may begin in the same turn in which all others were cancelled.
        if (ending.signal.aborted) exchange.cancel(ending.signal.reason as Error);
        void exchange.ended.finally(() => exchanges.delete(exchange));
      });
      const arrived = await before(ending.signal, first);
      succeeded(breaker, clock.monotonicMs());
      earn(upstream.giveWays);
      if (arrived.head.statusCode < 400) rememberGood(upstream, { path: wish.path, headers: wish.probeHeaders });
      pump(upstream);
      return arrived;
    } catch (thrown) {
      if (wish.signal?.aborted === true) throw thrown;
      const error = originFailure(thrown, upstream.name);
      const isUnconnected = thrown instanceof ConnectFailure || (ending.signal.aborted && !running.wasAtOrigin);
      if (isUnconnected && connectFailed(breaker, clock.monotonicMs())) refuseWaiters(upstream);
      const isUnsent = thrown instanceof ConnectFailure && thrown.isTimeout;
      if (!mayRepeat(running, error) || !(isUnsent || (sent < attemptsMax && mayRetry(upstream)))) {
        if (!isUnconnected) noteUrlFailure(running, error);
        throw error;
      }
      if (!isUnsent) sent += 1;
      await sleep(clock, pauseMsMin + random() * pauseMsMin, ending.signal);
    }
  }
}

/** Whether to retry: refused, cut off before the response began, or not connected, and there is time left. */
function mayRepeat({ upstream, ending }: Running, { code }: NearcastError): boolean {
  return code === "ORIGIN_UNREACHABLE" && !ending.signal.aborted && upstream.breaker.phase !== "open";
}

function mayRetry({ retries, clock, counts }: Upstream): boolean {
  if (!trySpend(retries, clock.monotonicMs())) return false;
  counts.retries += 1;
  return true;
}

/** No response over a working connection: kept for all requests for the URL, and counted towards failing URLs. */
function noteUrlFailure({ upstream, wish, place }: Running, error: NearcastError): void {
  const { breaker, clock, failing } = upstream;
  // A request that gave way might have been answered; nothing is known about its URL.
  if (error.source !== "origin" || error.code === "ORIGIN_NOT_ALLOWED" || error.code === "ORIGIN_BUSY") return;
  const { origin } = upstream.url;
  if (wish.failureMs > 0) rememberFailure(failing, origin, place.url, error, clock.monotonicMs() + wish.failureMs);
  if (urlFailed(breaker, place.url) === "noted") return;
  void verify(upstream, () => {
    refuseWaiters(upstream);
  });
}
