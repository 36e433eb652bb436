/**
 * Bodies that nobody will read. undici's raise an error when they are destroyed unread, and one that nobody listens to
 * would end the process.
 */
import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";

/** What is left of a body that is this long is read and dropped, so that its connection can be used again. */
const drainBytesMax = 64 * 1024;

/** Gives up a body at once, and the connection that it came over. */
export function dropStream(body: Readable): void {
  body.on("error", () => undefined);
  body.destroy();
}

/** Gives up an answer's body: a small one is read to its end, a large one costs its connection. Never waits. */
export function dropBody(answer: Pick<Dispatcher.ResponseData, "body">): void {
  answer.body.on("error", () => undefined);
  answer.body.dump({ limit: drainBytesMax }).catch(() => undefined); // its connection is closed; that is all
}
