/**
 * A place at an origin for a request: at once, after a short wait, or not at all. places.ts decides whose turn it is,
 * and breaker.ts how many and how fast; this file handles the waits.
 */
import { NearcastError } from "#base/errors.ts";
import { admit, allowanceOf, probeWaitMs, startDelayMs, started, step } from "./breaker.ts";
import {
  emptyQueue,
  hasPlaceFor,
  joinQueue,
  leaveQueue,
  nextBeyondBounds,
  nextInTurn,
  type PlaceWish,
  releasePlace,
  takePlace,
} from "#base/places.ts";
import { canSpend, trySpend } from "./budget.ts";
import { firstToGiveWay, givesWayTo, isSuspect, suspect } from "./overdue.ts";
import { holdSlowest } from "./held-bodies.ts";
import { checkRecovery } from "./recovery-check.ts";
import { placesPerOrigin, type Upstream, type Waiter } from "./upstream.ts";

/** After this, an error page or another try serves visitors better: they leave a page after some seconds. */
const waitMsMax = 2000;
/** How often, while someone waits, hanging requests and slow bodies are looked for that should give way. */
const lookMs = 100;

/**
 * Waits for a place.
 * @param wish what the place is for
 * @param signal ends the wait; its reason is thrown
 * @throws NearcastError ORIGIN_BUSY, ORIGIN_UNREACHABLE while the breaker is open
 */
export async function enter(upstream: Upstream, wish: PlaceWish, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { breaker, clock, places, counts } = upstream;
  const admission = admit(breaker, clock.monotonicMs());
  if (admission === "refused") throw notAsked(upstream);
  if (admission === "probe-first") {
    void checkRecovery(upstream, (isAlive) => {
      if (!isAlive) refuseWaiters(upstream);
      pump(upstream);
    });
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let isGranted = false;
  const waiter: Waiter = {
    grant() {
      isGranted = true;
      resolve();
    },
    refuse: reject,
  };
  const isLast = isSuspect(upstream.suspects, wish.network, clock.monotonicMs());
  const displaced = joinQueue(places, wish, waiter, isLast);
  const busy = (why: string): NearcastError => new NearcastError("ORIGIN_BUSY", `${upstream.name}: ${why}`);
  displaced?.refuse(busy("too many requests are waiting for a connection; try again later"));
  pump(upstream);
  if (!isGranted) displaceOverdue(upstream);
  if (isGranted) return;
  const abort = (): void => {
    reject(signal.reason as Error);
  };
  signal.addEventListener("abort", abort, { once: true });
  const tooLong = (): void => {
    reject(busy(`no connection became free within ${waitMsMax} ms; try again later`));
  };
  const wasProbing = breaker.phase === "probing";
  let cancel = clock.after(wasProbing ? probeWaitMs : waitMsMax, () => {
    if (!wasProbing) tooLong();
    else if (breaker.phase === "probing") reject(notAsked(upstream));
    else cancel = clock.after(waitMsMax - probeWaitMs, tooLong);
  });
  try {
    await promise;
  } catch (error) {
    leaveQueue(places, wish, waiter);
    if (error instanceof NearcastError && error.code === "ORIGIN_BUSY") counts.refused += 1;
    throw error;
  } finally {
    cancel();
    signal.removeEventListener("abort", abort);
  }
}

/** Gives the places of hanging requests to those that wait, in turn. Looks again while anyone waits. */
function displaceOverdue(upstream: Upstream): void {
  const { breaker, places, awaited, headTimes, giveWays, counts, clock } = upstream;
  const nowMs = clock.monotonicMs();
  while (places.waiting > 0 && breaker.phase === "closed" && canSpend(giveWays, nowMs)) {
    const late = firstToGiveWay(awaited, places.inUseByNetwork, headTimes, nowMs);
    if (late === undefined) break;
    const waiter = nextBeyondBounds(places, (wish) => givesWayTo(late, places, wish));
    if (waiter === undefined || !trySpend(giveWays, nowMs)) break;
    counts.gaveWay += 1;
    awaited.delete(late);
    suspect(upstream, late.place.network, nowMs);
    started(breaker, nowMs);
    waiter.grant();
    late.giveWay();
  }
  if (places.waiting === 0 || upstream.cancelLook !== undefined || upstream.isClosed) return;
  upstream.cancelLook = clock.after(lookMs, () => {
    upstream.cancelLook = undefined;
    if (places.waiting > 0 && breaker.phase === "closed") holdSlowest(upstream);
    displaceOverdue(upstream);
  });
}

/** Takes one more place for a request that already has one, if one is free and nobody waits for it. */
export function tryEnterAgain(upstream: Upstream, wish: PlaceWish): boolean {
  const { places, breaker, clock } = upstream;
  if (breaker.phase !== "closed" || places.waiting > 0 || !hasPlaceFor(places, wish)) return false;
  takePlace(places, wish);
  started(breaker, clock.monotonicMs());
  return true;
}

export function leave(upstream: Upstream, wish: PlaceWish): void {
  releasePlace(upstream.places, wish);
  pump(upstream);
}

/** The breaker has opened: those that wait are refused at once. */
export function refuseWaiters(upstream: Upstream): void {
  for (const waiter of emptyQueue(upstream.places)) waiter.refuse(notAsked(upstream));
}

/** Gives out the places that are free now. Called after every change of places or breaker. */
export function pump(upstream: Upstream): void {
  const { places, breaker, clock } = upstream;
  upstream.cancelPump?.();
  upstream.cancelPump = undefined;
  if (upstream.isClosed) return;
  for (;;) {
    const nowMs = clock.monotonicMs();
    step(breaker, places.waiting > 0, nowMs);
    places.placesMax = Math.min(placesPerOrigin, allowanceOf(breaker));
    const delayMs = startDelayMs(breaker, nowMs);
    if (delayMs > 0 && places.waiting > 0) {
      upstream.cancelPump = clock.after(delayMs, () => {
        pump(upstream);
      });
      return;
    }
    const waiter = nextInTurn(places);
    if (waiter === undefined) return;
    started(breaker, nowMs);
    waiter.grant();
  }
}

function notAsked({ name }: Upstream): NearcastError {
  return new NearcastError("ORIGIN_UNREACHABLE", `${name} failed repeatedly, so it gets no requests for a few seconds`);
}
