/**
 * What HTTP wants of a server around the bodies that it reads, or decides not to read.
 *
 * Refusing early: a client that is still sending when the answer comes would, were the connection closed at once, see
 * a reset instead of the answer. So the rest of its body is read and thrown away, within bounds.
 * `Expect: 100-continue` (RFC 9110 §10.1.1): the client is told to go on only after its head was found good.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "#base/clock.ts";
import type { App } from "./app-type.ts";

/** Of a refused body; more than that closes the connection. Some seconds of a home line, none of our memory. */
const discardedBytesMax = 16 * 1024 * 1024;
const discardingMsMax = 5000;

/** What a body of JSON or YAML may take to come; uploads have limits of their own. */
const smallBodyTimeoutMs = 30_000;

const waitsForContinue = new WeakSet<IncomingMessage>();

export function watchBodies(app: App, clock: Clock): void {
  app.server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    waitsForContinue.add(request);
    app.server.emit("request", request, response);
  });
  app.addHook("preParsing", async (request, reply) => {
    if (waitsForContinue.delete(request.raw)) reply.raw.writeContinue();
    if (request.routeOptions.config.rawRequest !== undefined) return;
    const cancel = clock.after(smallBodyTimeoutMs, () => {
      if (!request.raw.complete) request.raw.destroy();
    });
    reply.raw.once("close", cancel);
  });
}

/** To be called before a refusal is sent. */
export function letBodyRunOut(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete || request.destroyed) return;
  if (waitsForContinue.has(request)) {
    // The client has sent no body yet and, refused, may or may not send it: only closing is unambiguous.
    response.setHeader("connection", "close");
    return;
  }
  let discardedBytes = 0;
  const cut = (): void => {
    if (response.writableFinished) request.destroy();
    else response.once("finish", () => request.destroy());
  };
  // The timer of Node, not a Clock: it guards a socket's end and decides nothing.
  const timer = setTimeout(cut, discardingMsMax);
  timer.unref();
  request.on("data", (chunk: Buffer) => {
    discardedBytes += chunk.length;
    if (discardedBytes > discardedBytesMax) cut();
  });
  request.once("close", () => {
    clearTimeout(timer);
  });
  request.once("end", () => {
    clearTimeout(timer);
  });
  request.on("error", () => undefined); // A client that goes away while it is refused has had its answer.
  request.resume();
}
