/**
 * How many chunks may take part of one turn of the event loop. A chunk from memory or the page cache, for a connection
 * with room in its socket buffer, waits for nothing: without a limit, one transfer fills megabytes of socket buffer in
 * one turn, and a thousand of them delay all other requests by seconds.
 *
 *   take ──fewer than the limit in this turn──▶ at once
 *     └──▶ waits: shares in turn, first come first served within one ──▶ one of the next turns
 *
 * A share is a client network. A transfer takes one turn for each chunk, so a network with a thousand transfers gets as
 * many chunks as one with a single transfer. At most as many wait as responses are under way.
 */

/** Some 1 ms of CPU time. Larger: others wait longer. Smaller: more turns for the same bytes. */
const chunksPerTurnMax = 4;

export interface Turns {
  /** True, or a promise of the turn: the caller may read and write one chunk. */
  readonly take: (share: string) => true | Promise<void>;
}

interface State {
  /** Chunks in this turn so far. */
  taken: number;
  /** By share; the first has waited longest for a turn. */
  readonly waiting: Map<string, (() => void)[]>;
}

export function openTurns(): Turns {
  const state: State = { taken: 0, waiting: new Map() };
  return { take: (share) => take(state, share) };
}

function take(state: State, share: string): true | Promise<void> {
  if (state.taken === 0) setImmediate(nextTurn, state);
  if (state.taken < chunksPerTurnMax) {
    state.taken += 1;
    return true;
  }
  return new Promise((resolve) => {
    const waiting = state.waiting.get(share);
    if (waiting === undefined) state.waiting.set(share, [resolve]);
    else waiting.push(resolve);
  });
}

/** Immediates run once per turn, after the sockets: what has arrived is read between any two of them. */
function nextTurn(state: State): void {
  const { waiting } = state;
  state.taken = 0;
  while (state.taken < chunksPerTurnMax) {
    const next = waiting.entries().next();
    if (next.done === true) break;
    const [share, grants] = next.value;
    waiting.delete(share);
    state.taken += 1;
    grants.shift()?.();
    if (grants.length > 0) waiting.set(share, grants);
  }
  if (state.taken > 0) setImmediate(nextTurn, state);
}
