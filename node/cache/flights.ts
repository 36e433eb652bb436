/**
 * Coalescing: one piece of work per key, however many callers ask for it while it runs.
 *
 *   first ──▶ begins the work ─┐
 *   others ──▶ join ───────────┴─▶ all get its result, or all get its failure
 *
 * A flight leaves the table when its work ends, whether it succeeded or not, so a failure never stays. The work itself
 * must have a deadline. A purge that covers a running flight overtakes it: waiting callers still get its result, since
 * they asked before the purge. Later callers begin new work, and the old work can see that its result must not be
 * stored.
 *
 * A caller that joins with joinWhile() may leave. When nobody waits any more, the work's signal is aborted, and nobody
 * joins it.
 */
import { NearcastError, withoutStack } from "#base/errors.ts";

export interface Flight {
  /** True once a purge has concerned this flight: its result is out of date. */
  readonly isOvertaken: boolean;
  /** Aborted when everyone who waited has left. */
  readonly signal: AbortSignal;
}

export interface Joined<Result> {
  result: Promise<Result>;
  /** True if another caller began the work. */
  isCollapsed: boolean;
}

type Begin<Result> = (flight: Flight) => Promise<Result>;

export interface Flights<Result> {
  /** The work continues, whoever leaves. */
  join: (key: string, begin: Begin<Result>) => Joined<Result>;
  /**
   * Waits until the signal is aborted.
   * @throws NearcastError BAD_REQUEST if it is, in the result
   */
  joinWhile: (key: string, signal: AbortSignal, begin: Begin<Result>) => Joined<Result>;
  /** The result of the running work for this key. */
  running: (key: string) => Promise<Result> | undefined;
  overtake: (isConcerned: (key: string) => boolean) => void;
  size: () => number;
}

interface Running<Result> {
  readonly flight: { isOvertaken: boolean; readonly signal: AbortSignal };
  readonly ending: AbortController;
  readonly result: Promise<Result>;
  /** Callers that have not left, including those that can't. */
  waiters: number;
  isOver: boolean;
}

export function createFlights<Result>(): Flights<Result> {
  const table = new Map<string, Running<Result>>();
  return {
    join(key, begin) {
      const { running, isCollapsed } = runningOrBegun(table, key, begin);
      running.waiters += 1;
      return { result: running.result, isCollapsed };
    },
    joinWhile(key, signal, begin) {
      // Nothing begins for a caller that has already left.
      if (signal.aborted) return { result: Promise.reject<Result>(clientGone()), isCollapsed: false };
      const { running, isCollapsed } = runningOrBegun(table, key, begin);
      return { result: waitWhile(running, signal), isCollapsed };
    },
    running: (key) => table.get(key)?.result,
    overtake(isConcerned) {
      for (const [key, { flight }] of table) {
        if (!isConcerned(key)) continue;
        flight.isOvertaken = true;
        table.delete(key);
      }
    },
    size: () => table.size,
  };
}

function runningOrBegun<Result>(
  table: Map<string, Running<Result>>,
  key: string,
  begin: Begin<Result>,
): { running: Running<Result>; isCollapsed: boolean } {
  const present = table.get(key);
  // A flight that everyone has left is about to fail.
  if (present !== undefined && !present.ending.signal.aborted) return { running: present, isCollapsed: true };
  const ending = new AbortController();
  const flight = { isOvertaken: false, signal: ending.signal };
  const result = begin(flight).finally(() => {
    running.isOver = true;
    if (table.get(key) === running) table.delete(key);
  });
  const running: Running<Result> = { flight, ending, result, waiters: 0, isOver: false };
  table.set(key, running);
  return { running, isCollapsed: false };
}

function nobodyWaits(): Error {
  return withoutStack(() => new Error("nobody waits for this any more"));
}

function clientGone(): NearcastError {
  return new NearcastError("BAD_REQUEST", "the client closed the connection");
}

async function waitWhile<Result>(running: Running<Result>, signal: AbortSignal): Promise<Result> {
  const { promise: left, reject } = Promise.withResolvers<never>();
  const leave = (): void => {
    running.waiters -= 1;
    reject(clientGone());
    if (running.waiters === 0 && !running.isOver) running.ending.abort(nobodyWaits());
  };
  running.waiters += 1;
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([running.result, left]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
