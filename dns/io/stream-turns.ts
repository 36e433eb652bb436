/**
 * The turns of TCP connections: connections get their messages answered in turn, so that no client waits for a busy
 * one.
 *
 *   consider() ──▶ queue ──▶ round() ──▶ turn() ──▶ consider() …
 *       └──▶ reads on, ends, or is cut
 */
import { uint16At, putUint16 } from "../wire/bytes.ts";
import {
  cut,
  finish,
  keepaliveTenthsOf,
  lengthOctets,
  smallAnswerMax,
  turnBytesMax,
  turnQueriesMax,
  type Connection,
  type Connections,
} from "./stream-connections.ts";

/** No query is longer: a name of 255 octets and an OPT record with options and padding to 512 fit many times over. */
const queryBytesMax = 4096;
/**
 * Answers that the client has not received yet. Beyond this nothing more is answered, and so nothing more is read. A
 * socket that holds more than this (Node's own high-water mark) emits "drain" when it has sent everything.
 */
const unsentBytesMax = 64 * 1024;
/** Queries and KiB of answers, over all connections, before the rest of the process gets its turn: some 2 ms. */
const roundWorkMax = 512;

/** Decides what comes next for a connection: its turn, more octets, or the end. */
export function consider(connections: Connections, connection: Connection): void {
  const { socket, pending } = connection;
  if (connection.isQueued || connection.isFinished) return;
  if (connection.isOver) {
    finish(connection);
    return;
  }
  const hasLength = pending.length >= lengthOctets;
  const length = hasLength ? uint16At(pending, 0) : 0;
  if (length > queryBytesMax) {
    cut(connections, connection);
  } else if (hasLength && pending.length >= lengthOctets + length) {
    // Read nothing more before the pending messages are answered, so that `pending` stays small.
    socket.pause();
    if (socket.writableLength <= unsentBytesMax) enqueue(connections, connection);
  } else if (connection.isEnded) {
    finish(connection);
  } else {
    socket.resume();
  }
}

function enqueue(connections: Connections, connection: Connection): void {
  connection.isQueued = true;
  connections.queue.push(connection);
  if (connections.isRoundDue) return;
  connections.isRoundDue = true;
  setImmediate(round, connections);
}

/** Gives turns to the connections in the queue, until it is empty or the rest of the process should get its turn. */
function round(connections: Connections): void {
  const { queue } = connections;
  let work = 0;
  let done = 0;
  while (done < queue.length && work < roundWorkMax) {
    const connection = queue[done++];
    if (connection === undefined) break;
    connection.isQueued = false;
    if (connection.isFinished) continue;
    work += turn(connections, connection);
    consider(connections, connection);
  }
  queue.splice(0, done);
  connections.isRoundDue = queue.length > 0;
  if (connections.isRoundDue) setImmediate(round, connections);
}

/** Answers the next whole messages of a connection. Returns their number plus the KiB of answers. */
function turn(connections: Connections, connection: Connection): number {
  const { respond, answer, small, large, open } = connections;
  const { client, pending } = connection;
  client.keepaliveTenths = keepaliveTenthsOf(connections, connection);
  let at = 0;
  let queries = 0;
  let smallEnd = 0;
  let largeEnd = 0;
  while (queries < turnQueriesMax && smallEnd + largeEnd < turnBytesMax && at + lengthOctets <= pending.length) {
    const start = at + lengthOctets;
    const end = start + uint16At(pending, at);
    // consider() handles a length that is too long.
    if (end > pending.length || end - start > queryBytesMax) break;
    queries++;
    at = end;
    const length = respond(pending.subarray(start, end), end - start, client, answer);
    // Silence (a response sent as a query) leaves the connection open: the next message may be a good one.
    if (length === 0) continue;
    if (length <= smallAnswerMax) smallEnd = append(small, smallEnd, answer, length);
    else largeEnd = append(large, largeEnd, answer, length);
  }
  const rest = pending.subarray(at);
  // A partial message may wait for long. Copy it, so that a few octets don't retain the whole chunk.
  connection.pending = rest.length > queryBytesMax ? rest : Buffer.from(rest);
  if (smallEnd + largeEnd > 0) {
    const bytes = Buffer.allocUnsafe(smallEnd + largeEnd);
    small.copy(bytes, 0, 0, smallEnd);
    large.copy(bytes, smallEnd, 0, largeEnd);
    connection.socket.write(bytes);
    connection.lastAnswerMs = connections.clock.monotonicMs();
    open.delete(connection);
    open.add(connection);
  }
  return queries + ((smallEnd + largeEnd) >> 10);
}

/** Appends the length and `answer[0..length)`; returns the area's new end. */
function append(area: Buffer, at: number, answer: Uint8Array, length: number): number {
  putUint16(area, at, length);
  area.set(answer.subarray(0, length), at + lengthOctets);
  return at + lengthOctets + length;
}
