/**
 * Sends requests to Node's server: one at a time, or everything that arrives on a connection. Requests whose end is not
 * known are sent piece by piece, since the server may refuse the rest.
 */
import { closeLingering, isLingering } from "#base/lingering-close.ts";
import { type Connection, readOn, type State } from "./connection.ts";
import { lineStates, readRequestLine } from "./request-line.ts";
import { droppedBytesMax, dropRest, holds, refuse } from "./refusing.ts";
import { openRelay, type Relay } from "./relay.ts";
import type { InLine } from "./session-turns.ts";

/** How long a client has to read its last response, while what it still sends is dropped. */
const lingerMs = 2000;
/** How much Node's parser gets at once. It calls back for each chunk of a body, and a chunk may have one byte. */
const pushedBytesMax = 2048;

/** Relays one request whose end is known. */
export function relayOne(state: State, connection: Connection, bytes: Buffer): void {
  // A connection without a remote address was reset before its request was read: nobody waits for a response.
  if (connection.socket.remoteAddress === undefined) {
    connection.socket.destroy();
    return;
  }
  if (connection.relay === null && getsInLine(state, connection, bytes, bytes.length)) return;
  sendOne(state, connection, bytes);
}

function sendOne(state: State, connection: Connection, bytes: Buffer): void {
  const { rest, isEnded } = connection;
  if (isEnded) {
    // The server has to learn of the end, because the application watches for it.
    sendAll(state, connection, rest === null ? bytes : Buffer.concat([bytes, rest]));
    return;
  }
  connection.phase = "relaying";
  const relay = relayOf(state, connection);
  connection.isWanted = false;
  relay.push(bytes);
}

/** Relays everything that arrives on the connection from now on. */
export function relayForGood(state: State, connection: Connection, bytes: Buffer | null): void {
  if (connection.relay === null && getsInLine(state, connection, bytes, null)) return;
  sendAll(state, connection, bytes);
}

function sendAll(state: State, connection: Connection, bytes: Buffer | null): void {
  // Bytes that begin no request, such as empty lines, would start no other clock of Node's server.
  if (connection.phase === "reading") {
    connection.socket.setTimeout(state.waits.idle);
    connection.socket.setBusy?.(false);
    connection.line = lineStates.before;
    if (bytes !== null && isWrongLine(state, connection, bytes)) return;
  }
  connection.phase = "relayed";
  connection.rest = bytes;
  relayOf(state, connection);
  holds(state, connection);
  readOn(connection);
  feed(state, connection);
}

/**
 * Whether the connection has to wait for its relay. Until then, it keeps all bytes.
 * @param bytes what is to be sent; what follows is in `rest`
 * @param requestBytes of the request that is sent alone; null: everything is sent
 */
function getsInLine(state: State, connection: Connection, bytes: Buffer | null, requestBytes: number | null): boolean {
  const { sessionTurns } = state;
  const one: InLine = {
    sinceMs: 0,
    begin() {
      const { rest } = connection;
      Object.assign(connection, { inLine: null, phase: "reading" } satisfies Partial<Connection>);
      if (requestBytes === null || rest === null) {
        sendAll(state, connection, rest);
        return;
      }
      connection.rest = rest.length > requestBytes ? rest.subarray(requestBytes) : null;
      holds(state, connection);
      sendOne(state, connection, rest.subarray(0, requestBytes));
    },
    refuse() {
      connection.socket.destroy();
    },
  };
  if (sessionTurns.take(connection.network, one)) return false;
  const { rest } = connection;
  connection.inLine = one;
  connection.phase = "in line";
  connection.rest = requestBytes === null || bytes === null || rest === null ? bytes : Buffer.concat([bytes, rest]);
  holds(state, connection);
  return true;
}

/** Reads on in a request line that is relayed. If it is wrong, its client is refused. */
export function isWrongLine(state: State, connection: Connection, bytes: Buffer): boolean {
  const { line, relay } = connection;
  // Node's parser may have found something else wrong before.
  if (line === lineStates.done || (relay !== null && isLingering(relay))) return false;
  connection.line = readRequestLine(line, bytes);
  if (connection.line !== lineStates.wrong) return false;
  refuse(state, connection, "line");
  return true;
}

/** Gives Node's parser the next piece when it asks for one. The parser may refuse the rest after each piece. */
export function feed(state: State, connection: Connection): void {
  const { relay, rest, phase } = connection;
  if (relay === null || relay.destroyed || phase !== "relayed" || !connection.isWanted) return;
  if (isLingering(relay)) {
    // It has got its last response. What still arrives is dropped, and no longer waits for a request to begin.
    connection.relayedBytes = 0;
    dropRest(state, connection);
    readOn(connection);
    return;
  }
  if (rest === null) {
    if (!connection.isEnded) return;
    connection.isWanted = false;
    relay.push(null);
    return;
  }
  connection.isWanted = false;
  connection.rest = rest.length > pushedBytesMax ? rest.subarray(pushedBytesMax) : null;
  const piece = rest.subarray(0, pushedBytesMax);
  // Until the server begins a request that it finds in these bytes, they count as waiting.
  connection.relayedBytes += piece.length;
  holds(state, connection);
  if (relay.destroyed || connection.socket.destroyed) return;
  relay.push(piece);
  readOn(connection);
}

function relayOf(state: State, connection: Connection): Relay {
  if (connection.relay !== null) return connection.relay;
  const { socket } = connection;
  const relay = openRelay(socket, {
    wanted() {
      connection.isWanted = true;
      feed(state, connection);
    },
    destroyed() {
      // Otherwise a response was cut off, or the connection was idle.
      if (relay.writableFinished && connection.phase !== "refused") dropRest(state, connection);
      if (connection.phase === "refused") closeLingering(socket, lingerMs, droppedBytesMax);
      else socket.destroy();
    },
  });
  connection.relay = relay;
  state.byRelay.set(relay, connection);
  state.serve(relay);
  return relay;
}
