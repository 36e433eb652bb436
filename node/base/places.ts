/**
 * The places at one origin or at another node, and who gets the next one. A place is one request in progress, and so
 * one connection.
 *
 *   waiting     network ─▶ URL ─▶ requests, oldest first
 *   next        round robin over networks, and within a network over its URLs; networks that are suspected
 *               (fetch/upstream/overdue.ts) when no other waits
 *   in use      per URL and per network, so that neither takes the pool:
 *
 *     a URL gets a place while it holds fewer than half as many as are free:      alone up to 22 of 64
 *     a network gets one while it holds fewer than twice as many as are free:     alone up to 43 of 64
 *
 * The limits shrink with the free places (dynamic thresholds: Choudhury and Hahne, 1998). So a single URL gets most of
 * the pool, k hanging URLs share it, and some places stay free for later requests. A fixed limit would have to be small
 * enough for the worst day, and would be too small on all others.
 *
 * When too many wait, the network with the most waiting requests loses one, never another network.
 *
 * Pure: no clock, no promises. fetch/upstream/admission.ts and peer/member-places.ts call it.
 */

/** What a place is for. */
export interface PlaceWish {
  readonly url: string;
  readonly network: string;
}

interface NetworkQueue<Waiter> {
  count: number;
  /** Round robin: the first has waited longest for a turn. */
  readonly byUrl: Map<string, Map<Waiter, PlaceWish>>;
}

export interface Places<Waiter> {
  /** Places that may be in use now; smaller while the origin recovers. */
  placesMax: number;
  readonly waitingMax: number;
  inUse: number;
  readonly inUseByUrl: Map<string, number>;
  readonly inUseByNetwork: Map<string, number>;
  waiting: number;
  /** Round robin: the first has waited longest for a turn. */
  readonly byNetwork: Turns<Waiter>;
  /** The same, for networks that come last. */
  readonly last: Turns<Waiter>;
}

type Turns<Waiter> = Map<string, NetworkQueue<Waiter>>;

/** As shares of the free places: how many a URL and a network may hold. */
const urlShare = 0.5;
const networkShare = 2;

export function createPlaces<Waiter>(limits: { placesMax: number; waitingMax: number }): Places<Waiter> {
  return {
    ...limits,
    inUse: 0,
    inUseByUrl: new Map(),
    inUseByNetwork: new Map(),
    waiting: 0,
    byNetwork: new Map(),
    last: new Map(),
  };
}

/** Whether a place is free for this wish now. */
export function hasPlaceFor<Waiter>(places: Places<Waiter>, { url, network }: PlaceWish): boolean {
  const bounds = boundsOf(places);
  return isBelow(places.inUseByNetwork, network, bounds.ofNetwork) && isBelow(places.inUseByUrl, url, bounds.ofUrl);
}

/** Below how many places in use a URL, or a network, gets one more; 0: none is free. */
function boundsOf<Waiter>({ placesMax, inUse }: Places<Waiter>): { ofUrl: number; ofNetwork: number } {
  const free = placesMax - inUse;
  if (free <= 0) return { ofUrl: 0, ofNetwork: 0 };
  return { ofUrl: Math.max(1, free * urlShare), ofNetwork: Math.max(1, free * networkShare) };
}

function isBelow(inUse: ReadonlyMap<string, number>, key: string, bound: number): boolean {
  return (inUse.get(key) ?? 0) < bound;
}

/** Takes a place. The caller has checked that there is one. */
export function takePlace<Waiter>(places: Places<Waiter>, { url, network }: PlaceWish): void {
  places.inUse += 1;
  add(places.inUseByUrl, url, 1);
  add(places.inUseByNetwork, network, 1);
}

export function releasePlace<Waiter>(places: Places<Waiter>, { url, network }: PlaceWish): void {
  places.inUse -= 1;
  add(places.inUseByUrl, url, -1);
  add(places.inUseByNetwork, network, -1);
}

/**
 * Adds a waiter to the queue.
 * @param isLast it comes when nobody else waits
 * @returns the waiter that lost its place in the queue because too many wait: another one, this one, or none
 */
export function joinQueue<Waiter>(
  places: Places<Waiter>,
  wish: PlaceWish,
  waiter: Waiter,
  isLast = false,
): Waiter | undefined {
  const turns = isLast ? places.last : places.byNetwork;
  let displaced: Waiter | undefined;
  if (places.waiting >= places.waitingMax) {
    const own = turns.get(wish.network)?.count ?? 0;
    // First a waiter that comes last; otherwise, one of the network with the most.
    const largest = largestOf(places.last.size > 0 ? places.last : places.byNetwork, ({ count }) => count);
    if (largest === undefined || (own >= largest.count && (isLast || places.last.size === 0))) return waiter;
    displaced = newestOfLargestUrl(largest);
    if (displaced !== undefined) leaveQueue(places, wishOf(largest, displaced), displaced);
  }
  const queue = turns.get(wish.network) ?? { count: 0, byUrl: new Map<string, Map<Waiter, PlaceWish>>() };
  turns.set(wish.network, queue);
  const waiters = queue.byUrl.get(wish.url) ?? new Map<Waiter, PlaceWish>();
  queue.byUrl.set(wish.url, waiters);
  waiters.set(waiter, wish);
  queue.count += 1;
  places.waiting += 1;
  return displaced;
}

/** Removes a waiter that gave up, or that has its place now. One that is not in the queue is ignored. */
export function leaveQueue<Waiter>(places: Places<Waiter>, { url, network }: PlaceWish, waiter: Waiter): void {
  for (const turns of [places.byNetwork, places.last]) {
    const queue = turns.get(network);
    const waiters = queue?.byUrl.get(url);
    if (queue === undefined || waiters?.delete(waiter) !== true) continue;
    queue.count -= 1;
    places.waiting -= 1;
    if (waiters.size === 0) queue.byUrl.delete(url);
    if (queue.count === 0) turns.delete(network);
    return;
  }
}

/** From now on, the waiters of this network come when no other network waits. */
export function putLast<Waiter>(
  { byNetwork, last }: Pick<Places<Waiter>, "byNetwork" | "last">,
  network: string,
): void {
  const queue = byNetwork.get(network);
  if (queue === undefined) return;
  byNetwork.delete(network);
  const there = last.get(network);
  if (there === undefined) {
    last.set(network, queue);
    return;
  }
  // These joined after the others of the network that come last.
  for (const [url, waiters] of queue.byUrl) {
    there.byUrl.set(url, new Map([...(there.byUrl.get(url) ?? []), ...waiters]));
  }
  there.count += queue.count;
}

/**
 * Gives a free place to the next waiter in turn that may have one.
 * @returns undefined: nobody waits, or no place is free for those who do
 */
export function nextInTurn<Waiter>(places: Places<Waiter>): Waiter | undefined {
  const bounds = boundsOf(places);
  if (bounds.ofUrl === 0) return undefined;
  return takeTurn(
    places,
    (network) => isBelow(places.inUseByNetwork, network, bounds.ofNetwork),
    ({ url }) => isBelow(places.inUseByUrl, url, bounds.ofUrl),
  );
}

/**
 * Gives a place to the next waiter in turn for which one is made free; the bounds don't count.
 * @param isMadeFree whether a place is made free for this wish
 */
export function nextBeyondBounds<Waiter>(
  places: Places<Waiter>,
  isMadeFree: (wish: PlaceWish) => boolean,
): Waiter | undefined {
  return takeTurn(places, () => true, isMadeFree);
}

function takeTurn<Waiter>(
  places: Places<Waiter>,
  mayNetwork: (network: string) => boolean,
  mayHave: (wish: PlaceWish) => boolean,
): Waiter | undefined {
  return (
    takeTurnOf(places.byNetwork, places, mayNetwork, mayHave) ?? takeTurnOf(places.last, places, mayNetwork, mayHave)
  );
}

/** Skips those that already hold places, so at most a few per place. */
function takeTurnOf<Waiter>(
  turns: Turns<Waiter>,
  places: Places<Waiter>,
  mayNetwork: (network: string) => boolean,
  mayHave: (wish: PlaceWish) => boolean,
): Waiter | undefined {
  for (const [network, queue] of turns) {
    if (!mayNetwork(network)) continue;
    for (const [url, waiters] of queue.byUrl) {
      const [first] = waiters.keys();
      const wish = { url, network };
      if (first === undefined || !mayHave(wish)) continue;
      leaveQueue(places, wish, first);
      moveToEnd(queue.byUrl, url);
      moveToEnd(turns, network);
      takePlace(places, wish);
      return first;
    }
  }
  return undefined;
}

/** Removes all waiters from the queue, and returns them. */
export function emptyQueue<Waiter>(places: Places<Waiter>): Waiter[] {
  const waiters = [...places.byNetwork.values(), ...places.last.values()].flatMap(({ byUrl }) =>
    [...byUrl.values()].flatMap((all) => [...all.keys()]),
  );
  places.byNetwork.clear();
  places.last.clear();
  places.waiting = 0;
  return waiters;
}

/** Its turn is over: the others come first now. One that has left is not added again. */
function moveToEnd<Value>(turns: Map<string, Value>, key: string): void {
  const value = turns.get(key);
  if (value === undefined) return;
  turns.delete(key);
  turns.set(key, value);
}

function add(counts: Map<string, number>, key: string, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count <= 0) counts.delete(key);
  else counts.set(key, count);
}

function largestOf<Value>(all: ReadonlyMap<string, Value>, sizeOf: (value: Value) => number): Value | undefined {
  let largest: Value | undefined;
  for (const value of all.values()) {
    if (largest === undefined || sizeOf(value) > sizeOf(largest)) largest = value;
  }
  return largest;
}

function newestOfLargestUrl<Waiter>({ byUrl }: NetworkQueue<Waiter>): Waiter | undefined {
  const waiters = largestOf(byUrl, ({ size }) => size);
  return [...(waiters?.keys() ?? [])].at(-1);
}

function wishOf<Waiter>({ byUrl }: NetworkQueue<Waiter>, waiter: Waiter): PlaceWish {
  for (const waiters of byUrl.values()) {
    const wish = waiters.get(waiter);
    if (wish !== undefined) return wish;
  }
  throw new Error("the waiter is not in this queue");
}
