/**
 * Returns memory to the system that is free but that glibc keeps. After a flood, it would keep hundreds of megabytes
 * for good, because pieces that are still in use lie between those that are free.
 *
 *   resident = heap of JavaScript + allocated in C + unused + rest (code, stacks, heaps of threads)
 *
 * The rest can't be measured, but it hardly changes: it is what was left when unused memory was last returned, or less.
 * Memory is returned only when there is much of it, since returning pages and getting them again costs time.
 */
import type { CMemory } from "#base/c-memory.ts";
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";

const mebibyte = 1024 * 1024;
/** Returning this much takes about 10 ms. */
const unusedBytesMax = 64 * mebibyte;
/** Often enough that it is seldom much. After a purge of everything, it can be as much as the memory tier holds. */
const checkMs = 1000;
/**
 * 0.13 ms on a machine that has nothing else to do. It can't be divided: malloc_trim() returns everything, and holds
 * the lock of the main thread's arena meanwhile. In another thread, it would stop the main thread for as long.
 */
const msPerMebibyte = 0.3;

export interface UnusedMemoryOptions {
  readonly memory: Pick<CMemory, "allocatedBytes" | "returnFree">;
  /** process.memoryUsage, in bytes. It reads a file, and throws when none can be opened. */
  readonly usage: () => { rss: number; heapTotal: number };
  /** Runs work that takes about so long, and that keeps the main thread from everything else. */
  readonly silently: (expectedMs: number, work: () => void) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** Checks once a second. @returns a function that stops this */
export function returnUnusedMemory({ memory, usage, silently, clock, log }: UnusedMemoryOptions): Cancel {
  const restNow = (): number => {
    const { rss, heapTotal } = usage();
    return rss - heapTotal - memory.allocatedBytes();
  };
  // What the start has left behind is returned first.
  let restBytes = 0;
  return clock.every(checkMs, () => {
    try {
      check();
    } catch (error) {
      log.debug({ err: error }, "the memory of this process can't be read now");
    }
  });

  function check(): void {
    const nowBytes = restNow();
    if (nowBytes - restBytes <= unusedBytesMax) {
      restBytes = Math.min(restBytes, nowBytes);
      return;
    }
    const beganMs = clock.monotonicMs();
    silently(((nowBytes - restBytes) / mebibyte) * msPerMebibyte, memory.returnFree);
    const tookMs = clock.monotonicMs() - beganMs;
    restBytes = restNow();
    log.debug({ bytes: nowBytes - restBytes, tookMs }, "returned unused memory to the system");
  }
}
