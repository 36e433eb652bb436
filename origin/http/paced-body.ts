/**
 * Paces request bodies that arrive in tiny chunks, per connection (base/chunk-pace.ts). Node's parser calls
 * push() for each chunk. It can't be stopped in the middle of a read of 64 KiB, so a connection that brought too many
 * small chunks pauses before its next read.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type ChunkPace, createChunkPace, pay, type PaceLimits, waitInLine } from "#base/chunk-pace.ts";
import type { Cancel, Clock } from "#base/clock.ts";

/**
 * Small chunks on one connection. A read may bring 11,000 of them, which takes about 15 ms; the next read then waits 2
 * s. A client that sends lines of 128 bytes one by one reaches 1 MB a second.
 */
const chunkLimits: PaceLimits = { perSecond: 4000, savedMax: 4000 };

interface PacedSocket {
  readonly pace: ChunkPace;
  /** Set while the connection waits; call it to leave the line. */
  leaveLine: Cancel | undefined;
}

const pacedSockets = new WeakMap<Socket, PacedSocket>();

/** Call this before anybody reads the body. A body with Content-Length has no chunks, and is left as it is. */
export function paceBody(request: IncomingMessage, clock: Clock): void {
  if (request.headers["transfer-encoding"] === undefined) return;
  const { socket } = request;
  const paced = pacedOf(socket, clock);
  const push = request.push.bind(request);
  request.push = (chunk: Buffer | null) => {
    const takesMore = push(chunk);
    if (chunk !== null && !pay(paced.pace, chunk.length)) {
      paced.leaveLine ??= waitInLine(paced.pace, () => {
        paced.leaveLine = undefined;
        socket.resume();
      });
    }
    // False: Node stops reading the socket.
    return takesMore && paced.leaveLine === undefined;
  };
}

function pacedOf(socket: Socket, clock: Clock): PacedSocket {
  const known = pacedSockets.get(socket);
  if (known !== undefined) return known;
  const paced: PacedSocket = { pace: createChunkPace(chunkLimits, clock), leaveLine: undefined };
  pacedSockets.set(socket, paced);
  // Node calls this when somebody reads the body.
  const resume = socket.resume.bind(socket);
  socket.resume = () => (paced.leaveLine === undefined ? resume() : socket);
  socket.once("close", () => paced.leaveLine?.());
  return paced;
}
