/**
 * What stands between the connections of clients and Node's HTTP server. It answers hits itself, and relays everything
 * else to the server, whole and unchanged.
 *
 *            ┌────────────────── answered ◀───────────────┐
 *            ▼                                            │
 *   bytes ─▶ reading ── a whole request ── a hit? ────────┤ yes, and the system took the response
 *            ▲  │                           │             └ yes, but it takes time ─▶ answering ─▶ reading
 *            │  │                           └ no ─▶ relaying (this request alone) ─── answered ──┐
 *            │  │ odd bytes (request-head.ts)                                                    │
 *            │  └───────────────▶ relayed, to the end of the connection                          │
 *            └───────────────────────────────────────────────────────────────────────────────────┘
 *
 * A connection has one response in progress, and one request per turn of the event loop, however many it sends at once:
 * the bytes of the others wait, and past a limit the connection is not read.
 */
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import { type CommonFields, joinedBytesMax, type LaneSink, openLaneSink } from "./lane-sink.ts";
import { openRelay, type Relay } from "./relay.ts";
import { newRequestHead, readRequestHead, type RequestHead } from "./request-head.ts";

/** What of a request the front hands to who decides; the bytes are the request's own and are never written again. */
export interface FrontRequest {
  readonly bytes: Buffer;
  /** Of this request until the answer returns. */
  readonly head: RequestHead;
  readonly socket: Socket;
  readonly sink: LaneSink;
}

/**
 * Answers a request that the front has read, or leaves it.
 * "sent": the system has the whole response. A promise: of whether it was answered, "relay" when nothing was sent. It
 * never rejects.
 */
export type Answer = (request: FrontRequest) => "relay" | "sent" | Promise<"relay" | "sent">;

export interface FrontParts {
  readonly answer: Answer;
  /** Gives Node's server a connection. */
  readonly serve: (relay: Relay) => void;
  /** Answers a beginning of a request whose rest did not come in time, and closes the connection. */
  readonly tooLate: (socket: Socket) => void;
  readonly waits: { readonly headers: number; readonly idle: number };
  readonly clock: Clock;
}

export interface Front {
  readonly accept: (socket: Socket) => void;
  /** Node's server has sent all responses of this relay. */
  readonly idle: (relay: object) => void;
  /** Closes connections that have been silent for too long. */
  readonly sweep: () => void;
  /** From now on, connections are closed as soon as they are idle. @param isAnswering of a relay */
  readonly drain: (isAnswering: (relay: Relay) => boolean) => void;
  readonly closeAll: () => void;
}

/** Bytes of further requests that wait behind one that is being answered. */
const waitingBytesMax = 64 * 1024;

/** A head in more pieces is left to Node's parser, which reads each piece once; here, all are read again each time. */
const piecesMax = 16;

type Phase = "reading" | "waiting" | "answering" | "relaying" | "relayed";

interface Connection {
  readonly socket: Socket;
  readonly sink: LaneSink;
  phase: Phase;
  /** Bytes that were not answered yet: a beginning of a request, or requests that wait. */
  rest: Buffer | null;
  relay: Relay | null;
  /** Pieces in which the beginning of a request has come. */
  pieces: number;
  /** When the last response ended, or the first byte of a request came that is not whole. */
  sinceMs: number;
  hasAnswered: boolean;
  /** The client sends nothing more. */
  isEnded: boolean;
}

interface State extends FrontParts {
  readonly connections: Set<Connection>;
  readonly byRelay: WeakMap<object, Connection>;
  readonly head: RequestHead;
  readonly common: CommonFields;
  isDraining: boolean;
}

export function openFront(parts: FrontParts): Front {
  const state: State = {
    ...parts,
    connections: new Set(),
    byRelay: new WeakMap(),
    head: newRequestHead(),
    common: {
      date: dateOf(parts.clock),
      keepAliveSeconds: Math.floor(parts.waits.idle / 1000),
      joined: Buffer.allocUnsafeSlow(joinedBytesMax),
    },
    isDraining: false,
  };
  return {
    accept(socket) {
      accept(state, socket);
    },
    idle(relay) {
      const connection = state.byRelay.get(relay);
      if (connection?.phase === "relaying") {
        connection.socket.setTimeout(0); // the server's own, for an idle connection
        answered(state, connection);
      } else if (state.isDraining) connection?.socket.destroySoon();
    },
    sweep() {
      sweep(state);
    },
    drain(isAnswering) {
      state.isDraining = true;
      for (const { phase, relay, socket } of state.connections) {
        const isBusy = phase === "relayed" ? relay !== null && isAnswering(relay) : phase !== "reading";
        if (!isBusy) socket.destroySoon();
      }
    },
    closeAll() {
      for (const { socket } of state.connections) socket.destroy();
    },
  };
}

function accept(state: State, socket: Socket): void {
  const connection: Connection = {
    socket,
    sink: openLaneSink(socket, state.common),
    phase: "reading",
    rest: null,
    relay: null,
    pieces: 0,
    sinceMs: state.clock.monotonicMs(),
    hasAnswered: false,
    isEnded: false,
  };
  state.connections.add(connection);
  socket.on("data", (chunk: Buffer) => {
    arrived(state, connection, chunk);
  });
  socket.on("end", () => {
    ended(state, connection);
  });
  socket.on("error", () => undefined); // followed by "close"
  socket.on("close", () => {
    state.connections.delete(connection);
  });
}

function arrived(state: State, connection: Connection, chunk: Buffer): void {
  const { phase, rest, socket } = connection;
  if (phase === "relayed") {
    pushTo(connection, chunk);
    return;
  }
  if (phase === "reading" && rest === null) {
    read(state, connection, chunk);
    return;
  }
  const bytes = rest === null ? chunk : Buffer.concat([rest, chunk]);
  if (phase === "reading") {
    read(state, connection, bytes);
    return;
  }
  connection.rest = bytes;
  if (bytes.length > waitingBytesMax) socket.pause();
}

/** Looks for one request at the beginning of the bytes. */
function read(state: State, connection: Connection, bytes: Buffer): void {
  const { head } = state;
  switch (readRequestHead(bytes, 0, bytes.length, head)) {
    case "partial":
      if (connection.pieces === 0) connection.sinceMs = state.clock.monotonicMs();
      connection.pieces += 1;
      connection.rest = bytes;
      if (connection.pieces > piecesMax) relayForGood(state, connection, bytes);
      return;
    case "odd":
      relayForGood(state, connection, bytes);
      return;
    case "whole":
      connection.pieces = 0;
      connection.rest = bytes.length === head.lengthBytes ? null : bytes.subarray(head.lengthBytes);
      answerOne(state, connection, bytes);
  }
}

function answerOne(state: State, connection: Connection, bytes: Buffer): void {
  const { head } = state;
  const { lengthBytes } = head;
  if (!head.isPlain) {
    relayOne(state, connection, bytes.subarray(0, lengthBytes));
    return;
  }
  const { socket, sink } = connection;
  sink.begin();
  const answer = state.answer({ bytes, head, socket, sink });
  if (answer === "sent") {
    answered(state, connection);
    return;
  }
  if (answer === "relay") {
    relayOne(state, connection, bytes.subarray(0, lengthBytes));
    return;
  }
  connection.phase = "answering";
  void finish(state, connection, answer, bytes.subarray(0, lengthBytes));
}

async function finish(
  state: State,
  connection: Connection,
  answer: Promise<"relay" | "sent">,
  request: Buffer,
): Promise<void> {
  const later = await answer;
  if (connection.socket.destroyed) return;
  if (later === "sent") answered(state, connection);
  else relayOne(state, connection, request);
}

/** Nothing is in progress on the connection any more: what waits comes next, in another turn. */
function answered(state: State, connection: Connection): void {
  const { socket, relay } = connection;
  if (socket.destroyed || socket.writableEnded || relay?.writableEnded === true) return;
  connection.hasAnswered = true;
  connection.sinceMs = state.clock.monotonicMs();
  if (connection.rest !== null) {
    connection.phase = "waiting";
    setImmediate(next, state, connection);
    return;
  }
  connection.phase = "reading";
  if (connection.isEnded || state.isDraining) socket.destroySoon();
  else if (socket.isPaused()) socket.resume();
}

function next(state: State, connection: Connection): void {
  const { socket, rest, phase } = connection;
  if (socket.destroyed || phase !== "waiting" || rest === null) return;
  connection.phase = "reading";
  connection.rest = null;
  if (socket.isPaused()) socket.resume();
  read(state, connection, rest);
  // A beginning of a request that will not be continued.
  if (connection.isEnded && connection.phase === "reading" && connection.rest !== null) ended(state, connection);
}

function ended(state: State, connection: Connection): void {
  connection.isEnded = true;
  const { phase, rest, socket, relay } = connection;
  switch (phase) {
    case "answering":
    case "waiting":
      return; // it gets its response, and what waits is read then
    case "reading":
      if (rest === null) socket.destroySoon();
      else relayForGood(state, connection, rest);
      return;
    case "relaying":
      relayForGood(state, connection, rest);
      return;
    case "relayed":
      relay?.push(null);
  }
}

/** One request, whose end is known. */
function relayOne(state: State, connection: Connection, bytes: Buffer): void {
  // The system knows no peer of a connection that was reset before its request was read: nobody waits for a response.
  if (connection.socket.remoteAddress === undefined) {
    connection.socket.destroy();
    return;
  }
  connection.phase = "relaying";
  relayOf(state, connection).push(bytes);
}

/** All that comes on the connection from now on. */
function relayForGood(state: State, connection: Connection, bytes: Buffer | null): void {
  connection.phase = "relayed";
  connection.rest = null;
  relayOf(state, connection);
  if (connection.socket.isPaused()) connection.socket.resume();
  if (bytes !== null) pushTo(connection, bytes);
  if (connection.isEnded) connection.relay?.push(null);
}

function pushTo({ relay, socket }: Connection, bytes: Buffer): void {
  if (relay === null || relay.destroyed || relay.readableEnded) return;
  if (!relay.push(bytes)) socket.pause();
}

function relayOf(state: State, connection: Connection): Relay {
  if (connection.relay !== null) return connection.relay;
  const relay = openRelay(connection.socket);
  connection.relay = relay;
  state.byRelay.set(relay, connection);
  state.serve(relay);
  return relay;
}

function sweep(state: State): void {
  const nowMs = state.clock.monotonicMs();
  const { headers, idle } = state.waits;
  for (const connection of state.connections) {
    const { phase, rest, sinceMs, hasAnswered, socket } = connection;
    if (phase !== "reading") continue;
    const silentMs = nowMs - sinceMs;
    if (rest !== null && silentMs >= headers) {
      connection.phase = "relayed"; // to nobody: what still comes is dropped
      state.tooLate(socket);
    } else if (rest === null && silentMs >= (hasAnswered ? idle : headers)) socket.destroySoon();
  }
}

function dateOf(clock: Clock): () => string {
  let second = -1;
  let date = "";
  return () => {
    const now = Math.floor(clock.wallMs() / 1000);
    if (now !== second) {
      second = now;
      date = new Date(now * 1000).toUTCString();
    }
    return date;
  };
}
