/**
 * TLS handshakes in a lane, with the rules of tls/acceptor.ts:
 *
 *   accept ─▶ hello ─▶ turn ─▶ shaking ─▶ client (clients.ts)
 *              │         │        └ failed
 *              │         └ client networks in turn, a few per turn of the lane
 *              ├ plain HTTP ─▶ 400 ─▶ lingering
 *              └ silence, too slow, too many of a network ─▶ closed
 *
 * The lane peeks at the ClientHello and leaves it in the socket, so OpenSSL finds it there. OpenSSL allocates memory
 * for a connection only when the hello is complete and its turn has come.
 */
import { clientNetworkOf } from "#base/client-network.ts";
import { SSL_ERROR_SSL, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, TLS_1_3 } from "#base/openssl.ts";
import {
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  errnos,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  SHUT_WR,
} from "#base/system-calls.ts";
import { chooseCertificate } from "../../tls/certificate-index.ts";
import { readClientHello } from "../../tls/client-hello.ts";
import { failureOf, type HandshakeFailure, isPlainHttp, plainRefusal } from "../../tls/handshake-results.ts";
import { freeSsl } from "./channel.ts";
import { count } from "./counts.ts";
import { close, type Handshake, type Lane, type LaneTls, nextStamp, watch, watchFor } from "./lane.ts";
import { layout, receiveBytes } from "./layout.ts";

/** How many begin in one turn: some 2 ms of it. */
const begunPerTurnMax = 4;
/** A hello that is longer is left to OpenSSL (client-hello.ts). */
const helloRoomBytes = 20 * 1024;
const lingerMs = 2000;
const lingerBytesMax = 64 * 1024;
const flags = MSG_DONTWAIT | MSG_NOSIGNAL;

/** A connection whose handshake is complete. */
export interface Completed extends Pick<Handshake, "descriptor" | "listening" | "address" | "port" | "ssl"> {
  readonly isHttp2: boolean;
}

export function beginHandshake(
  lane: Lane,
  about: Pick<Handshake, "descriptor" | "listening" | "address" | "port">,
): void {
  const { tls } = lane;
  if (tls === null) throw new Error("a listener for TLS in a lane without");
  const handshake: Handshake = {
    ...about,
    stamp: nextStamp(lane),
    watching: 0,
    network: clientNetworkOf(about.address),
    phase: "hello",
    seenBytes: 0,
    hello: undefined,
    ticketKeyNames: [],
    ssl: 0,
    untilMs: lane.nowMs + tls.limits.handshakeMs,
    droppedBytes: 0,
  };
  tls.handshakes.set(about.descriptor, handshake);
  count(lane.counts, "handshakes");
  watch(lane, handshake, EPOLLIN | EPOLLRDHUP);
  const crowded = tls.pending.begin(handshake, handshake.network);
  if (crowded !== undefined) fail(lane, tls, crowded, "crowded");
}

/** @returns the connection, if its handshake is complete now */
export function continueHandshake(
  lane: Lane,
  tls: LaneTls,
  handshake: Handshake,
  events: number,
): Completed | undefined {
  switch (handshake.phase) {
    case "hello":
      return readHello(lane, tls, handshake, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0);
    case "turn":
      // Nothing but the end is watched for.
      fail(lane, tls, handshake, "closed");
      return undefined;
    case "shaking":
      return shake(lane, tls, handshake);
    case "lingering":
      linger(lane, tls, handshake);
      return undefined;
  }
}

/** Begins handshakes that wait for their turn. */
export function beginWaiting(lane: Lane, tls: LaneTls, done: (completed: Completed) => void): void {
  tls.begun = 0;
  while (tls.begun < begunPerTurnMax) {
    const next = tls.queue.next();
    if (next === undefined) return;
    const completed = start(lane, tls, next);
    if (completed !== undefined) done(completed);
  }
}

/** Closes those that take too long. */
export function sweepHandshakes(lane: Lane, tls: LaneTls): void {
  for (const handshake of tls.handshakes.values()) {
    if (lane.nowMs < handshake.untilMs) continue;
    if (handshake.phase === "lingering") closeHandshake(lane, tls, handshake);
    else fail(lane, tls, handshake, "timeout");
  }
}

/** Closes all of a listener. */
export function cutHandshakes(lane: Lane, tls: LaneTls, id: number): void {
  for (const handshake of tls.handshakes.values()) {
    if (handshake.listening.id !== id) continue;
    if (handshake.phase === "lingering") closeHandshake(lane, tls, handshake);
    else fail(lane, tls, handshake, "closed");
  }
}

function readHello(lane: Lane, tls: LaneTls, handshake: Handshake, hasEnded: boolean): Completed | undefined {
  const { calls, memory, bytes } = lane;
  const { descriptor, seenBytes } = handshake;
  const at = memory.address + layout.receive;
  const received = calls.receive(descriptor, at, helloRoomBytes, MSG_PEEK | MSG_DONTWAIT);
  if (received < 0) {
    const errno = calls.errno();
    if (errno !== errnos.EAGAIN && errno !== errnos.EINTR) fail(lane, tls, handshake, "closed");
    return undefined;
  }
  // The first bytes end in the middle: there will be no handshake.
  if (received === 0 || (hasEnded && received === seenBytes)) {
    fail(lane, tls, handshake, "closed");
    return undefined;
  }
  const seen = bytes.subarray(layout.receive, layout.receive + received);
  handshake.seenBytes = received;
  const read = readClientHello(seen);
  if (read.outcome === "partial") {
    wakeFrom(lane, descriptor, received + 1);
    return undefined;
  }
  if (seenBytes > 0) wakeFrom(lane, descriptor, 1);
  if (read.outcome === "not-tls") {
    if (isPlainHttp(seen)) refusePlain(lane, tls, handshake);
    else fail(lane, tls, handshake, "not-tls");
    return undefined;
  }
  handshake.hello = read.outcome === "whole" ? read.hello : undefined;
  if (tls.begun < begunPerTurnMax && tls.queue.size() === 0) return start(lane, tls, handshake);
  handshake.phase = "turn";
  tls.queue.add(handshake.network, handshake);
  watchFor(lane, handshake, EPOLLRDHUP);
  return undefined;
}

/** So many bytes have to be there before epoll reports them. */
function wakeFrom({ calls, memory, words }: Lane, descriptor: number, lengthBytes: number): void {
  words[layout.control / 4] = lengthBytes;
  calls.setOption(descriptor, "receiveLowMark", memory.address + layout.control);
}

function start(lane: Lane, tls: LaneTls, handshake: Handshake): Completed | undefined {
  const { descriptor, hello } = handshake;
  tls.begun += 1;
  if (tls.index === null) {
    fail(lane, tls, handshake, "closed");
    return undefined;
  }
  const certificate = chooseCertificate(tls.index, hello);
  const context = tls.contexts.contextFor(certificate);
  const ssl = typeof context === "string" ? 0 : tls.ssl.open(context, descriptor);
  if (ssl === 0) {
    if (!tls.reported.has(certificate) && typeof context === "string") tls.report(context);
    tls.reported.add(certificate);
    fail(lane, tls, handshake, "invalid");
    return undefined;
  }
  tls.native[descriptor] = ssl;
  handshake.ssl = ssl;
  handshake.hello = undefined;
  handshake.ticketKeyNames = hello?.ticketKeyNames ?? [];
  handshake.phase = "shaking";
  const { ocsp } = certificate;
  if (ocsp !== null && ocsp.length <= receiveBytes) {
    ocsp.copy(lane.bytes, layout.receive);
    tls.ssl.staple(ssl, lane.memory.address + layout.receive, ocsp.length);
  }
  return shake(lane, tls, handshake);
}

function shake(lane: Lane, tls: LaneTls, handshake: Handshake): Completed | undefined {
  const { ssl, contexts } = tls;
  contexts.preferTicketKey(handshake.ticketKeyNames);
  const result = ssl.handshake(handshake.ssl);
  if (result === 1) return complete(lane, tls, handshake);
  const error = ssl.getError(handshake.ssl, result);
  const reason = ssl.takeError();
  if (error === SSL_ERROR_WANT_READ) watchFor(lane, handshake, EPOLLIN);
  else if (error === SSL_ERROR_WANT_WRITE) watchFor(lane, handshake, EPOLLOUT);
  else {
    // Otherwise the connection has ended, or was reset.
    const code = `ERR_SSL_${reason.toUpperCase().replaceAll(" ", "_")}`;
    fail(lane, tls, handshake, error === SSL_ERROR_SSL ? failureOf(code) : "closed");
  }
  return undefined;
}

function complete(lane: Lane, tls: LaneTls, handshake: Handshake): Completed {
  const { counts, memory, words } = lane;
  const { descriptor, listening, address, port, ssl } = handshake;
  const isResumed = tls.ssl.isResumed(ssl);
  if (tls.ssl.version(ssl) === TLS_1_3) count(counts, isResumed ? "resumed13" : "full13");
  else count(counts, isResumed ? "resumed12" : "full12");
  count(counts, "secured");
  tls.ssl.takeError();
  tls.ssl.staple(ssl, 0, 0);
  words[layout.protocol / 4 + 2] = 0;
  tls.ssl.chosenProtocol(ssl, memory.address + layout.protocol, memory.address + layout.protocol + 8);
  tls.countSteps(ssl);
  forget(lane, tls, handshake);
  // Of the protocols that are offered, only "h2" has two characters.
  return { descriptor, listening, address, port, ssl, isHttp2: words[layout.protocol / 4 + 2] === 2 };
}

function fail(lane: Lane, tls: LaneTls, handshake: Handshake, failure: HandshakeFailure): void {
  count(lane.counts, `handshake ${failure}`);
  closeHandshake(lane, tls, handshake);
}

function closeHandshake(lane: Lane, tls: LaneTls, handshake: Handshake): void {
  const { calls, memory } = lane;
  const { descriptor, listening, ssl } = handshake;
  // What was only looked at would turn the end into a reset, and take an alert with it.
  calls.receive(descriptor, memory.address + layout.receive, helloRoomBytes, MSG_DONTWAIT);
  forget(lane, tls, handshake);
  if (ssl !== 0) freeSsl(tls, descriptor, ssl);
  close(lane, descriptor);
  count(lane.counts, "open", -1);
  listening.openClients -= 1;
  if (listening.isDraining && listening.openClients === 0) lane.drained(listening.id);
}

function forget(lane: Lane, tls: LaneTls, handshake: Handshake): void {
  settle(lane, tls, handshake);
  tls.handshakes.delete(handshake.descriptor);
}

/** It is not in progress any more. */
function settle(lane: Lane, tls: LaneTls, handshake: Handshake): void {
  const { phase, network } = handshake;
  if (phase !== "lingering") count(lane.counts, "handshakes", -1);
  if (phase === "turn") tls.queue.remove(network, handshake);
  tls.pending.end(handshake);
}

/** Answers clients that speak HTTP without TLS here, so that people see what is wrong. */
function refusePlain(lane: Lane, tls: LaneTls, handshake: Handshake): void {
  const { calls, memory, bytes } = lane;
  const { descriptor } = handshake;
  count(lane.counts, "handshake not-tls");
  settle(lane, tls, handshake);
  handshake.phase = "lingering";
  handshake.untilMs = lane.nowMs + lingerMs;
  bytes.write(plainRefusal, layout.responseHead, "latin1");
  calls.send(descriptor, memory.address + layout.responseHead, plainRefusal.length, flags);
  calls.shutdown(descriptor, SHUT_WR);
  linger(lane, tls, handshake);
}

/** Reads what still arrives, or the client would lose its response with the reset that unread bytes cause. */
function linger(lane: Lane, tls: LaneTls, handshake: Handshake): void {
  const { calls, memory } = lane;
  const received = calls.receive(
    handshake.descriptor,
    memory.address + layout.receive,
    lingerBytesMax - handshake.droppedBytes,
    MSG_DONTWAIT,
  );
  if (received > 0) handshake.droppedBytes += received;
  const isOver = received === 0 || (received < 0 && calls.errno() !== errnos.EAGAIN);
  if (isOver) closeHandshake(lane, tls, handshake);
  else if (handshake.droppedBytes >= lingerBytesMax) watchFor(lane, handshake, 0);
  else watchFor(lane, handshake, EPOLLIN);
}
