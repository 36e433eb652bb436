/**
 * Places for requests to one member, shared fairly between client networks (base/places.ts), so that none takes all
 * connections to it: a network that is alone gets two thirds.
 *
 *   request ──▶ a place, at once or in turn ──▶ response ──▶ the place is free
 *                  └─ none in time: refused        └─ slow: it gives up its place, and keeps its connection
 *
 * A request is slow when it has taken long, before its response or in its body: its origin or its client is slow, and
 * it may go on for as long as its deadlines allow. The connections of slow requests are limited, too, and shared in the
 * same way. Beyond that, a slow request keeps its place, and is stuck. While stuck requests hold half of the places,
 * waiting hardly helps: requests wait for a moment only.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import {
  createPlaces,
  hasPlaceFor,
  joinQueue,
  leaveQueue,
  nextInTurn,
  type Places,
  type PlaceWish,
  releasePlace,
  takePlace,
} from "#base/places.ts";

const placesMax = 64;
/** Connections of slow requests, in addition. */
const slowMax = 48;
/** Connections to one member. Each costs some 60 KB on both sides. */
export const connectionsMax = placesMax + slowMax;
const slowMs = 250;
/** Requests that wait for a place; each holds a client's request. */
const waitingMax = 512;
/** Whoever waits for longer is served sooner by another member, or by this node itself. */
const waitMsMax = 1000;
/** … while this many requests are stuck. */
const stuckMany = placesMax / 2;
const waitMsMaxAmongStuck = 100;

interface Waiter {
  readonly grant: () => void;
  readonly refuse: (error: Error) => void;
}

export interface MemberPlaces {
  readonly clock: Clock;
  readonly places: Places<Waiter>;
  /** Their places are connections beyond the others; nobody waits for one. */
  readonly slow: Places<never>;
  entered: number;
  /** Slow requests that keep their places. */
  stuck: number;
}

/** There is no place: that says nothing about the member. */
export class NoPlace extends Error {}

export function createMemberPlaces(clock: Clock): MemberPlaces {
  return {
    clock,
    places: createPlaces({ placesMax, waitingMax }),
    slow: createPlaces({ placesMax: slowMax, waitingMax: 0 }),
    entered: 0,
    stuck: 0,
  };
}

export interface MemberPlace {
  /** Gives back what it has; more than once is harmless. */
  readonly leave: () => void;
}

/**
 * Waits for a place.
 * @param network of the client that the request is for
 * @param signal ends the wait; its reason is thrown
 * @throws NoPlace
 */
export async function enter(state: MemberPlaces, network: string, signal: AbortSignal): Promise<MemberPlace> {
  const { clock, places } = state;
  state.entered += 1;
  // Requests for one URL have joined each other before they come here.
  const wish: PlaceWish = { network, url: `${state.entered}` };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // It leaves the queue in the same turn, so that it can't be granted a place that it does not take.
  const refuse = (error: Error): void => {
    leaveQueue(places, wish, waiter);
    reject(error);
  };
  const waiter: Waiter = { grant: resolve, refuse };
  joinQueue(places, wish, waiter)?.refuse(new NoPlace("too many requests are waiting for a connection to it"));
  pump(state);
  const abort = (): void => {
    refuse(signal.reason as Error);
  };
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  const waitMs = state.stuck >= stuckMany ? waitMsMaxAmongStuck : waitMsMax;
  const cancel = clock.after(waitMs, () => {
    refuse(new NoPlace(`no connection to it became free within ${waitMs} ms`));
  });
  try {
    await promise;
  } finally {
    cancel();
    signal.removeEventListener("abort", abort);
  }
  return placeOf(state, wish);
}

function placeOf(state: MemberPlaces, wish: PlaceWish): MemberPlace {
  const { clock, places, slow } = state;
  let has: "place" | "slow" | "nothing" = "place";
  let isStuck = false;
  const mark = (nowStuck: boolean): void => {
    if (isStuck !== nowStuck) state.stuck += nowStuck ? 1 : -1;
    isStuck = nowStuck;
  };
  const giveUp = (): void => {
    mark(!hasPlaceFor(slow, wish));
    if (isStuck) {
      cancelSlow = clock.after(slowMs, giveUp);
      return;
    }
    takePlace(slow, wish);
    has = "slow";
    releasePlace(places, wish);
    pump(state);
  };
  let cancelSlow: Cancel = clock.after(slowMs, giveUp);
  return {
    leave() {
      cancelSlow();
      mark(false);
      if (has === "slow") releasePlace(slow, wish);
      if (has === "place") {
        releasePlace(places, wish);
        has = "nothing";
        pump(state);
      }
      has = "nothing";
    },
  };
}

function pump({ places }: MemberPlaces): void {
  for (let waiter = nextInTurn(places); waiter !== undefined; waiter = nextInTurn(places)) waiter.grant();
}
