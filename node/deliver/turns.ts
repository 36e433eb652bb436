/**
 * Limits how many chunks one turn of the event loop handles. A chunk from memory or from the page cache, for a
 * connection with room in its socket buffer, never waits for anything. Without a limit, one transfer would fill
 * megabytes of socket buffer in one turn, and a thousand of them would delay all other requests for seconds.
 *
 *   take ──fewer than the limit in this turn──▶ at once
 *     └──▶ waits, first come first served ──▶ one of the next turns
 *
 * A transfer takes one turn for each chunk, so all transfers advance at the same pace. At most as many wait as there
 * are responses in progress.
 */

/** Some 1 ms of CPU time. Larger: others wait longer. Smaller: more turns for the same bytes. */
const chunksPerTurnMax = 4;

export interface Turns {
  /** True, or a promise of the turn: the caller may read and write one chunk. */
  readonly take: () => true | Promise<void>;
}

interface State {
  /** Chunks in this turn so far. */
  taken: number;
  /** In the order of their coming. */
  readonly waiting: Set<() => void>;
}

export function openTurns(): Turns {
  const state: State = { taken: 0, waiting: new Set() };
  return { take: () => take(state) };
}

function take(state: State): true | Promise<void> {
  if (state.taken === 0) setImmediate(nextTurn, state);
  if (state.taken < chunksPerTurnMax) {
    state.taken += 1;
    return true;
  }
  return new Promise((resolve) => {
    state.waiting.add(resolve);
  });
}

/** Immediates run once per turn, after the sockets: what has arrived is read between any two of them. */
function nextTurn(state: State): void {
  state.taken = 0;
  for (const granted of state.waiting) {
    if (state.taken === chunksPerTurnMax) break;
    state.waiting.delete(granted);
    state.taken += 1;
    granted();
  }
  if (state.taken > 0) setImmediate(nextTurn, state);
}
