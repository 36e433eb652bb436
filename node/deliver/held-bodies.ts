/**
 * Bodies in memory that receivers have not taken whole yet, as a part of the bytes in flight. A slow receiver keeps the
 * whole body alive, also when the cache has dropped it meanwhile: thousands of them, each with another body, would hold
 * gigabytes.
 *
 * A body is counted once, however many receive it, for the share of whoever came first, until the last of them has it.
 */
import type { ByteBudget } from "./byte-budget.ts";

export interface HeldBodies {
  /**
   * True or a promise of true: the body is counted, and must be freed. False: there was no room within `waitMs`, or the
   * receiver left.
   */
  take: (body: Buffer, share: string, waitMs: number, signal?: AbortSignal) => boolean | Promise<boolean>;
  free: (body: Buffer) => void;
  /** Bodies that are counted. */
  count: () => number;
}

interface Held {
  readonly share: string;
  receivers: number;
}

/** A receiver that waits for room. */
interface Waiting {
  readonly done: AbortController;
  /** Another receiver of the same body was given room. */
  isGranted: boolean;
}

interface State {
  readonly budget: ByteBudget;
  readonly bodies: Map<Buffer, Held>;
  readonly waiting: Map<Buffer, Set<Waiting>>;
}

export function openHeldBodies(budget: ByteBudget): HeldBodies {
  const state: State = { budget, bodies: new Map(), waiting: new Map() };
  return {
    take: (body, share, waitMs, signal) => take(state, body, share, waitMs, signal),
    free: (body) => {
      free(state, body);
    },
    count: () => state.bodies.size,
  };
}

function take(
  state: State,
  body: Buffer,
  share: string,
  waitMs: number,
  signal: AbortSignal | undefined,
): boolean | Promise<boolean> {
  const held = state.bodies.get(body);
  if (held !== undefined) {
    held.receivers += 1;
    return true;
  }
  const one: Waiting = { done: new AbortController(), isGranted: false };
  const signals = signal === undefined ? one.done.signal : AbortSignal.any([signal, one.done.signal]);
  const room = state.budget.take(body.length, share, waitMs, signals);
  if (!(room instanceof Promise)) {
    if (room) state.bodies.set(body, { share, receivers: 1 });
    return room;
  }
  const waiting = state.waiting.get(body) ?? new Set<Waiting>();
  state.waiting.set(body, waiting.add(one));
  return room.then((isGranted) => settle(state, body, share, one, isGranted));
}

/** The first receiver that is given room has it for all that wait for the same body. */
function settle(state: State, body: Buffer, share: string, one: Waiting, isGranted: boolean): boolean {
  const waiting = state.waiting.get(body);
  waiting?.delete(one);
  if (waiting?.size === 0) state.waiting.delete(body);
  if (!isGranted) return one.isGranted;
  const held = state.bodies.get(body);
  if (one.isGranted || held !== undefined) {
    // Room came for this one in the same turn: it is counted already.
    state.budget.free(body.length, share);
    if (!one.isGranted && held !== undefined) held.receivers += 1;
    return true;
  }
  state.bodies.set(body, { share, receivers: 1 + (waiting?.size ?? 0) });
  for (const other of waiting ?? []) {
    other.isGranted = true;
    other.done.abort();
  }
  return true;
}

function free({ bodies, budget }: State, body: Buffer): void {
  const held = bodies.get(body);
  if (held === undefined) return;
  held.receivers -= 1;
  if (held.receivers > 0) return;
  bodies.delete(body);
  budget.free(body.length, held.share);
}
