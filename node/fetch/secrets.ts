/**
 * The fleet secret on an edge: from disk at the start, from the origin each time that the feed is opened and each time
 * that it tells of a rotation.
 *
 *   disk ──▶ known ──▶ changed()          feed opened ──▶ refresh()   tries until it has an answer
 *              ▲                          event        ──▶ take()     the feed waits, and tells again if it fails
 *              └── origin ◀───────────────────┘
 *
 * Questions go out one by one, so an old answer never replaces a newer one.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import { type FleetSecrets, secretId, secretsInOrder } from "#fleet/secret.ts";

/** While the origin has said nothing that could be used; what is known stays in use. */
const retryMs = 5000;

export interface SecretFollower {
  /**
   * Asks the origin, and resolves when its answer is in use.
   * @throws NearcastError ORIGIN_*
   */
  take: () => Promise<void>;
  /** The same behind the caller's back, again and again until it succeeds. */
  refresh: () => void;
  /** Octets, the current one first; none before the first is known. */
  secrets: () => readonly Uint8Array[];
  /** Names the current secret; null before the first is known. */
  id: () => string | null;
  close: () => void;
}

export function followSecrets(options: {
  /** What the disk remembers. */
  known: FleetSecrets | null;
  ask: () => Promise<FleetSecrets | null>;
  store: (secrets: FleetSecrets) => Promise<void>;
  changed: (secrets: readonly Uint8Array[]) => void;
  clock: Clock;
  log: Log;
}): SecretFollower {
  const { ask, store, changed, clock, log } = options;
  let { known } = options;
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let cancelRetry: Cancel | undefined;
  let isClosed = false;

  async function takeOnce(): Promise<void> {
    const fresh = await ask();
    if (fresh === null) {
      log.debug({}, "the origin knows no fleet secret");
      return;
    }
    if (fresh.current === known?.current && fresh.previous === known.previous) return;
    known = fresh;
    changed(secretsInOrder(fresh));
    log.info({ id: secretId(fresh.current) }, "a fleet secret is in force");
    try {
      await store(fresh);
    } catch (error) {
      // It is in use all the same; only a restart without the origin would not know it.
      log.error({ err: error }, "the fleet secret can't be kept on disk");
    }
  }

  function take(): Promise<void> {
    if (running === undefined) {
      running = takeOnce().finally(() => {
        running = undefined;
      });
      return running;
    }
    // The answer on its way may be from before what the caller heard of: one more question, for all who wait.
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
      log.warn({ reason: (error as Error).message }, "the fleet secret can't be had from the origin; asking again");
      cancelRetry?.();
      cancelRetry = clock.after(retryMs, refresh);
    });
  }

  return {
    take,
    refresh,
    secrets: () => (known === null ? [] : secretsInOrder(known)),
    id: () => (known === null ? null : secretId(known.current)),
    close() {
      isClosed = true;
      cancelRetry?.();
    },
  };
}
