/** Ctrl-C and similar signals, for `nearcast up`: the first requests an orderly stop, a second one kills. */
import type { Clock } from "#base/clock.ts";
import { watchLauncher } from "#base/npm-parent.ts";

/** npm forwards a terminal's Ctrl-C to its child, which also gets it directly: one press can arrive twice. */
const samePressMs = 500;

export interface StopSignal {
  /** Resolves with the name of the first stop signal. */
  readonly first: Promise<NodeJS.Signals>;
  readonly isWanted: () => boolean;
}

/**
 * @param withLauncher also when the npm that started it has ended (npm-parent.ts detects it); that counts as SIGTERM
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
