/**
 * The work of a batch thread: take what has come, answer it in place, send the answers. One arena holds it all:
 *
 *   slot i   in[i]: a query   ──respond──▶  out[k]: an answer      k ≤ i: silence leaves no gap
 *            who[i]: its sender ──────────▶ who[k]
 *   headers  received[family][i] ▶ who[i], in[i]        recvmmsg fills them
 *            answers[family][k]  ▶ who[k], out[k]       sendmmsg reads them; only the lengths change
 *
 * Everything is made once. A batch costs one call for taking and one for sending, a query no memory at all: no view,
 * object or closure is made after the start.
 *
 * Nothing waits for a client: what the kernel doesn't take at once is dropped and counted, as a network would do.
 */
import { count, counterIndex, type Counters } from "../counters.ts";
import type { Client, Respond } from "../responder.ts";
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
import { datagramAnswerRoomBytes } from "./transport.ts";
import { portAt, readSocketAddress } from "./udp-sockets.ts";

/** Queries that one call takes at most. */
const batchMax = 64;
/** After so many more will have come meanwhile, and asking poll() first would only cost. */
const fullBatchMin = 8;
/** Such batches from one socket before the others have their turn. */
const batchesPerTurn = 16;
/** Sockets of one thread: as many addresses can be served. */
export const socketsMax = 64;
/** A longer query arrives cut; none that is well formed is. */
const queryRoomBytes = 4096;
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
    in: take(batchMax * slotStrideBytes),
    out: take(batchMax * slotStrideBytes),
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
  const queries: Uint8Array[] = [];
  const answers: Uint8Array[] = [];
  for (let i = 0; i < batchMax; i++) {
    queries.push(new Uint8Array(arena.bytes, layout.in + i * slotStrideBytes, queryRoomBytes));
    answers.push(new Uint8Array(arena.bytes, layout.out + i * slotStrideBytes, datagramAnswerRoomBytes));
  }
  writeHeaders();
  const pollsAt = arena.address + layout.polls;
  sockets.forEach(({ descriptor }, index) => {
    const at = layout.polls + index * pollEntry.sizeBytes;
    words[(at + pollEntry.descriptor) / 4] = descriptor;
    halves[(at + pollEntry.events) / 2] = POLLIN;
  });

  const address = emptyAddress();
  const client = { address, port: 0, transport: "udp" as const } satisfies Client;
  let errors = 0;

  /** Pointers and lengths that stay as they are. */
  function writeHeaders(): void {
    const view = new DataView(arena.bytes);
    const pointTo = (at: number, offset: number): void => {
      view.setBigUint64(at, BigInt(arena.address + offset), true);
    };
    for (let i = 0; i < batchMax; i++) {
      const inVector = layout.inVectors + i * messageVector.sizeBytes;
      pointTo(inVector + messageVector.base, layout.in + i * slotStrideBytes);
      view.setBigUint64(inVector + messageVector.length, BigInt(queryRoomBytes), true);
      const outVector = layout.outVectors + i * messageVector.sizeBytes;
      pointTo(outVector + messageVector.base, layout.out + i * slotStrideBytes);
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
    let answered = 0;
    for (let i = 0; i < received; i++) {
      const who = layout.who + i * socketAddress.roomBytes;
      readSocketAddress(bytes, who, family, address);
      client.port = portAt(bytes, who);
      const length = words[lengths + i * (messageHeader.sizeBytes / 4)] ?? 0;
      const size = respond(queries[i] as Uint8Array, length, client, answers[answered] as Uint8Array);
      if (size === 0) continue;
      words[(layout.outVectors + answered * messageVector.sizeBytes + messageVector.length) / 4] = size;
      if (answered < i) copySender(i, answered);
      answered++;
    }
    if (answered > 0) sendAnswers(descriptor, family === 4 ? layout.answers4 : layout.answers6, answered);
    return received;
  }

  function copySender(from: number, to: number): void {
    const length = socketAddress.roomBytes / 4;
    const start = layout.who / 4;
    for (let i = 0; i < length; i++) words[start + to * length + i] = words[start + from * length + i] ?? 0;
  }

  /** Sends the first `answered` answers. One that can't be sent is left out; when the buffer is full the rest is. */
  function sendAnswers(descriptor: number, headersOut: number, answered: number): void {
    let done = 0;
    // Each step sends or leaves out one at least, but for interruptions.
    for (let steps = 0; done < answered && steps < 2 * batchMax; steps++) {
      const at = arena.address + headersOut + done * messageHeader.sizeBytes;
      const sent = send(descriptor, at, answered - done, MSG_DONTWAIT);
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
    for (; done < answered; done++) count(counters, sendErrors);
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
