/**
 * Coalescing: one piece of work per key, however many ask for it while it runs.
 *
 *   first ──▶ begins the work ─┐
 *   others ──▶ join ───────────┴─▶ all get its result, or all get its failure
 *
 * A flight leaves the table when its work ends, whether it succeeded or not, so a failure never stays. The work itself
 * must have a deadline. A purge that concerns a running flight overtakes it: those who wait still get its result, since
 * they asked before the purge; those who ask later begin anew, and the work can see that its result must not be stored.
 */
export interface Flight {
  /** True once a purge concerned this flight: its result is out of date. */
  readonly isOvertaken: boolean;
}

export interface Joined<Result> {
  result: Promise<Result>;
  /** True when the work was begun by somebody else. */
  isCollapsed: boolean;
}

export interface Flights<Result> {
  join: (key: string, begin: (flight: Flight) => Promise<Result>) => Joined<Result>;
  /** The result of the work that is under way for this key. */
  running: (key: string) => Promise<Result> | undefined;
  overtake: (isConcerned: (key: string) => boolean) => void;
  size: () => number;
}

export function createFlights<Result>(): Flights<Result> {
  const running = new Map<string, { flight: { isOvertaken: boolean }; result: Promise<Result> }>();
  return {
    join(key, begin) {
      const present = running.get(key);
      if (present !== undefined) return { result: present.result, isCollapsed: true };
      const flight = { isOvertaken: false };
      const result = begin(flight).finally(() => {
        if (running.get(key)?.flight === flight) running.delete(key);
      });
      running.set(key, { flight, result });
      return { result, isCollapsed: false };
    },
    running: (key) => running.get(key)?.result,
    overtake(isConcerned) {
      for (const [key, { flight }] of running) {
        if (!isConcerned(key)) continue;
        flight.isOvertaken = true;
        running.delete(key);
      }
    },
    size: () => running.size,
  };
}
