/**
 * New sessions, of clients and of streams of HTTP/2, begin a few at a time, because each costs the main thread half a
 * millisecond, for a connection of Node's server. A thousand clients that ask at once would block everything else.
 *
 *   a request for main ── few sessions are new to it ──▶ begins
 *      └──▶ waits with its client; networks in turn ── main has "taken" one ──▶ begins
 *              └── the client is gone, or has waited too long: closed here, and main never learns of it
 */
import { count } from "./counts.ts";
import { type Client, copyOf, type InLine, type Lane, watchFor } from "./lane.ts";
import { layout } from "./layout.ts";
import { closeClient, holds, pass, tell, watchBoth } from "./sessions.ts";
import { hold } from "../unfinished.ts";

/** About 4 ms of the main thread's time. It is divided among the lanes. */
export const newSessionsMax = 8;

/**
 * Passes bytes of the receive buffer to the main thread, at once or in turn.
 * @param at offset in the lane's memory, with room for frames before it
 */
export function passInTurn(lane: Lane, client: Client, at: number, lengthBytes: number): void {
  if (client.pair !== null || mayBegin(lane)) {
    pass(lane, client, at, lengthBytes);
    return;
  }
  client.isWaiting = true;
  client.sinceMs = lane.nowMs;
  getInLine(lane, client.network(), client);
  // Until then, only the end of the connection is of interest.
  watchFor(lane, client, 0);
  client.rest = copyOf(lane, at, at + lengthBytes);
  holds(lane, client, lengthBytes);
}

/** Whether a session may begin at once. */
export function mayBegin({ inLine, newSessions, newSessionsMax: most }: Lane): boolean {
  return inLine.size === 0 && newSessions < most;
}

/** Lets it wait until `begin` is called. */
export function getInLine(lane: Lane, network: string, one: Client | InLine): void {
  one.sinceMs = lane.nowMs;
  const others = lane.inLine.get(network);
  if (others === undefined) lane.inLine.set(network, new Set([one]));
  else others.add(one);
}

/** Begins sessions of clients that wait, as many as the main thread may get. */
export function beginSessions(lane: Lane): void {
  while (lane.newSessions < lane.newSessionsMax) {
    const next = lane.inLine.entries().next();
    if (next.done === true) return;
    const [network, all] = next.value;
    const [first] = all;
    if (first === undefined) return;
    // The other networks come before it from now on.
    all.delete(first);
    lane.inLine.delete(network);
    if (all.size > 0) lane.inLine.set(network, all);
    if ("begin" in first) first.begin();
    else begin(lane, first);
  }
}

function begin(lane: Lane, client: Client): void {
  const { rest, isLate } = client;
  if (rest === null) return;
  rest.copy(lane.bytes, layout.receive);
  Object.assign(client, { rest: null, pieces: 0, isWaiting: false, isLate: false } satisfies Partial<Client>);
  hold(lane.unfinished, client, 0);
  if (!pass(lane, client, layout.receive, rest.length) || client.pair === null) return;
  if (isLate) tell(lane, client.pair, "late");
  if (client.isEnded) tell(lane, client.pair, "end");
  watchBoth(lane, client, client.pair);
}

/** Closes clients that have waited for longer than for a whole head: the main thread does not keep up. */
export function closeOverdue(lane: Lane): void {
  for (const all of lane.inLine.values()) {
    for (const one of all) {
      if (lane.nowMs - one.sinceMs < one.listening.rules.waitsMs.headers) break;
      count(lane.counts, "refused");
      if ("begin" in one) one.refuse();
      else closeClient(lane, one);
    }
  }
}
