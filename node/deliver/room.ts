/**
 * The room of one receiver in the budget of bytes in flight: one chunk or nothing. A receiver that leaves stops waiting
 * for room.
 */
import type { ByteBudget } from "./byte-budget.ts";
import type { Sink } from "./sink.ts";

/** Large enough to cost few turns of the event loop, small enough that 4,000 receivers fit into 256 MiB. */
export const chunkBytesMax = 65_536;

export interface Room {
  /** The share of the budget and of the turns: usually the receiver's network. */
  readonly share: string;
  /** True: there is room for a chunk until it is freed. False: no room became free in time, or the receiver left. */
  readonly take: (waitMs: number) => boolean | Promise<boolean>;
  /** May be called without room. */
  readonly free: () => void;
}

/** @param share of the budget, usually the receiver's network */
export function openRoom(budget: ByteBudget, share: string, sink: Sink): Room {
  const left = new AbortController();
  let isHeld = false;
  const granted = (isGranted: boolean): boolean => {
    isHeld = isGranted;
    return isGranted;
  };
  const leave = (): void => {
    left.abort();
  };
  void sink.closed().then(leave);
  return {
    share,
    take(waitMs) {
      if (isHeld) return true;
      const room = budget.take(chunkBytesMax, share, waitMs, left.signal);
      return room instanceof Promise ? room.then(granted) : granted(room);
    },
    free() {
      if (isHeld) budget.free(chunkBytesMax, share);
      isHeld = false;
    },
  };
}
