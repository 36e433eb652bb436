/**
 * Figures from samples. Pure.
 *
 *   ok ok ok ✕ ✕ ✕ old ok ok …         ok: answered, and not by what failed
 *         │          │ └ recovered      ✕: no answer
 *       fault     last trouble
 *
 * The time to recovery goes to the last query that got no answer, or one from what failed, plus one interval: nothing
 * that went wrong stays outside of it. What was sent before the fault and lost with it counts as lost.
 */
import type { Sample } from "./observer.ts";

/** A query that was on its way when the fault came; no path of the lab is longer. */
const underWayMs = 300;
const reasonsMax = 3;

export interface Trouble {
  /** From the fault until the first query of which on all went well; 0: none did not. */
  readonly recoveryMs: number;
  readonly lost: number;
  /** Asked since the fault. */
  readonly asked: number;
  /** Whether queries went well at the end. */
  readonly isOver: boolean;
}

/**
 * @param isOld what an answer says that can't be right after the fault; answers that were under way are
 * @param intervalMs between two queries
 */
export function troubleSince(
  samples: readonly Sample[],
  faultMs: number,
  intervalMs: number,
  isOld: (what: string) => boolean = () => false,
): Trouble {
  const since = samples.filter(({ sentMs }) => sentMs >= faultMs);
  const isBad = (sample: Sample): boolean => sample.tookMs === null || isOld(sample.what);
  const lastBad = since.findLast(isBad);
  return {
    recoveryMs: lastBad === undefined ? 0 : lastBad.sentMs - faultMs + intervalMs,
    lost: samples.filter(({ sentMs, tookMs }) => sentMs >= faultMs - underWayMs && tookMs === null).length,
    asked: since.length,
    isOver: since.length > 0 && !isBad(since.at(-1) as Sample),
  };
}

/** How many have no answer. */
export function lostOf(samples: readonly Sample[]): number {
  return samples.filter(({ tookMs }) => tookMs === null).length;
}

/** How long answers took that came. */
export function tookOf(samples: readonly Sample[]): { readonly medianMs: number; readonly mostMs: number } {
  const took = samples.flatMap(({ tookMs }) => (tookMs === null ? [] : [tookMs])).toSorted((a, b) => a - b);
  return { medianMs: took[took.length >> 1] ?? Number.NaN, mostMs: took.at(-1) ?? Number.NaN };
}

/** Why there was no answer, the commonest reason first: `3 × no answer, 1 × rcode 2`; empty: there always was one. */
export function reasonsOf(samples: readonly Sample[]): string {
  const counts = new Map<string, number>();
  for (const { tookMs, what } of samples) {
    if (tookMs === null) counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const commonest = [...counts].toSorted(([, a], [, b]) => b - a).slice(0, reasonsMax);
  return commonest.map(([what, count]) => `${count} × ${what}`).join(", ");
}
