/**
 * The bodies of ready responses that streams of HTTP/2 send. A body belongs to the ready response until the end of the
 * event. What is left of it then is kept with its stream: as a copy, or as a descriptor of its own.
 */
import { RWF_NOWAIT } from "#base/system-calls.ts";
import type { Stream } from "../http2/connection.ts";
import { errorCode } from "../http2/frame.ts";
import { resetStream } from "../http2/sending.ts";
import { setVector } from "./channel.ts";
import { close, type Http2, type Lane } from "./lane.ts";
import { layout } from "./layout.ts";

/** How long a client may pause before the minimum rate applies. */
const pauseMsMax = 30_000;

/** Reads bytes of a file to a place in the lane's memory. @returns false: the file is not what it was */
export function readFileAt(lane: Lane, file: number, offset: number, at: number, lengthBytes: number): boolean {
  const { calls, memory } = lane;
  let done = 0;
  let flags = RWF_NOWAIT;
  while (done < lengthBytes) {
    setVector(lane, 0, memory.address + at + done, lengthBytes - done);
    const read = calls.readAt(file, memory.address + layout.vectors, 1, offset + done, flags);
    // It was in the page cache when the response began: reading from the disk is rare.
    if (read <= 0 && flags === 0) return false;
    if (read > 0) done += read;
    else flags = 0;
  }
  return true;
}

/** At the end of an event: nothing may refer to a ready response any more. */
export function keepBodies(lane: Lane, http2: Http2): void {
  const { borrowers } = http2;
  if (borrowers.length === 0) return;
  http2.borrowers = [];
  for (const stream of borrowers) if (!stream.isClosed && stream.readyBytes > 0) keepBody(lane, http2, stream);
}

function keepBody(lane: Lane, http2: Http2, stream: Stream): void {
  const { source, readyBytes } = stream;
  if (source === null || lane.http2 === null) return;
  if (source.kind === "memory") {
    const bytes = Buffer.allocUnsafeSlow(readyBytes);
    source.bytes.copy(bytes, 0, source.at, source.at + readyBytes);
    stream.source = { kind: "memory", bytes, at: 0, copiedBytes: readyBytes };
    lane.unsentBytes += readyBytes;
    http2.copiedBytes += readyBytes;
  } else if (source.kind === "file") {
    const file = lane.calls.duplicate(source.file);
    if (file < 0 || file >= lane.owned.length) {
      if (file >= 0) lane.calls.close(file);
      stream.source = null;
      resetStream(http2, lane.http2.host, stream, errorCode.internal);
      return;
    }
    lane.owned[file] = 1;
    stream.source = { kind: "file", file, offset: source.offset, isOwn: true };
  }
  http2.waitingBytes += readyBytes;
  // All bodies of the connection share its rate.
  const { bytesPerSecondMin } = http2.client.listening.rules;
  http2.deadlines.set(stream, lane.nowMs + pauseMsMax + (http2.waitingBytes / bytesPerSecondMin) * 1000);
}

/** The stream is closed. */
export function dropSource(lane: Lane, http2: Http2, stream: Stream): void {
  const { source } = stream;
  stream.source = null;
  if (http2.deadlines.delete(stream) && http2.deadlines.size === 0) http2.waitingBytes = 0;
  if (source?.kind === "memory") {
    lane.unsentBytes -= source.copiedBytes;
    http2.copiedBytes -= source.copiedBytes;
  } else if (source?.kind === "file" && source.isOwn) close(lane, source.file);
}
