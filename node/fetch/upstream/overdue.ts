/**
 * Requests that hang give way when places are short. Otherwise, many hanging URLs, requested by many networks, would
 * fill the limits of all of them (places.ts), and everyone would wait for requests that never get a response.
 *
 *   no place ──▶ nothing else in progress for this URL? ──▶ a request that is overdue, of a network that holds no less?
 *                   ──▶ within the budget ──▶ that request ends with ORIGIN_BUSY, and its place is taken
 *
 * A request is overdue when its head has taken several times the median. An origin that is slow as a whole has no
 * overdue requests. The budget is earned by responses, and a little by time: an origin that becomes slow all at once
 * must not lose all its requests to this rule.
 *
 * A network whose request gave way is suspected for a while: its requests wait until no other network's do. So many
 * networks, each with a few hanging URLs, can't take the turns of networks whose URLs work. The same holds for networks
 * with bodies that drip (held-bodies.ts).
 *
 * admission.ts calls it for requests that wait.
 */
import type { BudgetSettings } from "./budget.ts";
import { type HeadTimes, headTimeQuantileMs } from "./head-times.ts";
import { type Places, type PlaceWish, putLast } from "#base/places.ts";

/** A request at the origin whose head has not arrived. */
export interface Awaited {
  readonly place: PlaceWish;
  readonly sinceMs: number;
  /** False while its connection is being opened: the breaker judges those. */
  readonly isAtOrigin: () => boolean;
  /** Ends it, and frees its place. */
  readonly giveWay: () => void;
}

/** How many times the median, the minimum, and the time while too little is known about the origin. */
const overdueFactor = 8;
const overdueMsMin = 500;
const overdueMsUnknown = 1000;

/**
 * Requests that may give way: half as many as the responses that arrived, and 8 a second if none arrive; at once, as
 * many as there are places.
 */
export const giveWayBudget: BudgetSettings = { perRequest: 0.5, perSecond: 8, savedMax: 64, savedAtStart: 64 };

/**
 * Which request has to give way: the oldest overdue one of the network that holds the most places; undefined: none.
 * Looks at every awaited request, so at most at one per place.
 * @param awaited the oldest first
 */
export function firstToGiveWay(
  awaited: Iterable<Awaited>,
  inUseByNetwork: ReadonlyMap<string, number>,
  times: HeadTimes,
  nowMs: number,
): Awaited | undefined {
  const [oldest] = awaited;
  if (oldest === undefined || nowMs - oldest.sinceMs < overdueMsMin) return undefined;
  const medianMs = headTimeQuantileMs(times, 0.5);
  const overdueMs = medianMs === undefined ? overdueMsUnknown : Math.max(overdueMsMin, medianMs * overdueFactor);
  let most = 0;
  let chosen: Awaited | undefined;
  for (const one of awaited) {
    if (nowMs - one.sinceMs < overdueMs) break;
    const held = inUseByNetwork.get(one.place.network) ?? 0;
    if (held <= most || !one.isAtOrigin()) continue;
    most = held;
    chosen = one;
  }
  return chosen;
}

/** Whether a request gives way to this wish: not to a second one for a URL, nor to a network that holds more. */
export function givesWayTo<Waiter>(
  { place }: Awaited,
  { inUseByUrl, inUseByNetwork }: Pick<Places<Waiter>, "inUseByUrl" | "inUseByNetwork">,
  { url, network }: PlaceWish,
): boolean {
  if ((inUseByUrl.get(url) ?? 0) > 0) return false;
  return (inUseByNetwork.get(place.network) ?? 0) >= Math.max(1, inUseByNetwork.get(network) ?? 0);
}

/** How long a network whose request gave way comes after the others, and how many such networks are known. */
const suspectMs = 10_000;
const suspectsMax = 10_000;

/** Networks whose requests gave way, and until when they come after the others; the oldest first. */
export type Suspects = Map<string, number>;

/** The parts of an origin (upstream.ts) that this needs. */
interface Suspecting<Waiter> {
  readonly suspects: Suspects;
  readonly places: Pick<Places<Waiter>, "byNetwork" | "last">;
}

/** The requests of this network come after the others for a while, including those that wait already. */
export function suspect<Waiter>({ suspects, places }: Suspecting<Waiter>, network: string, nowMs: number): void {
  putLast(places, network);
  suspects.delete(network);
  suspects.set(network, nowMs + suspectMs);
  const [oldest] = suspects.keys();
  if (suspects.size > suspectsMax && oldest !== undefined) suspects.delete(oldest);
}

export function isSuspect(suspects: Suspects, network: string, nowMs: number): boolean {
  return (suspects.get(network) ?? 0) > nowMs;
}
