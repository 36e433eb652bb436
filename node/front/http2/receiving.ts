/** What each type of frame does (RFC 9113 §6), except for field sections (sections.ts). */
import { endRequest, type Frame, malformed, payFor, payForReset, punish } from "./charging.ts";
import { type Connection, type Host, limits } from "./connection.ts";
import {
  errorCode,
  frameFlag,
  frameType,
  payloadBytesMax,
  read16,
  read31,
  read32,
  setting,
  windowFirst,
  windowMax,
} from "./frame.ts";
import { receiveContinuation, receiveHeaders } from "./sections.ts";
import {
  closeStream,
  fail,
  sendPong,
  sendSettingsAck,
  sendWindowUpdate,
  setInitialWindow,
  widen,
  widenStream,
} from "./sending.ts";

export function receive(connection: Connection, host: Host, frame: Frame): void {
  const { type, stream: id } = frame;
  if (connection.sectionStream !== 0 && (type !== frameType.continuation || id !== connection.sectionStream)) {
    fail(connection, host, errorCode.protocol); // §4.3
    return;
  }
  switch (type) {
    case frameType.headers:
      receiveHeaders(connection, host, frame);
      return;
    case frameType.continuation:
      receiveContinuation(connection, host, frame);
      return;
  }
  if (!payFor(connection, host, frame)) return;
  switch (type) {
    case frameType.data:
      receiveData(connection, host, frame);
      return;
    case frameType.priority:
      receivePriority(connection, host, frame);
      return;
    case frameType.resetStream:
      receiveReset(connection, host, frame);
      return;
    case frameType.settings:
      receiveSettings(connection, host, frame);
      return;
    case frameType.pushPromise:
      fail(connection, host, errorCode.protocol);
      return;
    case frameType.ping:
      receivePing(connection, host, frame);
      return;
    case frameType.goaway:
      if (id !== 0) fail(connection, host, errorCode.protocol);
      else if (frame.end - frame.start < 8) fail(connection, host, errorCode.frameSize);
      else connection.hasHeardGoaway = true;
      return;
    case frameType.windowUpdate:
      receiveWindowUpdate(connection, host, frame);
  }
}

/** Whether a stream has never been opened (§5.1). */
function isIdle({ lastStream }: Connection, id: number): boolean {
  return id > lastStream;
}

function receiveData(connection: Connection, host: Host, { flags, stream: id, bytes, start, end }: Frame): void {
  const length = end - start;
  const isPadded = (flags & frameFlag.padded) !== 0;
  const padding = isPadded && length > 0 ? (bytes[start] as number) + 1 : 0;
  if (id === 0 || isIdle(connection, id) || padding > length || (isPadded && length === 0)) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  if (length > connection.receiveWindow) {
    fail(connection, host, errorCode.flowControl);
    return;
  }
  consume(connection, host, length);
  const stream = connection.streams.get(id);
  if (stream === undefined) {
    if (!connection.forgotten.has(id)) fail(connection, host, errorCode.streamClosed);
    return;
  }
  if (stream.isRemoteClosed) {
    punish(connection, host, stream, errorCode.streamClosed);
    return;
  }
  stream.receiveWindow -= length;
  stream.receivedBytes += length - padding;
  if (stream.receiveWindow < 0) punish(connection, host, stream, errorCode.flowControl);
  else if ((flags & frameFlag.endStream) !== 0) endRequest(connection, host, stream);
  else if (stream.announcedBytes !== -1 && stream.receivedBytes > stream.announcedBytes) {
    malformed(connection, host, stream);
  }
}

/** Bodies of requests are read, and dropped. What they take of the connection's window is granted again. */
function consume(connection: Connection, host: Host, length: number): void {
  connection.receiveWindow -= length;
  connection.consumedBytes += length;
  if (connection.consumedBytes < windowFirst / 2) return;
  connection.receiveWindow += connection.consumedBytes;
  sendWindowUpdate(connection, host, connection.consumedBytes);
  connection.consumedBytes = 0;
}

/** Priorities are obsolete (§5.3.2). */
function receivePriority(connection: Connection, host: Host, { stream: id, start, end }: Frame): void {
  if (id === 0) fail(connection, host, errorCode.protocol);
  else if (end - start !== 5) {
    const stream = connection.streams.get(id);
    if (stream === undefined) fail(connection, host, errorCode.frameSize);
    else punish(connection, host, stream, errorCode.frameSize);
  }
}

function receiveReset(connection: Connection, host: Host, { stream: id, start, end }: Frame): void {
  if (id === 0 || isIdle(connection, id)) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  if (end - start !== 4) {
    fail(connection, host, errorCode.frameSize);
    return;
  }
  const stream = connection.streams.get(id);
  if (stream === undefined) return;
  closeStream(connection, host, stream);
  payForReset(connection, host);
}

function receiveSettings(connection: Connection, host: Host, { flags, stream: id, bytes, start, end }: Frame): void {
  const length = end - start;
  if (id !== 0) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  const isAck = (flags & frameFlag.ack) !== 0;
  if (length % 6 !== 0 || (isAck && length !== 0)) {
    fail(connection, host, errorCode.frameSize);
    return;
  }
  if (isAck) {
    connection.isAcknowledged = true;
    return;
  }
  if (length > limits.settingsMax * 6) {
    fail(connection, host, errorCode.enhanceYourCalm);
    return;
  }
  for (let at = start; at < end; at += 6) {
    const code = applySetting(connection, read16(bytes, at), read32(bytes, at + 2));
    if (code === errorCode.none) continue;
    fail(connection, host, code);
    return;
  }
  sendSettingsAck(connection, host);
}

/** @returns why it is an error (§6.5.2) */
function applySetting(connection: Connection, id: number, value: number): number {
  switch (id) {
    case setting.headerTableSize:
      // Our encoder has no table. But if the client's becomes smaller, the next section must say so.
      if (connection.tableSize > 0 && value < connection.tableSize) connection.tableSize = -1;
      return errorCode.none;
    case setting.enablePush:
      return value > 1 ? errorCode.protocol : errorCode.none;
    case setting.initialWindowSize:
      return value <= windowMax && setInitialWindow(connection, value) ? errorCode.none : errorCode.flowControl;
    case setting.maxFrameSize:
      return value < payloadBytesMax || value >= 2 ** 24 ? errorCode.protocol : errorCode.none;
    default:
      return errorCode.none;
  }
}

function receivePing(connection: Connection, host: Host, { flags, stream: id, bytes, start, end }: Frame): void {
  if (id !== 0) fail(connection, host, errorCode.protocol);
  else if (end - start !== 8) fail(connection, host, errorCode.frameSize);
  else if ((flags & frameFlag.ack) === 0) sendPong(connection, host, bytes, start);
  else if (connection.goaway === "announced") connection.goaway = "read"; // only announceGoaway() sends a PING
}

function receiveWindowUpdate(connection: Connection, host: Host, { stream: id, bytes, start, end }: Frame): void {
  if (end - start !== 4) {
    fail(connection, host, errorCode.frameSize);
    return;
  }
  const increment = read31(bytes, start);
  if (id === 0) {
    if (increment === 0) fail(connection, host, errorCode.protocol);
    else if (!widen(connection, increment)) fail(connection, host, errorCode.flowControl);
    return;
  }
  if (isIdle(connection, id)) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  const stream = connection.streams.get(id);
  if (stream === undefined) return;
  if (increment === 0) punish(connection, host, stream, errorCode.protocol);
  else if (!widenStream(connection, stream, increment)) punish(connection, host, stream, errorCode.flowControl);
}
