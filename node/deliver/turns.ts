/**
 * Limits what begins in one turn of the event loop: chunks of bodies (transfer.ts, asset-fill.ts), and requests that no
 * cache can answer (serve/cold-turns.ts). Without a limit, everything that is ready runs in the same turn, and a
 * thousand chunks or requests delay all others by seconds.
 *
 *   take ──fewer than the limit in this round──▶ at once
 *     └──▶ waits: shares in turn, first come first served within one ──▶ one of the next rounds
 *             └── its client leaves, too many wait, or for too long ──▶ refused
 *
 * A share is a client network. Shares take turns, so one with a thousand waiting requests gets no more turns than one
 * with a single request. A round is one turn of the loop, plus a few more while each of them accepts a connection. The
 * loop accepts one connection per turn, so more are likely to wait in the kernel, and anything that begins now would
 * delay them all.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";

export interface TurnRules {
  /** How many may begin in one round. */
  readonly perRoundMax: number;
  /** By how many turns a round may be extended while connections arrive. */
  readonly restTurnsMax: number;
  /** The limits of the queue; null: something else bounds it. */
  readonly queue: QueueRules | null;
  /** Calls `run` once per turn of the event loop, after the sockets: what has arrived is read between any two calls. */
  readonly inNextTurn: (run: () => void) => void;
}

export interface QueueRules {
  /** Waiters of all shares. Beyond: the share with the most loses its oldest, or the new one if that one is its own. */
  readonly waitingMax: number;
  /** Waiters of one share. Beyond: refused. */
  readonly waitingOfShareMax: number;
  readonly waitMsMax: number;
  /** What waits here, for the text of a refusal. */
  readonly what: string;
  readonly clock: Clock;
}

export interface Turns {
  /**
   * @param wish `signal` ends the wait; waiters with the same `key` begin together with the first of them
   * @returns true, or a promise of the turn; it rejects with NearcastError OVERLOADED, or the reason of the signal
   */
  readonly take: (share: string, wish?: TurnWish) => true | Promise<void>;
  /** A connection was accepted in this turn. */
  readonly accepted: () => void;
  readonly counts: () => TurnCounts;
}

export interface TurnWish {
  readonly signal?: AbortSignal;
  readonly key?: string;
}

export interface TurnCounts {
  readonly waiting: number;
  /** Refused since the start: too many waited, or for too long. */
  readonly refused: number;
  /** Those whose client left before its turn. */
  readonly left: number;
}

interface Waiter {
  readonly share: string;
  readonly key: string | undefined;
  readonly sinceMs: number;
  readonly grant: () => void;
  readonly refuse: (error: unknown) => void;
}

interface State {
  readonly rules: TurnRules;
  /** In this round so far. */
  taken: number;
  /** Turns left in this round; 0: no round is in progress, because nothing has begun lately. */
  turnsLeft: number;
  hasAccepted: boolean;
  /** By share; the first has waited longest for a turn. */
  readonly byShare: Map<string, Set<Waiter>>;
  readonly byKey: Map<string, Set<Waiter>>;
  /** All waiters, the oldest first. */
  readonly waiting: Set<Waiter>;
  refused: number;
  left: number;
}

/** How many begin together with one: joining costs little, but hundreds of them would take a whole turn. */
const alikeMax = 32;

export function openTurns(rules: TurnRules): Turns {
  const state: State = {
    rules,
    taken: 0,
    turnsLeft: 0,
    hasAccepted: false,
    byShare: new Map(),
    byKey: new Map(),
    waiting: new Set(),
    refused: 0,
    left: 0,
  };
  return {
    take: (share, wish = {}) => take(state, share, wish),
    accepted() {
      state.hasAccepted = true;
    },
    counts: () => ({ waiting: state.waiting.size, refused: state.refused, left: state.left }),
  };
}

function take(state: State, share: string, wish: TurnWish): true | Promise<void> {
  const { signal } = wish;
  if (signal?.aborted === true) {
    state.left += 1;
    return Promise.reject(signal.reason as Error);
  }
  if (state.waiting.size === 0 && state.taken < state.rules.perRoundMax) {
    begin(state);
    return true;
  }
  return wait(state, share, wish);
}

/** Notes that one begins; the first one begins the round. */
function begin(state: State): void {
  state.taken += 1;
  if (state.turnsLeft > 0) return;
  state.turnsLeft = 1 + state.rules.restTurnsMax;
  scheduleNextTurn(state);
}

function scheduleNextTurn(state: State): void {
  state.rules.inNextTurn(() => {
    nextTurn(state);
  });
}

function wait(state: State, share: string, { signal, key }: TurnWish): Promise<void> {
  const { queue } = state.rules;
  if (queue !== null && !makeRoom(state, share, queue)) {
    state.refused += 1;
    return Promise.reject(overloaded(`too many ${queue.what} are waiting`));
  }
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      removeWaiter(state, waiter);
      state.left += 1;
      reject(signal?.reason as Error);
    };
    const waiter: Waiter = {
      share,
      key,
      sinceMs: queue?.clock.monotonicMs() ?? 0,
      grant() {
        signal?.removeEventListener("abort", leave);
        resolve();
      },
      refuse(error) {
        signal?.removeEventListener("abort", leave);
        reject(error);
      },
    };
    addWaiter(state, waiter);
    signal?.addEventListener("abort", leave, { once: true });
  });
}

/** @returns false: this share is the one that has too many */
function makeRoom(state: State, share: string, { waitingMax, waitingOfShareMax, what }: QueueRules): boolean {
  const own = state.byShare.get(share)?.size ?? 0;
  if (own >= waitingOfShareMax) return false;
  if (state.waiting.size < waitingMax) return true;
  let largest: ReadonlySet<Waiter> | undefined;
  for (const waiters of state.byShare.values()) if (waiters.size > (largest?.size ?? 0)) largest = waiters;
  const [oldest] = largest ?? [];
  if (oldest === undefined || own >= (largest?.size ?? 0)) return false;
  refuseWaiter(state, oldest, `too many ${what} are waiting`);
  return true;
}

function addWaiter({ waiting, byShare, byKey }: State, waiter: Waiter): void {
  waiting.add(waiter);
  addUnder(byShare, waiter.share, waiter);
  if (waiter.key !== undefined) addUnder(byKey, waiter.key, waiter);
}

function removeWaiter({ waiting, byShare, byKey }: State, waiter: Waiter): void {
  waiting.delete(waiter);
  removeUnder(byShare, waiter.share, waiter);
  if (waiter.key !== undefined) removeUnder(byKey, waiter.key, waiter);
}

function addUnder(sets: Map<string, Set<Waiter>>, name: string, waiter: Waiter): void {
  const set = sets.get(name);
  if (set === undefined) sets.set(name, new Set([waiter]));
  else set.add(waiter);
}

function removeUnder(sets: Map<string, Set<Waiter>>, name: string, waiter: Waiter): void {
  const set = sets.get(name);
  set?.delete(waiter);
  if (set?.size === 0) sets.delete(name);
}

function nextTurn(state: State): void {
  const { perRoundMax, queue } = state.rules;
  const { hasAccepted } = state;
  state.hasAccepted = false;
  state.turnsLeft = hasAccepted ? state.turnsLeft - 1 : 0;
  if (queue !== null) refuseOverdue(state, queue);
  if (state.turnsLeft > 0) {
    scheduleNextTurn(state);
    return;
  }
  state.taken = 0;
  while (state.taken < perRoundMax) {
    const next = nextInTurn(state);
    if (next === undefined) return;
    begin(state);
    next.grant();
    if (next.key !== undefined) grantAlike(state, next.key);
  }
}

/** They join what the first one begins; those beyond the bound wait for the next turn of the key. */
function grantAlike(state: State, key: string): void {
  let granted = 0;
  for (const waiter of state.byKey.get(key) ?? []) {
    if (granted >= alikeMax) return;
    granted += 1;
    removeWaiter(state, waiter);
    waiter.grant();
  }
}

/** The oldest waiter of the share whose turn it is. The other shares come before it from now on. */
function nextInTurn(state: State): Waiter | undefined {
  const next = state.byShare.entries().next();
  if (next.done === true) return undefined;
  const [share, waiters] = next.value;
  const [oldest] = waiters;
  if (oldest === undefined) return undefined;
  removeWaiter(state, oldest);
  if (state.byShare.delete(share)) state.byShare.set(share, waiters);
  return oldest;
}

function refuseOverdue(state: State, { clock, waitMsMax, what }: QueueRules): void {
  for (const oldest of state.waiting) {
    if (clock.monotonicMs() - oldest.sinceMs < waitMsMax) return;
    refuseWaiter(state, oldest, `${what} have been waiting for more than ${waitMsMax} ms`);
  }
}

function refuseWaiter(state: State, waiter: Waiter, why: string): void {
  removeWaiter(state, waiter);
  state.refused += 1;
  waiter.refuse(overloaded(why));
}

function overloaded(why: string): NearcastError {
  return new NearcastError("OVERLOADED", why);
}

/** About 1 ms of CPU time. Larger: others wait longer. Smaller: more turns for the same bytes. */
const chunksPerTurnMax = 4;

/** Turns for chunks. As many wait as there are responses or fills in progress, which are bounded. */
export function openChunkTurns(): Turns {
  return openTurns({ perRoundMax: chunksPerTurnMax, restTurnsMax: 0, queue: null, inNextTurn: setImmediate });
}
