/**
 * Paces the bodies of requests that come in tiny chunks, per connection (base/chunk-pace.ts). Node's parser calls push()
 * for each chunk. It can't be stopped in the middle of a read of 64 KiB, so a connection that brought too many small
 * chunks pauses before its next read.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type ChunkPace, createChunkPace, pay, type PaceLimits, waitInLine } from "#base/chunk-pace.ts";
import type { Cancel, Clock } from "#base/clock.ts";

/**
 * Small chunks of one connection. A read may bring 11,000 of them, in some 15 ms; the next one waits 2 s then. A client
 * that sends lines of 128 bytes as they come reaches 1 MB a second.
 */
const chunkLimits: PaceLimits = { perSecond: 4000, savedMax: 4000 };

const paces = new WeakMap<Socket, ChunkPace>();

/** Call this before anybody reads the body. A body with Content-Length has no chunks, and is left as it is. */
export function paceBody(request: IncomingMessage, clock: Clock): void {
  if (request.headers["transfer-encoding"] === undefined) return;
  const pace = paceOf(request.socket, clock);
  const push = request.push.bind(request);
  const read = request._read.bind(request);
  let leaveLine: Cancel | undefined;
  const goOn = (): void => {
    leaveLine = undefined;
    read(0);
  };
  request.push = (chunk: Buffer | null) => {
    const takesMore = push(chunk);
    if (chunk !== null && !pay(pace, chunk.length)) leaveLine ??= waitInLine(pace, goOn);
    return takesMore && leaveLine === undefined;
  };
  // Whoever reads the body would start the socket again.
  request._read = (sizeBytes) => {
    if (leaveLine === undefined) read(sizeBytes);
  };
  request.once("close", () => leaveLine?.());
}

function paceOf(socket: Socket, clock: Clock): ChunkPace {
  let pace = paces.get(socket);
  if (pace === undefined) {
    pace = createChunkPace(chunkLimits, clock);
    paces.set(socket, pace);
  }
  return pace;
}
