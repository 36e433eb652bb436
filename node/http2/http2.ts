/**
 * HTTP/2 (RFC 9113) for clients, on node:http2. It takes connections that have negotiated `h2`, and answers as the
 * front does: hits at once, everything else by Node's HTTP/1.1 server, to which each stream is a connection.
 *
 * A connection starts one request per turn of the event loop, however many streams it opens at once. The number of
 * streams is limited, and so is everything that serves no request (floods.ts).
 */
import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { clientNetworkOf } from "#base/client-network.ts";
import { hasRoom, type Member } from "../front/crowd.ts";
import { dateField } from "../front/date-field.ts";
import { answer } from "./answering.ts";
import type { Connection, Http2Parts, Http2Socket, State, Waiting } from "./connection.ts";
import { wasReset } from "./cut.ts";
import { chargeFrames, chargeReset, createNetworkResets, framesAllowance, resetsAllowance } from "./floods.ts";
import { sessionOptions } from "./session-options.ts";

/** How long a client whose streams were all cut may leave that unread. */
const stuckMs = 30_000;

export interface Http2 {
  /** Takes a connection that has negotiated `h2`, from its first byte. */
  readonly accept: (socket: Http2Socket) => void;
  /** Closes connections that have been silent for too long. */
  readonly sweep: () => void;
  /** Closes connections whose frames serve no request. To be called every second. */
  readonly calm: () => void;
  /** From now on, streams in progress end, and no new ones begin. */
  readonly drain: () => void;
  readonly closeAll: () => void;
}

export function openHttp2(parts: Http2Parts): Http2 {
  const state: State = {
    ...parts,
    connections: new Set(),
    networkResets: createNetworkResets(),
    date: dateField(parts.clock),
    isDraining: false,
  };
  state.crowd.groups.push({ size: () => state.connections.size, members: () => membersOf(state) });
  return {
    accept(socket) {
      accept(state, socket);
    },
    sweep() {
      sweep(state);
    },
    calm() {
      for (const connection of state.connections) chargeFrames(state, connection);
    },
    drain() {
      state.isDraining = true;
      for (const { session } of state.connections) session.close();
    },
    closeAll() {
      for (const connection of state.connections) destroy(connection);
    },
  };
}

function membersOf({ connections }: State): Member[] {
  const members: Member[] = [];
  for (const connection of connections) {
    const { network, streams } = connection;
    const close = (): void => {
      connections.delete(connection);
      destroy(connection);
    };
    members.push({ network, is: streams.size === 0 ? "idle" : isStalled(connection) ? "stalled" : "busy", close });
  }
  return members;
}

/** Whether the client does not read one of its responses. */
function isStalled({ streams }: Connection): boolean {
  for (const { writableNeedDrain } of streams) if (writableNeedDrain) return true;
  return false;
}

function destroy({ session, socket }: Connection): void {
  session.destroy();
  socket.destroy();
}

function accept(state: State, socket: Http2Socket): void {
  socket.on("error", () => undefined); // followed by "close"
  const { remoteAddress } = socket;
  if (!hasRoom(state.crowd, () => clientNetworkOf(remoteAddress), state.clock.monotonicMs()) || socket.destroyed) {
    socket.destroy();
    return;
  }
  const connection = open(state, socket, performServerHandshake(socket, sessionOptions));
  const { session } = connection;
  state.connections.add(connection);
  state.counts.connections += 1;
  state.counts.open += 1;
  session.on("error", () => undefined); // followed by "close"
  session.on("stream", (stream: ServerHttp2Stream, _fields: object, _flags: number, list: string[]) => {
    arrived(state, connection, { stream, list, hasBody: !stream.endAfterHeaders });
  });
  // Whoever can't send WINDOW_UPDATE any more has left.
  socket.once("end", () => {
    destroy(connection);
  });
  session.once("close", () => {
    state.connections.delete(connection);
    state.counts.open -= 1;
    connection.waiting.length = 0;
    socket.destroySoon();
  });
  if (state.isDraining) session.close();
}

function open(state: State, socket: Http2Socket, session: ServerHttp2Session): Connection {
  const { remoteAddress } = socket;
  const nowMs = state.clock.monotonicMs();
  let network: string | undefined;
  return {
    socket,
    session,
    remoteAddress,
    encrypted: socket.encrypted === true,
    network: () => (network ??= clientNetworkOf(remoteAddress)),
    streams: new Set(),
    waiting: [],
    virtuals: new Set(),
    hasBegun: false,
    hasAnswered: false,
    sinceMs: nowMs,
    stuckSinceMs: null,
    resets: resetsAllowance(nowMs),
    frames: framesAllowance(nowMs),
    requestBytes: 0,
    charged: { readBytes: 0, writtenBytes: 0 },
  };
}

/** The head of a request has arrived. */
function arrived(state: State, connection: Connection, request: Waiting): void {
  const { stream } = request;
  connection.requestBytes += sizeOf(request.list);
  stream.on("error", () => undefined); // followed by "close"
  if (stream.destroyed) {
    chargeReset(state, connection);
    return;
  }
  connection.streams.add(stream);
  state.counts.streams += 1;
  stream.once("close", () => {
    closed(state, connection, stream);
  });
  if (connection.hasBegun) connection.waiting.push(request);
  else begin(state, connection, request);
}

function closed(state: State, connection: Connection, stream: ServerHttp2Stream): void {
  connection.streams.delete(stream);
  state.counts.streams -= 1;
  connection.hasAnswered = true;
  connection.sinceMs = state.clock.monotonicMs();
  if (wasReset(stream)) chargeReset(state, connection);
  if (state.isLeaving()) connection.session.close();
}

/** Begins one request, and the next one that waits in another turn. */
function begin(state: State, connection: Connection, request: Waiting): void {
  connection.hasBegun = true;
  setImmediate(next, state, connection);
  if (!request.stream.destroyed && !request.stream.closed) answer(state, connection, request);
}

function next(state: State, connection: Connection): void {
  connection.hasBegun = false;
  let request = connection.waiting.shift();
  while (request?.stream.destroyed === true) request = connection.waiting.shift();
  if (request !== undefined) begin(state, connection, request);
}

function sweep(state: State): void {
  const nowMs = state.clock.monotonicMs();
  const { headers, idle } = state.waits;
  for (const connection of state.connections) {
    for (const virtual of connection.virtuals) virtual.sweep(nowMs);
    const { streams, sinceMs, hasAnswered, session } = connection;
    if (streams.size > 0) {
      sweepStreams(connection, nowMs);
      continue;
    }
    connection.stuckSinceMs = null;
    if (nowMs - sinceMs < (hasAnswered ? idle : headers)) continue;
    if (session.closed) destroy(connection);
    else session.close();
  }
}

/** Streams that were cut stay while their RST_STREAM can't be sent, because the client reads nothing. */
function sweepStreams(connection: Connection, nowMs: number): void {
  for (const { closed: isClosed } of connection.streams) {
    if (isClosed) continue;
    connection.stuckSinceMs = null;
    return;
  }
  connection.stuckSinceMs ??= nowMs;
  if (nowMs - connection.stuckSinceMs >= stuckMs) destroy(connection);
}

/** As RFC 9113 §6.5.2 counts a field list. */
function sizeOf(list: readonly string[]): number {
  let bytes = 0;
  for (const text of list) bytes += text.length + 16;
  return bytes;
}
