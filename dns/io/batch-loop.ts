/**
 * The work of a batch thread: receive queries, answer them in place, send the answers. One arena holds everything:
 *
 *   slot i   message[i]: a query ──respond──▶ its answer      who[i]: who sent it, and gets it
 *   headers  received[family][i] ▶ who[i], message[i]         recvmmsg fills them
 *            answers[family][i]  ▶ who[i], message[i]         sendmmsg reads them; only the lengths change
 *
 * An answer begins with its query's own question, so it grows where the query stands: nothing is copied, and half the
 * memory stays in the processor's cache. Slots that get no answer part the batch: each run of answers is one call.
 *
 * Everything is made once. A batch costs one call for taking and one for sending, a query no memory at all: no view,
 * object or closure is made after the start.
 *
 * Nothing waits for a client: packets that the kernel does not accept at once are dropped and counted.
 */
import { count, counterIndex, type Counters } from "../counters.ts";
import type { Client } from "../answer/state.ts";
import type { Respond } from "../responder.ts";
import { emptyAddress, type Family } from "../wire/address.ts";
import {
  errnoName,
  errnos,
  messageHeader,
  messageVector,
  MSG_DONTWAIT,
  pollEntry,
  POLLIN,
  POLLNVAL,
  socketAddress,
  type ArenaView,
  type SocketCalls,
} from "./socket-calls.ts";
import { portAt, readSocketAddress } from "./udp-sockets.ts";

/** Queries that one call takes at most. */
const batchMax = 64;
/** After so many more will have come meanwhile, and asking poll() first would only cost. */
const fullBatchMin = 8;
/** Such batches from one socket before the others have their turn. */
const batchesPerTurn = 16;
/** Sockets of one thread: as many addresses can be served. */
export const socketsMax = 64;
/** A longer query arrives cut; none that is well formed is. An answer has at most 1,232 octets. */
const messageRoomBytes = 4096;
/** How long the thread may sleep: then it looks whether it shall stop. Ten times a second costs next to nothing. */
const sleepMs = 100;
/** Errors of taking in a row before the thread gives up; one is started anew with new sockets. */
const errorsMax = 1000;

/** A stride of whole pages would put the start of every slot into the same few lines of the processor's cache. */
const slotStrideBytes = 4096 + 192;
const headersBytes = batchMax * messageHeader.sizeBytes;
const vectorsBytes = batchMax * messageVector.sizeBytes;

/** Where things stand in the arena; each begins at a multiple of 64, the length of a cache line. */
const layout = (() => {
  let end = 0;
  const take = (sizeBytes: number): number => {
    const at = end;
    end += Math.ceil(sizeBytes / 64) * 64;
    return at;
  };
  return {
    polls: take(socketsMax * pollEntry.sizeBytes),
    who: take(batchMax * socketAddress.roomBytes),
    received4: take(headersBytes),
    received6: take(headersBytes),
    answers4: take(headersBytes),
    answers6: take(headersBytes),
    inVectors: take(vectorsBytes),
    outVectors: take(vectorsBytes),
    messages: take(batchMax * slotStrideBytes),
    sizeBytes: end,
  };
})();

/** Memory that a thread needs. */
export const batchArenaBytes = layout.sizeBytes;

export interface BatchSocket {
  readonly descriptor: number;
  readonly family: Family;
}

export interface BatchLoopDeps {
  readonly calls: SocketCalls;
  /** At least batchArenaBytes, zeroed, and this loop's alone. */
  readonly arena: ArenaView;
  readonly sockets: readonly BatchSocket[];
  readonly respond: Respond;
  readonly counters: Counters;
  /** Called when packets have come, before the first of them is answered: the place to take orders. */
  readonly beforeBatch: () => void;
}

/**
 * One turn: waits up to 100 ms for packets and answers what has come.
 * @throws Error when the sockets are of no use any more
 */
export type BatchTurn = () => void;

export function createBatchLoop(deps: BatchLoopDeps): BatchTurn {
  const { calls, arena, sockets, respond, counters, beforeBatch } = deps;
  const { poll, receive, send } = calls;
  if (sockets.length > socketsMax) throw new Error(`${sockets.length} sockets for one thread, at most ${socketsMax}`);
  const batches = counterIndex("batches");
  const sendErrors = counterIndex("sendErrors");

  const bytes = new Uint8Array(arena.bytes);
  const words = new Uint32Array(arena.bytes);
  const halves = new Uint16Array(arena.bytes);
  const messages: Uint8Array[] = [];
  for (let i = 0; i < batchMax; i++) {
    messages.push(new Uint8Array(arena.bytes, layout.messages + i * slotStrideBytes, messageRoomBytes));
  }
  writeHeaders(arena);
  const pollsAt = arena.address + layout.polls;
  sockets.forEach(({ descriptor }, index) => {
    const at = layout.polls + index * pollEntry.sizeBytes;
    words[(at + pollEntry.descriptor) / 4] = descriptor;
    halves[(at + pollEntry.events) / 2] = POLLIN;
  });

  const address = emptyAddress();
  const client = { address, port: 0, transport: "udp" as const } satisfies Client;
  let errors = 0;

  function turn(): void {
    const ready = poll(pollsAt, sockets.length, sleepMs);
    if (ready < 0) {
      fail("poll");
      return;
    }
    if (ready === 0) return;
    for (let i = 0; i < sockets.length; i++) {
      const returned = halves[(layout.polls + i * pollEntry.sizeBytes + pollEntry.returned) / 2] ?? 0;
      if (returned === 0) continue;
      if ((returned & POLLNVAL) !== 0) throw new Error("a socket of the batch thread is closed");
      answerSocket(sockets[i] as BatchSocket);
    }
  }

  function answerSocket(socket: BatchSocket): void {
    for (let i = 0; i < batchesPerTurn; i++) if (answerBatch(socket) < fullBatchMin) return;
  }

  /** Answers what has come, up to batchMax; returns how much that was. */
  function answerBatch({ descriptor, family }: BatchSocket): number {
    const headersIn = family === 4 ? layout.received4 : layout.received6;
    const received = receive(descriptor, arena.address + headersIn, batchMax, MSG_DONTWAIT, 0);
    if (received <= 0) {
      if (received < 0) fail("recvmmsg");
      return 0;
    }
    errors = 0;
    beforeBatch();
    count(counters, batches);
    const lengths = (headersIn + messageHeader.length) / 4;
    const headersOut = arena.address + (family === 4 ? layout.answers4 : layout.answers6);
    let first = 0;
    for (let i = 0; i < received; i++) {
      const who = layout.who + i * socketAddress.roomBytes;
      readSocketAddress(bytes, who, family, address);
      client.port = portAt(bytes, who);
      const length = words[lengths + i * (messageHeader.sizeBytes / 4)] ?? 0;
      const message = messages[i] as Uint8Array;
      const size = respond(message, length, client, message);
      words[(layout.outVectors + i * messageVector.sizeBytes + messageVector.length) / 4] = size;
      if (size !== 0) continue;
      sendAnswers(descriptor, headersOut, first, i);
      first = i + 1;
    }
    sendAnswers(descriptor, headersOut, first, received);
    return received;
  }

  /** Sends answers `first` to before `end`. One that can't be sent is left out; when the buffer is full all are. */
  function sendAnswers(descriptor: number, headersOut: number, first: number, end: number): void {
    let done = first;
    // Each step sends or leaves out one at least, but for interruptions.
    for (let steps = 0; done < end && steps < 2 * batchMax; steps++) {
      const sent = send(descriptor, headersOut + done * messageHeader.sizeBytes, end - done, MSG_DONTWAIT);
      if (sent > 0) {
        done += sent;
        continue;
      }
      const errno = calls.errno();
      if (errno === errnos.EINTR) continue;
      if (errno === errnos.EAGAIN) break;
      count(counters, sendErrors);
      done++;
    }
    for (; done < end; done++) count(counters, sendErrors);
  }

  /** Nothing there, an interruption and a passing error are no reason to stop; a lasting one is. */
  function fail(what: string): void {
    const errno = calls.errno();
    if (errno === errnos.EAGAIN || errno === errnos.EINTR) return;
    errors++;
    if (errors >= errorsMax || errno === errnos.EBADF) throw new Error(`${what} ${errnoName(errno)}`);
  }

  return turn;
}

/** Pointers and lengths that stay as they are. */
function writeHeaders(arena: ArenaView): void {
  const view = new DataView(arena.bytes);
  const pointTo = (at: number, offset: number): void => {
    view.setBigUint64(at, BigInt(arena.address + offset), true);
  };
  for (let i = 0; i < batchMax; i++) {
    const inVector = layout.inVectors + i * messageVector.sizeBytes;
    pointTo(inVector + messageVector.base, layout.messages + i * slotStrideBytes);
    view.setBigUint64(inVector + messageVector.length, BigInt(messageRoomBytes), true);
    const outVector = layout.outVectors + i * messageVector.sizeBytes;
    pointTo(outVector + messageVector.base, layout.messages + i * slotStrideBytes);
    const headers = [
      [layout.received4, inVector, socketAddress.length4],
      [layout.received6, inVector, socketAddress.length6],
      [layout.answers4, outVector, socketAddress.length4],
      [layout.answers6, outVector, socketAddress.length6],
    ] as const;
    for (const [start, vector, nameLength] of headers) {
      const header = start + i * messageHeader.sizeBytes;
      pointTo(header + messageHeader.name, layout.who + i * socketAddress.roomBytes);
      // The kernel writes the length back, and it is the same one: a socket knows one family only.
      view.setUint32(header + messageHeader.nameLength, nameLength, true);
      pointTo(header + messageHeader.vector, vector);
      view.setBigUint64(header + messageHeader.vectorLength, 1n, true);
    }
  }
}
