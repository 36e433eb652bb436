/** Answers the request of a stream with a ready response (hits.ts), or relays it to the main thread. */
import { readRequest } from "../../http2/request-fields.ts";
import { malformed } from "../http2/charging.ts";
import type { Stream } from "../http2/connection.ts";
import { payloadBytesMax } from "../http2/frame.ts";
import { textsOf } from "../http2/hpack-decoder.ts";
import { encodeLines, encodeStatus } from "../http2/hpack-encoder.ts";
import { readPlainRequest } from "../http2/plain-request.ts";
import { beginHeaders, endHeaders, offer } from "../http2/sending.ts";
import { headExtraBytes, judgeReady, writeHead } from "../ready/ready-answer.ts";
import { lineBytes } from "../ready/ready-memory.ts";
import { findReady } from "../ready/ready-reader.ts";
import { headWord, recordDouble, recordWord } from "../ready/ready-record.ts";
import { count } from "./counts.ts";
import { smallBytesMax } from "./hits.ts";
import { relayStream } from "./http2-relays.ts";
import { type Http2, type Lane, type LaneHttp2 } from "./lane.ts";
import { layout } from "./layout.ts";
import { isInPageCache } from "./page-cache.ts";
import { noteSent } from "./sent-ring.ts";

/** Copies of bodies for one connection. Beyond, the main thread answers, which has a budget for slow clients. */
const copiedBytesMax = 1024 * 1024;
/** A longer head is left to the main thread: as HEADERS, it must fit into one frame. */
const headBytesMax = 12 * 1024;

/** The request's fields are in the host's list. */
export function answerStream(lane: Lane, http2: Http2, stream: Stream): void {
  const { http2: all, head } = lane;
  if (all === null) return;
  const { list } = all.host;
  if (lane.ready !== null && stream.isRemoteClosed && readPlainRequest(list, all.text, head)) {
    head.isSecure = http2.client.secure !== null;
    if (answerReady(lane, all, http2, stream)) return;
  }
  const request = readRequest(textsOf(list), !stream.isRemoteClosed);
  if (request.outcome === "malformed") {
    malformed(http2, all.host, stream);
    return;
  }
  if (request.body === "length") {
    stream.announcedBytes = Number(request.fields[request.fields.indexOf("content-length") + 1]);
  }
  relayStream(lane, http2, stream, request);
}

/** @returns false: nothing was sent, and the main thread is to answer */
function answerReady(lane: Lane, { host, text }: LaneHttp2, http2: Http2, stream: Stream): boolean {
  const { ready, head, answer } = lane;
  if (ready === null) return false;
  const { memory } = ready;
  const line = findReady(memory, text, head, lane.wallMs);
  if (line === 0 || !judgeReady(memory, line, text, head, answer)) return false;
  const at = (line * lineBytes) / 4;
  if ((memory.words[at + recordWord.whole + headWord.length] as number) + headExtraBytes > headBytesMax) return false;
  const { bodyStart, bodyEnd, status } = answer;
  const length = bodyEnd - bodyStart;
  const file = memory.words[at + recordWord.descriptor] as number;
  if (file === -1 && length > smallBytesMax) {
    if (lane.unsentBytes > lane.limits.unsentBytesMax || http2.copiedBytes > copiedBytesMax) return false;
  }
  const bodyOffset = memory.doubles[(line * lineBytes) / 8 + recordDouble.bodyOffset] as number;
  const number = memory.words[at + recordWord.number] as number;
  if (file !== -1 && length > 0) {
    const isWhole = status === 200;
    if (!isInPageCache(lane, number, isWhole, file, bodyOffset + bodyStart, bodyOffset + bodyEnd)) return false;
  }
  const linesEnd = writeHead(memory, line, answer, lane.wallMs, lane.headEndsAt, lane.bytes, layout.responseHead) - 2;
  const lines = lane.bytes.indexOf(lineFeed, layout.responseHead) + 1; // behind the status line
  const sectionAt = encodeStatus(status, lane.bytes, beginHeaders(http2, host, payloadBytesMax));
  const end = encodeLines(lane.bytes, lines, linesEnd, lane.bytes, sectionAt);
  noteSent(ready.sent, number, status, length);
  count(lane.counts, "answered");
  if (length > 0) {
    const body = line * lineBytes + (memory.words[at + recordWord.bodyAt] as number);
    stream.source =
      file === -1
        ? { kind: "memory", bytes: memory.bytes, at: body + bodyStart, copiedBytes: 0 }
        : { kind: "file", file, offset: bodyOffset + bodyStart, isOwn: false };
    http2.borrowers.push(stream);
  }
  endHeaders(http2, host, stream, end, length === 0);
  if (length > 0) offer(http2, stream, length, true);
  return true;
}

const lineFeed = 10;
