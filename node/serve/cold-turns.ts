/**
 * When a request begins that no cache can answer: one that has to ask the origin or another node. It takes some ms of
 * CPU time, a hundred times as much as a hit, and all of it would be spent in the turn of the event loop in which the
 * request arrives. The loop accepts one connection per turn, so a single network with a few hundred cold requests a
 * second would keep everybody's new connections waiting in the kernel.
 *
 *   hit ──────────────────────────────────────────────▶ deliver
 *   joins a fetch that is under way ──────────────────▶ deliver
 *   cold ──▶ a turn, in turn between client networks ──▶ ask the origin or a peer
 *            └── its client leaves meanwhile ──▶ nothing is asked
 *
 * What this node does unasked takes its turns as one network (ownWork), whoever caused it.
 */
import type { Clock } from "#base/clock.ts";
import { createFlights } from "../cache/flights.ts";
import { openTurns, type Turns } from "../deliver/turns.ts";
import { ownWork, type RequestContext } from "./request-context.ts";

export interface ColdTurns {
  /**
   * @param key what is asked for: those that wait for the same go with the first, and join its question
   * @returns true, or a promise of the turn: what the caller has looked up may be stored by then
   * @throws NearcastError OVERLOADED; the reason of the context's signal, when its client has left; in the promise
   */
  readonly take: (context: Pick<RequestContext, "clientNetwork" | "signal">, key: string) => true | Promise<void>;
  /**
   * For work that no client waits for. Those who want the same do not take a turn each.
   * @param key what is to be done
   * @throws NearcastError OVERLOADED
   */
  readonly takeBehind: (key: string) => Promise<void>;
  /** To be called for each new connection of a client. */
  readonly accepted: Turns["accepted"];
  readonly counts: Turns["counts"];
}

/** Each takes some ms. */
const begunPerRoundMax = 1;
/**
 * Turns between two that begin, while each turn accepts a connection. Larger: connections that wait in the kernel are
 * accepted sooner, and hits on them answered. Smaller: more cold requests begin meanwhile.
 */
const restTurnsMax = 15;
/** Each holds a connection and some 10 KB. */
const waitingMax = 4096;
/** A network alone may fill half of the queue. */
const waitingOfNetworkMax = waitingMax / 2;
/** Who waits longer has left the page, or will. */
const waitMsMax = 5000;

/** One per process. */
export function openColdTurns(clock: Clock, inNextTurn: (run: () => void) => void = setImmediate): ColdTurns {
  const turns = openTurns({
    perRoundMax: begunPerRoundMax,
    restTurnsMax,
    queue: { waitingMax, waitingOfShareMax: waitingOfNetworkMax, waitMsMax, what: "requests to be fetched", clock },
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
