/**
 * Responses that a lane sends itself: the ready responses (front/ready/).
 *
 *   small body    head and body in one call, from the lane's memory and from that of the ready responses
 *   larger body   the head, then the body from its file, if it is in the page cache
 *
 * How they are sent, in the clear or encrypted, is the channel's business (channel.ts). The part that the client does
 * not read at once is kept with the client, and the lane stops reading from the client meanwhile. The rest of a small
 * body is kept as a copy, since the ready response may be gone before the client is ready; that of a file as a
 * descriptor.
 */
import { EPOLLIN, EPOLLOUT } from "#base/system-calls.ts";
import { headExtraBytes, judgeReady, writeHead } from "../ready/ready-answer.ts";
import { lineBytes } from "../ready/ready-memory.ts";
import { findReady } from "../ready/ready-reader.ts";
import { headWord, recordDouble, recordWord } from "../ready/ready-record.ts";
import { broken, isBlocked, send, sendFile, sendFileWithHead, sendWithBody, watchClient } from "./channel.ts";
import { count } from "./counts.ts";
import { type Client, type Lane } from "./lane.ts";
import { headBytesMax, layout, receiveBytes } from "./layout.ts";
import { isInPageCache } from "./page-cache.ts";
import { noteSent } from "./sent-ring.ts";
import { abandon, takeBack } from "./sessions.ts";
import { dropUnsent } from "./unsent.ts";

/** How long a client may pause before the minimum rate applies. */
const pauseMsMax = 30_000;
/** A body that the system usually takes at once. */
export const smallBytesMax = 16 * 1024;

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
  if (file === -1 && lane.unsentBytes > lane.limits.unsentBytesMax && bodyEnd - bodyStart > smallBytesMax) return false;
  const bodyOffset = memory.doubles[(line * lineBytes) / 8 + recordDouble.bodyOffset] as number;
  const number = memory.words[at + recordWord.number] as number;
  if (file !== -1 && bodyStart < bodyEnd) {
    const isWhole = status === 200;
    if (!isInPageCache(lane, number, isWhole, file, bodyOffset + bodyStart, bodyOffset + bodyEnd)) return false;
  }
  // The pair's session is between two requests; but what the main thread does with it must not end this response.
  if (client.pair !== null) takeBack(lane, client.pair);
  const headEnd = writeHead(memory, line, answer, lane.wallMs, lane.headEndsAt, bytes, layout.responseHead);
  const headLength = headEnd - layout.responseHead;
  noteSent(ready.sent, number, status, bodyEnd - bodyStart);
  count(lane.counts, "answered");
  client.hasAnswered = true;
  client.sinceMs = lane.nowMs;
  if (bodyStart === bodyEnd) sendHead(lane, client, headLength);
  else if (file === -1) {
    const body = line * lineBytes + (memory.words[at + recordWord.bodyAt] as number);
    sendInline(lane, client, headLength, body + bodyStart, bodyEnd - bodyStart);
  } else sendPart(lane, client, headLength, { file, offset: bodyOffset + bodyStart, end: bodyOffset + bodyEnd });
  return true;
}

function sendHead(lane: Lane, client: Client, headLength: number): void {
  const sent = send(lane, client, layout.responseHead, headLength, false);
  if (sent === broken) abandon(lane, client);
  else if (sent < headLength || isBlocked(client)) keep(lane, client, headRest(lane, sent, headLength), null);
}

/** @param body offset in the memory of ready responses */
function sendInline(lane: Lane, client: Client, headLength: number, body: number, bodyLength: number): void {
  const sent = sendWithBody(lane, client, headLength, body, bodyLength);
  if (sent === broken) {
    abandon(lane, client);
    return;
  }
  if (lane.ready === null || (sent === headLength + bodyLength && !isBlocked(client))) return;
  const bodySent = Math.max(0, sent - headLength);
  const rest = lane.ready.memory.bytes.subarray(body + bodySent, body + bodyLength);
  keep(lane, client, Buffer.concat([headRest(lane, sent, headLength), rest]), null);
}

interface FilePart {
  readonly file: number;
  readonly offset: number;
  readonly end: number;
}

function sendPart(lane: Lane, client: Client, headLength: number, part: FilePart): void {
  const { file, offset, end } = part;
  const sent = sendFileWithHead(lane, client, headLength, file, offset, end);
  if (sent === broken) {
    abandon(lane, client);
    return;
  }
  const from = offset + Math.max(0, sent - headLength);
  if (from === end && !isBlocked(client)) return;
  keep(lane, client, headRest(lane, sent, headLength), from === end ? null : { ...part, offset: from });
}

function headRest({ bytes }: Lane, sent: number, headLength: number): Buffer {
  const from = layout.responseHead + Math.min(sent, headLength);
  return Buffer.from(bytes.subarray(from, layout.responseHead + headLength));
}

/** Keeps what the client has not taken, until it takes more. */
export function keep(lane: Lane, client: Client, bytes: Buffer, part: FilePart | null): void {
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
  watchClient(lane, client, EPOLLOUT);
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
    const sent = send(lane, client, layout.receive, wanted, unsent.file !== -1);
    if (sent === broken) {
      abandon(lane, client);
      return false;
    }
    unsent.at += sent;
    lane.unsentBytes -= sent;
    if (unsent.at < unsent.bytes.length) return false;
    unsent.bytes = null;
  }
  if (unsent.file !== -1) {
    const sent = sendFile(lane, client, unsent.file, unsent.offset, unsent.end);
    if (sent === broken) {
      abandon(lane, client);
      return false;
    }
    unsent.offset += sent;
    if (unsent.offset < unsent.end) return false;
  }
  if (isBlocked(client)) return false;
  dropUnsent(lane, client);
  client.sinceMs = lane.nowMs;
  watchClient(lane, client, EPOLLIN);
  return true;
}
