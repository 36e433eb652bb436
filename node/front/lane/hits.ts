/**
 * Responses that a lane sends itself: the ready responses (front/ready/).
 *
 *   small body    head and body in one call, from the lane's memory and from that of the ready responses
 *   larger body   the head with MSG_MORE, then the body from its file by sendfile(), if it is in the page cache
 *
 * The part that the client does not read at once is kept with the client, and the lane stops reading from the client
 * meanwhile. The rest of a small body is kept as a copy, since the ready response may be gone before the client is
 * ready; the rest of a file as a descriptor.
 */
import {
  EPOLLIN,
  EPOLLOUT,
  errnos,
  messageVector,
  MSG_DONTWAIT,
  MSG_MORE,
  MSG_NOSIGNAL,
  RWF_NOWAIT,
} from "#base/system-calls.ts";
import { headExtraBytes, judgeReady, writeHead } from "../ready/ready-answer.ts";
import { lineBytes } from "../ready/ready-memory.ts";
import { findReady } from "../ready/ready-reader.ts";
import { headWord, recordDouble, recordWord } from "../ready/ready-record.ts";
import { count } from "./counts.ts";
import { type Client, headBytesMax, type Lane, layout, receiveBytes, watchFor } from "./lane.ts";
import { noteSent } from "./sent-ring.ts";
import { abandon, takeBack } from "./sessions.ts";
import { dropUnsent } from "./unsent.ts";

const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
/** How long a client may pause before the minimum rate applies. */
const pauseMsMax = 30_000;
/** Copies of what clients have not taken, in this lane. Beyond, it answers only what the system takes at once. */
const unsentBytesMax = 32 * 1024 * 1024;
const smallBytesMax = 16 * 1024;
/** The system's usual read-ahead. */
const pieceBytes = 128 * 1024;
/** sendfile() takes no more at once, so that one client does not keep the lane from the others. */
const sentAtOnceMax = 1024 * 1024;

/**
 * Answers the request that `lane.head` describes. False: nothing was sent, and the main thread is to answer.
 */
export function answerReady(lane: Lane, client: Client): boolean {
  const { ready, head, bytes, answer } = lane;
  if (ready === null) return false;
  const { memory } = ready;
  const line = findReady(memory, bytes, head, lane.wallMs);
  if (line === 0 || !judgeReady(memory, line, bytes, head, answer)) return false;
  const at = (line * lineBytes) / 4;
  if ((memory.words[at + recordWord.whole + headWord.length] as number) + headExtraBytes > headBytesMax) return false;
  const { bodyStart, bodyEnd, status } = answer;
  const file = memory.words[at + recordWord.descriptor] as number;
  // The main thread has a budget for slow clients, and makes them wait for room.
  if (file === -1 && lane.unsentBytes > unsentBytesMax && bodyEnd - bodyStart > smallBytesMax) return false;
  const bodyOffset = memory.doubles[(line * lineBytes) / 8 + recordDouble.bodyOffset] as number;
  if (file !== -1 && bodyStart < bodyEnd && !isInPageCache(lane, file, bodyOffset + bodyStart, bodyOffset + bodyEnd)) {
    return false;
  }
  // The pair's session is between two requests; but what the main thread does with it must not end this response.
  if (client.pair !== null) takeBack(lane, client.pair);
  const headEnd = writeHead(memory, line, answer, lane.wallMs, lane.headEndsAt, bytes, layout.responseHead);
  const headLength = headEnd - layout.responseHead;
  noteSent(ready.sent, memory.words[at + recordWord.number] as number, status, bodyEnd - bodyStart);
  count(lane.counts, "answered");
  client.hasAnswered = true;
  client.sinceMs = lane.nowMs;
  if (bodyStart === bodyEnd) sendHead(lane, client, headLength);
  else if (file === -1) {
    const body = line * lineBytes + (memory.words[at + recordWord.bodyAt] as number);
    sendInline(lane, client, headLength, body + bodyStart, bodyEnd - bodyStart);
  } else sendFile(lane, client, headLength, { file, offset: bodyOffset + bodyStart, end: bodyOffset + bodyEnd });
  return true;
}

function sendHead(lane: Lane, client: Client, headLength: number): void {
  const { calls, memory } = lane;
  const sent = calls.send(client.descriptor, memory.address + layout.responseHead, headLength, flags);
  if (isFailed(lane, client, sent)) return;
  count(lane.counts, "sentBytes", Math.max(0, sent));
  if (sent < headLength) keep(lane, client, headRest(lane, Math.max(0, sent), headLength), null);
}

/** @param body offset in the memory of ready responses */
function sendInline(lane: Lane, client: Client, headLength: number, body: number, bodyLength: number): void {
  const { calls, memory, ready } = lane;
  if (ready === null) return;
  setVector(lane, 0, memory.address + layout.responseHead, headLength);
  setVector(lane, 1, ready.address + body, bodyLength);
  const result = calls.sendMessage(client.descriptor, memory.address + layout.message, flags);
  if (isFailed(lane, client, result)) return;
  const sent = Math.max(0, result);
  count(lane.counts, "sentBytes", sent);
  if (sent === headLength + bodyLength) return;
  const bodySent = Math.max(0, sent - headLength);
  const rest = ready.memory.bytes.subarray(body + bodySent, body + bodyLength);
  keep(lane, client, Buffer.concat([headRest(lane, sent, headLength), rest]), null);
}

interface FilePart {
  readonly file: number;
  readonly offset: number;
  readonly end: number;
}

function sendFile(lane: Lane, client: Client, headLength: number, part: FilePart): void {
  const { calls, memory } = lane;
  const head = calls.send(client.descriptor, memory.address + layout.responseHead, headLength, flags | MSG_MORE);
  if (isFailed(lane, client, head)) return;
  const headSent = Math.max(0, head);
  count(lane.counts, "sentBytes", headSent);
  let { offset } = part;
  if (headSent === headLength) {
    const sent = sendPart(lane, client, part.file, offset, part.end);
    if (sent < 0) return;
    offset += sent;
  }
  if (offset < part.end) keep(lane, client, headRest(lane, headSent, headLength), { ...part, offset });
}

/** @returns bytes sent; −1: the client is gone */
function sendPart(lane: Lane, client: Client, file: number, offset: number, end: number): number {
  const { calls, memory, words } = lane;
  setNumber(words, layout.fileOffset, offset);
  const wanted = Math.min(end - offset, sentAtOnceMax);
  const result = calls.sendFile(client.descriptor, file, memory.address + layout.fileOffset, wanted);
  // Nothing left in the file: it is not what it was when the response was made ready.
  if (result === 0) abandon(lane, client);
  if (result === 0 || isFailed(lane, client, result)) return -1;
  const sent = Math.max(0, result);
  count(lane.counts, "sentBytes", sent);
  return sent;
}

function headRest({ bytes }: Lane, sent: number, headLength: number): Buffer {
  const from = layout.responseHead + Math.min(sent, headLength);
  return Buffer.from(bytes.subarray(from, layout.responseHead + headLength));
}

/** Keeps what the client has not taken, until it takes more. */
function keep(lane: Lane, client: Client, bytes: Buffer, part: FilePart | null): void {
  let file = -1;
  if (part !== null) {
    file = lane.calls.duplicate(part.file);
    if (file < 0 || file >= lane.owned.length) {
      if (file >= 0) lane.calls.close(file);
      abandon(lane, client);
      return;
    }
    lane.owned[file] = 1;
  }
  lane.unsentBytes += bytes.length;
  const length = bytes.length + (part === null ? 0 : part.end - part.offset);
  const allowedMs = pauseMsMax + (length / client.listening.rules.bytesPerSecondMin) * 1000;
  client.unsent = {
    bytes: bytes.length === 0 ? null : bytes,
    at: 0,
    file,
    offset: part?.offset ?? 0,
    end: part?.end ?? 0,
    untilMs: lane.nowMs + allowedMs,
  };
  watchFor(lane, client, EPOLLOUT);
}

/**
 * The client takes bytes again.
 * @returns whether everything is sent
 */
export function sendRest(lane: Lane, client: Client): boolean {
  const { unsent } = client;
  if (unsent === null) return true;
  if (unsent.bytes !== null) {
    const wanted = Math.min(unsent.bytes.length - unsent.at, receiveBytes);
    // The receive buffer is free between two events.
    unsent.bytes.copy(lane.bytes, layout.receive, unsent.at, unsent.at + wanted);
    const more = unsent.file === -1 ? 0 : MSG_MORE;
    const address = lane.memory.address + layout.receive;
    const result = lane.calls.send(client.descriptor, address, wanted, flags | more);
    if (isFailed(lane, client, result)) return false;
    const sent = Math.max(0, result);
    count(lane.counts, "sentBytes", sent);
    unsent.at += sent;
    lane.unsentBytes -= sent;
    if (unsent.at < unsent.bytes.length) return false;
    unsent.bytes = null;
  }
  if (unsent.file !== -1) {
    const sent = sendPart(lane, client, unsent.file, unsent.offset, unsent.end);
    if (sent < 0) return false;
    unsent.offset += sent;
    if (unsent.offset < unsent.end) return false;
  }
  dropUnsent(lane, client);
  client.sinceMs = lane.nowMs;
  watchFor(lane, client, EPOLLIN);
  return true;
}

/** Whether the client is gone: it is closed then. */
function isFailed(lane: Lane, client: Client, result: number): boolean {
  if (result >= 0) return false;
  const errno = lane.calls.errno();
  if (errno === errnos.EAGAIN || errno === errnos.EINTR || errno === errnos.ENOBUFS) return false;
  abandon(lane, client);
  return true;
}

/**
 * Whether sendfile() would not wait for the disk: looks at a byte of each piece, since the system reads files into the
 * page cache in pieces of at least this length.
 */
function isInPageCache(lane: Lane, file: number, start: number, end: number): boolean {
  for (let at = start; at < end; at += pieceBytes) if (!hasByte(lane, file, at)) return false;
  return hasByte(lane, file, end - 1);
}

function hasByte({ calls, memory }: Lane, file: number, offset: number): boolean {
  return calls.readAt(file, memory.address + layout.probeVector, 1, offset, RWF_NOWAIT) === 1;
}

/** Writes the parts of the calls' arguments that stay as they are. */
export function prepareCalls({ words, memory }: Pick<Lane, "words" | "memory">): void {
  setNumber(words, layout.message + messageHeaderVector, memory.address + layout.vectors);
  setNumber(words, layout.message + messageHeaderVectors, 2);
  setNumber(words, layout.probeVector + messageVector.base, memory.address + layout.probe);
  setNumber(words, layout.probeVector + messageVector.length, 1);
}

/** Offsets in `struct msghdr`. */
const [messageHeaderVector, messageHeaderVectors] = [16, 24];

function setVector({ words }: Lane, index: number, address: number, lengthBytes: number): void {
  const at = layout.vectors + index * messageVector.sizeBytes;
  setNumber(words, at + messageVector.base, address);
  setNumber(words, at + messageVector.length, lengthBytes);
}

/** A number of 64 bits. @param at a multiple of 4 */
function setNumber(words: Int32Array, at: number, value: number): void {
  words[at / 4] = value | 0;
  words[at / 4 + 1] = Math.floor(value / 2 ** 32);
}
