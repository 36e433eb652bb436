/**
 * Bodies in memory that receivers have not received in full. The cache may drop such a body, but its memory stays in
 * use until the last receiver has it, so it counts in the budget of bytes in flight: once, however many receive it.
 *
 * It counts in the share of the first receiver, until the last one has left.
 */
import type { ByteBudget } from "./byte-budget.ts";

export interface BodyHolds {
  /** Like the budget's take(). True, or a promise of true: one more receiver holds the body, until release(). */
  readonly take: (body: Buffer, share: string, waitMs: number, signal?: AbortSignal) => boolean | Promise<boolean>;
  readonly release: (body: Buffer) => void;
}

interface Hold {
  readonly share: string;
  receivers: number;
}

export function openBodyHolds(budget: ByteBudget): BodyHolds {
  const holds = new Map<Buffer, Hold>();
  const join = (body: Buffer): boolean => {
    const hold = holds.get(body);
    if (hold !== undefined) hold.receivers += 1;
    return hold !== undefined;
  };
  const begin = (body: Buffer, share: string, isGranted: boolean): boolean => {
    if (!isGranted) return join(body); // there may be another receiver by now
    if (join(body)) budget.free(body.length, share);
    else holds.set(body, { share, receivers: 1 });
    return true;
  };
  return {
    take(body, share, waitMs, signal) {
      if (join(body)) return true;
      const room = budget.take(body.length, share, waitMs, signal);
      return room instanceof Promise
        ? room.then((isGranted) => (signal?.aborted === true && !isGranted ? false : begin(body, share, isGranted)))
        : begin(body, share, room);
    },
    release(body) {
      const hold = holds.get(body);
      if (hold === undefined) return;
      hold.receivers -= 1;
      if (hold.receivers > 0) return;
      holds.delete(body);
      budget.free(body.length, hold.share);
    },
  };
}
