/**
 * Memory for bodies that are arriving from origins: one account for all fills of the process, in shares of client
 * networks (deliver/byte-budget.ts). asset-fill.ts takes room for each fill before it begins.
 *
 *   body ──▶ room for all of it, if it is to be kept whole and half of what is free is enough
 *      └───▶ else for a window: a thirty-second of what is free, 128 KiB to 1 MiB
 *               └── none: waits, then 503
 *
 *   fill runs for a second, with most of its room empty ─▶ others need the room: it keeps 128 KiB, or what it holds
 *
 *   fill ends, or waits for its readers ──▶ its window stays for them ──▶ the last one leaves: freed
 *                                                                   └──▶ others need the room: dropped, oldest first
 *
 * A reader whose window was dropped reads from the cache, or fetches the rest for itself (rest-reader.ts): slow readers
 * pay, and no fill waits for slow readers of another.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Fill } from "../cache/fill.ts";
import { type ByteBudget, openByteBudget } from "../deliver/byte-budget.ts";

/** What the room is for. */
export interface RoomWish {
  readonly lengthBytes: number | null;
  /** A body of up to this size is to be kept in memory until it is whole. */
  readonly keepBytesMax: number;
  /** The client's network, whose share it is. */
  readonly network: string;
  readonly signal: AbortSignal;
}

export interface FillRoom {
  /**
   * A body of at most this many bytes is kept whole; the window of a larger one has at most this many. May shrink: a
   * body that drips would otherwise hold room for what may never arrive.
   */
  readonly bytes: number;
  /** The room is the fill's, until it has ended and its last reader has left. */
  readonly hold: (fill: Fill) => void;
}

export interface FillRooms {
  /** @throws NearcastError ORIGIN_BUSY, or the reason of the signal */
  readonly take: (wish: RoomWish) => Promise<FillRoom>;
  /** Fills in progress, and the bytes of all fills in memory. */
  readonly counts: () => FillCounts;
}

export interface FillCounts {
  readonly running: number;
  readonly bytes: number;
}

const mebibyte = 1024 * 1024;
/**
 * For all fills together. An edge with a disk has as much again for bodies that wait to be written; one without a disk
 * has to collect in memory what it stores.
 */
const bytesMax = { withDisk: 64 * mebibyte, withoutDisk: 96 * mebibyte };
/** It must hold some chunks of a socket; a larger one serves more readers that join late or read slowly. */
const windowBytes = { least: 128 * 1024, most: mebibyte };
/**
 * Parts of the free room: a body kept whole, one whose length is not known, a window. So the first can't take
 * everything.
 */
const parts = { known: 1 / 2, unknown: 1 / 4, window: 1 / 32 };
/** As for the room of a response that has not begun (deliver/deliver.ts). */
const waitMs = 5000;
/** Within this time, a reader that keeps pace has the rest of a body, or the first bytes of one that is arriving. */
const keptMs = { ended: 1000, heldUp: 10_000 };
/** After this, a body that has not filled its room arrives slowly: a quick one of 1 MiB would be here. */
const emptyMs = 1000;
/**
 * With this much room for a network, bodies are kept whole and windows are large; with less, slow readers lose theirs.
 */
const comfortBytes = 8 * mebibyte;
/** How often room is looked for while someone waits. */
const lookMs = 250;

/** A fill that holds room. */
interface Held {
  readonly fill: Fill;
  readonly network: string;
  /** What others read as well (FillRoom). */
  readonly room: { bytes: number };
  /** When it began, or ended. */
  sinceMs: number;
}

interface State {
  readonly budget: ByteBudget;
  readonly clock: Clock;
  /** Both in the order of `sinceMs`. */
  readonly running: Set<Held>;
  readonly ended: Set<Held>;
}

export function openFillRooms({ hasDisk, clock }: { hasDisk: boolean; clock: Clock }): FillRooms {
  const budget = openByteBudget(hasDisk ? bytesMax.withDisk : bytesMax.withoutDisk, clock);
  const state: State = { budget, clock, running: new Set(), ended: new Set() };
  return {
    take: (wish) => take(state, wish),
    counts: () => ({ running: state.running.size, bytes: bytesOf(state.running) + bytesOf(state.ended) }),
  };
}

function bytesOf(all: Iterable<Held>): number {
  let bytes = 0;
  for (const { fill } of all) bytes += fill.heldBytes();
  return bytes;
}

async function take(state: State, wish: RoomWish): Promise<FillRoom> {
  const { budget } = state;
  const { network, signal } = wish;
  reclaim(state, network, comfortBytes);
  const bytes = bytesFor(wish, budget.roomFor(network));
  const taken = budget.take(bytes, network, waitMs, signal);
  if (taken !== true && !(await orReclaimed(state, network, bytes, taken))) {
    signal.throwIfAborted();
    throw new NearcastError("ORIGIN_BUSY", "too many bytes are arriving from origins; try again later");
  }
  const room = {
    bytes,
    hold(fill: Fill) {
      void hold(state, { fill, network, room, sinceMs: state.clock.monotonicMs() });
    },
  };
  return room;
}

/** Looks for room while someone waits. */
async function orReclaimed(
  state: State,
  network: string,
  bytes: number,
  taken: false | Promise<boolean>,
): Promise<boolean> {
  const cancel = state.clock.every(lookMs, () => {
    reclaim(state, network, bytes);
  });
  try {
    return await taken;
  } finally {
    cancel();
  }
}

/** @param roomBytes what is free for this network */
function bytesFor({ lengthBytes, keepBytesMax }: RoomWish, roomBytes: number): number {
  const wanted = lengthBytes ?? keepBytesMax;
  if (lengthBytes !== null && wanted <= keepBytesMax && wanted <= roomBytes * parts.known) return wanted;
  const part = lengthBytes === null ? roomBytes * parts.unknown : roomBytes * parts.window;
  const most = lengthBytes === null ? Math.max(keepBytesMax, windowBytes.most) : windowBytes.most;
  return Math.floor(Math.min(lengthBytes ?? Infinity, most, Math.max(windowBytes.least, part)));
}

async function hold(state: State, held: Held): Promise<void> {
  const { fill } = held;
  state.running.add(held);
  await fill.ended;
  state.running.delete(held);
  held.sinceMs = state.clock.monotonicMs();
  state.ended.add(held);
  shrink(state, held, fill.heldBytes());
  await fill.isIdle;
  drop(state, held);
}

function shrink({ budget }: State, held: Held, bytes: number): void {
  const freed = held.room.bytes - bytes;
  if (freed <= 0) return;
  held.room.bytes = bytes;
  budget.free(freed, held.network);
}

function drop(state: State, held: Held): void {
  state.ended.delete(held);
  held.fill.forget();
  shrink(state, held, held.fill.heldBytes());
}

/** Takes back what slow bodies do not use, then drops what slow readers hold, the oldest first, until there is room. */
function reclaim(state: State, network: string, bytes: number): void {
  const { budget, clock, ended, running } = state;
  const nowMs = clock.monotonicMs();
  for (const held of running) {
    if (budget.roomFor(network) >= bytes || nowMs - held.sinceMs < emptyMs) break;
    const { fill, room } = held;
    const isEmpty = fill.heldBytes() < room.bytes / 2;
    if (isEmpty) shrink(state, held, Math.min(room.bytes, Math.max(windowBytes.least, fill.heldBytes())));
  }
  for (const [all, ageMs] of [
    [ended, keptMs.ended],
    [running, keptMs.heldUp],
  ] as const) {
    for (const held of all) {
      if (budget.roomFor(network) >= bytes || nowMs - held.sinceMs < ageMs) break;
      if (all === running && !held.fill.isHeldUp()) continue;
      // If a network that holds nothing has no room, any of them may be dropped.
      if (held.network === network || budget.roomFor("") < bytes) drop(state, held);
    }
  }
}
