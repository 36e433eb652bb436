/**
 * Time as a dependency. Only main.ts uses the machine's clock, so tests can advance time by hand.
 *
 * There are two readings, which must not be mixed: the wall clock (dates that people and HTTP see; it may jump) and the
 * monotonic clock (ages, deadlines, rates; it only grows).
 */

/** Stops what `every` or `after` started. Calling it twice is harmless. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since 1970, for values that are stored or sent. */
  wallMs: () => number;
  /** Milliseconds since some fixed moment, for differences. */
  monotonicMs: () => number;
  /** Runs `action` once after `delayMs`. The timer never keeps the process alive. */
  after: (delayMs: number, action: () => void) => Cancel;
  /** Runs `action` every `intervalMs`. The timer never keeps the process alive. */
  every: (intervalMs: number, action: () => void) => Cancel;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
  every(intervalMs, action) {
    const timer = setInterval(action, intervalMs);
    timer.unref();
    return () => {
      clearInterval(timer);
    };
  },
};

/** Resolves after `delayMs` of `clock`, or rejects with the signal's reason. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason as Error);
    };
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
