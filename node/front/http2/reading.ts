/**
 * Cuts the bytes of a client into frames (RFC 9113 §3.4, §4.1). A frame is handled where it is, if it has arrived as a
 * whole; a part of one is kept, in memory that grows with what has arrived. So the time is linear, however the bytes
 * are split.
 */
import { type Connection, type Host } from "./connection.ts";
import { errorCode, frameHeadBytes, frameType, payloadBytesMax, preface, read24, read31 } from "./frame.ts";
import { grown, noBytes } from "./growing.ts";
import { receive } from "./receiving.ts";
import { fail, sendSettings } from "./sending.ts";

/**
 * Reads frames. Stops early when the client does not take what is sent, or when enough requests have begun for now.
 * @param requestsMax at most so many
 * @returns where it has stopped; the bytes from there on are to be given again
 */
export function read(
  connection: Connection,
  host: Host,
  bytes: Buffer,
  start: number,
  end: number,
  requestsMax: number,
): number {
  let at = start;
  let left = requestsMax;
  while (at < end) {
    if (connection.phase === "failed") return end;
    if (connection.isBlocked || left === 0) return at;
    if (connection.phase === "preface") {
      at = readPreface(connection, host, bytes, at, end);
      continue;
    }
    const before = connection.lastStream;
    if (connection.frame !== null) at = resume(connection, host, bytes, at, end);
    else {
      const length = end - at < frameHeadBytes ? -1 : read24(bytes, at);
      if (length > payloadBytesMax) fail(connection, host, errorCode.frameSize);
      else if (length === -1 || end - at < frameHeadBytes + length) {
        connection.frameNeeds = length === -1 ? frameHeadBytes : frameHeadBytes + length;
        connection.frame = noBytes;
        connection.frameBytes = 0;
        at = resume(connection, host, bytes, at, end);
      } else {
        handle(connection, host, bytes, at, length);
        at += frameHeadBytes + length;
      }
    }
    if (connection.lastStream !== before) left -= 1;
  }
  return at;
}

/** Our SETTINGS answer the client's first bytes, whatever they are. */
function readPreface(connection: Connection, host: Host, bytes: Buffer, start: number, end: number): number {
  if (connection.frameBytes === 0) sendSettings(connection, host);
  let at = start;
  while (at < end && connection.frameBytes < preface.length) {
    if (bytes[at] !== preface[connection.frameBytes]) {
      fail(connection, host, errorCode.protocol);
      return end;
    }
    at += 1;
    connection.frameBytes += 1;
  }
  if (connection.frameBytes === preface.length) connection.phase = "settings";
  return at;
}

/** Adds bytes to the incomplete frame, and handles it when it is complete. @returns where its bytes end */
function resume(connection: Connection, host: Host, bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (connection.frame !== null) {
    const wanted = Math.min(connection.frameNeeds - connection.frameBytes, end - at);
    const frame = grown(connection.frame, connection.frameBytes, wanted);
    connection.frame = frame;
    bytes.copy(frame, connection.frameBytes, at, at + wanted);
    connection.frameBytes += wanted;
    at += wanted;
    if (connection.frameBytes < connection.frameNeeds) return at;
    const length = read24(frame, 0);
    if (length > payloadBytesMax) {
      fail(connection, host, errorCode.frameSize);
      return end;
    }
    connection.frameNeeds = frameHeadBytes + length;
    if (connection.frameBytes < connection.frameNeeds) continue;
    connection.frame = null;
    handle(connection, host, frame, 0, length);
  }
  return at;
}

function handle(connection: Connection, host: Host, bytes: Buffer, at: number, length: number): void {
  const type = bytes[at + 3] as number;
  const flags = bytes[at + 4] as number;
  if (connection.phase === "settings") {
    if (type !== frameType.settings || (flags & 1) !== 0) {
      fail(connection, host, errorCode.protocol);
      return;
    }
    connection.phase = "open";
  }
  const payload = at + frameHeadBytes;
  receive(connection, host, {
    type,
    flags,
    stream: read31(bytes, at + 5),
    bytes,
    start: payload,
    end: payload + length,
  });
}
