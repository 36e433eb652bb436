/**
 * Finds the keys that are requested so often that every node of the site should have them, in bounded memory.
 *
 * Space-saving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams",
 * ICDT 2005): a fixed number of counters, the lowest of them on top of a heap.
 *
 *   a key that has a counter   adds to it; a hot one is at the bottom of the heap and stays there: no swaps
 *   a key that has none        takes over the lowest counter, and its count as a possible error
 *
 *            3 ◀ taken over next         With 1000 counters no error is above a thousandth of all requests, so a key
 *         7     4                        above a hundredth always has its own counter, and `count − error` never makes
 *       90  8  5  6                      a key hot that is not, even if each request has a new key.
 *
 * Forgetting without touching the counters (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009): instead of
 * reducing the weight of old requests, newer requests weigh more. A request weighs twice as much as one of `halfLifeMs`
 * ago; since all weights grow by the same factor, the order of the heap stays.
 *
 *   after a key rose from nothing to a share p, it is hot as soon as p · (1 − 2^(−t / halfLife)) > 1 %:
 *   p = 2 %: 0.25 s     5 %: 0.08 s     1.1 %: 0.87 s
 */
import type { Clock } from "#base/clock.ts";

const countersDefault = 1000;
const hotShare = 0.01;
/** Below this rate one node serves a key as well as many. */
const hotPerSecond = 20;
const halfLifeMs = 250;
/** Weights grow in steps of this length; a step costs one multiplication. */
const stepMs = 25;
const stepGrowth = 2 ** (stepMs / halfLifeMs);
/** The count of a steady rate of one request a second: the sum over all steps, each half-way through. */
const weightOfOnePerSecond = halfLifeMs / Math.LN2 / 1000;
/** Beyond this, a sum of such weights would lose its smallest terms. */
const weightMost = 2 ** 30;
/** After this many steps without a request, earlier requests weigh nothing. */
const stepsForgotten = 20 * (halfLifeMs / stepMs);

export interface HotKeys {
  /** More requests for this key, one by default, at `nowMs` of the monotonic clock. */
  count: (key: string, nowMs: number, times?: number) => void;
  /** Whether it is above 1 % of the requests of the last half second, and above 20 a second. */
  isHot: (key: string) => boolean;
  /** All hot keys, most requested first; at most a hundred. */
  hot: () => { key: string; requestsPerSecond: number }[];
}

export function createHotKeys(options: { clock: Clock; counters?: number }): HotKeys {
  const { clock, counters = countersDefault } = options;
  const slotOf = new Map<string, number>();
  const keys: string[] = [];
  const counts = new Float64Array(counters);
  const errors = new Float64Array(counters);
  /** Slots, the one with the lowest count first; and the position of each slot. */
  const heap = new Int32Array(counters);
  const places = new Int32Array(counters);
  let total = 0;
  let weight = 1;
  let step = Math.floor(clock.monotonicMs() / stepMs);

  function moveTo(next: number): void {
    if (next - step > stepsForgotten) {
      slotOf.clear();
      keys.length = 0;
      total = 0;
      weight = 1;
    } else {
      weight *= stepGrowth ** (next - step);
      if (weight > weightMost) {
        for (let slot = 0; slot < keys.length; slot += 1) {
          counts[slot] = (counts[slot] as number) / weight;
          errors[slot] = (errors[slot] as number) / weight;
        }
        total /= weight;
        weight = 1;
      }
    }
    step = next;
  }

  /** The slot's count grew: smaller ones below it move up. */
  function sink(slot: number): void {
    const count = counts[slot] as number;
    const size = keys.length;
    let place = places[slot] as number;
    for (let child = 2 * place + 1; child < size; child = 2 * place + 1) {
      const right = child + 1;
      if (right < size && (counts[heap[right] as number] as number) < (counts[heap[child] as number] as number)) {
        child = right;
      }
      const below = heap[child] as number;
      if ((counts[below] as number) >= count) break;
      heap[place] = below;
      places[below] = place;
      place = child;
    }
    heap[place] = slot;
    places[slot] = place;
  }

  /** A new counter, with a count of 0, moves to the top. */
  function rise(slot: number): void {
    let place = slot;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent] as number;
      heap[place] = above;
      places[above] = place;
      place = parent;
    }
    heap[0] = slot;
    places[slot] = 0;
  }

  function slotFor(key: string): number {
    const known = slotOf.get(key);
    if (known !== undefined) return known;
    let slot = keys.length;
    if (slot < counters) {
      keys.push(key);
      counts[slot] = 0;
      errors[slot] = 0;
      rise(slot);
    } else {
      slot = heap[0] as number;
      slotOf.delete(keys[slot] as string);
      keys[slot] = key;
      errors[slot] = counts[slot] as number;
    }
    slotOf.set(key, slot);
    return slot;
  }

  function catchUp(nowMs: number): void {
    const next = Math.floor(nowMs / stepMs);
    // A time slightly before the last one counts for the current step.
    if (next > step) moveTo(next);
  }

  function hotRate(slot: number): number {
    return hotRateOf((counts[slot] as number) - (errors[slot] as number), weight, total);
  }

  return {
    count(key, nowMs, times = 1) {
      catchUp(nowMs);
      const slot = slotFor(key);
      counts[slot] = (counts[slot] as number) + weight * times;
      total += weight * times;
      sink(slot);
    },
    isHot(key) {
      catchUp(clock.monotonicMs());
      const slot = slotOf.get(key);
      return slot !== undefined && hotRate(slot) > 0;
    },
    hot() {
      catchUp(clock.monotonicMs());
      return keys
        .map((key, slot) => ({ key, requestsPerSecond: hotRate(slot) }))
        .filter(({ requestsPerSecond }) => requestsPerSecond > 0)
        .toSorted((one, other) => other.requestsPerSecond - one.requestsPerSecond);
    },
  };
}

/**
 * Requests per second if the key is hot; otherwise 0.
 * @param sure the part of a count that is certain
 */
function hotRateOf(sure: number, weight: number, total: number): number {
  const requestsPerSecond = sure / weight / weightOfOnePerSecond;
  return sure > hotShare * total && requestsPerSecond > hotPerSecond ? requestsPerSecond : 0;
}
