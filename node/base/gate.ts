/**
 * Runs at most `slots` tasks at a time; the others wait in a bounded queue, each for at most `waitMsMax`. For tasks
 * that need much memory, such as decoding a picture: the number of slots bounds the memory.
 */
import type { Clock } from "./clock.ts";
import { NearcastError } from "./errors.ts";

export interface Gate {
  /**
   * @throws NearcastError OVERLOADED if the queue is full or no slot became free in time; `work` has not started
   */
  readonly pass: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly counts: () => { running: number; waiting: number };
}

/** @param options `waitingMax` is called each time, because the fleet document may change it */
export function openGate(options: { slots: number; waitingMax: () => number; waitMsMax: number; clock: Clock }): Gate {
  const { slots, waitingMax, waitMsMax, clock } = options;
  let running = 0;
  const waiting: (() => void)[] = [];

  const slot = async (): Promise<void> => {
    if (running < slots) {
      running += 1;
      return;
    }
    if (waiting.length >= waitingMax())
      throw new NearcastError("OVERLOADED", `the queue is full: ${waiting.length} are waiting`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const turn = (): void => {
      cancel();
      resolve();
    };
    const cancel = clock.after(waitMsMax, () => {
      waiting.splice(waiting.indexOf(turn), 1);
      reject(new NearcastError("OVERLOADED", `the queue took longer than ${waitMsMax} ms`));
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
        // Pass the slot directly to the next task, so that no new task can take it first.
        const next = waiting.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
    counts: () => ({ running, waiting: waiting.length }),
  };
}
