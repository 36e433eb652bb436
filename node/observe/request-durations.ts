/**
 * The histogram of request durations. It counts in an array per outcome, because prom-client's own histogram hashes the
 * labels of each request and walks a record of buckets, which takes longer than the look-up of a hit.
 */
import type { Metric } from "prom-client";

const name = "nearcast_http_request_duration_seconds";
const help = "Time from the arrival of the request header until the head of the response is handed to the system";
/** Upper bounds, in s. */
const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** The durations of one outcome. */
export interface DurationCounts {
  /** Counts by bucket; the last one has no bound. */
  readonly buckets: Float64Array;
  sumSeconds: number;
}

export function newDurationCounts(): DurationCounts {
  return { buckets: new Float64Array(bounds.length + 1), sumSeconds: 0 };
}

export function countDuration(counts: DurationCounts, seconds: number): void {
  let bucket = 0;
  while (bucket < bounds.length && seconds > (bounds[bucket] as number)) bucket += 1;
  counts.buckets[bucket] = (counts.buckets[bucket] as number) + 1;
  counts.sumSeconds += seconds;
}

/**
 * The metric, as prom-client's registry reads it. The registry calls only these three members, but the declared type is
 * the class with its private fields, hence the cast.
 * @param byOutcome read on each scrape
 */
export function durationMetric(byOutcome: ReadonlyMap<string, DurationCounts>): Metric {
  const read = () => ({ name, help, type: "histogram", aggregator: "sum", values: valuesOf(byOutcome) });
  return { name, get: () => Promise.resolve(read()), reset: () => undefined } as unknown as Metric;
}

interface Value {
  metricName: string;
  labels: Record<string, string | number>;
  value: number;
}

/** Buckets are cumulative in the exposition format. */
function valuesOf(byOutcome: ReadonlyMap<string, DurationCounts>): Value[] {
  const values: Value[] = [];
  for (const [outcome, { buckets, sumSeconds }] of byOutcome) {
    let total = 0;
    for (const [index, count] of buckets.entries()) {
      total += count;
      values.push({ metricName: `${name}_bucket`, labels: { le: bounds[index] ?? "+Inf", outcome }, value: total });
    }
    values.push({ metricName: `${name}_sum`, labels: { outcome }, value: sumSeconds });
    values.push({ metricName: `${name}_count`, labels: { outcome }, value: total });
  }
  return values;
}
