/**
 * The states of a request that a cache may answer, shared by pictures, assets and the shield.
 *
 *   look up
 *     ├─ fresh ───────────────▶ deliver                                                         hit
 *     ├─ stale, in its window ▶ deliver, and revalidate in the background                       stale, revalidating
 *     ├─ stale-if-error ──────▶ ask ──▶ deliver the response      the origin fails ──▶ deliver  stale, origin-error
 *     └─ expired, or nothing ─▶ ask ──▶ deliver the response                                    miss
 *
 * The caller supplies the steps. Each step names its decision in the outcome of its result.
 */
import { asNearcastError } from "#base/errors.ts";
import type { Use } from "../cache/freshness.ts";

/** Why a stored entry is delivered. */
export type Because = "fresh" | "revalidating" | "origin-error";

export interface Steps<Entry, Result> {
  /** What the cache has, and how it may be used now. */
  readonly lookUp: () => Promise<Found<Entry> | undefined> | Found<Entry> | undefined;
  readonly deliver: (found: Found<Entry>, because: Because) => Promise<Result> | Result;
  /** Asks whoever can give the answer, and delivers it. `before` is what may be revalidated. */
  readonly ask: (before: Found<Entry> | undefined) => Promise<Result>;
  /** Renews an entry while it is being delivered; returns at once, and reports its failures itself. */
  readonly askBehind: (before: Found<Entry>) => void;
}

export interface Found<Entry> {
  readonly entry: Entry;
  readonly use: Use;
}

/** What was stored can't be delivered any more, because its source changed: ask instead. */
export class Outdated extends Error {}

/**
 * At once when the steps are: a hit then costs no promise.
 * @throws what the steps throw, at once or in the promise
 */
export function run<Entry, Result>(steps: Steps<Entry, Result>): Result | Promise<Result> {
  const found = steps.lookUp();
  return found instanceof Promise ? found.then((later) => decide(steps, later)) : decide(steps, found);
}

function decide<Entry, Result>(steps: Steps<Entry, Result>, found: Found<Entry> | undefined): Result | Promise<Result> {
  switch (found?.use.state) {
    case "fresh":
      return deliverOrAsk(steps, found, "fresh");
    case "stale-revalidate":
      steps.askBehind(found);
      return deliverOrAsk(steps, found, "revalidating");
    case "stale-if-error":
      return askOrDeliver(steps, found);
    case "expired":
    case undefined:
      return steps.ask(found);
  }
}

function deliverOrAsk<Entry, Result>(
  steps: Steps<Entry, Result>,
  found: Found<Entry>,
  because: Because,
): Result | Promise<Result> {
  const askInstead = (error: unknown): Promise<Result> => {
    if (error instanceof Outdated) return steps.ask(found);
    throw error;
  };
  try {
    const delivered = steps.deliver(found, because);
    return delivered instanceof Promise ? delivered.catch(askInstead) : delivered;
  } catch (error) {
    return askInstead(error);
  }
}

/** What is stale is delivered in place of a failure of the origin (RFC 5861 §4), and of no other failure. */
async function askOrDeliver<Entry, Result>(steps: Steps<Entry, Result>, found: Found<Entry>): Promise<Result> {
  try {
    return await steps.ask(found);
  } catch (thrown) {
    return await deliverInstead(steps, found, thrown);
  }
}

/** What is stale, in place of a failure of the origin. @throws that failure, or what else it was */
export async function deliverInstead<Entry, Result>(
  steps: Pick<Steps<Entry, Result>, "deliver">,
  found: Found<Entry>,
  thrown: unknown,
): Promise<Result> {
  if (asNearcastError(thrown).source !== "origin") throw thrown;
  try {
    return await steps.deliver(found, "origin-error");
  } catch (error) {
    // The old bytes are gone here, and the origin has others by now: its failure is what happened.
    throw error instanceof Outdated ? thrown : error;
  }
}
