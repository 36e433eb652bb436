/**
 * Answers the request of a stream: from a cache through a sink, or by Node's server through a virtual connection.
 *
 * Nothing here needs the body of a request, so bodies are not read: the client may send as much as its window allows,
 * and the stream is closed with NO_ERROR after the response (RFC 9113 §8.1).
 */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { InLine } from "../front/session-turns.ts";
import { beginResponse } from "./begin-response.ts";
import type { Connection, State, Waiting } from "./connection.ts";
import { cut } from "./cut.ts";
import { headOf, type Http2Request, plainOf, readRequest } from "./request-fields.ts";
import { createResponseReader } from "./response-reader.ts";
import { streamSink } from "./stream-sink.ts";
import { openVirtual } from "./virtual-connection.ts";

/** A request whose turn it is. */
export function answer(state: State, connection: Connection, { stream, list, hasBody }: Waiting): void {
  const request = readRequest(list, hasBody);
  if (request.outcome === "request") {
    answerRequest(state, connection, stream, request);
    return;
  }
  state.counts.malformed += 1;
  stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
}

function answerRequest(state: State, connection: Connection, stream: ServerHttp2Stream, request: Http2Request): void {
  const relayIt = (): void => {
    relayInTurn(state, connection, stream, request);
  };
  const plain = plainOf(request);
  if (plain === undefined) {
    relayIt();
    return;
  }
  const { remoteAddress, encrypted } = connection;
  const answered = state.answer({ plain, remoteAddress, encrypted, sink: streamSink(stream, state.date) });
  if (answered === "relay") relayIt();
  if (!(answered instanceof Promise)) return;
  const later = (how: "relay" | "sent"): void => {
    if (how === "relay" && !stream.closed) relayIt();
  };
  answered.then(later, () => {
    cut(stream);
  });
}

/** Lets Node's server answer, as soon as it is this stream's turn. */
function relayInTurn(state: State, connection: Connection, stream: ServerHttp2Stream, request: Http2Request): void {
  const { sessionTurns } = state;
  const one: InLine = {
    sinceMs: 0,
    begin() {
      relay(state, connection, stream, request);
    },
    refuse() {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
    },
  };
  if (sessionTurns.take(connection.network, one)) one.begin();
  else stream.once("close", () => sessionTurns.leave(connection.network(), one));
}

/** Lets Node's server answer. */
function relay(state: State, connection: Connection, stream: ServerHttp2Stream, request: Http2Request): void {
  // A connection without a remote address was reset before its request was read: nobody waits for a response.
  if (connection.remoteAddress === undefined) {
    stream.close(constants.NGHTTP2_CANCEL);
    return;
  }
  const response = openResponse(stream);
  response.reader.begin(request.method === "HEAD");
  const cutIncomplete = (): void => {
    if (!response.isComplete()) cut(stream);
  };
  const virtual = openVirtual(connection, state.clock.monotonicMs, {
    written(bytes, done) {
      if (response.isComplete()) {
        done(); // the server has nothing to add
        return;
      }
      if (response.read(bytes, done) !== undefined) {
        cut(stream);
        virtual.connection.destroy();
      }
    },
    ended() {
      response.reader.close();
      cutIncomplete();
    },
    closed() {
      connection.virtuals.delete(virtual);
      cutIncomplete();
    },
  });
  connection.virtuals.add(virtual);
  stream.once("close", () => virtual.connection.destroy());
  state.serve(virtual.connection);
  virtual.connection.push(Buffer.from(headOf(request, true), "latin1"));
}

interface Response {
  readonly reader: ReturnType<typeof createResponseReader>;
  /**
   * @param done called when the client's connection has taken these bytes
   * @returns why they are no response
   */
  readonly read: (bytes: Buffer, done: () => void) => string | undefined;
  /** Whether the stream has the whole response. */
  readonly isComplete: () => boolean;
}

/** Sends a response of HTTP/1.1 on a stream. Trailers are left out: nothing that is served has any. */
function openResponse(stream: ServerHttp2Stream): Response {
  let head: string[] | null = null;
  let isComplete = false;
  let untaken = 0;
  let whenTaken: (() => void) | undefined;
  const taken = (): void => {
    untaken -= 1;
    if (untaken > 0) return;
    const done = whenTaken;
    whenTaken = undefined;
    done?.();
  };
  const respond = (endStream: boolean): void => {
    const fields = head;
    head = null;
    if (fields !== null && !stream.destroyed && !stream.closed) beginResponse(stream, fields, endStream);
  };
  const reader = createResponseReader({
    interim(status, fields) {
      if (!stream.closed) stream.additionalHeaders(interimOf(status, fields));
    },
    head(status, fields) {
      head = [":status", String(status), ...fields];
    },
    body(bytes) {
      respond(false);
      if (stream.closed || stream.destroyed) return;
      untaken += 1;
      stream.write(bytes, taken);
    },
    trailers: () => undefined,
    end() {
      isComplete = true;
      if (head !== null) respond(true);
      else if (!stream.destroyed) stream.end();
    },
  });
  return {
    reader,
    read(bytes, done) {
      try {
        const reason = reader.read(bytes);
        if (reason !== undefined) return reason;
        respond(false);
      } catch (error) {
        return String(error); // node:http2 can't send a status above 599, for example
      }
      if (untaken === 0) done();
      else whenTaken = done;
      return undefined;
    },
    isComplete: () => isComplete,
  };
}

/** @returns all fields of a name as one list, since node:http2 takes no pairs here */
function interimOf(status: number, fields: readonly string[]): OutgoingHttpHeaders {
  const named: Record<string, string[]> = {};
  for (let index = 0; index < fields.length; index += 2) {
    const values = (named[fields[index] ?? ""] ??= []);
    values.push(fields[index + 1] ?? "");
  }
  return { ":status": status, ...named };
}
