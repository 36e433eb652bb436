/**
 * Refused clients: drops what they still send, and closes their connection. Also keeps account of the incomplete heads
 * that are held (unfinished.ts).
 */
import type { Connection, Refusal, State } from "./connection.ts";
import { hold } from "./unfinished.ts";

/** Up to this size, what a refused client still sends is read and dropped, so that it can read its last response. */
export const droppedBytesMax = 64 * 1024;

/** From now on, what the client sends is dropped. */
export function dropRest(state: State, connection: Connection): void {
  connection.phase = "refused";
  connection.rest = null;
  connection.droppedBytes = 0;
  holds(state, connection);
}

/** Drops bytes of a refused client. It is not read for ever. */
export function drop(connection: Connection, chunk: Buffer): void {
  connection.droppedBytes += chunk.length;
  if (connection.droppedBytes > droppedBytesMax) connection.socket.pause();
}

/** Refuses a client to which nothing is being sent. */
export function refuse(state: State, connection: Connection, why: Refusal): void {
  dropRest(state, connection);
  state.refuse(connection.socket, why);
}

/** The connection is closed. */
export function holdsNothing(state: State, connection: Connection): void {
  connection.rest = null;
  connection.relayedBytes = 0;
  holds(state, connection);
}

/** Notes how much a connection holds. If the total is too high, the networks that hold the most lose theirs. */
export function holds(state: State, connection: Connection): void {
  const { rest, relayedBytes } = connection;
  const greedy = hold(state.unfinished, connection, relayedBytes + (rest === null ? 0 : rest.length));
  if (greedy === undefined) return;
  for (const other of state.connections) {
    if (other.heldBytes === 0 || !greedy.has(other.network())) continue;
    // A response may be in progress here, so no other response can be sent.
    if (other.phase === "reading") refuse(state, other, "late");
    else other.socket.destroy();
  }
}
