/**
 * Writes frames into the host's output: control frames and heads of responses at once, bodies in turn, as far as the
 * windows of their stream and of the connection go (RFC 9113 §5.2, §6.9).
 */
import { grant } from "../../http2/allowance.ts";
import { type Connection, type Host, limits, type Stream } from "./connection.ts";
import {
  errorCode,
  frameFlag,
  frameHeadBytes,
  frameType,
  payloadBytesMax,
  setting,
  windowMax,
  write32,
  writeFrameHead,
} from "./frame.ts";
import { emptyTable } from "./hpack-encoder.ts";
import { takeFrom } from "./source.ts";

/** Some clients acknowledge every 4 KiB with two frames of 13 bytes. */
const sentPerFrameByte = 32;
const lastStreamMax = 2 ** 31 - 1;

/** Makes room for a frame. @returns where it begins */
function reserve(connection: Connection, host: Host, lengthBytes: number): number {
  const { output } = host;
  if (output.at + lengthBytes > output.end) host.flush(connection, true);
  const { at } = output;
  output.at = at + lengthBytes;
  return at;
}

function reserveFrame(
  connection: Connection,
  host: Host,
  payloadBytes: number,
  type: number,
  flags: number,
  id: number,
): number {
  const at = reserve(connection, host, frameHeadBytes + payloadBytes);
  return writeFrameHead(host.output.bytes, at, payloadBytes, type, flags, id);
}

/** Our SETTINGS, the first frame of the connection. */
export function sendSettings(connection: Connection, host: Host): void {
  const values = [
    [setting.maxConcurrentStreams, limits.streamsMax],
    [setting.initialWindowSize, limits.streamWindow],
    [setting.maxHeaderListSize, limits.listBytesMax],
  ] as const;
  const { bytes } = host.output;
  let at = reserveFrame(connection, host, values.length * 6, frameType.settings, 0, 0);
  for (const [id, value] of values) {
    bytes[at] = 0;
    bytes[at + 1] = id;
    at = write32(bytes, at + 2, value);
  }
}

export function sendSettingsAck(connection: Connection, host: Host): void {
  reserveFrame(connection, host, 0, frameType.settings, frameFlag.ack, 0);
}

/** @param from where the 8 bytes of the client's PING are */
export function sendPong(connection: Connection, host: Host, bytes: Buffer, from: number): void {
  const at = reserveFrame(connection, host, 8, frameType.ping, frameFlag.ack, 0);
  bytes.copy(host.output.bytes, at, from, from + 8);
}

export function sendWindowUpdate(connection: Connection, host: Host, increment: number): void {
  const at = reserveFrame(connection, host, 4, frameType.windowUpdate, 0, 0);
  write32(host.output.bytes, at, increment);
}

export function sendReset(connection: Connection, host: Host, id: number, code: number): void {
  const at = reserveFrame(connection, host, 4, frameType.resetStream, 0, id);
  write32(host.output.bytes, at, code);
  forget(connection, id);
}

/** From now on, frames of this stream are ignored. */
export function forget({ forgotten }: Connection, id: number): void {
  forgotten.add(id);
  if (forgotten.size <= limits.forgottenMax) return;
  const [oldest] = forgotten;
  if (oldest !== undefined) forgotten.delete(oldest);
}

export function sendGoaway(connection: Connection, host: Host, code: number): void {
  writeGoaway(connection, host, connection.lastStream, code);
  connection.hasSaidGoaway = true;
}

/**
 * The first of two GOAWAYs (§6.8): the client opens no more streams, and those that are on their way are answered. When
 * it acknowledges the PING, there are no more of them, and the second one can say which stream was the last.
 */
export function announceGoaway(connection: Connection, host: Host): void {
  writeGoaway(connection, host, lastStreamMax, errorCode.none);
  const at = reserveFrame(connection, host, 8, frameType.ping, 0, 0);
  host.output.bytes.fill(0, at, at + 8);
  connection.goaway = "announced";
}

function writeGoaway(connection: Connection, host: Host, lastStream: number, code: number): void {
  const at = reserveFrame(connection, host, 8, frameType.goaway, 0, 0);
  write32(host.output.bytes, write32(host.output.bytes, at, lastStream), code);
}

/** A connection error (§5.4.1): nothing is read or sent any more. The host closes the connection. */
export function fail(connection: Connection, host: Host, code: number): void {
  if (connection.phase === "failed") return;
  sendGoaway(connection, host, code);
  connection.phase = "failed";
  closeAll(connection, host);
}

/** Streams end without a word: the connection does. */
export function closeAll(connection: Connection, host: Host): void {
  connection.turns = [];
  for (const stream of connection.streams.values()) close(connection, host, stream);
}

function close(connection: Connection, host: Host, stream: Stream): void {
  stream.isClosed = true;
  connection.streams.delete(stream.id);
  host.closed(connection, stream);
}

/** The client has reset it. */
export function closeStream(connection: Connection, host: Host, stream: Stream): void {
  if (!stream.isClosed) close(connection, host, stream);
}

/** A stream error (§5.4.2). */
export function resetStream(connection: Connection, host: Host, stream: Stream, code: number): void {
  if (stream.isClosed) return;
  sendReset(connection, host, stream.id, code);
  close(connection, host, stream);
}

/** The response is sent. */
function complete(connection: Connection, host: Host, stream: Stream): void {
  // The rest of the request is of no use (§8.1).
  if (stream.isRemoteClosed) close(connection, host, stream);
  else resetStream(connection, host, stream, errorCode.none);
}

/**
 * Begins a HEADERS frame. Its section goes to the position that is returned; `endHeaders()` completes it.
 * @param bytesMax of the section: it must fit into a frame
 */
export function beginHeaders(connection: Connection, host: Host, bytesMax: number): number {
  const { output } = host;
  if (output.at + frameHeadBytes + bytesMax + 1 > output.end) host.flush(connection, true);
  const at = output.at + frameHeadBytes;
  if (connection.tableSize !== -1) return at;
  connection.tableSize = 0;
  output.bytes[at] = emptyTable;
  return at + 1;
}

/** @param end of the section. @param isLast the response has no body */
export function endHeaders(connection: Connection, host: Host, stream: Stream, end: number, isLast: boolean): void {
  const { output } = host;
  const flags = frameFlag.endHeaders | (isLast ? frameFlag.endStream : 0);
  const start = output.at + frameHeadBytes;
  writeFrameHead(output.bytes, output.at, end - start, frameType.headers, flags, stream.id);
  output.at = end;
  stream.hasResponse = true;
  if (isLast) complete(connection, host, stream);
}

/** Sends a section that may take several frames. @param isLast the response has no body */
export function sendSection(
  connection: Connection,
  host: Host,
  stream: Stream,
  section: Buffer,
  { isLast, isInterim = false }: { isLast: boolean; isInterim?: boolean },
): void {
  const prefix = connection.tableSize === -1 ? Buffer.from([emptyTable]) : null;
  if (prefix !== null) connection.tableSize = 0;
  const whole = prefix === null ? section : Buffer.concat([prefix, section]);
  for (let from = 0; from === 0 || from < whole.length; from += payloadBytesMax) {
    const length = Math.min(whole.length - from, payloadBytesMax);
    const type = from === 0 ? frameType.headers : frameType.continuation;
    const end = from + length === whole.length ? frameFlag.endHeaders : 0;
    const flags = end | (from === 0 && isLast ? frameFlag.endStream : 0);
    const at = reserveFrame(connection, host, length, type, flags, stream.id);
    whole.copy(host.output.bytes, at, from, from + length);
  }
  if (isInterim) return;
  stream.hasResponse = true;
  if (isLast) complete(connection, host, stream);
}

/** More of a response can be taken from its source. @param isWhole nothing follows it */
export function offer(connection: Connection, stream: Stream, moreBytes: number, isWhole: boolean): void {
  stream.readyBytes += moreBytes;
  stream.isWhole ||= isWhole;
  takeTurn(connection, stream);
}

/** The stream gets a turn, if it can send something. */
function takeTurn({ turns }: Connection, stream: Stream): void {
  if (stream.isInTurn || stream.isClosed || !stream.hasResponse) return;
  const canSend = stream.readyBytes === 0 ? stream.isWhole : stream.sendWindow > 0;
  if (!canSend) return;
  stream.isInTurn = true;
  turns.push(stream);
}

/**
 * Sends bodies, one frame of each stream in turn.
 * @param bytesMax about so many
 * @returns whether there is more to send that the client would take
 */
export function pump(connection: Connection, host: Host, bytesMax: number): boolean {
  let left = bytesMax;
  const { turns } = connection;
  while (turns.length > 0 && !connection.isBlocked) {
    const stream = turns[0] as Stream;
    if (stream.isClosed || (stream.readyBytes > 0 && stream.sendWindow <= 0)) {
      stream.isInTurn = false;
      turns.shift();
      continue;
    }
    if (stream.readyBytes > 0 && connection.sendWindow <= 0) return false;
    if (left <= 0) return true;
    turns.shift();
    stream.isInTurn = false;
    left -= frameHeadBytes + sendData(connection, host, stream);
    takeTurn(connection, stream);
  }
  return false;
}

/** @returns bytes of the frame's payload */
function sendData(connection: Connection, host: Host, stream: Stream): number {
  const { output } = host;
  const length = Math.min(payloadBytesMax, stream.readyBytes, stream.sendWindow, connection.sendWindow);
  const payload = Math.max(0, length);
  const isLast = stream.isWhole && payload === stream.readyBytes;
  const at = reserveFrame(connection, host, payload, frameType.data, isLast ? frameFlag.endStream : 0, stream.id);
  if (payload > 0 && !takeFrom(stream.source, host, at, payload)) {
    output.at = at - frameHeadBytes;
    resetStream(connection, host, stream, errorCode.internal);
    return 0;
  }
  stream.readyBytes -= payload;
  stream.sendWindow -= payload;
  connection.sendWindow -= payload;
  grant(connection.frames, payload / sentPerFrameByte);
  if (isLast) complete(connection, host, stream);
  return payload;
}

/** The client takes more of the connection (§6.9). @returns false: too much */
export function widen(connection: Connection, increment: number): boolean {
  connection.sendWindow += increment;
  return connection.sendWindow <= windowMax;
}

/** The same for a stream. */
export function widenStream(connection: Connection, stream: Stream, increment: number): boolean {
  stream.sendWindow += increment;
  if (stream.sendWindow > windowMax) return false;
  takeTurn(connection, stream);
  return true;
}

/** SETTINGS_INITIAL_WINDOW_SIZE changes the windows of all streams (§6.9.2). @returns false: one is too large */
export function setInitialWindow(connection: Connection, size: number): boolean {
  const change = size - connection.initialWindow;
  connection.initialWindow = size;
  for (const stream of connection.streams.values()) if (!widenStream(connection, stream, change)) return false;
  return true;
}
