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
import { clientNetworkOf } from "#base/client-network.ts";
import { closeLingering } from "#base/lingering-close.ts";
import { type CommonFields, joinedBytesMax, type LaneSink, openLaneSink } from "./lane-sink.ts";
import { openRelay, type Relay } from "./relay.ts";
import { newRequestHead, readRequestHead, type RequestHead } from "./request-head.ts";
import { createUnfinished, hold, type Holder, type Unfinished } from "./unfinished.ts";

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
 * "sent": the system has the whole response. A promise: of whether it was answered, "relay" when nothing was sent.
 * When it fails, the connection is cut: a part of the response may have been sent.
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
  /** Node's server has read the head of a request of this relay. */
  readonly begun: (relay: object) => void;
  /** Node's server has sent all responses of this relay. */
  readonly idle: (relay: object) => void;
  /** Drops what still comes from a relay's client: the connection closes after its responses. */
  readonly refuse: (relay: object) => void;
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

/** What a client that is refused still sends is read and dropped up to here, that it may read its last response. */
const droppedBytesMax = 64 * 1024;
/** The time that it has for that. */
const lingerMs = 2000;
/** What Node's parser gets at once. It calls back for each chunk of a body, and a chunk may have one byte. */
const pushedBytesMax = 2048;

/** "refused": it gets its last response, and what still comes is dropped. */
type Phase = "reading" | "waiting" | "answering" | "relaying" | "relayed" | "refused";

interface Connection extends Holder {
  readonly socket: Socket;
  readonly sink: LaneSink;
  phase: Phase;
  /** Bytes that were not answered yet: a beginning of a request, or requests that wait. */
  rest: Buffer | null;
  relay: Relay | null;
  /** Whether Node's parser has asked for more. */
  isWanted: boolean;
  /** Pieces in which the beginning of a request has come. */
  pieces: number;
  /** Of what came after the client was refused. */
  droppedBytes: number;
  /** When the last response ended, or the first byte of a request came that is not whole. */
  sinceMs: number;
  hasAnswered: boolean;
  /** The client sends nothing more. */
  isEnded: boolean;
}

interface State extends FrontParts {
  readonly connections: Set<Connection>;
  readonly byRelay: WeakMap<object, Connection>;
  readonly unfinished: Unfinished;
  readonly head: RequestHead;
  readonly common: CommonFields;
  isDraining: boolean;
}

export function openFront(parts: FrontParts): Front {
  const state: State = {
    ...parts,
    connections: new Set(),
    byRelay: new WeakMap(),
    unfinished: createUnfinished(),
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
    begun(relay) {
      const connection = state.byRelay.get(relay);
      if (connection !== undefined) holds(state, connection, 0);
    },
    idle(relay) {
      const connection = state.byRelay.get(relay);
      if (connection?.phase === "relaying") {
        connection.socket.setTimeout(0); // the server's own, for an idle connection
        answered(state, connection);
      } else if (state.isDraining) connection?.socket.destroySoon();
    },
    refuse(relay) {
      const connection = state.byRelay.get(relay);
      if (connection === undefined) return;
      connection.phase = "refused";
      connection.rest = null;
      connection.droppedBytes = 0;
    },
    sweep() {
      sweep(state);
    },
    drain(isAnswering) {
      state.isDraining = true;
      for (const { phase, relay, socket } of state.connections) {
        if (!isBusy(phase, relay, isAnswering)) socket.destroySoon();
      }
    },
    closeAll() {
      for (const { socket } of state.connections) socket.destroy();
    },
  };
}

function isBusy(phase: Phase, relay: Relay | null, isAnswering: (relay: Relay) => boolean): boolean {
  if (phase === "relayed" || phase === "refused") return relay !== null && isAnswering(relay);
  return phase !== "reading";
}

function accept(state: State, socket: Socket): void {
  const { remoteAddress } = socket;
  let network: string | undefined;
  const connection: Connection = {
    socket,
    network: () => (network ??= clientNetworkOf(remoteAddress)),
    heldBytes: 0,
    sink: openLaneSink(socket, state.common),
    phase: "reading",
    rest: null,
    relay: null,
    isWanted: false,
    pieces: 0,
    droppedBytes: 0,
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
    holds(state, connection, 0);
    state.connections.delete(connection);
  });
}

function arrived(state: State, connection: Connection, chunk: Buffer): void {
  const { phase, rest, socket } = connection;
  if (phase === "refused") {
    connection.droppedBytes += chunk.length;
    if (connection.droppedBytes > droppedBytesMax) socket.pause();
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
  feed(state, connection);
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
      else holds(state, connection, bytes.length);
      return;
    case "odd":
      relayForGood(state, connection, bytes);
      return;
    case "whole":
      connection.pieces = 0;
      holds(state, connection, 0);
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
  const answeredLater = (later: "relay" | "sent"): void => {
    if (socket.destroyed) return;
    if (later === "sent") answered(state, connection);
    else relayOne(state, connection, bytes.subarray(0, lengthBytes));
  };
  answer.then(answeredLater, () => socket.destroy());
}

/** Unless enough waits already. */
function readOn({ rest, socket }: Connection): void {
  if (rest !== null && rest.length > waitingBytesMax) return;
  if (socket.isPaused()) socket.resume();
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
  read(state, connection, rest);
  readOn(connection);
  // A beginning of a request that will not be continued.
  if (connection.phase !== "reading" || connection.rest === null) return;
  if (connection.isEnded) ended(state, connection);
  else if (state.isDraining) socket.destroySoon();
}

function ended(state: State, connection: Connection): void {
  connection.isEnded = true;
  const { phase, rest, socket } = connection;
  switch (phase) {
    case "refused":
      return;
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
      feed(state, connection);
  }
}

/** One request, whose end is known. */
function relayOne(state: State, connection: Connection, bytes: Buffer): void {
  // The system knows no peer of a connection that was reset before its request was read: nobody waits for a response.
  if (connection.socket.remoteAddress === undefined) {
    connection.socket.destroy();
    return;
  }
  const { rest, isEnded } = connection;
  if (isEnded) {
    // The server has to know: the application watches for it.
    relayForGood(state, connection, rest === null ? bytes : Buffer.concat([bytes, rest]));
    return;
  }
  connection.phase = "relaying";
  const relay = relayOf(state, connection);
  connection.isWanted = false;
  relay.push(bytes);
}

/** All that comes on the connection from now on. */
function relayForGood(state: State, connection: Connection, bytes: Buffer | null): void {
  connection.phase = "relayed";
  connection.rest = bytes;
  relayOf(state, connection);
  readOn(connection);
  feed(state, connection);
}

/** Gives Node's parser the next piece, when it wants one. It may refuse the rest after each piece. */
function feed(state: State, connection: Connection): void {
  const { relay, rest, phase } = connection;
  if (relay === null || relay.destroyed || phase !== "relayed" || !connection.isWanted) return;
  if (rest === null) {
    if (!connection.isEnded) return;
    connection.isWanted = false;
    relay.push(null);
    return;
  }
  connection.isWanted = false;
  connection.rest = rest.length > pushedBytesMax ? rest.subarray(pushedBytesMax) : null;
  const piece = rest.subarray(0, pushedBytesMax);
  // Unless the server finds a request in them, they are a part of one.
  holds(state, connection, connection.heldBytes + piece.length);
  if (relay.destroyed || connection.socket.destroyed) return;
  relay.push(piece);
  readOn(connection);
}

/** Notes what of a request is held. When that is too much in all, the networks that hold the most lose it. */
function holds(state: State, connection: Connection, bytes: number): void {
  const greedy = hold(state.unfinished, connection, bytes);
  if (greedy === undefined) return;
  for (const other of state.connections) {
    if (other.heldBytes === 0 || !greedy.has(other.network())) continue;
    // What Node's server has may stand behind a response that is under way.
    if (other.phase === "reading") refuse(state, other);
    else other.socket.destroy();
  }
}

function refuse(state: State, connection: Connection): void {
  connection.phase = "refused"; // what still comes is dropped
  connection.rest = null;
  connection.droppedBytes = 0;
  holds(state, connection, 0);
  state.tooLate(connection.socket);
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
      if (connection.phase === "refused") closeLingering(socket, lingerMs, droppedBytesMax);
      else socket.destroy();
    },
  });
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
      refuse(state, connection);
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
