/**
 * A limit on bytes in flight: bytes that were read for receivers and not received yet.
 *
 *   take ──room in the budget, and in the share──▶ at once
 *     └──▶ waits: shares take turns, first come first served within a share ──▶ bytes are freed ──▶ taken
 *                                                                          └─ too long ──▶ refused
 *
 * A share is a client network. A network that holds its part of the budget waits for its own receivers, so the rest of
 * the budget stays free for the others.
 */
import type { Cancel, Clock } from "#base/clock.ts";

/** A share may hold this part of the budget, and this part of the queue. */
const sharePart = 0.25;
/** Takers that may wait. A waiting response holds a connection and about 2 KB. */
const waitingMax = 10_000;
/** Waiting shares that one free() looks at. */
const looksMax = 32;

interface Waiting {
  readonly bytes: number;
  readonly settle: (isGranted: boolean) => void;
}

interface Share {
  heldBytes: number;
  readonly waiting: Waiting[];
}

export interface ByteBudget {
  /**
   * True or a promise of true: the bytes are taken, and must be freed. False: no room became free within `waitMs`,
   * which counts as refused, or before the `signal` was aborted.
   */
  take: (bytes: number, share: string, waitMs: number, signal?: AbortSignal) => boolean | Promise<boolean>;
  free: (bytes: number, share: string) => void;
  /** What a share could take at once: what is free, up to its part, less what it holds. */
  roomFor: (share: string) => number;
  /** `shares`: those that hold something or wait. */
  counts: () => { heldBytes: number; waiting: number; refused: number; shares: number };
}

interface State {
  readonly bytesMax: number;
  readonly clock: Clock;
  /** Shares that hold something or wait. */
  readonly shares: Map<string, Share>;
  /** Those in which somebody waits, in the order of their turns. */
  readonly turns: Map<string, Share>;
  heldBytes: number;
  waiting: number;
  refused: number;
}

export function openByteBudget(bytesMax: number, clock: Clock): ByteBudget {
  const state: State = { bytesMax, clock, shares: new Map(), turns: new Map(), heldBytes: 0, waiting: 0, refused: 0 };
  return {
    take: (bytes, share, waitMs, signal) => take(state, bytes, share, waitMs, signal),
    free(bytes, name) {
      const share = state.shares.get(name);
      if (share === undefined) return;
      share.heldBytes -= bytes;
      state.heldBytes -= bytes;
      if (state.waiting > 0) grantWaiting(state);
      forgetIdle(state, name, share);
    },
    roomFor(name) {
      const heldByShare = state.shares.get(name)?.heldBytes ?? 0;
      return Math.max(0, Math.min(bytesMax - state.heldBytes, bytesMax * sharePart) - heldByShare);
    },
    counts: () => ({
      heldBytes: state.heldBytes,
      waiting: state.waiting,
      refused: state.refused,
      shares: Math.max(state.shares.size, state.turns.size),
    }),
  };
}

function take(
  state: State,
  bytes: number,
  name: string,
  waitMs: number,
  signal: AbortSignal | undefined,
): boolean | Promise<boolean> {
  let share = state.shares.get(name);
  if (share === undefined) {
    share = { heldBytes: 0, waiting: [] };
    state.shares.set(name, share);
  }
  if (share.waiting.length === 0 && fits(state, share, bytes)) {
    hold(state, share, bytes);
    return true;
  }
  const isFull = state.waiting >= waitingMax || share.waiting.length >= waitingMax * sharePart;
  if (isFull || waitMs <= 0 || signal?.aborted === true) {
    if (signal?.aborted !== true) state.refused += 1;
    forgetIdle(state, name, share);
    return false;
  }
  return wait(state, share, name, bytes, waitMs, signal);
}

function wait(
  state: State,
  share: Share,
  name: string,
  bytes: number,
  waitMs: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const one: Waiting = {
    bytes,
    settle(isGranted) {
      cancel();
      signal?.removeEventListener("abort", leave);
      resolve(isGranted);
    },
  };
  const leave = (): void => {
    share.waiting.splice(share.waiting.indexOf(one), 1);
    state.waiting -= 1;
    if (share.waiting.length === 0) state.turns.delete(name);
    forgetIdle(state, name, share);
    one.settle(false);
    // A smaller taker that waited behind a large one may fit now.
    if (share.waiting.length > 0) grantWaiting(state);
  };
  const cancel: Cancel = state.clock.after(waitMs, () => {
    state.refused += 1;
    leave();
  });
  signal?.addEventListener("abort", leave, { once: true });
  share.waiting.push(one);
  state.waiting += 1;
  if (share.waiting.length === 1) state.turns.set(name, share);
  return promise;
}

function fits(state: State, share: Share, bytes: number): boolean {
  return fitsInAll(state, bytes) && fitsInShare(state, share, bytes);
}

/** A sole taker may exceed the bound: otherwise, a chunk larger than the budget would never be sent. */
function fitsInAll({ heldBytes, bytesMax }: State, bytes: number): boolean {
  return heldBytes === 0 || heldBytes + bytes <= bytesMax;
}

/**
 * A share holds no more than is free (a dynamic threshold: Choudhury and Hahne, 1998), so that some stays free for
 * those that come next, however many shares there are. Its first taker may exceed that, or it would get nothing.
 */
function fitsInShare({ bytesMax, heldBytes: allBytes }: State, { heldBytes }: Share, bytes: number): boolean {
  return heldBytes === 0 || heldBytes + bytes <= Math.min(bytesMax * sharePart, bytesMax - allBytes);
}

function hold(state: State, share: Share, bytes: number): void {
  share.heldBytes += bytes;
  state.heldBytes += bytes;
}

/**
 * One taker of each waiting share in turn, while there is room. A share that was granted something, or that holds its
 * part, goes to the end of the line; one that only waits for free room stays in front. Only a few shares can hold their
 * part at a time, so looking at a few is enough, however many wait.
 */
function grantWaiting(state: State): void {
  for (let looks = 0; looks < looksMax; looks += 1) {
    const turn = state.turns.entries().next();
    if (turn.done === true) return;
    const [name, share] = turn.value;
    const next = share.waiting[0];
    if (next !== undefined && !fitsInAll(state, next.bytes)) return;
    state.turns.delete(name);
    if (next === undefined) continue;
    if (fitsInShare(state, share, next.bytes)) {
      share.waiting.shift();
      state.waiting -= 1;
      hold(state, share, next.bytes);
      next.settle(true);
    }
    if (share.waiting.length > 0) state.turns.set(name, share);
  }
}

function forgetIdle(state: State, name: string, share: Share): void {
  if (share.heldBytes === 0 && share.waiting.length === 0) state.shares.delete(name);
}
