/** Whether work is late, for whoever has something else to do then: a second request, or a stale response. */
import type { Clock } from "./clock.ts";

/**
 * Whether the work has succeeded or failed within this time.
 * @returns false: it is late, and not only because this process was busy
 */
export async function isSettledWithin(clock: Clock, work: Promise<unknown>, delayMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const cancel = clock.after(delayMs, () => {
    // A timer runs before what has arrived on the sockets is read: that comes first.
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
