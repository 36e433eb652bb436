/**
 * The states of a request that a cache may answer, shared by pictures, assets and the shield.
 *
 *   look up
 *     ├─ fresh ───────────────▶ deliver                                                         hit
 *     ├─ stale, in its window ▶ deliver, and revalidate in the background                       stale, revalidating
 *     ├─ stale-if-error ──────▶ ask ──▶ deliver the response      the origin fails ──▶ deliver  stale, origin-error
 *     │                          ├── it is late: deliver, and keep asking in the background     stale, origin-slow
 *     │                          └── this node is overloaded: deliver                           stale, overloaded
 *     └─ expired, or nothing ─▶ ask ──▶ deliver the response                                    miss
 *
 * The caller supplies the steps. Each step names its decision in the outcome of its result.
 */
import { asNearcastError, type NearcastError } from "#base/errors.ts";
import type { Use } from "../cache/freshness.ts";
import type { Patience } from "./patience.ts";

/** Why a stored entry is delivered. */
export type Because = "fresh" | "revalidating" | "origin-error" | "origin-slow" | "overloaded";

export interface Steps<Entry, Result> {
  /** What the cache has, and how it may be used now. */
  readonly lookUp: () => Promise<Found<Entry> | undefined> | Found<Entry> | undefined;
  readonly deliver: (found: Found<Entry>, because: Because) => Promise<Result> | Result;
  /**
   * Asks whoever can give the answer, and delivers it. `before` is what may be revalidated. `late` is aborted when the
   * client has received a stale response: then nobody takes the result.
   */
  readonly ask: (before: Found<Entry> | undefined, late?: AbortSignal) => Promise<Result>;
  /**
   * Renews an entry while it is being delivered, or joins a running renewal; reports its failures itself.
   * @returns when that has ended; never rejects
   */
  readonly askBehind: (before: Found<Entry>) => Promise<void>;
  /** What is asked about, and how long to wait if a stale entry can be delivered instead. */
  readonly waiting: Waiting<Entry>;
}

export interface Waiting<Entry> {
  readonly patience: Patience;
  readonly key: string;
  /** Null: wait until the answer arrives, or the question fails. */
  readonly waitMsFor: (stale: Entry) => number | null;
}

export interface Found<Entry> {
  readonly entry: Entry;
  readonly use: Use;
}

/** The reason of the signal that ends a question whose client has received something else. */
class TooLate extends Error {
  constructor() {
    super("the client got a stale response meanwhile");
  }
}

/** What was stored can't be delivered any more, because its source changed: ask instead. */
export class Outdated extends Error {}

/**
 * Returns at once if the steps do, so a hit costs no promise.
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
      void steps.askBehind(found);
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

/** Delivers a stale entry when the origin fails (RFC 5861 §4) or is late, or when this node is overloaded. */
async function askOrDeliver<Entry, Result>(steps: Steps<Entry, Result>, found: Found<Entry>): Promise<Result> {
  return await answerOrStale(steps, found, (late) => steps.ask(found, late));
}

/**
 * The answer to a question, or the stale entry: if the origin fails, if this node is overloaded, or if the answer is
 * late. In the last case, the question continues without its client.
 * @throws what the question failed with
 */
export async function answerOrStale<Entry, Result>(
  steps: Pick<Steps<Entry, Result>, "deliver" | "askBehind" | "waiting">,
  found: Found<Entry>,
  ask: (late: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { patience, key, waitMsFor } = steps.waiting;
  const late = new AbortController();
  const waitMs = waitMsFor(found.entry);
  if (waitMs === null) {
    return await ask(late.signal).catch((thrown: unknown) => deliverInstead(steps, found, thrown));
  }
  const leftMs = patience.leftMs(key, waitMs);
  // Another request has already waited long enough for all of them.
  const asking = leftMs === 0 ? undefined : ask(late.signal);
  if (asking !== undefined) {
    patience.follow(key, asking);
    if (await patience.endsWithin(asking, leftMs)) {
      return await asking.catch((thrown: unknown) => deliverInstead(steps, found, thrown));
    }
  }
  patience.follow(key, steps.askBehind(found));
  try {
    const stale = await steps.deliver(found, "origin-slow");
    late.abort(new TooLate());
    return stale;
  } catch (error) {
    if (error instanceof Outdated) return await (asking ?? ask(late.signal));
    late.abort(new TooLate());
    throw error;
  }
}

/**
 * Delivers the stale entry in place of a failure of the origin or of an overloaded node.
 * @throws that failure, or any other
 */
export async function deliverInstead<Entry, Result>(
  steps: Pick<Steps<Entry, Result>, "deliver">,
  found: Found<Entry>,
  thrown: unknown,
): Promise<Result> {
  const because = reasonOf(asNearcastError(thrown));
  if (because === undefined) throw thrown;
  try {
    return await steps.deliver(found, because);
  } catch (error) {
    // The old bytes are gone here, and the origin has others by now, so its failure is reported.
    throw error instanceof Outdated ? thrown : error;
  }
}

function reasonOf({ source, code }: NearcastError): "origin-error" | "overloaded" | undefined {
  if (source === "origin") return "origin-error";
  return code === "OVERLOADED" || code === "NETWORK_OVERLOADED" ? "overloaded" : undefined;
}
