/**
 * The clients of a lane: accepts their connections, reads requests from them, and closes them when they are silent or
 * too many. Requests that the lane does not answer itself go to the main thread (sessions.ts).
 */
import { textOfIp } from "#base/ip-octets.ts";
import { clientNetworkOf } from "#base/client-network.ts";
import { canonicalAddress } from "#base/ip-text.ts";
import { portAt } from "#base/socket-address.ts";
import { EPOLLIN, EPOLLOUT, errnos, socketAddress } from "#base/system-calls.ts";
import { readRequestHead } from "../request-head.ts";
import { hold } from "../unfinished.ts";
import { broken, nothing, receive, watchClient } from "./channel.ts";
import { count } from "./counts.ts";
import { drop, freeDescriptors, hasRoom } from "./crowding.ts";
import { beginHandshake, type Completed, cutHandshakes, sweepHandshakes } from "./handshakes.ts";
import {
  type Client,
  close,
  copyOf,
  type Lane,
  type ListeningSocket,
  nextStamp,
  type Pair,
  unwatch,
  watch,
  watchFor,
} from "./lane.ts";
import { layout, passedBytes, receiveBytes } from "./layout.ts";
import { answerReady, sendRest } from "./hits.ts";
import { drainHttp2, isIdleHttp2, openHttp2, readHttp2, resumeHttp2, sweepHttp2 } from "./http2-clients.ts";
import { closeOverdue, passInTurn } from "./session-turns.ts";
import { abandon, closePair, holds, partUser, pass, takeBack, tell, watchBoth } from "./sessions.ts";

/** Connections accepted per wake-up: the clients that are there already have their turn in between. */
const acceptedMax = 64;
/** How long a lane without free descriptors does not accept. */
const acceptPauseMs = 100;
/** Requests of one client that are answered per turn. */
const answeredMax = 16;
/** A head in more pieces is passed on: here, all of it is read again for each. */
const piecesMax = 16;
/** A connection that has been idle for this long does not need its pair any more. */
const quietMs = 1000;
/** How long the main thread has to notice that a session has ended. */
const leavingMs = 2000;

export function acceptAll(lane: Lane, listening: ListeningSocket): void {
  const { calls, memory, words, owned } = lane;
  for (let accepted = 0; accepted < acceptedMax && !listening.isDraining; accepted += 1) {
    words[layout.addressLength / 4] = socketAddress.roomBytes;
    const { address } = memory;
    const descriptor = calls.accept(listening.descriptor, address + layout.address, address + layout.addressLength);
    if (descriptor >= 0) {
      // Before any function is called: there, a thread may be ended by force, and nobody else would close this.
      owned[descriptor] = 1;
      accept(lane, listening, descriptor);
      continue;
    }
    const errno = calls.errno();
    if (errno === errnos.EINTR || errno === errnos.ECONNABORTED) continue;
    if (errno === errnos.EAGAIN) return;
    // No descriptor is left, or the socket listens no more: nothing to do for a while.
    listening.pausedUntilMs = lane.nowMs + acceptPauseMs;
    watchFor(lane, listening, 0);
    if (errno === errnos.EMFILE || errno === errnos.ENFILE) freeDescriptors(lane, listening);
    return;
  }
}

function accept(lane: Lane, listening: ListeningSocket, descriptor: number): void {
  const { owned, counts } = lane;
  const address = addressIn(lane);
  if (descriptor >= owned.length || !hasRoom(lane, listening, address)) {
    count(counts, "refused");
    close(lane, descriptor);
    return;
  }
  listening.openClients += 1;
  count(counts, "accepted");
  count(counts, "open");
  const about = { descriptor, listening, address, port: portAt(lane.bytes, layout.address) };
  if (listening.rules.isSecure) beginHandshake(lane, about);
  else watch(lane, addClient(lane, { ...about, ssl: 0, isHttp2: listening.rules.isHttp2 }), EPOLLIN);
}

function addClient(lane: Lane, { descriptor, listening, address, port, ssl, isHttp2 }: Completed): Client {
  let network: string | undefined;
  const client: Client = {
    descriptor,
    stamp: nextStamp(lane),
    watching: 0,
    listening,
    secure: ssl === 0 ? null : { ssl, record: null, readsAfterWrite: false, isCorked: false },
    http2: null,
    isAhead: false,
    address,
    port,
    network: () => (network ??= clientNetworkOf(address)),
    heldBytes: 0,
    rest: null,
    pieces: 0,
    sinceMs: lane.nowMs,
    hasAnswered: false,
    isEnded: false,
    pair: null,
    unsent: null,
    isWaiting: false,
    isLate: false,
  };
  if (isHttp2) client.http2 = openHttp2(lane, client);
  lane.clients.set(descriptor, client);
  return client;
}

/** The handshake is complete: the connection is as any other one from now on. */
export function addSecureClient(lane: Lane, completed: Completed): void {
  const client = addClient(lane, completed);
  client.watching = -1; // whatever the handshake has left: epoll has to learn of the new stamp
  // The first request may have come together with the end of the handshake.
  client.isAhead = lane.tls?.ssl.hasPending(completed.ssl) === 1;
  watchBoth(lane, client, client.pair);
}

/** The address that the last accept() has written. */
function addressIn({ bytes }: Lane): string {
  const isV6 = bytes[layout.address + socketAddress.family] !== 2;
  const at = layout.address + (isV6 ? socketAddress.address6 : socketAddress.address4);
  const text = textOfIp(bytes.subarray(at, at + (isV6 ? 16 : 4)));
  return isV6 ? canonicalAddress(text) : text;
}

/** Whether nothing is in progress, and nothing has begun. */
function isIdle(client: Client): boolean {
  return client.rest === null && client.unsent === null && isAlone(client);
}

/** Whether the lane reads this client's requests, and none is in progress. */
function isAlone({ pair, http2 }: Client): boolean {
  return http2 === null ? pair === null || pair.isQuiet : isIdleHttp2(http2);
}

export function readClient(lane: Lane, client: Client): void {
  const { rest } = client;
  rest?.copy(lane.bytes, layout.receive);
  const start = rest?.length ?? 0;
  const isOurs = client.http2 !== null || isAlone(client);
  const room = isOurs ? receiveBytes - start : passedBytes;
  const received = receive(lane, client, layout.receive + start, room);
  if (received === nothing) {
    if (client.secure?.readsAfterWrite === true) watchClient(lane, client, EPOLLOUT);
    else awaitTurn(lane, client);
    return;
  }
  if (received === broken) {
    abandon(lane, client);
    return;
  }
  if (received === 0) {
    ended(lane, client);
    return;
  }
  count(lane.counts, "receivedBytes", received);
  if (isOurs) read(lane, client, start + received);
  else pass(lane, client, layout.receive, received);
  awaitTurn(lane, client);
}

/** The next turn goes on with what TLS has read ahead. */
function awaitTurn(lane: Lane, client: Client): void {
  if (client.isAhead && (client.watching & EPOLLIN) !== 0) lane.ahead.add(client);
}

/** Reads the bytes that TLS has read ahead. */
export function readAhead(lane: Lane): void {
  const clients = [...lane.ahead];
  lane.ahead.clear();
  for (const client of clients) {
    // Whoever is not read now comes back with watchClient().
    if (lane.clients.get(client.descriptor) === client && (client.watching & EPOLLIN) !== 0) readClient(lane, client);
  }
}

/** Reads the requests in the receive buffer, and answers what is ready. */
function read(lane: Lane, client: Client, lengthBytes: number): void {
  const { bytes, head } = lane;
  if (client.http2 !== null) {
    readHttp2(lane, client, client.http2, lengthBytes);
    return;
  }
  const end = layout.receive + lengthBytes;
  let start = layout.receive;
  head.isSecure = client.secure !== null;
  for (let answered = 0; start < end; answered += 1) {
    const outcome = readRequestHead(bytes, start, end, head);
    if (outcome === "partial" && client.pieces < piecesMax) {
      if (client.pieces === 0) client.sinceMs = lane.nowMs;
      client.pieces += 1;
      keepRest(lane, client, start, end);
      return;
    }
    if (outcome !== "whole" || !head.isPlain) break;
    if (answered === answeredMax) {
      waitForTurn(lane, client, start, end);
      return;
    }
    const { lengthBytes: headLength } = head;
    if (!answerReady(lane, client)) break;
    start += headLength;
    client.pieces = 0;
    if (client.unsent === null && lane.clients.get(client.descriptor) === client) continue;
    if (client.unsent !== null) keepRest(lane, client, start, end);
    return;
  }
  release(lane, client);
  if (start < end) passInTurn(lane, client, start, end - start);
  else if (client.listening.isDraining) drop(lane, client);
}

function keepRest(lane: Lane, client: Client, start: number, end: number): void {
  client.rest = start < end ? copyOf(lane, start, end) : null;
  holds(lane, client, end - start);
}

/** A client that sends many requests at once does not keep the lane from the others. */
function waitForTurn(lane: Lane, client: Client, start: number, end: number): void {
  client.isWaiting = true;
  lane.waiting.push(client);
  watchClient(lane, client, 0);
  keepRest(lane, client, start, end);
}

/** Answers the requests that wait for their turn. */
export function readWaiting(lane: Lane): void {
  const clients = lane.waiting;
  lane.waiting = [];
  for (const client of clients) {
    if (lane.clients.get(client.descriptor) !== client) continue;
    client.isWaiting = false;
    // Something has been sent meanwhile, which the client does not take: then it goes on.
    if (client.unsent !== null) continue;
    watchClient(lane, client, EPOLLIN);
    readRest(lane, client);
  }
}

/** The client takes bytes of its response. */
export function writeClient(lane: Lane, client: Client): void {
  const isDone = sendRest(lane, client);
  if (isDone && lane.clients.get(client.descriptor) === client) readRest(lane, client);
}

/** Reads what has arrived before. */
function readRest(lane: Lane, client: Client): void {
  const { rest, http2 } = client;
  if (http2 !== null) {
    resumeHttp2(lane, client, http2);
    return;
  }
  if (rest !== null) {
    rest.copy(lane.bytes, layout.receive);
    client.rest = null;
    read(lane, client, rest.length);
  }
  if (client.listening.isDraining && isIdle(client) && lane.clients.get(client.descriptor) === client) {
    drop(lane, client);
  }
}

function release(lane: Lane, client: Client): void {
  client.rest = null;
  client.pieces = 0;
  hold(lane.unfinished, client, 0);
}

/** The client has closed its sending side. */
function ended(lane: Lane, client: Client): void {
  client.isEnded = true;
  if (client.http2 !== null) {
    abandon(lane, client); // whoever can't send WINDOW_UPDATE any more has left
    return;
  }
  if (isAlone(client) && client.rest === null) {
    drop(lane, client);
    return;
  }
  passRest(lane, client);
  if (client.pair !== null) tell(lane, client.pair, "end");
  if (client.pair !== null) watchBoth(lane, client, client.pair);
}

/** Passes an incomplete head to the main thread. */
function passRest(lane: Lane, client: Client): void {
  const { rest } = client;
  if (rest === null) return;
  rest.copy(lane.bytes, layout.receive);
  release(lane, client);
  passInTurn(lane, client, layout.receive, rest.length);
}

/** The main thread answers a head that does not become complete. */
function late(lane: Lane, client: Client): void {
  count(lane.counts, "timedOut");
  client.isLate = true;
  passRest(lane, client);
  if (client.isWaiting) return;
  client.isLate = false;
  if (client.pair !== null) tell(lane, client.pair, "late");
}

/** Closes clients that have been silent for too long, and takes back those that the main thread is done with. */
export function sweep(lane: Lane): void {
  const { nowMs, counts } = lane;
  for (const client of lane.clients.values()) {
    const { rest, sinceMs, hasAnswered, listening, unsent } = client;
    const { headers, idle } = listening.rules.waitsMs;
    if (unsent !== null && nowMs >= unsent.untilMs) {
      count(counts, "timedOut");
      abandon(lane, client);
      continue;
    }
    if (client.http2 !== null) {
      sweepHttp2(lane, client, client.http2);
      continue;
    }
    if (!isAlone(client) || unsent !== null || client.isWaiting) continue;
    const silentMs = nowMs - sinceMs;
    if (rest !== null) {
      if (silentMs >= headers) late(lane, client);
    } else if (silentMs >= (hasAnswered ? idle : headers)) {
      count(counts, "timedOut");
      drop(lane, client);
    }
  }
  closeOverdue(lane);
  for (const pair of lane.pairs.values()) sweepPair(lane, pair);
  if (lane.tls !== null) sweepHandshakes(lane, lane.tls);
  for (const listening of lane.listening.values()) {
    if (listening.watching === 0 && nowMs >= listening.pausedUntilMs) watchFor(lane, listening, EPOLLIN);
  }
}

function sweepPair(lane: Lane, pair: Pair): void {
  const { client, phase, isQuiet, isClientFull } = pair;
  const forMs = lane.nowMs - pair.sinceMs;
  if (isQuiet && forMs >= quietMs) takeBack(lane, pair);
  if (pair.user !== null && pair.isUserDone && forMs >= quietMs) partUser(lane, pair, "leave");
  // While the main thread does not read, it learns that the client has gone when it writes, and this fails.
  if (phase === "leaving" && forMs >= leavingMs) closePair(lane, pair);
  if (client === null || !isClientFull) return;
  if (lane.nowMs - pair.fullSinceMs < client.listening.rules.waitsMs.stalled) return;
  count(lane.counts, "timedOut");
  abandon(lane, client);
}

/** Accepts no more clients of this listener, and closes those that are idle. The others end with their responses. */
export function drain(lane: Lane, listening: ListeningSocket): void {
  listening.isDraining = true;
  unwatch(lane, listening);
  if (listening.openClients === 0) lane.drained(listening.id);
  for (const client of lane.clients.values()) {
    if (client.listening !== listening) continue;
    const isIdleOne = client.unsent === null && !client.isWaiting && isAlone(client);
    if (client.http2 !== null) drainHttp2(lane, client, client.http2);
    else if (isIdleOne) drop(lane, client);
  }
}

/** Closes all clients of this listener. */
export function cut(lane: Lane, id: number): void {
  for (const client of lane.clients.values()) if (client.listening.id === id) abandon(lane, client);
  if (lane.tls !== null) cutHandshakes(lane, lane.tls, id);
}
