/**
 * Lets `slots` pieces of work run at one time; the others wait in order, each at most `waitMsMax`. Here for decoding
 * uploads: each holds a whole file in memory, so the number of slots is what bounds the memory.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";

export interface Gate {
  /** @throws NearcastError OVERLOADED when no slot came free in time; the work has not begun then */
  readonly pass: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly counts: () => { running: number; waiting: number };
}

export function openGate(options: { slots: number; waitMsMax: number; clock: Clock }): Gate {
  const { slots, waitMsMax, clock } = options;
  let running = 0;
  // Bounded by the uploads that run at one time: each waits at most once.
  const waiting: (() => void)[] = [];

  const slot = async (): Promise<void> => {
    if (running < slots) {
      running += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const turn = (): void => {
      cancel();
      resolve();
    };
    const cancel = clock.after(waitMsMax, () => {
      waiting.splice(waiting.indexOf(turn), 1);
      reject(new NearcastError("OVERLOADED", "too many uploads wait to be decoded"));
    });
    waiting.push(turn);
    await promise;
  };

  return {
    pass: async (work) => {
      await slot();
      try {
        return await work();
      } finally {
        // The slot goes to the next in line as it is, so nobody can slip in between.
        const next = waiting.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
    counts: () => ({ running, waiting: waiting.length }),
  };
}
