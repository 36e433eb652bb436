/**
 * Sends a body that is not in memory, chunk by chunk, at the pace of its receiver.
 *
 *   ready ──▶ turn ──▶ room in the budget ──▶ next chunk ──▶ write ──▶ drained ──▶ free ──▶ ready …
 *
 * Each chunk takes a turn (turns.ts), so that large responses leave the event loop to other requests.
 *
 * A receiver holds at most one chunk, however slowly it reads, and none while the source of the body is slow. A
 * receiver that reads its chunk slowly queues again for the next one, so slow receivers take turns in the budget. A
 * receiver below the minimum rate is cut off, because it holds a connection and a chunk that others wait for. When a
 * receiver leaves, its reader is closed and its room is freed at once, whatever it was waiting for.
 */
import type { Clock } from "#base/clock.ts";
import type { BodyReader } from "#base/body.ts";
import { type BodyHolds, openBodyHolds } from "./body-holds.ts";
import { type ByteBudget, openByteBudget } from "./byte-budget.ts";
import { chunkBytesMax, type Room } from "./room.ts";
import type { Sink } from "./sink.ts";
import { openChunkTurns, type Turns } from "./turns.ts";

export interface TransferRules {
  readonly budget: ByteBudget;
  /** Bodies in memory that count in that budget. */
  readonly bodies: BodyHolds;
  /** Shared by all transfers of the process. */
  readonly turns: Turns;
  /** Below it, on average over one chunk, a receiver is cut. */
  readonly bytesPerSecondMin: number;
  readonly clock: Clock;
  readonly counts: TransferCounts;
}

/** Responses that were not sent to their end, since the start, by cause. */
export interface TransferCounts {
  /** There was no room before they began: answered with 503. */
  refused: number;
  tooSlow: number;
  noRoom: number;
}

/** One instance per process: all its responses share the budget. */
export function openTransferRules(
  limits: { inFlightBytes: number; bytesPerSecondMin: number },
  clock: Clock,
): TransferRules {
  const budget = openByteBudget(limits.inFlightBytes, clock);
  return {
    budget,
    bodies: openBodyHolds(budget),
    turns: openChunkTurns(),
    bytesPerSecondMin: limits.bytesPerSecondMin,
    clock,
    counts: { refused: 0, tooSlow: 0, noRoom: 0 },
  };
}

/** How long a receiver may pause before the minimum rate applies: a phone in a tunnel will come back. */
const pauseMsMax = 30_000;
/** A response that has begun can only be cut off, so it waits longer for room than one that has not. */
const roomWaitMs = 30_000;

export type TransferEnd =
  | { readonly end: "complete"; readonly bytes: number }
  /** The receiver left, or was cut off because it was too slow or no room became free. */
  | { readonly end: "gone" | "too-slow" | "no-room"; readonly bytes: number }
  /** The body's source failed; the receiver was cut. */
  | { readonly end: "failed"; readonly bytes: number; readonly error: Error };

/**
 * Sends everything that `reader` returns and ends the response, or cuts it off. Never throws. Closes the reader.
 * @param room of this receiver; it may hold some already, and holds none afterwards
 */
export async function transfer(reader: BodyReader, sink: Sink, rules: TransferRules, room: Room): Promise<TransferEnd> {
  let bytes = 0;
  const { turns } = rules;
  // A closed reader reports that it is ready, so that nobody waits for a body whose receiver has left.
  void sink.closed().then(reader.close);
  const cutAs = (end: "gone" | "no-room"): TransferEnd => {
    sink.cut();
    if (end === "no-room") rules.counts.noRoom += 1;
    return { end, bytes };
  };
  try {
    for (;;) {
      const ready = reader.ready();
      if (ready !== true && !(await waitWithoutRoom(ready, sink, rules, room))) return { end: "too-slow", bytes };
      const turn = turns.take(room.share);
      if (turn !== true) await turn;
      if (sink.isClosed()) return cutAs("gone");
      const taken = room.take(roomWaitMs);
      if (taken !== true && !(await taken)) return cutAs(sink.isClosed() ? "gone" : "no-room");
      const next = reader.next(chunkBytesMax);
      const chunk = next instanceof Promise ? await next : next;
      if (chunk === null) break;
      if (chunk.length === 0) continue;
      bytes += chunk.length;
      if (sink.write(chunk)) continue; // the system took it: the room serves the next chunk
      if (!(await drainedInTime(sink, chunk.length, rules))) return { end: "too-slow", bytes };
      if (sink.isClosed()) return cutAs("gone");
      room.free();
    }
    sink.end();
    // The bytes that were written last still wait for the receiver.
    if (!(await closedInTime(sink, rules))) return { end: "too-slow", bytes };
    return sink.isComplete() ? { end: "complete", bytes } : { end: "gone", bytes };
  } catch (error) {
    if (sink.isClosed()) return cutAs("gone"); // the reader was closed during the read
    sink.cut();
    return { end: "failed", bytes, error: error as Error };
  } finally {
    room.free();
    reader.close();
  }
}

/**
 * Waits for the body's source. The room is freed as soon as the receiver has taken what was written, which it must do
 * in time. @returns false: it was too slow, and was cut off
 */
async function waitWithoutRoom(ready: Promise<void>, sink: Sink, rules: TransferRules, room: Room): Promise<boolean> {
  let isReady = false;
  const note = async (): Promise<void> => {
    await ready;
    isReady = true;
  };
  const noted = note();
  if (sink.pendingBytes() > 0) {
    const first = Promise.race([noted, sink.taken()]);
    if (!(await within(first, allowedMs(sink.pendingBytes(), rules), rules.clock))) {
      cutSlow(sink, rules);
      return false;
    }
    if (isReady) return true; // there is more to send already
  }
  room.free();
  await noted;
  return true;
}

/** Watches a completely written response until its receiver has it. False: it was too slow, and was cut off. */
export async function closedInTime(sink: Sink, rules: TransferRules): Promise<boolean> {
  const isInTime = await within(sink.closed(), allowedMs(sink.pendingBytes(), rules), rules.clock);
  if (!isInTime) cutSlow(sink, rules);
  return isInTime;
}

/** False: it was too slow, and was cut. True also when the receiver has left. */
async function drainedInTime(sink: Sink, bytes: number, rules: TransferRules): Promise<boolean> {
  const isInTime = await within(sink.drained(), allowedMs(bytes, rules), rules.clock);
  if (!isInTime) cutSlow(sink, rules);
  return isInTime;
}

function cutSlow(sink: Sink, { counts }: TransferRules): void {
  sink.cut();
  counts.tooSlow += 1;
}

function allowedMs(bytes: number, { bytesPerSecondMin }: TransferRules): number {
  return pauseMsMax + (bytes / bytesPerSecondMin) * 1000;
}

function within(done: Promise<void>, timeMs: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(timeMs, () => {
      resolve(false);
    });
    const end = (): void => {
      cancel();
      resolve(true);
    };
    void done.then(end);
  });
}
