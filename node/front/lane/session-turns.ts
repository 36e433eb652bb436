/**
 * New sessions, of clients and of streams of HTTP/2, begin a few at a time (../session-turns.ts). Here, the others wait
 * in the lane. The number is divided among the lanes.
 *
 *   a request for main ── few sessions are new to it ──▶ begins
 *      └──▶ waits with its client; networks in turn ── main has "taken" one ──▶ begins
 *              └── the client is gone, or has waited too long: closed here, and main never learns of it
 */
import { count } from "./counts.ts";
import { type Client, copyOf, type Lane, type StreamRelay, watchFor } from "./lane.ts";
import { layout } from "./layout.ts";
import { closeClient, holds, pass, tell, watchBoth } from "./sessions.ts";
import { hold } from "../unfinished.ts";

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
export function mayBegin({ inLine, newSessions, limits }: Lane): boolean {
  return inLine.size() === 0 && newSessions < limits.newSessionsMax;
}

/** Lets it wait until `begin` is called. */
export function getInLine(lane: Lane, network: string, one: Client | StreamRelay): void {
  one.sinceMs = lane.nowMs;
  lane.inLine.add(network, one);
}

/** Begins sessions of clients that wait, as many as the main thread may get. */
export function beginSessions(lane: Lane): void {
  while (lane.newSessions < lane.limits.newSessionsMax) {
    const next = lane.inLine.next();
    if (next === undefined) return;
    if ("begin" in next) next.begin();
    else begin(lane, next);
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
  const isOverdue = ({ sinceMs, listening }: Client | StreamRelay): boolean =>
    lane.nowMs - sinceMs >= listening.rules.waitsMs.headers;
  for (const one of lane.inLine.oldest(isOverdue)) {
    count(lane.counts, "refused");
    if ("begin" in one) one.refuse();
    else closeClient(lane, one);
  }
}
