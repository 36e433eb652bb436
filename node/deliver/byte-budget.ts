/**
 * A bound on bytes in flight: what was read for receivers that have not taken it yet.
 *
 *   take ──room in all, and in the share──▶ at once
 *     └──▶ waits: shares in turn, first come first served within one ──▶ freed bytes ──▶ taken
 *                                                                   └─ too long ──▶ refused
 *
 * A share is a client network. One that holds its part of the budget waits for its own receivers, and the rest of the
 * budget stays for the others.
 */
import type { Cancel, Clock } from "#base/clock.ts";

/** A share may hold this part of the budget. */
const sharePart = 0.25;
/** Takers that may wait; a waiting response holds a connection and some 2 KB. */
const waitingMax = 10_000;
/** Waiting shares that one free() looks at. */
const looksMax = 32;

interface Waiting {
  readonly bytes: number;
  readonly granted: (isGranted: boolean) => void;
  readonly cancel: Cancel;
}

interface Share {
  heldBytes: number;
  readonly waiting: Waiting[];
}

export interface ByteBudget {
  /** True or a promise of true: the bytes are taken, and must be freed. False: no room came within `waitMs`. */
  take: (bytes: number, share: string, waitMs: number) => boolean | Promise<boolean>;
  free: (bytes: number, share: string) => void;
  counts: () => { heldBytes: number; waiting: number; refused: number };
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
    take: (bytes, share, waitMs) => take(state, bytes, share, waitMs),
    free(bytes, name) {
      const share = state.shares.get(name);
      if (share === undefined) return;
      share.heldBytes -= bytes;
      state.heldBytes -= bytes;
      if (state.waiting > 0) grantWaiting(state);
      forgetIdle(state, name, share);
    },
    counts: () => ({ heldBytes: state.heldBytes, waiting: state.waiting, refused: state.refused }),
  };
}

function take(state: State, bytes: number, name: string, waitMs: number): boolean | Promise<boolean> {
  let share = state.shares.get(name);
  if (share === undefined) {
    share = { heldBytes: 0, waiting: [] };
    state.shares.set(name, share);
  }
  if (share.waiting.length === 0 && fits(state, share, bytes)) {
    hold(state, share, bytes);
    return true;
  }
  if (state.waiting >= waitingMax || waitMs <= 0) {
    state.refused += 1;
    forgetIdle(state, name, share);
    return false;
  }
  return wait(state, share, name, bytes, waitMs);
}

function wait(state: State, share: Share, name: string, bytes: number, waitMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const one: Waiting = {
    bytes,
    granted: resolve,
    cancel: state.clock.after(waitMs, () => {
      share.waiting.splice(share.waiting.indexOf(one), 1);
      state.waiting -= 1;
      state.refused += 1;
      forgetIdle(state, name, share);
      resolve(false);
    }),
  };
  share.waiting.push(one);
  state.waiting += 1;
  state.turns.set(name, share);
  return promise;
}

/** A share's first taker may always pass its part: a chunk larger than that part would otherwise never leave. */
function fits(state: State, share: Share, bytes: number): boolean {
  if (state.heldBytes + bytes > state.bytesMax && state.heldBytes > 0) return false;
  return share.heldBytes === 0 || share.heldBytes + bytes <= state.bytesMax * sharePart;
}

function hold(state: State, share: Share, bytes: number): void {
  share.heldBytes += bytes;
  state.heldBytes += bytes;
}

/**
 * One taker of each waiting share in turn, while there is room. A share that was looked at goes to the end of the
 * turns. Freed bytes make room for one or two takers, so a few looks are enough, however many shares wait.
 */
function grantWaiting(state: State): void {
  for (let looks = 0; looks < looksMax; looks += 1) {
    const turn = state.turns.entries().next();
    if (turn.done === true) return;
    const [name, share] = turn.value;
    state.turns.delete(name);
    const next = share.waiting[0];
    if (next === undefined) continue;
    state.turns.set(name, share);
    if (!fits(state, share, next.bytes)) continue;
    share.waiting.shift();
    state.waiting -= 1;
    hold(state, share, next.bytes);
    next.cancel();
    next.granted(true);
  }
}

function forgetIdle(state: State, name: string, share: Share): void {
  if (share.heldBytes === 0 && share.waiting.length === 0) state.shares.delete(name);
}
