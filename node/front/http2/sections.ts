/**
 * Field sections (RFC 9113 §4.3, §6.2, §6.10): a HEADERS frame with its CONTINUATION frames begins a stream, or has the
 * trailers of a request. Every section is decoded, also one that is refused, because the table has to follow.
 */
import { connectionFields } from "../../http2/request-fields.ts";
import { endRequest, type Frame, malformed, payFor, payForReset } from "./charging.ts";
import { type Connection, type Host, limits, type Stream } from "./connection.ts";
import { meaning } from "./field-meaning.ts";
import { errorCode, frameFlag, windowFirst } from "./frame.ts";
import { decodeSection, type FieldList } from "./hpack-decoder.ts";
import { grown, noBytes } from "./growing.ts";
import { fail, forget, sendReset } from "./sending.ts";

export function receiveHeaders(connection: Connection, host: Host, frame: Frame): void {
  const { flags, stream: id, bytes } = frame;
  let { start, end } = frame;
  if (id === 0) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  if ((flags & frameFlag.padded) !== 0) {
    const padding = start < end ? (bytes[start] as number) : 0;
    if (start === end || padding > end - start - 1) {
      fail(connection, host, errorCode.protocol);
      return;
    }
    start += 1;
    end -= padding;
  }
  if ((flags & frameFlag.priority) !== 0) start += 5;
  if (start > end) {
    fail(connection, host, errorCode.frameSize);
    return;
  }
  connection.isSectionLast = (flags & frameFlag.endStream) !== 0;
  if ((flags & frameFlag.endHeaders) !== 0) {
    decode(connection, host, id, bytes, start, end);
    return;
  }
  connection.sectionStream = id;
  connection.sectionFrames = 0;
  connection.sectionBytes = 0;
  connection.section = noBytes;
  keep(connection, host, bytes, start, end);
}

export function receiveContinuation(connection: Connection, host: Host, frame: Frame): void {
  const { flags, stream: id, bytes, start, end } = frame;
  if (connection.sectionStream === 0) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  if (!keep(connection, host, bytes, start, end) || (flags & frameFlag.endHeaders) === 0) return;
  const { section, sectionBytes } = connection;
  connection.section = null;
  connection.sectionStream = 0;
  if (section !== null) decode(connection, host, id, section, 0, sectionBytes);
}

/** @returns whether the connection goes on */
function keep(connection: Connection, host: Host, bytes: Buffer, start: number, end: number): boolean {
  const { section, sectionBytes } = connection;
  connection.sectionFrames += 1;
  if (connection.sectionFrames > limits.sectionFramesMax || sectionBytes + end - start > limits.sectionBytesMax) {
    host.flooded("frames");
    fail(connection, host, errorCode.enhanceYourCalm);
    return false;
  }
  const larger = grown(section ?? noBytes, sectionBytes, end - start);
  connection.section = larger;
  connection.sectionBytes += bytes.copy(larger, sectionBytes, start, end);
  return true;
}

function decode(connection: Connection, host: Host, id: number, bytes: Buffer, start: number, end: number): void {
  const { list } = host;
  if (!decodeSection(connection.table, bytes, start, end, list)) {
    fail(connection, host, errorCode.compression);
    return;
  }
  const stream = connection.streams.get(id);
  if (stream !== undefined) {
    if (payFor(connection, host, { type: 1, flags: 0, stream: id, bytes, start, end })) {
      receiveTrailers(connection, host, stream, list);
    }
  } else if (id > connection.lastStream) open(connection, host, id);
  else if (!connection.forgotten.has(id)) fail(connection, host, errorCode.streamClosed);
  else payFor(connection, host, { type: 1, flags: 0, stream: id, bytes, start, end });
}

/** §8.1: nobody reads them. */
function receiveTrailers(connection: Connection, host: Host, stream: Stream, list: FieldList): void {
  if (stream.isRemoteClosed) {
    fail(connection, host, errorCode.streamClosed);
    return;
  }
  if (!connection.isSectionLast || list.isTooLarge || !areTrailers(list)) malformed(connection, host, stream);
  else endRequest(connection, host, stream);
}

/** Whether the names are valid, none begins with a colon, and none concerns a connection of HTTP/1.1 (§8.2.2). */
function areTrailers({ count, meanings, names, places }: FieldList): boolean {
  for (let field = 0; field < count; field += 1) {
    const means = (meanings[field] as number) & 0x7f;
    if (means >= meaning.method && means <= meaning.path) return false;
    if (means !== meaning.other) continue;
    const name = names[field] as Buffer;
    const text = name.toString("latin1", places[field * 4], places[field * 4 + 1]);
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(text) || connectionFields.has(text)) return false;
  }
  return true;
}

function open(connection: Connection, host: Host, id: number): void {
  if (id % 2 === 0) {
    fail(connection, host, errorCode.protocol);
    return;
  }
  connection.lastStream = id;
  if (connection.hasSaidGoaway) {
    forget(connection, id); // the client knows that it was not answered (§6.8)
    return;
  }
  if (connection.streams.size >= limits.streamsMax) {
    sendReset(connection, host, id, errorCode.refusedStream);
    payForReset(connection, host);
    return;
  }
  if (host.list.isTooLarge) {
    sendReset(connection, host, id, errorCode.enhanceYourCalm);
    payForReset(connection, host);
    return;
  }
  const stream: Stream = {
    id,
    sendWindow: connection.initialWindow,
    isRemoteClosed: connection.isSectionLast,
    // Before it has read our SETTINGS, a client may send more (§6.9.3).
    receiveWindow: connection.isAcknowledged ? limits.streamWindow : windowFirst,
    receivedBytes: 0,
    announcedBytes: -1,
    hasResponse: false,
    source: null,
    readyBytes: 0,
    isWhole: false,
    isInTurn: false,
    isClosed: false,
  };
  connection.streams.set(id, stream);
  host.request(connection, stream);
}
