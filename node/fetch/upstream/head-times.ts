/**
 * How long an origin takes until the head of a response arrives: a histogram of the recent times. Pure.
 *
 * Each bucket is 20 % wider than the one before, so a quantile is at most 20 % too high, whatever the scale: from 1 ms
 * to two minutes, the longest deadline of a host. All counts are halved after 1,000 responses and after a minute, so
 * the histogram soon reflects an origin that has become faster or slower.
 */

const growth = 1.2;
const bucketsMax = 66;
const halveAt = 1000;
const halveMs = 60_000;
/** With fewer, a quantile says little. */
const samplesMin = 20;

export interface HeadTimes {
  readonly counts: Float64Array;
  total: number;
  halvedAtMs: number;
}

export function createHeadTimes(nowMs: number): HeadTimes {
  return { counts: new Float64Array(bucketsMax), total: 0, halvedAtMs: nowMs };
}

export function recordHeadTime(times: HeadTimes, tookMs: number, nowMs: number): void {
  if (times.total >= halveAt || nowMs - times.halvedAtMs >= halveMs) {
    for (let index = 0; index < bucketsMax; index += 1) times.counts[index] = (times.counts[index] ?? 0) / 2;
    times.total /= 2;
    times.halvedAtMs = nowMs;
  }
  const index = tookMs <= 1 ? 0 : Math.min(bucketsMax - 1, Math.ceil(Math.log(tookMs) / Math.log(growth)));
  times.counts[index] = (times.counts[index] ?? 0) + 1;
  times.total += 1;
}

/**
 * The time within which this share of the heads arrived, rounded up to the end of its bucket.
 * @param share such as 0.95
 * @returns undefined: too few responses to tell
 */
export function headTimeQuantileMs(times: HeadTimes, share: number): number | undefined {
  if (times.total < samplesMin) return undefined;
  let left = times.total * share;
  for (let index = 0; index < bucketsMax; index += 1) {
    left -= times.counts[index] ?? 0;
    if (left <= 1e-9) return growth ** index;
  }
  return growth ** (bucketsMax - 1);
}
