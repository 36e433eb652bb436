/** A wait for something in this very process that always ends: what never comes about fails its test, by its source. */

/** Far more than anything here takes, on a machine that runs other tests as well. */
const longestMs = 120_000;

/**
 * Lets the event loop turn until it is so, and looks every `pauseMs`.
 * @param pauseMs undefined: in each turn
 * @throws Error after two minutes, and whatever `isSo` throws
 */
export async function turnsUntil(isSo: () => boolean | Promise<boolean>, pauseMs?: number): Promise<void> {
  const deadlineMs = performance.now() + longestMs;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not so within ${longestMs / 1000} s: ${String(isSo)}`);
    await new Promise<void>((resolve) => {
      if (pauseMs === undefined) setImmediate(resolve);
      else setTimeout(resolve, pauseMs);
    });
  }
}
