/**
 * What HTTP requires of a server for request bodies that it reads, or decides not to read.
 *
 * Early refusals: if the connection were closed at once, a client that is still sending would see a reset instead of
 * the response. A short rest of its body is read and dropped, and the connection is kept for the next request. A long
 * one, one of unknown length, and one of a client without a valid token are not read at all: the connection is closed
 * after the response, and what arrives meanwhile is dropped unparsed (base/lingering-close.ts).
 * `Expect: 100-continue` (RFC 9110 §10.1.1): the client gets 100 only after its header section was accepted.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { App } from "./app-type.ts";
import { isRestRead } from "./server.ts";

/** The deadline for dropping a body on a connection that is kept. */
const droppingMsMax = 30_000;

/** The deadline of a JSON or YAML body; uploads have their own limits. */
const smallBodyTimeoutMs = 30_000;

const waitsForContinue = new WeakSet<IncomingMessage>();

export function watchBodies(app: App, clock: Clock): void {
  const server: Server = app.server;
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    waitsForContinue.add(request);
    server.emit("request", request, response);
  });
  app.addHook("preParsing", async (request, reply, payload) => {
    const hasBody = request.method !== "GET" && request.method !== "HEAD" && !request.raw.complete;
    if (waitsForContinue.has(request.raw) && !request.raw.complete) {
      if (hasBody && !request.is404) {
        waitsForContinue.delete(request.raw);
        reply.raw.writeContinue();
      } else void reply.header("connection", "close"); // nobody reads this body, which may come or not
    }
    if (request.routeOptions.config.rawRequest !== undefined || !hasBody) return payload;
    const body = payload.pipe(new PassThrough());
    const cancel = clock.after(smallBodyTimeoutMs, () => {
      payload.unpipe(body);
      body.destroy(new NearcastError("REQUEST_TIMEOUT", `the body did not arrive within ${smallBodyTimeoutMs} ms`));
    });
    // The client disconnected: nobody needs an answer, but the reader of the body must stop waiting.
    request.raw.once("error", (error) => body.destroy(error));
    // After an early refusal nobody reads the body, and an unhandled error would end the process.
    body.on("error", () => undefined);
    reply.raw.once("close", cancel);
    return body;
  });
}

/** Call this before sending a refusal. */
export function letBodyRunOut(request: IncomingMessage, response: ServerResponse): void {
  if (request.readableEnded || request.destroyed) return;
  if (request.complete) {
    // The whole body is here, but unread: until it is read, the connection is paused.
    request.unpipe().resume();
    return;
  }
  request.unpipe();
  request.on("error", () => undefined); // A client that disconnects during a refusal needs no handling.
  // A client that waits for "100 Continue" and is refused may or may not send its body: only closing is unambiguous.
  if (!isRestRead(request) || waitsForContinue.has(request)) {
    response.setHeader("connection", "close");
    return;
  }
  const { socket } = request;
  const cut = (): void => {
    if (response.writableFinished) socket.destroySoon();
    else response.once("finish", () => socket.destroySoon());
  };
  // Node's timer, not a Clock: it only guards the end of a socket, and decides nothing.
  const timer = setTimeout(cut, droppingMsMax);
  timer.unref();
  const stop = (): void => {
    clearTimeout(timer);
  };
  request.once("close", stop).once("end", stop);
  request.resume();
}
