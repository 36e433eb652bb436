/**
 * Clients that are refused: what they still send is dropped, and their connection closes. And what of requests is held
 * until its rest comes (unfinished.ts).
 */
import type { Connection, State } from "./connection.ts";
import { hold } from "./unfinished.ts";

/** What a client that is refused still sends is read and dropped up to here, that it may read its last response. */
export const droppedBytesMax = 64 * 1024;

/** What still comes is dropped. */
export function dropRest(state: State, connection: Connection): void {
  connection.phase = "refused";
  connection.rest = null;
  connection.droppedBytes = 0;
  holds(state, connection);
}

/** Of a client that was refused: it is not read for ever. */
export function drop(connection: Connection, chunk: Buffer): void {
  connection.droppedBytes += chunk.length;
  if (connection.droppedBytes > droppedBytesMax) connection.socket.pause();
}

/** A beginning of a request whose rest does not come. */
export function refuse(state: State, connection: Connection): void {
  dropRest(state, connection);
  state.tooLate(connection.socket);
}

/** It is closed. */
export function holdsNothing(state: State, connection: Connection): void {
  connection.rest = null;
  connection.relayedBytes = 0;
  holds(state, connection);
}

/** Notes what a connection holds. When that is too much in all, the networks that hold the most lose it. */
export function holds(state: State, connection: Connection): void {
  const { rest, relayedBytes } = connection;
  const greedy = hold(state.unfinished, connection, relayedBytes + (rest === null ? 0 : rest.length));
  if (greedy === undefined) return;
  for (const other of state.connections) {
    if (other.heldBytes === 0 || !greedy.has(other.network())) continue;
    // A response may be under way in front of it.
    if (other.phase === "reading") refuse(state, other);
    else other.socket.destroy();
  }
}
