/**
 * New sessions with Node's server, of connections and of streams of HTTP/2, begin a few per turn of the event loop.
 * Each costs half a millisecond, so a thousand clients that ask at once would block everything else.
 *
 *   take ── few have begun in this turn ──▶ begins
 *     └──▶ waits; client networks in turn ──▶ begins in a later turn
 *             ├── the client is gone: it leaves, and costs nothing
 *             └── it has waited too long: refused
 *
 * Clients of lanes wait in their lane (lane/session-turns.ts), with the same number for all lanes.
 */
import type { Clock } from "#base/clock.ts";
import { createNetworkQueue } from "./network-queue.ts";

/** About 4 ms of the main thread's time. */
export const newSessionsMax = 8;

/** Whoever waits for a session. */
export interface InLine {
  readonly begin: () => void;
  /** It has waited too long. */
  readonly refuse: () => void;
  sinceMs: number;
}

export interface SessionTurns {
  /** @returns whether the session may begin at once. Otherwise, `begin` or `refuse` is called, unless it leaves. */
  readonly take: (network: () => string, one: InLine) => boolean;
  readonly leave: (network: string, one: InLine) => void;
  /** Refuses those that have waited too long. */
  readonly sweep: () => void;
}

/**
 * Whoever takes turns bounds the number of those that wait.
 * @param waitMs how long one may wait
 * @param inNextTurn calls back once per turn of the event loop
 */
export function openSessionTurns(
  clock: Pick<Clock, "monotonicMs">,
  waitMs: number,
  inNextTurn: (run: () => void) => void = setImmediate,
): SessionTurns {
  const queue = createNetworkQueue<InLine>();
  /** In this turn. */
  let begun = 0;
  const note = (): void => {
    begun += 1;
    if (begun === 1) inNextTurn(nextTurn);
  };
  const nextTurn = (): void => {
    begun = 0;
    for (let turn = 0; turn < newSessionsMax; turn += 1) {
      const one = queue.next();
      if (one === undefined) return;
      note();
      one.begin();
    }
  };
  return {
    take(network, one) {
      if (queue.size() > 0 || begun >= newSessionsMax) {
        one.sinceMs = clock.monotonicMs();
        queue.add(network(), one);
        return false;
      }
      note();
      return true;
    },
    leave: queue.remove,
    sweep() {
      const dueMs = clock.monotonicMs() - waitMs;
      for (const one of queue.oldest(({ sinceMs }) => sinceMs <= dueMs)) one.refuse();
    },
  };
}
