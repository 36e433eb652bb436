/**
 * Reads requests from the bytes that arrive on a connection, and answers them one after another, each in its own turn
 * of the event loop.
 */
import { type Connection, readOn, type State, waitingBytesMax } from "./connection.ts";
import { drop, holds } from "./refusing.ts";
import { feed, isWrongLine, relayForGood, relayOne } from "./relaying.ts";
import { readRequestHead } from "./request-head.ts";

/**
 * A head in more pieces is left to Node's parser, which reads each piece once; here, all of it is read again each time.
 */
const piecesMax = 16;
/** A rest that is a smaller part of the memory that it keeps is copied, or it would be counted for too little. */
const copiedBelow = 1 / 4;

export function arrived(state: State, connection: Connection, chunk: Buffer): void {
  const { phase, rest, socket } = connection;
  if (phase === "refused") {
    drop(connection, chunk);
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
  if (phase === "relayed" && isWrongLine(state, connection, chunk)) return;
  connection.rest = bytes;
  if (bytes.length > waitingBytesMax) socket.pause();
  holds(state, connection);
  if (!socket.destroyed) feed(state, connection);
}

/** Looks for one request at the beginning of the bytes. */
function read(state: State, connection: Connection, bytes: Buffer): void {
  const { head } = state;
  switch (readRequestHead(bytes, 0, bytes.length, head)) {
    case "partial":
      if (connection.pieces === 0) connection.sinceMs = state.clock.monotonicMs();
      connection.pieces += 1;
      connection.rest = bytes;
      connection.socket.setBusy?.(false);
      if (connection.pieces > piecesMax) relayForGood(state, connection, bytes);
      else holds(state, connection);
      return;
    case "odd":
      relayForGood(state, connection, bytes);
      return;
    case "whole":
      connection.pieces = 0;
      connection.socket.setBusy?.(true);
      connection.rest = restOf(bytes, head.lengthBytes);
      holds(state, connection);
      if (connection.phase === "reading") answerOne(state, connection, bytes);
  }
}

/** What follows a request. */
function restOf(bytes: Buffer, start: number): Buffer | null {
  if (bytes.length === start) return null;
  const rest = bytes.subarray(start);
  return rest.length < rest.buffer.byteLength * copiedBelow ? Buffer.from(rest) : rest;
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
  head.isSecure = connection.isSecure;
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

/** Nothing is in progress on the connection any more: the next waiting request starts in another turn. */
export function answered(state: State, connection: Connection): void {
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
  if (connection.isEnded || state.isDraining) {
    socket.destroySoon();
    return;
  }
  if (socket.isPaused()) socket.resume();
  socket.offerBack?.();
}

function next(state: State, connection: Connection): void {
  const { socket, rest, phase } = connection;
  if (socket.destroyed || phase !== "waiting" || rest === null) return;
  connection.phase = "reading";
  connection.rest = null;
  read(state, connection, rest);
  readOn(connection);
  // The beginning of a request that will not be continued.
  if (connection.phase !== "reading" || connection.rest === null) return;
  if (connection.isEnded) ended(state, connection);
  else if (state.isDraining) socket.destroySoon();
}

/** The client has closed its sending side. */
export function ended(state: State, connection: Connection): void {
  connection.isEnded = true;
  const { phase, rest, socket } = connection;
  switch (phase) {
    case "refused":
      return;
    case "answering":
    case "waiting":
    case "in line":
      return; // the client gets its response; then the waiting bytes are read
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
