/**
 * Follows something small that the origin keeps (the fleet secret, the roster): reads it from disk at the start, and
 * from the origin whenever the feed opens or reports a change.
 *
 *   disk ──▶ known ──▶ changed()          feed opened ──▶ refresh()   tries until it has an answer
 *              ▲                          event        ──▶ take()     the feed waits, and tells again if it fails
 *              └── origin ◀───────────────────┘
 *
 * Questions go out one by one, so an old answer never replaces a newer one.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";

/** Between tries while the origin has not sent anything usable; what is known stays in use. */
const retryMs = 5000;

export interface Follower<Value> {
  /**
   * Asks the origin, and resolves when its answer is in use.
   * @throws NearcastError ORIGIN_*
   */
  take: () => Promise<void>;
  /** The same in the background, repeated until it succeeds. */
  refresh: () => void;
  /** Null before the first is known. */
  value: () => Value | null;
  close: () => void;
}

export function follow<Value>(options: {
  /** For the log, such as `fleet secret`. */
  what: string;
  /** What the disk remembers. */
  known: Value | null;
  /** Null: the origin runs a release that has none; what is known stays. */
  ask: () => Promise<Value | null>;
  isSame: (one: Value, other: Value) => boolean;
  store: (value: Value) => Promise<void>;
  /** A new one is in use from now on; called before it is on disk. */
  changed: (value: Value) => void;
  clock: Clock;
  log: Log;
}): Follower<Value> {
  const { what, ask, isSame, store, changed, clock, log } = options;
  let { known } = options;
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let cancelRetry: Cancel | undefined;
  let isClosed = false;

  async function takeOnce(): Promise<void> {
    const fresh = await ask();
    if (fresh === null) {
      log.debug({}, `the origin has no ${what}`);
      return;
    }
    if (known !== null && isSame(known, fresh)) return;
    known = fresh;
    changed(fresh);
    try {
      await store(fresh);
    } catch (error) {
      // It is in use nevertheless; only a restart without the origin would not know it.
      log.error({ err: error }, `the ${what} could not be written to disk; it is in use until this process ends`);
    }
  }

  function take(): Promise<void> {
    if (running === undefined) {
      running = takeOnce().finally(() => {
        running = undefined;
      });
      return running;
    }
    // The answer to a running request may predate the change that the caller heard of: one more request, for all
    // callers.
    const again = (): Promise<void> => {
      next = undefined;
      return take();
    };
    next ??= running.then(again, again);
    return next;
  }

  function refresh(): void {
    cancelRetry?.();
    take().catch((error: unknown) => {
      if (isClosed) return;
      log.warn({ reason: (error as Error).message }, `could not get the ${what} from the origin; retrying`);
      cancelRetry?.();
      cancelRetry = clock.after(retryMs, refresh);
    });
  }

  return {
    take,
    refresh,
    value: () => known,
    close() {
      isClosed = true;
      cancelRetry?.();
    },
  };
}
