/**
 * Decides when a cold request begins: one that no cache can answer, so it needs the origin or another node. It takes
 * some ms of CPU time, a hundred times as much as a hit. Without turns, all of that would be spent in the turn of the
 * event loop in which the request arrives. The loop accepts one connection per turn, so a single network with a few
 * hundred cold requests a second would keep everybody's new connections waiting in the kernel.
 *
 *   hit ──────────────────────────────────────────────▶ deliver
 *   joins a fetch that is running ────────────────────▶ deliver
 *   cold ──▶ a turn, in turn between client networks ──▶ ask the origin or a peer
 *            └── its client leaves meanwhile ──▶ nothing is asked
 *
 * Background work of this node takes its turns as one network (ownWork), whoever caused it.
 */
import type { Clock } from "#base/clock.ts";
import { createFlights } from "../cache/flights.ts";
import { openTurns, type Turns } from "../deliver/turns.ts";
import { ownWork, type RequestContext } from "./request-context.ts";

export interface ColdTurns {
  /**
   * @param key what is requested: requests with the same key begin together with the first, and join its fetch
   * @returns true, or a promise of the turn: by then, the object may have been stored
   * @throws NearcastError OVERLOADED, or the reason of the context's signal if its client has left; in the promise
   */
  readonly take: (context: Pick<RequestContext, "clientNetwork" | "signal">, key: string) => true | Promise<void>;
  /**
   * For work that no client waits for. Callers with the same key share one turn.
   * @param key identifies the work
   * @throws NearcastError OVERLOADED
   */
  readonly takeBehind: (key: string) => Promise<void>;
  /** To be called for each new client connection. */
  readonly accepted: Turns["accepted"];
  readonly counts: Turns["counts"];
}

/** Each takes some ms. */
const begunPerRoundMax = 1;
/**
 * Turns between two requests that begin, while each turn accepts a connection. Larger: connections that wait in the
 * kernel are accepted sooner, and hits on them are answered sooner. Smaller: more cold requests begin meanwhile.
 */
const restTurnsMax = 15;
/** Each holds a connection and about 10 KB. */
const waitingMax = 4096;
/** One network may fill half of the queue. */
const waitingOfNetworkMax = waitingMax / 2;
/** Anyone who waits longer has left the page, or will. */
const waitMsMax = 5000;

/** One per process. */
export function openColdTurns(clock: Clock, inNextTurn: (run: () => void) => void = setImmediate): ColdTurns {
  const turns = openTurns({
    perRoundMax: begunPerRoundMax,
    restTurnsMax,
    queue: { waitingMax, waitingOfShareMax: waitingOfNetworkMax, waitMsMax, what: "uncached requests", clock },
    inNextTurn,
  });
  const behind = createFlights<void>();
  const { clientNetwork: ownNetwork } = ownWork;
  return {
    take: ({ clientNetwork, signal }, key) => turns.take(clientNetwork, { signal, key }),
    takeBehind: (key) => behind.join(key, async () => void (await turns.take(ownNetwork, { key }))).result,
    accepted: turns.accepted,
    counts: turns.counts,
  };
}
