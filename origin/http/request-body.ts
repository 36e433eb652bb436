/**
 * What HTTP wants of a server around the bodies that it reads, or decides not to read.
 *
 * Refusing early: a client that is still sending when the answer comes would, were the connection closed at once, see
 * a reset instead of the answer. So the rest of its body is read and dropped, within bounds. A short rest leaves the
 * connection to the next request; a long one, or one of unknown length, ends it (http/server.ts lingers meanwhile).
 * `Expect: 100-continue` (RFC 9110 §10.1.1): the client is told to go on only after its head was found good.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { App } from "./app-type.ts";
import { isKnownConnection } from "./server.ts";

/** Of a refused body, after which the connection is kept: what a new connection costs over a home line. */
const keptOpenBytesMax = 16 * 1024 * 1024;
/**
 * Of a refused body in all: the largest picture of a default fleet and a little more. Dropping it takes 0.1 s of CPU.
 */
const droppedBytesMax = 128 * 1024 * 1024;
/** For dropping a body on a connection that is kept. */
const droppingMsMax = 30_000;

/** What a body of JSON or YAML may take to come; uploads have limits of their own. */
const smallBodyTimeoutMs = 30_000;

const waitsForContinue = new WeakSet<IncomingMessage>();

export function watchBodies(app: App, clock: Clock): void {
  const server: Server = app.server;
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    waitsForContinue.add(request);
    server.emit("request", request, response);
  });
  app.addHook("preParsing", async (request, reply, payload) => {
    if (waitsForContinue.delete(request.raw)) reply.raw.writeContinue();
    const isParsed = request.method !== "GET" && request.method !== "HEAD" && !request.raw.complete;
    if (request.routeOptions.config.rawRequest !== undefined || !isParsed) return payload;
    const body = payload.pipe(new PassThrough());
    const cancel = clock.after(smallBodyTimeoutMs, () => {
      payload.unpipe(body);
      body.destroy(new NearcastError("REQUEST_TIMEOUT", `the body did not arrive within ${smallBodyTimeoutMs} ms`));
    });
    // Cut off by its client: nobody is there to be answered, but whoever reads the body must stop waiting.
    request.raw.once("error", (error) => body.destroy(error));
    // Where a refusal came first nobody reads it, and an error that nobody hears would end the process.
    body.on("error", () => undefined);
    reply.raw.once("close", cancel);
    return body;
  });
}

/** To be called before a refusal is sent. */
export function letBodyRunOut(request: IncomingMessage, response: ServerResponse): void {
  if (request.readableEnded || request.destroyed) return;
  if (request.complete) {
    // All of it is here, unread: until it is, the connection is paused.
    request.unpipe().resume();
    return;
  }
  const { socket } = request;
  const lengthBytes = Number(request.headers["content-length"] ?? Number.POSITIVE_INFINITY);
  // Who waits for "100 Continue" and is refused may or may not send its body: only closing is unambiguous.
  const isKept = isKnownConnection(socket) && lengthBytes <= keptOpenBytesMax && !waitsForContinue.has(request);
  if (!isKept) response.setHeader("connection", "close");
  let droppedBytes = 0;
  const cut = (): void => {
    if (response.writableFinished) socket.destroySoon();
    else response.once("finish", () => socket.destroySoon());
  };
  // The timer of Node, not a Clock: it guards a socket's end and decides nothing.
  const timer = setTimeout(cut, droppingMsMax);
  timer.unref();
  request.on("data", (chunk: Buffer) => {
    droppedBytes += chunk.length;
    if (droppedBytes <= droppedBytesMax) return;
    if (response.writableFinished) socket.destroy();
    else response.once("finish", () => socket.destroy());
  });
  const stop = (): void => {
    clearTimeout(timer);
  };
  request.once("close", stop).once("end", stop);
  request.on("error", () => undefined); // A client that goes away while it is refused has had its answer.
  request.unpipe().resume();
}
