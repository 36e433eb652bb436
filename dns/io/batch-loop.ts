/**
 * The work of a batch thread: receive queries, answer them in place, send the answers. One arena holds everything:
 *
 *   slot i   message[i]: a query ──respond──▶ its answer      who[i]: the sender
 *   headers  received[family][i] ▶ who[i], message[i]         recvmmsg fills them
 *            answers[family][i]  ▶ who[i], message[i]         sendmmsg reads them; only the lengths change
 *
 * An answer begins with its query's own question, so it is written where the query is: nothing is copied, and half the
 * memory stays in the processor's cache. Slots without an answer split the batch: each run of answers is one call.
 *
 * Everything is created once. A batch costs one call to receive and one to send. A query costs no memory: no view,
 * object or closure is created after the start.
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
  type DatagramCalls,
} from "#base/system-calls.ts";
import { portAt } from "#base/socket-address.ts";
import { readSocketAddress } from "./udp-sockets.ts";

/** Maximum number of queries per call. */
const batchMax = 64;
/** After a batch of this size more queries are probably waiting, so calling poll() first would only waste time. */
const fullBatchMin = 8;
/** Number of such batches from one socket before the other sockets get their turn. */
const batchesPerTurn = 16;
/** Maximum number of sockets per thread, and so of addresses. */
export const socketsMax = 64;
/** A longer query arrives truncated; no well-formed query is that long. An answer has at most 1,232 octets. */
const messageRoomBytes = 4096;
/** How long the thread may sleep before it checks whether it should stop. Ten times a second costs next to nothing. */
const sleepMs = 100;
/** Consecutive receive errors before the thread gives up. It is then restarted with new sockets. */
const errorsMax = 1000;

/** With a stride of whole pages, the starts of all slots would share the same few lines of the processor's cache. */
const slotStrideBytes = 4096 + 192;
const headersBytes = batchMax * messageHeader.sizeBytes;
const vectorsBytes = batchMax * messageVector.sizeBytes;

/** The layout of the arena. Each part begins at a multiple of 64, the length of a cache line. */
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
  readonly calls: DatagramCalls;
  /** At least batchArenaBytes, zeroed, for this loop alone. */
  readonly arena: ArenaView;
  readonly sockets: readonly BatchSocket[];
  readonly respond: Respond;
  readonly counters: Counters;
  /** Called when packets have arrived, before the first of them is answered. The place to handle orders. */
  readonly beforeBatch: () => void;
}

/**
 * One iteration: waits up to 100 ms for packets and answers those that arrived.
 * @throws Error when the sockets are no longer usable
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

  /** Answers up to batchMax packets that have arrived; returns their number. */
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

  /**
   * Sends answers `first` to before `end`. An answer that can't be sent is skipped; when the buffer is full, all are.
   */
  function sendAnswers(descriptor: number, headersOut: number, first: number, end: number): void {
    let done = first;
    // Each step sends or skips at least one answer, except when a signal interrupts it.
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

  /** An empty socket, an interruption or a transient error is no reason to stop. A persistent error is. */
  function fail(what: string): void {
    const errno = calls.errno();
    if (errno === errnos.EAGAIN || errno === errnos.EINTR) return;
    errors++;
    if (errors >= errorsMax || errno === errnos.EBADF) throw new Error(`${what} ${errnoName(errno)}`);
  }

  return turn;
}

/** Writes the pointers and lengths that never change. */
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
      // The kernel overwrites the length with the same value, since a socket has only one family.
      view.setUint32(header + messageHeader.nameLength, nameLength, true);
      pointTo(header + messageHeader.vector, vector);
      view.setBigUint64(header + messageHeader.vectorLength, 1n, true);
    }
  }
}
