/**
 * Stops everything that was started, in reverse order, even if the start fails half-way.
 *
 * main.ts creates one Lifecycle, registers each part's closer as soon as the part runs, and calls stop() at the end.
 */
import type { Clock } from "./clock.ts";
import { watchLauncher } from "./npm-parent.ts";
import type { Log } from "./log.ts";

export interface Lifecycle {
  /** Registers a closer. Closers run last-in, first-out. */
  defer: (name: string, close: () => Promise<void> | void) => void;
  /** Runs all closers, each with the remainder of `deadlineMs`. Logs those that fail or hang, and continues. */
  stop: (deadlineMs: number) => Promise<void>;
}

/**
 * Keeps the process alive until `work` has settled. Timers of a Clock don't keep it alive, so a start that only waits
 * for one would end the process silently.
 */
export async function keepAlive<Result>(work: Promise<Result>): Promise<Result> {
  const timer = setInterval(() => undefined, 60_000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

/** Time limit for closing a part that was started after stop(). */
const lateCloseMs = 5000;

export function createLifecycle(log: Log): Lifecycle {
  const closers: { name: string; close: () => Promise<void> | void }[] = [];
  let stopping: Promise<void> | undefined;
  let isStopped = false;

  async function end(name: string, close: () => Promise<void> | void, deadline: AbortSignal): Promise<void> {
    try {
      await before(deadline, Promise.resolve(close()));
    } catch (error) {
      log.error({ err: error, closing: name }, "a part did not close cleanly; stopping continues");
    }
  }

  async function stopAll(deadlineMs: number): Promise<void> {
    const deadline = AbortSignal.timeout(deadlineMs);
    for (let next = closers.pop(); next !== undefined; next = closers.pop()) {
      await end(next.name, next.close, deadline);
    }
    isStopped = true;
  }
  return {
    defer(name, close) {
      // The start continued after stop(). This part came too late, so close it at once.
      if (isStopped) void end(name, close, AbortSignal.timeout(lateCloseMs));
      else closers.push({ name, close });
    },
    stop: (deadlineMs) => (stopping ??= stopAll(deadlineMs)),
  };
}

/** The work's result, or a rejection with the signal's reason if that comes first. */
export function before<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
    });
  });
}

export type StopReason = "SIGTERM" | "SIGINT" | "parent gone" | "launcher gone";

/**
 * Calls `stop` at the first SIGTERM or SIGINT and `hurry` at the second.
 *
 * @param withParent stop also when standard input ends: a process that `nearcast up` started with a pipe there must not
 *   outlive it, even if `nearcast up` was killed
 * @param withLauncher stop also when the npm that started the process is gone (npm-parent.ts)
 */
export function onStopSignal(options: {
  withParent: boolean;
  withLauncher: boolean;
  clock: Clock;
  stop: (reason: StopReason) => void;
  hurry: () => void;
}): void {
  let isStopping = false;
  const received = (reason: StopReason): void => {
    if (isStopping) {
      // A terminal's Ctrl-C reaches both parent and child. So the parent's end is not a second request to stop.
      if (reason === "SIGTERM" || reason === "SIGINT") options.hurry();
      return;
    }
    isStopping = true;
    options.stop(reason);
  };
  process.on("SIGTERM", () => {
    received("SIGTERM");
  });
  process.on("SIGINT", () => {
    received("SIGINT");
  });
  if (options.withLauncher) {
    watchLauncher(options.clock, () => {
      received("launcher gone");
    });
  }
  if (!options.withParent) return;
  process.stdin.on("end", () => {
    received("parent gone");
  });
  process.stdin.on("error", () => {
    received("parent gone");
  });
  process.stdin.resume();
}
