/**
 * Sends a body that is not in memory, chunk by chunk, at the pace of its receiver.
 *
 *   ready ──▶ room in the budget ──▶ next chunk ──▶ write ──▶ drained ──▶ free ──▶ ready …
 *
 * A receiver holds at most one chunk, however slowly it reads; one that takes less than the minimum rate is cut, since
 * it holds a connection and a chunk that others wait for.
 */
import { type Clock, sleep } from "#base/clock.ts";
import type { BodyReader } from "#base/body.ts";
import type { ByteBudget } from "./byte-budget.ts";
import type { Sink } from "./sink.ts";

export interface TransferRules {
  readonly budget: ByteBudget;
  /** Below it, on average over one chunk, a receiver is cut. */
  readonly bytesPerSecondMin: number;
  readonly clock: Clock;
}

/** Large enough to cost few turns of the event loop, small enough that 4,000 receivers fit into 256 MiB. */
export const chunkBytesMax = 65_536;
/** A receiver may pause for so long before the minimum rate counts: a phone in a tunnel comes back. */
const pauseMsMax = 30_000;
/** A response that has begun can only be cut when no room comes, so it waits longer than one that has not. */
const roomWaitMs = 30_000;

export type TransferEnd =
  | { readonly end: "complete"; readonly bytes: number }
  /** The receiver left, or was cut because it was too slow or no room came. */
  | { readonly end: "gone" | "too-slow" | "no-room"; readonly bytes: number }
  /** The body's source failed; the receiver was cut. */
  | { readonly end: "failed"; readonly bytes: number; readonly error: Error };

/**
 * Sends everything that `reader` gives and ends the response, or cuts it. Never throws. Closes the reader.
 * @param share of the budget, usually the receiver's network
 * @param first taken already: bytes of the budget for the first chunk, or 0
 */
export async function transfer(
  reader: BodyReader,
  sink: Sink,
  rules: TransferRules,
  share: string,
  first = 0,
): Promise<TransferEnd> {
  let bytes = 0;
  let taken = first;
  const { budget } = rules;
  // A reader that is closed says that it is ready, so that nobody waits for a body whose receiver has left.
  void sink.closed().then(reader.close);
  const cutAs = (end: "gone" | "too-slow" | "no-room"): TransferEnd => {
    sink.cut();
    return { end, bytes };
  };
  try {
    for (;;) {
      const ready = reader.ready();
      if (ready !== true) await ready;
      if (sink.isClosed()) return cutAs("gone");
      if (taken === 0) {
        const room = budget.take(chunkBytesMax, share, roomWaitMs);
        if (room !== true && !(await room)) return cutAs("no-room");
        taken = chunkBytesMax;
      }
      const next = reader.next(chunkBytesMax);
      const chunk = next instanceof Promise ? await next : next;
      if (chunk === null) break;
      if (chunk.length === 0) continue;
      bytes += chunk.length;
      if (sink.write(chunk)) continue; // the system took it: the room serves the next chunk
      if (!(await drainedInTime(sink, chunk.length, rules))) return cutAs(sink.isClosed() ? "gone" : "too-slow");
    }
    sink.end();
    budget.free(taken, share);
    taken = 0;
    if (!(await closedInTime(sink, rules))) return cutAs("too-slow");
    return sink.isComplete() ? { end: "complete", bytes } : { end: "gone", bytes };
  } catch (error) {
    sink.cut();
    return { end: "failed", bytes, error: error as Error };
  } finally {
    if (taken > 0) budget.free(taken, share);
    reader.close();
  }
}

/** Watches a response that was written whole, until its receiver has it. False: it was too slow, and was cut. */
export async function closedInTime(sink: Sink, rules: TransferRules): Promise<boolean> {
  const isInTime = await within(sink.closed(), allowedMs(sink.pendingBytes(), rules), rules.clock);
  if (!isInTime) sink.cut();
  return isInTime;
}

async function drainedInTime(sink: Sink, bytes: number, rules: TransferRules): Promise<boolean> {
  const isInTime = await within(sink.drained(), allowedMs(bytes, rules), rules.clock);
  return isInTime && !sink.isClosed();
}

function allowedMs(bytes: number, { bytesPerSecondMin }: TransferRules): number {
  return pauseMsMax + (bytes / bytesPerSecondMin) * 1000;
}

async function within(done: Promise<void>, timeMs: number, clock: Clock): Promise<boolean> {
  const stop = new AbortController();
  try {
    return await Promise.race([
      done.then(() => true),
      sleep(clock, timeMs, stop.signal).then(
        () => false,
        () => true,
      ),
    ]);
  } finally {
    stop.abort();
  }
}
