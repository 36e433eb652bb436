/**
 * Requests over HTTP/2 that the lane does not answer: each stream has a session of its own with the main thread, in
 * which its request is one of HTTP/1.1.
 *
 *   stream ─▶ text of HTTP/1.1 ─▶ session ─▶ front of the main thread
 *   stream ◀─ HEADERS, DATA ◀─ response-reader.ts ◀─ session        at most one read of it waits for the stream
 *
 * Bodies of requests are not passed on, because nothing that is served has a use for them. So the main thread answers
 * from the head alone.
 */
import { headOf, type Http2Request } from "../../http2/request-fields.ts";
import { createResponseReader } from "../../http2/response-reader.ts";
import type { Stream } from "../http2/connection.ts";
import { errorCode } from "../http2/frame.ts";
import { encodedBytesMax, encodeFields, encodeStatus } from "../http2/hpack-encoder.ts";
import { offer, resetStream, sendSection } from "../http2/sending.ts";
import { readRequestHead } from "../request-head.ts";
import { count } from "./counts.ts";
import { copyOf, type Http2, type Lane, type SessionUser, type StreamRelay } from "./lane.ts";
import { layout, pairReceiveBytes, relayedBytesMax } from "./layout.ts";
import { getInLine, mayBegin } from "./session-turns.ts";
import { openUserSession, partUser, readPair } from "./sessions.ts";

/** A longer head of a response is an error. */
const sectionBytesMax = 256 * 1024;

/** Lets the main thread answer. */
export function relayStream(lane: Lane, http2: Http2, stream: Stream, request: Http2Request): void {
  const { http2: all } = lane;
  if (all === null) return;
  const network = http2.client.network();
  if (!mayRelay(lane, network)) {
    count(lane.counts, "refused");
    resetStream(http2, all.host, stream, errorCode.refusedStream);
    return;
  }
  const relay = newRelay(lane, http2, stream);
  http2.relays.set(stream, relay);
  all.relays += 1;
  all.relaysByNetwork.set(network, (all.relaysByNetwork.get(network) ?? 0) + 1);
  relay.reader.begin(request.method === "HEAD");
  // The front answers requests that it can read, and offers the connection back. All others end with theirs.
  let lengthBytes = write(lane, headOf(request, false));
  const outcome = readRequestHead(lane.bytes, layout.relayed, layout.relayed + lengthBytes, lane.head);
  relay.isPlain = outcome === "whole" && lane.head.isPlain;
  if (!relay.isPlain) lengthBytes = write(lane, headOf(request, true));
  if (mayBegin(lane)) {
    begin(lane, relay, lengthBytes);
    return;
  }
  relay.request = copyOf(lane, layout.relayed, layout.relayed + lengthBytes);
  http2.inLineBytes += lengthBytes;
  getInLine(lane, network, relay);
}

/** Begins the session. Its request is in the lane's memory. */
function begin(lane: Lane, relay: StreamRelay, lengthBytes: number): void {
  const pair = openUserSession(lane, relay.http2.client, userOf(lane, relay), layout.relayed, lengthBytes);
  if (pair !== undefined && pair.phase !== "closed") relay.pair = pair;
  else refuse(lane, relay);
}

/** The main thread can't take it: the client may try again. */
function refuse(lane: Lane, relay: StreamRelay): void {
  count(lane.counts, "refused");
  relay.cutWith = errorCode.refusedStream;
  lane.http2?.touched.add(relay.http2.client);
}

/** @returns its length. A request has no more bytes than a field list may have. */
function write({ bytes }: Lane, head: string): number {
  return bytes.write(head, layout.relayed, relayedBytesMax, "latin1");
}

/** A client network may have as many as are free, so half of all if it is alone, and always its share. */
function mayRelay({ http2, limits: { relaysMax } }: Lane, network: string): boolean {
  if (http2 === null) return true;
  const { relays, relaysByNetwork } = http2;
  return (relaysByNetwork.get(network) ?? 0) < Math.max(relaysMax - relays, relaysMax / (relaysByNetwork.size + 1));
}

function newRelay(lane: Lane, http2: Http2, stream: Stream): StreamRelay {
  const chunks: Buffer[] = [];
  const relay: StreamRelay = {
    http2,
    stream,
    pair: null,
    isPlain: false,
    heads: [],
    arrivedBytes: 0,
    countedBytes: 0,
    seenBytes: 0,
    isComplete: false,
    cutWith: null,
    request: null,
    listening: http2.client.listening,
    sinceMs: 0,
    begin() {
      const { request } = relay;
      if (request === null) return;
      relay.request = null;
      http2.inLineBytes -= request.length;
      request.copy(lane.bytes, layout.relayed);
      begin(lane, relay, request.length);
    },
    refuse() {
      refuse(lane, relay);
    },
    reader: createResponseReader({
      interim(status, fields) {
        relay.heads.push({ section: sectionOf(status, fields), isInterim: true });
      },
      head(status, fields) {
        relay.heads.push({ section: sectionOf(status, fields), isInterim: false });
      },
      body(bytes) {
        const copy = Buffer.allocUnsafeSlow(bytes.length);
        bytes.copy(copy);
        chunks.push(copy);
        relay.arrivedBytes += bytes.length;
      },
      trailers: () => undefined,
      end() {
        relay.isComplete = true;
      },
    }),
  };
  stream.source = { kind: "chunks", chunks, at: 0 };
  return relay;
}

function sectionOf(status: number, fields: readonly string[]): Buffer {
  const section = Buffer.allocUnsafeSlow(encodedBytesMax(fields) + 8);
  return section.subarray(0, encodeFields(fields, section, encodeStatus(status, section, 0)));
}

/** What the session's response is for. Nothing is written here: settling the connection does that. */
function userOf(lane: Lane, relay: StreamRelay): SessionUser {
  const { http2, stream } = relay;
  const touch = (): void => {
    lane.http2?.touched.add(http2.client);
  };
  return {
    give(at, lengthBytes) {
      if (stream.isClosed) return lengthBytes; // it was complete
      const mostBytes = lane.waitingBytes < lane.limits.waitingBytesMax ? pairReceiveBytes : 1;
      if (http2.isBlocked || stream.readyBytes + relay.arrivedBytes >= mostBytes) return 0;
      if (relay.reader.read(lane.bytes.subarray(at, at + lengthBytes)) !== undefined)
        relay.cutWith = errorCode.internal;
      noteWaiting(lane, relay);
      touch();
      return lengthBytes;
    },
    idle() {
      const { pair } = relay;
      relay.pair = null;
      if (pair !== null) partUser(lane, pair, "leave");
    },
    closed() {
      relay.pair = null;
      if (!relay.isComplete) relay.reader.close();
      if (!relay.isComplete) relay.cutWith ??= errorCode.internal;
      // Whoever would have gone on with HTTP/1.1 would have offered the connection back.
      else if (relay.isPlain) http2.isLeaving = true;
      touch();
    },
  };
}

/** Notes what waits for the client. */
function noteWaiting(lane: Lane, relay: StreamRelay): void {
  const waitingBytes = relay.stream.isClosed ? 0 : relay.stream.readyBytes + relay.arrivedBytes;
  lane.waitingBytes += waitingBytes - relay.countedBytes;
  relay.countedBytes = waitingBytes;
}

/** Sends heads that have arrived, and offers the bodies behind them. */
export function sendRelayed(lane: Lane, http2: Http2): void {
  const { http2: all } = lane;
  if (all === null || http2.relays.size === 0) return;
  for (const relay of http2.relays.values()) {
    const { stream, heads } = relay;
    const isLong = heads.some(({ section }) => section.length > sectionBytesMax);
    if (isLong) {
      resetStream(http2, all.host, stream, errorCode.internal);
      continue;
    }
    for (const { section, isInterim } of heads) {
      const isLast = !isInterim && relay.isComplete && relay.arrivedBytes === 0;
      sendSection(http2, all.host, stream, section, { isLast, isInterim });
    }
    relay.heads = [];
    if (relay.cutWith !== null) resetStream(http2, all.host, stream, relay.cutWith);
    if (stream.isClosed) continue;
    offer(http2, stream, relay.arrivedBytes, relay.isComplete);
    relay.arrivedBytes = 0;
  }
}

/** Reads on in sessions whose streams have sent what there was. @returns whether there was something */
export function resumeRelays(lane: Lane, http2: Http2): boolean {
  let hasRead = false;
  for (const relay of http2.relays.values()) {
    noteWaiting(lane, relay);
    const { pair, stream } = relay;
    if (pair?.isClientFull !== true || http2.isBlocked || stream.readyBytes > 0) continue;
    readPair(lane, pair);
    hasRead = true;
  }
  return hasRead;
}

/** The stream is closed: if its response is incomplete, the main thread learns of it. */
export function partRelay(lane: Lane, http2: Http2, stream: Stream): void {
  const { http2: all } = lane;
  const relay = http2.relays.get(stream);
  if (relay === undefined || all === null) return;
  http2.relays.delete(stream);
  noteWaiting(lane, relay);
  all.relays -= 1;
  const network = http2.client.network();
  const left = (all.relaysByNetwork.get(network) ?? 0) - 1;
  if (left <= 0) all.relaysByNetwork.delete(network);
  else all.relaysByNetwork.set(network, left);
  const { pair, request } = relay;
  if (request !== null) {
    relay.request = null;
    http2.inLineBytes -= request.length;
    lane.inLine.remove(network, relay);
  }
  if (pair === null) return;
  if (relay.isComplete) {
    pair.sinceMs = lane.nowMs; // it is not waited for long (sweepPair)
    pair.isUserDone = true;
    return;
  }
  relay.pair = null;
  partUser(lane, pair, "gone");
}
