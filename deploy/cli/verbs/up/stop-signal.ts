/** Ctrl-C and its relatives, for `nearcast up`: the first asks to stop in order, a second one is an order to kill. */
import type { Clock } from "#base/clock.ts";
import { watchLauncher } from "#base/npm-parent.ts";

/** npm passes a terminal's Ctrl-C on to what it runs, which got it too: one press can arrive twice. */
const samePressMs = 500;

export interface StopSignal {
  /** Resolves with the signal's name when somebody wants the end. */
  readonly first: Promise<NodeJS.Signals>;
  readonly isWanted: () => boolean;
}

/**
 * @param withLauncher also when the npm that started it is gone, as npm-parent.ts tells; that counts as SIGTERM
 * @param kill called at the second signal
 */
export function watchStopSignals(clock: Clock, withLauncher: boolean, kill: () => void): StopSignal {
  let firstAtMs: number | undefined;
  const first = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (firstAtMs === undefined) {
          firstAtMs = clock.monotonicMs();
          resolve(signal);
        } else if (clock.monotonicMs() - firstAtMs > samePressMs) kill();
      });
    }
    if (withLauncher) {
      watchLauncher(clock, () => {
        firstAtMs ??= clock.monotonicMs();
        resolve("SIGTERM");
      });
    }
  });
  return { first, isWanted: () => firstAtMs !== undefined };
}
