/**
 * From a client's TCP connection to a TLS connection whose handshake is complete, on `node:tls` in the main thread.
 *
 *   TCP ─▶ ClientHello (client-hello.ts) ─▶ turn ─▶ handshake (contexts.ts) ─▶ ready
 *            │                               │        └ failed
 *            ├ plain HTTP ─▶ 400             └ too many wait
 *            └ silence, too slow, too many of a network ─▶ closed
 *
 * A handshake costs about a hundred times as much CPU time as a hit, so client networks take turns: a flood from one
 * network delays its own handshakes, and leaves time for everything else. The number of connections without a complete
 * handshake is limited, in total and per network. Beyond that, the oldest of the network that has the most is closed.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Clock } from "#base/clock.ts";
import { clientNetworkOf } from "#base/client-network.ts";
import { createHandshakes, type Handshakes } from "#base/handshakes.ts";
import { closeLingering } from "#base/lingering-close.ts";
import { openTurns, type Turns } from "../deliver/turns.ts";
import { type CertificateIndex, chooseCertificate } from "./certificate-index.ts";
import { type ClientHello, readClientHello } from "./client-hello.ts";
import { openContexts } from "./contexts.ts";
import {
  failureOf,
  failuresBy,
  type HandshakeFailure,
  type HandshakeLimits,
  handshakeLimits,
  isPlainHttp,
  plainRefusal,
  type TlsCounts,
} from "./handshake-results.ts";
import type { TicketKeys } from "./ticket-keys.ts";

export interface TlsAcceptor {
  /** @param ready called when the handshake is complete */
  readonly accept: (socket: Socket, ready: (socket: TLSSocket) => void) => void;
  readonly counts: () => TlsCounts;
  readonly close: () => void;
}

export interface TlsParts {
  readonly certificates: () => CertificateIndex;
  readonly ticketKeys: () => TicketKeys;
  /** For ALPN, the preferred one first. */
  readonly protocols: readonly string[];
  readonly clock: Clock;
  readonly limits?: Partial<HandshakeLimits>;
}

/** How many handshakes begin in one turn of the event loop: some 2 ms of it. */
const begunPerRoundMax = 4;
const sweepMs = 1000;
const lingerMs = 2000;
const lingerBytesMax = 64 * 1024;

/** A connection whose handshake is not complete. */
interface Pending {
  readonly socket: Socket;
  readonly end: string;
  readonly network: string;
  readonly sinceMs: number;
  readonly ready: (socket: TLSSocket) => void;
  readonly left: AbortController;
  /** Why it is closed, if that is known. */
  failure: HandshakeFailure | undefined;
}

interface State {
  readonly parts: TlsParts;
  readonly limits: HandshakeLimits;
  /** In order of age. */
  readonly pending: Handshakes<Pending>;
  /** By both ends of the connection, which a TLS socket and its TCP socket share. */
  readonly byEnd: Map<string, Pending>;
  readonly turns: Turns;
  readonly serverFor: ReturnType<typeof openContexts>;
  readonly completed: Record<"TLSv1.2" | "TLSv1.3", { full: number; resumed: number }>;
  readonly failed: Record<HandshakeFailure, number>;
  connections: number;
}

export function openTlsAcceptor(parts: TlsParts): TlsAcceptor {
  const { clock } = parts;
  const most = { ...handshakeLimits, ...parts.limits };
  const state: State = {
    parts,
    limits: most,
    pending: createHandshakes({ handshakes: most.handshakes, handshakesPerAddress: most.handshakesOfNetwork }),
    byEnd: new Map(),
    turns: openTurns({
      perRoundMax: begunPerRoundMax,
      restTurnsMax: 0,
      // `pending` has at most as many, and handshakeMs bounds the wait.
      queue: null,
      inNextTurn: setImmediate,
    }),
    serverFor: openContexts(parts.protocols, {
      done(socket) {
        complete(state, socket);
      },
      failed(socket, error) {
        const pending = state.byEnd.get(endOf(socket));
        if (pending !== undefined) fail(state, pending, pending.failure ?? failureOf(error.code ?? ""));
      },
    }),
    completed: { "TLSv1.2": { full: 0, resumed: 0 }, "TLSv1.3": { full: 0, resumed: 0 } },
    failed: failuresBy(() => 0),
    connections: 0,
  };
  const stopSweeps = clock.every(sweepMs, () => {
    sweep(state);
  });
  return {
    accept(socket, ready) {
      accept(state, socket, ready);
    },
    counts: () => ({
      completed: state.completed,
      failed: state.failed,
      active: state.pending.size(),
      connections: state.connections,
    }),
    close() {
      stopSweeps();
      for (const { socket } of state.pending.all()) socket.destroy();
    },
  };
}

function accept(state: State, socket: Socket, ready: (socket: TLSSocket) => void): void {
  // Without an address, the client has already gone.
  if (socket.remoteAddress === undefined) {
    socket.destroy();
    return;
  }
  const pending: Pending = {
    socket,
    end: endOf(socket),
    network: clientNetworkOf(socket.remoteAddress),
    sinceMs: state.parts.clock.monotonicMs(),
    ready,
    left: new AbortController(),
    failure: undefined,
  };
  state.byEnd.set(pending.end, pending);
  socket.on("error", () => undefined); // followed by "close"
  socket.once("close", () => {
    fail(state, pending, pending.failure ?? "closed");
  });
  const crowded = state.pending.begin(pending, pending.network);
  if (crowded !== undefined) fail(state, crowded, "crowded");
  if (!socket.destroyed) readHello(state, pending);
}

/** Reads up to the end of the client's first message. What was read is handed on with the connection. */
function readHello(state: State, pending: Pending): void {
  const { socket } = pending;
  let bytes: Buffer | undefined;
  const stop = (): void => {
    socket.off("data", take).off("end", leave);
    socket.pause();
  };
  const take = (chunk: Buffer): void => {
    bytes = bytes === undefined ? chunk : Buffer.concat([bytes, chunk]);
    const read = readClientHello(bytes);
    if (read.outcome === "partial") return;
    stop();
    if (read.outcome === "not-tls") {
      refusePlain(state, pending, bytes);
      return;
    }
    socket.unshift(bytes);
    void takeTurn(state, pending, read.outcome === "whole" ? read.hello : undefined);
  };
  // The first bytes ended in the middle: there will be no handshake.
  const leave = (): void => {
    fail(state, pending, "closed");
  };
  socket.on("data", take).on("end", leave);
}

async function takeTurn(state: State, pending: Pending, hello: ClientHello | undefined): Promise<void> {
  const { socket, network, left } = pending;
  try {
    const turn = state.turns.take(network, { signal: left.signal });
    if (turn !== true) await turn;
  } catch {
    return; // it was closed while it waited
  }
  if (socket.destroyed) return;
  const { certificates, ticketKeys } = state.parts;
  const certificate = chooseCertificate(certificates(), hello);
  state.serverFor(certificate, ticketKeyFor(ticketKeys(), hello)).emit("connection", socket);
}

/** The key of the client's ticket, so that a ticket of yesterday or of the previous fleet secret is accepted. */
function ticketKeyFor({ current, accepted }: TicketKeys, hello: ClientHello | undefined): Buffer {
  for (const name of hello?.ticketKeyNames ?? []) {
    const key = accepted.get(name);
    if (key !== undefined) return key;
  }
  return current;
}

function complete(state: State, socket: TLSSocket): void {
  const pending = state.byEnd.get(endOf(socket));
  if (pending === undefined) {
    socket.destroy();
    return;
  }
  forget(state, pending);
  const version = socket.getProtocol() === "TLSv1.3" ? "TLSv1.3" : "TLSv1.2";
  state.completed[version][socket.isSessionReused() ? "resumed" : "full"] += 1;
  state.connections += 1;
  socket.once("close", () => {
    state.connections -= 1;
  });
  pending.ready(socket);
}

function fail(state: State, pending: Pending, failure: HandshakeFailure): void {
  if (state.byEnd.get(pending.end) === pending) {
    state.failed[failure] += 1;
    forget(state, pending);
  }
  pending.left.abort();
  pending.socket.destroy();
}

function forget({ pending: all, byEnd }: State, pending: Pending): void {
  all.end(pending);
  if (byEnd.get(pending.end) === pending) byEnd.delete(pending.end);
}

/** Answers clients that speak HTTP without TLS here, so that people see what is wrong. */
function refusePlain(state: State, pending: Pending, bytes: Buffer): void {
  const { socket } = pending;
  if (!isPlainHttp(bytes)) {
    fail(state, pending, "not-tls");
    return;
  }
  state.failed["not-tls"] += 1;
  forget(state, pending);
  socket.write(plainRefusal);
  closeLingering(socket, lingerMs, lingerBytesMax);
}

function sweep(state: State): void {
  const dueMs = state.parts.clock.monotonicMs() - state.limits.handshakeMs;
  for (const pending of state.pending.all()) {
    if (pending.sinceMs > dueMs) return;
    pending.failure = "timeout";
    fail(state, pending, "timeout");
  }
}

/** Both ends: one client port may have connections to several addresses of this machine. */
function endOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
