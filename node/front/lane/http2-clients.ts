/**
 * Clients that speak HTTP/2: gives their bytes to the engine of front/http2/, and sends what it writes.
 *
 *   bytes ─▶ read() ─▶ settle: heads and bodies in turn ─▶ flush ─▶ blocked? then it is not read
 *
 * While the client takes nothing, nothing is read from it: so what waits for it is bounded.
 */
import { EPOLLIN } from "#base/system-calls.ts";
import { heldBytesOf, type Host, newConnection } from "../http2/connection.ts";
import { errorCode } from "../http2/frame.ts";
import { read } from "../http2/reading.ts";
import { announceGoaway, pump, resetStream, sendGoaway } from "../http2/sending.ts";
import { endSending, watchClient } from "./channel.ts";
import { count } from "./counts.ts";
import { openHost } from "./http2-host.ts";
import { keepBodies } from "./http2-bodies.ts";
import { resumeRelays, sendRelayed } from "./http2-relays.ts";
import { type Client, copyOf, type Http2, type Lane } from "./lane.ts";
import { layout } from "./layout.ts";
import { abandon, closeClient, holds } from "./sessions.ts";

/** Requests of one client that begin per turn. */
const requestsMax = 16;
/** What is sent of bodies between two requests. */
const sentBetweenMax = 64 * 1024;
/** What one client gets per turn. */
const sentAtOnceMax = 512 * 1024;
/** How long a client has to acknowledge that it opens no more streams. */
const announcedMaxMs = 1000;
/** How long a client has to read the last frames, and what it may send meanwhile. */
const endingMs = 2000;
const endingBytesMax = 256 * 1024;

export function openHttp2(lane: Lane, client: Client): Http2 {
  lane.http2 ??= openHost(lane);
  count(lane.counts, "http2Connections");
  count(lane.counts, "http2Open");
  return Object.assign(newConnection(lane.nowMs), {
    client,
    borrowers: [],
    relays: new Map(),
    inLineBytes: 0,
    copiedBytes: 0,
    waitingBytes: 0,
    deadlines: new Map(),
    isBroken: false,
    isLeaving: false,
    announcedMs: 0,
    isEnding: false,
    hasEnded: false,
    droppedBytes: 0,
  });
}

/** Whether no stream is in progress. */
export function isIdleHttp2({ streams }: Http2): boolean {
  return streams.size === 0;
}

/** Reads the frames in the receive buffer. */
export function readHttp2(lane: Lane, client: Client, http2: Http2, lengthBytes: number): void {
  if (lane.http2 === null) return;
  if (http2.isEnding) {
    http2.droppedBytes += lengthBytes;
    if (http2.droppedBytes > endingBytesMax) closeClient(lane, client);
    return;
  }
  const { host } = lane.http2;
  const inputEnd = layout.receive + lengthBytes;
  let at = layout.receive;
  for (let requests = 0; requests < requestsMax && at < inputEnd && !http2.isBlocked; requests += 1) {
    at = read(http2, host, lane.bytes, at, inputEnd, 1);
    // A body that is sent before the next request begins need not be kept.
    pump(http2, host, sentBetweenMax);
  }
  client.rest = at < inputEnd ? copyOf(lane, at, inputEnd) : null;
  settle(lane, client, http2);
}

/** Reads what has arrived before, and sends what has waited. */
export function resumeHttp2(lane: Lane, client: Client, http2: Http2): void {
  http2.isBlocked = false;
  const { rest } = client;
  client.rest = null;
  rest?.copy(lane.bytes, layout.receive);
  if (rest === null || http2.isEnding) settle(lane, client, http2);
  else readHttp2(lane, client, http2, rest.length);
}

/** Sends what there is for the client, as far as it takes it. */
function settle(lane: Lane, client: Client, http2: Http2): void {
  if (lane.http2 === null || http2.isEnding) {
    if (http2.isEnding && client.unsent === null) end(lane, client, http2);
    return;
  }
  const { host, touched } = lane.http2;
  let hasMore = false;
  do {
    sendRelayed(lane, http2);
    hasMore = pump(http2, host, sentAtOnceMax);
  } while (!hasMore && resumeRelays(lane, http2));
  keepBodies(lane, http2);
  if (http2.isLeaving && !http2.hasSaidGoaway) leave(lane, http2, host);
  host.flush(http2, false);
  touched.delete(client);
  if (lane.clients.get(client.descriptor) !== client) return;
  if (http2.isBroken) {
    abandon(lane, client);
    return;
  }
  const isLast = http2.hasSaidGoaway || http2.hasHeardGoaway;
  if (http2.phase === "failed" || (isLast && isIdleHttp2(http2))) {
    http2.isEnding = true;
    client.rest = null;
    client.sinceMs = lane.nowMs;
    if (client.unsent === null) end(lane, client, http2);
    return;
  }
  holds(lane, client, (client.rest?.length ?? 0) + heldBytesOf(http2) + http2.inLineBytes);
  if (client.unsent === null && (hasMore || client.rest !== null)) waitForTurn(lane, client);
}

/** Tells the client to open no more streams; when it knows, or late, that none is answered any more. */
function leave(lane: Lane, http2: Http2, host: Host): void {
  const { phase, goaway, hasHeardGoaway, announcedMs } = http2;
  // The first frame would have to be SETTINGS.
  if (phase === "preface") http2.phase = "failed";
  else if (hasHeardGoaway || goaway === "read") sendGoaway(http2, host, errorCode.none);
  else if (goaway === "none") {
    announceGoaway(http2, host);
    http2.announcedMs = lane.nowMs;
  } else if (lane.nowMs - announcedMs >= announcedMaxMs) sendGoaway(http2, host, errorCode.none);
}

/** A client for whom there is much to do does not keep the lane from the others. */
function waitForTurn(lane: Lane, client: Client): void {
  if (client.isWaiting) return;
  client.isWaiting = true;
  lane.waiting.push(client);
  watchClient(lane, client, 0);
}

/** Everything is sent. The connection closes when the client has read it, and closes it too. */
function end(lane: Lane, client: Client, http2: Http2): void {
  if (http2.hasEnded) return;
  http2.hasEnded = true;
  endSending(lane, client);
  watchClient(lane, client, EPOLLIN);
}

/** Sends what has arrived for streams from the main thread. */
export function settleTouched(lane: Lane): void {
  if (lane.http2 === null || lane.http2.touched.size === 0) return;
  const clients = [...lane.http2.touched];
  lane.http2.touched.clear();
  for (const client of clients) {
    if (lane.clients.get(client.descriptor) === client && client.http2 !== null) settle(lane, client, client.http2);
  }
}

/** Streams in progress end, and no new ones begin. */
export function drainHttp2(lane: Lane, client: Client, http2: Http2): void {
  http2.isLeaving = true;
  settle(lane, client, http2);
}

/** Ends connections that are silent, and streams whose client is too slow. */
export function sweepHttp2(lane: Lane, client: Client, http2: Http2): void {
  const { nowMs } = lane;
  const silentMs = nowMs - client.sinceMs;
  if (http2.isEnding) {
    if (silentMs >= endingMs) abandon(lane, client);
    return;
  }
  if (lane.http2 === null || client.unsent !== null || client.isWaiting) return;
  const { headers, idle } = client.listening.rules.waitsMs;
  const isAnnounced = http2.isLeaving && !http2.hasSaidGoaway;
  if (isIdleHttp2(http2) && !isAnnounced) {
    if (silentMs < (client.hasAnswered ? idle : headers)) return;
    count(lane.counts, "timedOut");
    http2.isLeaving = true;
  } else {
    for (const [stream, untilMs] of http2.deadlines) {
      if (nowMs < untilMs) continue;
      count(lane.counts, "timedOut");
      resetStream(http2, lane.http2.host, stream, errorCode.cancel);
    }
    if (!hasStalled(lane, http2) && !isAnnounced) return;
  }
  settle(lane, client, http2);
}

/** Resets streams that have taken nothing of their response for too long. @returns whether something changed */
function hasStalled(lane: Lane, http2: Http2): boolean {
  const { host } = lane.http2 ?? {};
  const { stalled } = http2.client.listening.rules.waitsMs;
  let isChanged = http2.deadlines.size > 0;
  for (const relay of http2.relays.values()) {
    const { pair, stream } = relay;
    if (pair === null || !pair.isClientFull) continue;
    if (stream.readyBytes !== relay.seenBytes || pair.fullSinceMs === 0) {
      relay.seenBytes = stream.readyBytes;
      pair.fullSinceMs = lane.nowMs;
    } else if (lane.nowMs - pair.fullSinceMs >= stalled && host !== undefined) {
      count(lane.counts, "timedOut");
      resetStream(http2, host, stream, errorCode.cancel);
      isChanged = true;
    }
  }
  return isChanged;
}
