/**
 * What HTTP requires of a server for request bodies that it reads, or decides not to read.
 *
 * Early refusals: if the connection were closed at once, a client that is still sending would see a reset instead of
 * the response. So the rest of its body is read and dropped, within bounds. After a short rest the connection is kept
 * for the next request; after a long one, or one of unknown length, it is closed (http/server.ts lingers meanwhile).
 * `Expect: 100-continue` (RFC 9110 §10.1.1): the client gets 100 only after its header section was accepted.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { App } from "./app-type.ts";
import { isKnownConnection } from "./server.ts";

/**
 * The largest rest of a refused body after which the connection is kept: the price of a new connection on a home line.
 */
const keptOpenBytesMax = 16 * 1024 * 1024;
/**
 * The largest refused body that is dropped: the largest picture of a default fleet and a little more. That takes 0.1 s
 * of CPU.
 */
const droppedBytesMax = 128 * 1024 * 1024;
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
    if (waitsForContinue.delete(request.raw)) reply.raw.writeContinue();
    const isParsed = request.method !== "GET" && request.method !== "HEAD" && !request.raw.complete;
    if (request.routeOptions.config.rawRequest !== undefined || !isParsed) return payload;
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
  const { socket } = request;
  const lengthBytes = Number(request.headers["content-length"] ?? Number.POSITIVE_INFINITY);
  // A client that waits for "100 Continue" and is refused may or may not send its body: only closing is unambiguous.
  const isKept = isKnownConnection(socket) && lengthBytes <= keptOpenBytesMax && !waitsForContinue.has(request);
  if (!isKept) response.setHeader("connection", "close");
  let droppedBytes = 0;
  const cut = (): void => {
    if (response.writableFinished) socket.destroySoon();
    else response.once("finish", () => socket.destroySoon());
  };
  // Node's timer, not a Clock: it only guards the end of a socket, and decides nothing.
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
  request.on("error", () => undefined); // A client that disconnects during a refusal needs no handling.
  request.unpipe().resume();
}
