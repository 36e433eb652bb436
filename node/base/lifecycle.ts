/**
 * Everything that is started is stopped, in reverse order, even when the start fails half-way.
 *
 * main.ts makes one Lifecycle, gives each part's closer to it as soon as the part runs, and ends with stop().
 */
import type { Clock } from "./clock.ts";
import { watchLauncher } from "./npm-parent.ts";
import type { Log } from "./log.ts";

export interface Lifecycle {
  /** What to do at the end; run last-in, first-out. */
  defer: (name: string, close: () => Promise<void> | void) => void;
  /** Runs all closers, each with what is left of `deadlineMs`; logs what failed or hung and goes on. */
  stop: (deadlineMs: number) => Promise<void>;
}

/**
 * Keeps the process alive until `work` has settled. Timers of a Clock don't, so a start that only waits for one would
 * end the process silently.
 */
export async function keepAlive<Result>(work: Promise<Result>): Promise<Result> {
  const timer = setInterval(() => undefined, 60_000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

/** How long a part that comes after the end may take to close. */
const lateCloseMs = 5000;

export function createLifecycle(log: Log): Lifecycle {
  const closers: { name: string; close: () => Promise<void> | void }[] = [];
  let stopping: Promise<void> | undefined;
  let isStopped = false;

  async function end(name: string, close: () => Promise<void> | void, deadline: AbortSignal): Promise<void> {
    try {
      await before(deadline, Promise.resolve(close()));
    } catch (error) {
      log.error({ err: error, closing: name }, "a part did not close cleanly; stopping goes on");
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
      // A start that went on behind the stop: what it brings is too late to stay.
      if (isStopped) void end(name, close, AbortSignal.timeout(lateCloseMs));
      else closers.push({ name, close });
    },
    stop: (deadlineMs) => (stopping ??= stopAll(deadlineMs)),
  };
}

/** The work's result, or the rejection with the signal's reason when that comes first. */
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
 * @param withParent also when standard input ends: a process that was started by `nearcast up` with a pipe there must
 *   not outlive it, even when that was killed
 * @param withLauncher also when the npm that started it is gone, as npm-parent.ts tells
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
      // A terminal's Ctrl-C reaches parent and child; the parent's end is no second order.
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
