/**
 * The lane's end of the pairs (frames.ts): passes the bytes of a client to the main thread, and its responses to the
 * client, with one buffer for each direction.
 */
import { EPOLLIN, EPOLLOUT, errnos, MSG_DONTWAIT, MSG_NOSIGNAL } from "#base/system-calls.ts";
import { closeAll } from "../http2/sending.ts";
import { hold } from "../unfinished.ts";
import { broken, endSending, isBlocked, release, send as sendToClient, watchClient } from "./channel.ts";
import { count } from "./counts.ts";
import { dropUnsent } from "./unsent.ts";
import { beginBytesMax, frameHeadBytes, textOfBeginning, toLane, toMain } from "./frames.ts";
import {
  type Client,
  close,
  copyOf,
  type Lane,
  nextStamp,
  type Pair,
  type SessionUser,
  unwatch,
  watch,
  watchFor,
} from "./lane.ts";
import { layout, pairReceiveBytes, scarcePairReceiveBytes } from "./layout.ts";

const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
/** What waits in a pair, in each direction. The system doubles it. */
const pairBufferBytes = 64 * 1024;
/** More pairs without a session are closed. */
const freePairsMax = 64;
/** More clients without a request in progress don't keep their session: it costs memory of the main thread. */
const quietPairsMax = 256;

/**
 * Passes bytes of the receive buffer to the main thread, which gets all further ones until it has answered them.
 * @param at offset in the lane's memory, with room for frames before it
 * @returns whether the client still exists
 */
export function pass(lane: Lane, client: Client, at: number, lengthBytes: number): boolean {
  const isNew = client.pair === null;
  const pair = client.pair ?? openSession(lane, client);
  if (pair === undefined) {
    count(lane.counts, "refused");
    closeClient(lane, client);
    return false;
  }
  count(lane.counts, "relayed", Number(isNew || pair.isQuiet));
  if (isNew || pair.isQuiet) pair.isBusy = true;
  setQuiet(lane, pair, false);
  pair.sentBytes += lengthBytes;
  let start = at - frameHeadBytes;
  writeFrameHead(lane, start, toMain.data, lengthBytes);
  if (isNew) start = writeBegin(lane, client, start);
  send(lane, pair, start, at + lengthBytes - start);
  return client.pair !== null;
}

/**
 * Opens a session for a user, and sends its first bytes.
 * @param client whose address the main thread gets to know
 * @returns undefined: no descriptor was left. The session may be over already.
 */
export function openUserSession(
  lane: Lane,
  client: Client,
  user: SessionUser,
  at: number,
  lengthBytes: number,
): Pair | undefined {
  const pair = lane.freePairs.pop() ?? openPair(lane);
  if (pair === undefined) return undefined;
  count(lane.counts, "relayed");
  Object.assign(pair, {
    phase: "open",
    client: null,
    user,
    isUserDone: false,
    isNew: true,
    sentBytes: lengthBytes,
    isQuiet: false,
  } satisfies Partial<Pair>);
  lane.newSessions += 1;
  writeFrameHead(lane, at - frameHeadBytes, toMain.data, lengthBytes);
  const start = writeBegin(lane, client, at - frameHeadBytes);
  send(lane, pair, start, at + lengthBytes - start);
  return pair;
}

/** The user has no use for its session any more. */
export function partUser(lane: Lane, pair: Pair, how: "gone" | "leave"): void {
  if (how === "leave") count(lane.counts, "returned");
  part(lane, pair, how);
}

/** Tells the main thread something about the client. */
export function tell(lane: Lane, pair: Pair, kind: "end" | "late" | "gone" | "leave"): void {
  writeFrameHead(lane, layout.frame, toMain[kind], 0);
  if (pair.toMain === null) send(lane, pair, layout.frame, frameHeadBytes);
  else pair.toMain = Buffer.concat([pair.toMain, copyOf(lane, layout.frame, layout.frame + frameHeadBytes)]);
}

/** The client's connection is gone, or has to go: the main thread learns of it. */
export function abandon(lane: Lane, client: Client): void {
  const { pair } = client;
  if (pair !== null) part(lane, pair, "gone");
  closeClient(lane, client);
}

/** Takes the connection back, between two requests. */
export function takeBack(lane: Lane, pair: Pair): void {
  count(lane.counts, "returned");
  part(lane, pair, "leave");
}

function part(lane: Lane, pair: Pair, how: "gone" | "leave"): void {
  if (pair.client !== null) pair.client.pair = null;
  pair.client = null;
  pair.user = null;
  pair.phase = "leaving";
  setQuiet(lane, pair, false);
  // What waits for the client is dropped when "closed" comes.
  pair.isClientFull = false;
  tell(lane, pair, how);
  watchBoth(lane, null, pair);
}

/** Closes a client's socket. Its session, if it has one, is over already. */
export function closeClient(lane: Lane, client: Client): void {
  const { pair, listening } = client;
  if (pair !== null) {
    pair.client = null;
    client.pair = null;
  }
  client.rest = null;
  dropUnsent(lane, client);
  hold(lane.unfinished, client, 0);
  if (!lane.clients.delete(client.descriptor)) return;
  if (client.isWaiting) lane.inLine.remove(client.network(), client);
  if (client.http2 !== null && lane.http2 !== null) {
    count(lane.counts, "http2Open", -1);
    closeAll(client.http2, lane.http2.host);
  }
  release(lane, client);
  close(lane, client.descriptor);
  count(lane.counts, "open", -1);
  listening.openClients -= 1;
  if (listening.isDraining && listening.openClients === 0) lane.drained(listening.id);
}

/** What epoll looks for at a client and at its pair, after either has changed. */
export function watchBoth(lane: Lane, client: Client | null, pair: Pair | null): void {
  if (pair?.phase === "closed") return;
  if (client !== null && client.unsent === null && !client.isWaiting) {
    const reads = !client.isEnded && pair?.toMain == null;
    watchClient(lane, client, (reads ? EPOLLIN : 0) | (pair?.isClientFull === true ? EPOLLOUT : 0));
  }
  if (pair !== null) watchFor(lane, pair, (pair.isClientFull ? 0 : EPOLLIN) | (pair.toMain === null ? 0 : EPOLLOUT));
}

function openSession(lane: Lane, client: Client): Pair | undefined {
  const pair = lane.freePairs.pop() ?? openPair(lane);
  if (pair === undefined) return undefined;
  Object.assign(pair, { phase: "open", client, isNew: true, sentBytes: 0, isQuiet: false } satisfies Partial<Pair>);
  client.pair = pair;
  lane.newSessions += 1;
  return pair;
}

/** Undefined: no descriptor was left. */
function openPair(lane: Lane): Pair | undefined {
  const { calls, words, memory, owned } = lane;
  if (calls.pair(memory.address + layout.control) !== 0) return undefined;
  const mine = words[layout.control / 4] as number;
  const other = words[layout.control / 4 + 1] as number;
  owned[mine] = 1;
  owned[other] = 1; // until the main thread has it
  if (Math.max(mine, other) >= owned.length) {
    close(lane, mine);
    close(lane, other);
    return undefined;
  }
  words[layout.control / 4] = pairBufferBytes;
  for (const end of [mine, other]) calls.setOption(end, "sendBuffer", memory.address + layout.control);
  const pair: Pair = {
    descriptor: mine,
    stamp: nextStamp(lane),
    watching: 0,
    phase: "free",
    client: null,
    isNew: false,
    user: null,
    isUserDone: false,
    sentBytes: 0,
    isQuiet: false,
    isBusy: true,
    sinceMs: 0,
    toMain: null,
    fromMain: null,
    isClientFull: false,
    fullSinceMs: 0,
    leftBytes: 0,
  };
  lane.pairs.set(mine, pair);
  watch(lane, pair, EPOLLIN);
  lane.offer(other);
  return pair;
}

/** Without the pair, both sides drop the session, whatever the client has not taken. */
export function closePair(lane: Lane, pair: Pair): void {
  if (!lane.pairs.delete(pair.descriptor)) return;
  const { client, user } = pair;
  const free = lane.freePairs.indexOf(pair);
  if (free !== -1) lane.freePairs.splice(free, 1);
  pair.phase = "closed";
  noteTaken(lane, pair);
  keep(lane, pair, null);
  setQuiet(lane, pair, false);
  close(lane, pair.descriptor);
  pair.user = null;
  if (client !== null) closeClient(lane, client);
  user?.closed();
}

function writeFrameHead({ bytes }: Lane, at: number, kind: number, value: number): void {
  bytes.writeUInt32LE(kind, at);
  bytes.writeUInt32LE(value, at + 4);
}

/** @returns where the frame begins */
function writeBegin(lane: Lane, client: Client, end: number): number {
  const { listening, address, port, secure } = client;
  const protocol = secure === null ? "http" : "https";
  const text = textOfBeginning({ listener: listening.id, address, port, protocol }).padEnd(beginBytesMax);
  const start = end - beginBytesMax - frameHeadBytes;
  lane.bytes.write(text, start + frameHeadBytes, "latin1");
  writeFrameHead(lane, start, toMain.begin, beginBytesMax);
  return start;
}

/** Sends whole frames to the main thread. What the pair does not take waits; until then, the client is not read. */
function send(lane: Lane, pair: Pair, at: number, lengthBytes: number): void {
  const sent = lane.calls.send(pair.descriptor, lane.memory.address + at, lengthBytes, flags);
  if (sent === lengthBytes) return;
  if (sent < 0 && !isTransient(lane)) {
    closePair(lane, pair);
    return;
  }
  const start = at + Math.max(0, sent);
  pair.toMain = copyOf(lane, start, at + lengthBytes);
  watchBoth(lane, pair.client, pair);
  if (pair.client !== null) holds(lane, pair.client, pair.toMain.length);
}

/**
 * Notes how many bytes of requests that have not begun the lane holds for a client. If it is too much in all, the
 * networks that hold the most lose theirs (unfinished.ts).
 */
export function holds(lane: Lane, client: Client, lengthBytes: number): void {
  const greedy = hold(lane.unfinished, client, lengthBytes);
  if (greedy === undefined) return;
  for (const other of lane.clients.values()) {
    if (other.heldBytes > 0 && greedy.has(other.network())) abandon(lane, other);
  }
}

/** The pair takes bytes again. */
export function flushToMain(lane: Lane, pair: Pair): void {
  const frames = pair.toMain;
  if (frames === null) return;
  pair.toMain = null;
  if (pair.client !== null) hold(lane.unfinished, pair.client, 0);
  // The receive buffer is free between two events; the frames of one read, and of its end, fit into it and its room.
  frames.copy(lane.bytes, layout.frameRoom);
  send(lane, pair, layout.frameRoom, frames.length);
  watchBoth(lane, pair.client, pair);
}

/** Reads frames of the main thread. */
export function readPair(lane: Lane, pair: Pair): void {
  const { calls, memory, bytes } = lane;
  const waiting = pair.fromMain;
  waiting?.copy(bytes, layout.fromPair);
  const start = waiting?.length ?? 0;
  keep(lane, pair, null);
  const room = (lane.waitingBytes < lane.limits.waitingBytesMax ? pairReceiveBytes : scarcePairReceiveBytes) - start;
  let received = 0;
  if (!pair.isClientFull && room > 0) {
    received = calls.receive(pair.descriptor, memory.address + layout.fromPair + start, room, MSG_DONTWAIT);
    if (received === 0 || (received < 0 && !isTransient(lane))) {
      closePair(lane, pair);
      return;
    }
  }
  const wasFull = pair.isClientFull;
  pair.isClientFull = false;
  handle(lane, pair, start + Math.max(0, received));
  if (wasFull || pair.isClientFull) watchBoth(lane, pair.client, pair);
}

/** Handles the frames at the beginning of the pair's buffer. */
function handle(lane: Lane, pair: Pair, lengthBytes: number): void {
  const end = layout.fromPair + lengthBytes;
  let at = layout.fromPair;
  while (at < end && !pair.isClientFull && pair.phase !== "closed") {
    if (pair.leftBytes > 0) {
      const taken = give(lane, pair, at, Math.min(pair.leftBytes, end - at));
      pair.leftBytes -= taken;
      at += taken;
    } else if (end - at >= frameHeadBytes) {
      const [kind, value] = [lane.bytes.readUInt32LE(at), lane.bytes.readUInt32LE(at + 4)];
      at += frameHeadBytes;
      take(lane, pair, kind, value);
    } else break;
  }
  if (at < end && pair.phase !== "closed") keep(lane, pair, copyOf(lane, at, end));
}

function keep(lane: Lane, pair: Pair, waiting: Buffer | null): void {
  lane.waitingBytes += (waiting?.length ?? 0) - (pair.fromMain?.length ?? 0);
  pair.fromMain = waiting;
}

/**
 * Gives bytes of a response to the client.
 * @returns how many are done with
 */
function give(lane: Lane, pair: Pair, at: number, lengthBytes: number): number {
  const { client, user } = pair;
  if (user !== null) {
    const given = user.give(at, lengthBytes);
    pair.isClientFull = given < lengthBytes;
    return given;
  }
  if (client === null) return lengthBytes; // it has left
  const taken = sendToClient(lane, client, at, lengthBytes, false);
  if (taken === broken) {
    abandon(lane, client);
    return lengthBytes;
  }
  pair.isClientFull = taken < lengthBytes || isBlocked(client);
  if (!pair.isClientFull) pair.fullSinceMs = 0;
  else if (taken > 0 || pair.fullSinceMs === 0) pair.fullSinceMs = lane.nowMs;
  return taken;
}

function take(lane: Lane, pair: Pair, kind: number, value: number): void {
  const { client, user } = pair;
  switch (kind) {
    case toLane.data:
      // "taken" may wait behind a body that the client does not read. Nobody else's session may wait for that.
      noteTaken(lane, pair);
      pair.leftBytes = value;
      return;
    case toLane.end:
      if (client !== null) endSending(lane, client);
      return;
    case toLane.idle:
      if (user !== null && pair.sentBytes % 2 ** 32 === value && pair.toMain === null) user.idle();
      if (client === null || pair.sentBytes % 2 ** 32 !== value || pair.toMain !== null) return;
      client.hasAnswered = true;
      client.sinceMs = lane.nowMs;
      setQuiet(lane, pair, true);
      return;
    case toLane.busy:
      pair.isBusy = value === 1;
      return;
    case toLane.taken:
      noteTaken(lane, pair);
      return;
    case toLane.closed:
      if (client !== null) closeClient(lane, client);
      finish(lane, pair);
      user?.closed();
      return;
    default:
      throw new Error(`frame ${kind} from the main thread`);
  }
}

/** The main thread may get another session in place of this one. */
function noteTaken(lane: Lane, pair: Pair): void {
  if (!pair.isNew) return;
  pair.isNew = false;
  lane.newSessions -= 1;
}

function setQuiet(lane: Lane, pair: Pair, isQuiet: boolean): void {
  const { quietPairs, nowMs } = lane;
  pair.isQuiet = isQuiet;
  pair.sinceMs = nowMs;
  quietPairs.delete(pair);
  if (!isQuiet) return;
  quietPairs.add(pair);
  const [longest] = quietPairs;
  if (quietPairs.size > quietPairsMax && longest !== undefined) takeBack(lane, longest);
}

/** The session is over. */
function finish(lane: Lane, pair: Pair): void {
  pair.client = null;
  pair.user = null;
  pair.phase = "free";
  noteTaken(lane, pair);
  setQuiet(lane, pair, false);
  pair.fullSinceMs = 0;
  // Frames that the main thread does not want any more would come before the next session's.
  if (pair.toMain !== null || lane.freePairs.length >= freePairsMax) closePair(lane, pair);
  else lane.freePairs.push(pair);
}

/** The client's connection reports an error or the end of both directions. */
export function hangUp(lane: Lane, client: Client, isError: boolean): void {
  if (isError || client.pair === null) {
    abandon(lane, client);
    return;
  }
  // Both sides have closed: the main thread will say so, and until then there is nothing to look for.
  unwatch(lane, client);
}

function isTransient({ calls }: Lane): boolean {
  const errno = calls.errno();
  return errno === errnos.EAGAIN || errno === errnos.EINTR || errno === errnos.ENOBUFS;
}
