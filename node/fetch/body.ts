/**
 * Reads response bodies whole within a bound, or gives them up. undici's bodies emit an error when they are destroyed
 * unread; without a listener, it would end the process.
 */
import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { NearcastError } from "#base/errors.ts";

/** Up to this size, the rest of a body is read and dropped, so that its connection can be used again. */
const drainBytesMax = 64 * 1024;

/** Gives up a body at once, and the connection that it came over. */
export function dropStream(body: Readable): void {
  body.on("error", () => undefined);
  body.destroy();
}

/** The same, but a body of up to about 64 KiB is read to its end, so that its connection is kept. */
export function drainStream(body: Readable, lengthBytes: number): void {
  if (lengthBytes > drainBytesMax) {
    dropStream(body);
    return;
  }
  body.on("error", () => undefined);
  body.resume();
}

/** Gives up a response's body: a small one is read to its end, a large one closes its connection. Never waits. */
export function dropBody(answer: Pick<Dispatcher.ResponseData, "body">): void {
  answer.body.on("error", () => undefined);
  answer.body.dump({ limit: drainBytesMax }).catch(() => undefined); // its connection is closed; that is all
}

/** The whole body from an origin. @throws NearcastError BODY_TOO_LARGE, as soon as it is known to exceed the bound */
export async function readBody(answer: Dispatcher.ResponseData, bytesMax: number): Promise<Buffer> {
  const tooLarge = (): NearcastError =>
    new NearcastError("BODY_TOO_LARGE", `the origin's response is larger than ${bytesMax} bytes`);
  const announced = Number(answer.headers["content-length"] ?? 0);
  if (announced > bytesMax) {
    dropBody(answer);
    throw tooLarge();
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bytesMax) {
      dropBody(answer);
      throw tooLarge();
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length);
}
