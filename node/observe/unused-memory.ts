/**
 * Gives memory back to the system that glibc has free but keeps: after a flood, it would keep hundreds of megabytes for
 * good, because pieces that are still in use lie between those that are free.
 *
 *   resident = heap of JavaScript + allocated in C + unused + rest (code, stacks, heaps of threads)
 *
 * What the rest is, nobody can say, but it hardly changes: it is what was left when the unused memory was last given
 * back, or less. Nothing is given back before there is much, since the pages cost time to return and to get again.
 */
import type { CMemory } from "#base/c-memory.ts";
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";

const mebibyte = 1024 * 1024;
/** Giving back so much takes some 10 ms. */
const unusedBytesMax = 64 * mebibyte;
/** So often that what is freed meanwhile is given back in less than the quarter of a second that the lease allows. */
const checkMs = 1000;

export interface UnusedMemoryOptions {
  readonly memory: Pick<CMemory, "allocatedBytes" | "returnFree">;
  /** process.memoryUsage, in bytes. */
  readonly usage: () => { rss: number; heapTotal: number };
  readonly clock: Clock;
  readonly log: Log;
}

/** Looks once a second. @returns ends it */
export function returnUnusedMemory({ memory, usage, clock, log }: UnusedMemoryOptions): Cancel {
  const restNow = (): number => {
    const { rss, heapTotal } = usage();
    return rss - heapTotal - memory.allocatedBytes();
  };
  // What the start has left behind is given back first.
  let restBytes = 0;
  return clock.every(checkMs, () => {
    const nowBytes = restNow();
    if (nowBytes - restBytes <= unusedBytesMax) {
      restBytes = Math.min(restBytes, nowBytes);
      return;
    }
    const beganMs = clock.monotonicMs();
    memory.returnFree();
    const tookMs = clock.monotonicMs() - beganMs;
    restBytes = restNow();
    log.debug({ bytes: nowBytes - restBytes, tookMs }, "gave unused memory back to the system");
  });
}
