/** Detects late work, for callers that then do something else: send a second request, or a stale response. */
import type { Clock } from "./clock.ts";

/**
 * Whether the work succeeds or fails within this time.
 * @returns false: it is late, and not only because this process was busy
 */
export async function isSettledWithin(clock: Clock, work: Promise<unknown>, delayMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const cancel = clock.after(delayMs, () => {
    // Timers run before the bytes that have arrived on sockets are read: let those be read first.
    setImmediate(() => {
      resolve(false);
    });
  });
  const settled = (): void => {
    resolve(true);
  };
  work.then(settled, settled);
  try {
    return await promise;
  } finally {
    cancel();
  }
}
