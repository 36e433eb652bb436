/**
 * Requests that hang give way when places are short. Otherwise, many hanging URLs, requested by many networks, would
 * fill the limits of all of them (places.ts), and everyone would wait for requests that bring nothing.
 *
 *   no place ──▶ nothing else in progress for this URL? ──▶ a request that is overdue, of a network that holds no less?
 *                   ──▶ within the budget ──▶ that request ends with ORIGIN_BUSY, and its place is taken
 *
 * A request is overdue when its head has taken several times the median. An origin that is slow as a whole has no
 * overdue requests. Only responses earn the budget, so an origin that brings none loses no request to this rule.
 *
 * admission.ts calls it for requests that wait.
 */
import type { BudgetSettings } from "./budget.ts";
import { type HeadTimes, headTimeQuantileMs } from "./head-times.ts";
import type { Places, PlaceWish } from "./places.ts";

/** A request at the origin whose head has not arrived. */
export interface Awaited {
  readonly place: PlaceWish;
  readonly sinceMs: number;
  /** False while its connection is being opened: the breaker judges those. */
  readonly isAtOrigin: () => boolean;
  /** Ends it, and frees its place. */
  readonly giveWay: () => void;
}

/** How many times the median, and how long at the least, and how long while too little is known of the origin. */
const overdueFactor = 8;
const overdueMsMin = 500;
const overdueMsUnknown = 1000;

/** Requests that may give way: half as many as responses that came, and as many at once as there are places. */
export const giveWayBudget: BudgetSettings = { perRequest: 0.5, perSecond: 0, savedMax: 64, savedAtStart: 64 };

/**
 * The request that gives way to a wish; undefined: none does. Looks at every request that is awaited, and so at one per
 * place at the most.
 * @param awaited the oldest first
 */
export function overdueFor<Waiter>(
  awaited: Iterable<Awaited>,
  { inUseByUrl, inUseByNetwork }: Pick<Places<Waiter>, "inUseByUrl" | "inUseByNetwork">,
  wish: PlaceWish,
  times: HeadTimes,
  nowMs: number,
): Awaited | undefined {
  if ((inUseByUrl.get(wish.url) ?? 0) > 0) return undefined;
  const medianMs = headTimeQuantileMs(times, 0.5);
  const overdueMs = medianMs === undefined ? overdueMsUnknown : Math.max(overdueMsMin, medianMs * overdueFactor);
  const heldBy = (network: string): number => inUseByNetwork.get(network) ?? 0;
  let most = Math.max(1, heldBy(wish.network)) - 1;
  let chosen: Awaited | undefined;
  for (const one of awaited) {
    if (nowMs - one.sinceMs < overdueMs) break;
    const held = heldBy(one.place.network);
    if (held <= most || !one.isAtOrigin()) continue;
    most = held;
    chosen = one;
  }
  return chosen;
}
