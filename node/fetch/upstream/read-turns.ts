/**
 * Paces what origins send. A parser calls back for each header line, trailer and chunk (RFC 9112 §5, §7.1), so a few
 * MiB of tiny ones would keep the event loop from everything else for seconds, and libuv reads up to 2 MiB of a
 * connection in one turn.
 *
 *   bytes have arrived ──▶ in line, origins in turn ──▶ after the sockets of this turn: slice by slice to the parsers,
 *                                                       until the time for one turn is over; the rest in the next one
 *                     └──▶ far more than the body is worth, another version of HTTP: the connection is cut
 *
 * So whatever origins send, one turn of the loop spends only `turnMsMax` and a slice on it. Unread bytes stay in the
 * socket, which then stops reading from the system, and the sender waits.
 *
 * undici takes bytes with `read()` alone, until it returns null, and again after `readable`. Both are used here.
 */
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type StatusLine, wrongVersion } from "./status-line.ts";

/** Of one turn of the event loop, for all origins. A turn without it has about as much of other work. */
const turnMsMax = 2;
/** The dearest slice, header lines of four bytes, takes about 1 ms to parse; 16 KiB of a large body take 30 µs. */
const sliceBytes = 16 * 1024;
/** The most that libuv reads at once; of a response whose body is all but a small part. */
const bodySliceBytes = 64 * 1024;
const cheapShare = 16;
/**
 * Bytes of a response besides its body: head, trailers, framing. With the slice in which they end, it is 32 KiB. Each
 * byte of the body may cost eight more, which chunks of one byte do.
 */
const overheadBytesMax = 16 * 1024;
const overheadPerBodyByteMax = 8;

/** undici's own limit must never be reached: past it, undici creates an error for each further line of the slice. */
export const parserHeadBytesMax = 2 * (overheadBytesMax + sliceBytes);

/** Counts for the response that a connection receives now. */
export interface Received {
  /** All that the parser has taken of it. */
  bytes: number;
  /** What of that was its body. */
  bodyBytes: () => number;
  statusLine: StatusLine;
}

/** A connection that has bytes for its parser. */
interface Line {
  readonly socket: Socket;
  readonly share: string;
  /** It may take one slice. */
  isGranted: boolean;
}

export interface ReadTurns {
  readonly clock: Clock;
  readonly inNextTurn: (run: () => void) => void;
  /** Origins with connections in line; the first has waited longest for a turn. Bounded by the connections. */
  readonly byShare: Map<string, Set<Line>>;
  isScheduled: boolean;
}

/** One per process: all origins share the time. */
export function createReadTurns(
  clock: Clock,
  inNextTurn: (run: () => void) => void = (run) => void setImmediate(run),
): ReadTurns {
  return { clock, inNextTurn, byShare: new Map(), isScheduled: false };
}

/**
 * From now on, whoever reads this connection gets its bytes in turns.
 * @param share the origin
 * @param received its `bytes` are counted here
 */
export function readInTurns(turns: ReadTurns, socket: Socket, share: string, received: Received): void {
  const line: Line = { socket, share, isGranted: false };
  const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
  const unshift = socket.unshift.bind(socket);
  socket.read = (size?: number): Buffer | null => {
    // Without bytes, read() arms the stream, or ends it. Other sizes are for the stream's own use.
    if (size !== undefined || socket.readableLength === 0) return read(size);
    if (!line.isGranted) {
      join(turns, line);
      return null;
    }
    line.isGranted = false;
    if (isTooMuch(received)) {
      socket.destroy(new NearcastError("ORIGIN_BAD_ANSWER", `${share} sent too many bytes outside of bodies`));
      return null;
    }
    const slice = read(Math.min(sliceFor(received), socket.readableLength));
    if (slice === null) return null;
    received.bytes += slice.length;
    const version = wrongVersion(received.statusLine, slice);
    if (version === undefined) return slice;
    socket.destroy(new NearcastError("ORIGIN_BAD_ANSWER", `${share} answered with ${version}, not HTTP/1.1 or 1.0`));
    return null;
  };
  // A parser that is told to pause gives back what it has not looked at, and reads again when it is told to go on. It
  // need not wait then: something else has bounded when that is (base/chunk-pace.ts, deliver/turns.ts).
  socket.unshift = (chunk: Buffer): void => {
    received.bytes -= chunk.length;
    line.isGranted = true;
    unshift(chunk);
  };
  socket.once("close", () => {
    leave(turns, line);
  });
}

/** A body in large pieces is cheap to parse. Small slices of it would leave many small pieces of memory behind. */
function sliceFor({ bytes, bodyBytes }: Received): number {
  const body = bodyBytes();
  return body > bodySliceBytes && bytes - body < body / cheapShare ? bodySliceBytes : sliceBytes;
}

function isTooMuch({ bytes, bodyBytes }: Received): boolean {
  const body = bodyBytes();
  return bytes - body > overheadBytesMax + overheadPerBodyByteMax * body;
}

function join(turns: ReadTurns, line: Line): void {
  const lines = turns.byShare.get(line.share);
  if (lines === undefined) turns.byShare.set(line.share, new Set([line]));
  else lines.add(line);
  schedule(turns);
}

function leave({ byShare }: ReadTurns, line: Line): void {
  const lines = byShare.get(line.share);
  lines?.delete(line);
  if (lines?.size === 0) byShare.delete(line.share);
}

function schedule(turns: ReadTurns): void {
  if (turns.isScheduled) return;
  turns.isScheduled = true;
  turns.inNextTurn(() => {
    turns.isScheduled = false;
    give(turns);
  });
}

/** A connection with more than a slice joins the line again, behind the others of its origin. */
function give(turns: ReadTurns): void {
  const { byShare, clock } = turns;
  const untilMs = clock.monotonicMs() + turnMsMax;
  for (let given = 0; byShare.size > 0 && (given === 0 || clock.monotonicMs() < untilMs); given += 1) {
    const line = nextInTurn(turns);
    if (line === undefined) break;
    line.isGranted = true;
    line.socket.emit("readable");
  }
  if (byShare.size > 0) schedule(turns);
}

/** The connection that has waited longest, of the origin whose turn it is. The other origins come before it then. */
function nextInTurn({ byShare }: ReadTurns): Line | undefined {
  for (const [share, lines] of byShare) {
    byShare.delete(share);
    const [line] = lines;
    if (line === undefined) continue;
    lines.delete(line);
    if (lines.size > 0) byShare.set(share, lines);
    return line;
  }
  return undefined;
}
