/**
 * The lanes, seen from the main thread: starts their threads, opens listening sockets for them, takes the connections
 * that they lend, and replaces a lane that dies.
 *
 *   openLanes ──▶ threads ready ──▶ listen(): a socket for each lane ──▶ stop() ──▶ close()
 *                       ▲
 *                       │ died, or hung and was ended: its descriptors are closed, so that its clients and the main
 *                       │ thread's ends learn of it;
 *                       └ 20 ms … 5 s later another one continues on the same listening sockets
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import { openOpenSsl } from "#base/openssl.ts";
import { type ArenaView, openStreamCalls, SHUT_RD, type StreamCalls } from "#base/system-calls.ts";
import type { ClientConnection } from "../client-connection.ts";
import { leave } from "../ready/ready-memory.ts";
import { type CountName, type Counts, forgetOpen, newCounts, sumOf } from "./counts.ts";
import { type ListenRules } from "./lane.ts";
import { openControl } from "./lane-control.ts";
import { type ListenAddress, openListeningSocket } from "./listening-socket.ts";
import { openLaneDelays } from "./lane-delay.ts";
import { endLane, order, type Running, type SharedReady, startLane } from "./running-lane.ts";
import { lostOf, newSentRing, type SentRing, takeSent } from "./sent-ring.ts";
import { type LaneTlsParts, openTlsOrders, type TlsOrders } from "./tls-orders.ts";

/** How often the ticket keys and certificates are compared with those that lanes have. */
const tlsCheckMs = 1000;
const restartMs = { first: 20, most: 5000 };
/** A lane that has run this long was healthy: the next one that dies is replaced at once again. */
const wellAfterMs = 60_000;

export interface LanesOptions {
  /** At least 1. */
  readonly count: number;
  /** Responses that lanes may send themselves. Absent: the main thread answers everything. */
  readonly ready?: SharedReady | undefined;
  /** For listeners with TLS. Absent: there will be none. */
  readonly tls?: LaneTlsParts | undefined;
  readonly clock: Clock;
  readonly log: Pick<Log, "error">;
}

export interface LaneListenOptions {
  /** Connections begin with a TLS handshake, which takes `tls` of the lanes. */
  readonly isSecure: boolean;
  /** Without TLS: all clients speak HTTP/2, for tests. */
  readonly isHttp2?: boolean;
  /** Other processes have the same address. */
  readonly sharesPort: boolean;
  readonly waitsMs: ListenRules["waitsMs"];
  /** In all lanes together. */
  readonly connectionsMax: number;
  /** A client that takes less of a response is too slow. */
  readonly bytesPerSecondMin: number;
  readonly keepAliveSeconds: number;
  /** Takes a connection that the main thread is to serve. */
  readonly lent: (connection: ClientConnection) => void;
}

export interface LaneListener {
  readonly port: number;
  /** Accepts no more clients, and closes idle ones. Resolves when all clients are gone. */
  readonly drain: () => Promise<void>;
  /** Closes all clients. */
  readonly cut: () => void;
}

export interface Lanes {
  readonly count: number;
  /** @throws the system's error if the address can't be bound; then it is bound by no lane */
  readonly listen: (address: ListenAddress, options: LaneListenOptions) => LaneListener;
  readonly counts: () => Record<CountName, number>;
  /** Handshakes that begin from now on use the certificates and ticket keys of now. */
  readonly refreshTls: () => void;
  /** What lanes have sent themselves since the last call. */
  readonly takeSent: (taken: (number: number, status: number, bodyBytes: number) => void) => void;
  /** How long clients wait for a lane, mean over the last ten seconds. */
  readonly delayMs: () => number;
  /** Responses of lanes that were not told, because the main thread was too far behind. */
  readonly untold: () => number;
  /** How often lanes had to be replaced. */
  readonly restarts: () => number;
  /** Ends the threads. Listeners have been drained before. */
  readonly close: () => Promise<void>;
}

interface Listening {
  readonly id: number;
  readonly rules: ListenRules;
  /** By lane. */
  readonly descriptors: readonly number[];
  readonly lent: (connection: ClientConnection) => void;
  /** Lanes that still have clients of it; undefined: it does not drain. */
  busyLanes: Set<number> | undefined;
  readonly drained: PromiseWithResolvers<void>;
}

interface State {
  readonly options: LanesOptions;
  readonly calls: StreamCalls;
  readonly control: ArenaView;
  readonly counts: readonly Counts[];
  readonly sent: readonly SentRing[];
  readonly running: (Running | undefined)[];
  readonly deaths: number[];
  readonly timers: Set<Cancel>;
  readonly tls: TlsOrders | undefined;
  readonly listening: Map<number, Listening>;
  ids: number;
  restarts: number;
  isClosing: boolean;
}

/** Why lanes can't have TLS here; undefined: they can. */
export function laneTlsMissing(): string | undefined {
  const ssl = openOpenSsl();
  return typeof ssl === "string" ? ssl : undefined;
}

/** Why there can be no lanes here; undefined: there can. */
export function lanesMissing(): string | undefined {
  const calls = openStreamCalls();
  return typeof calls === "string" ? calls : undefined;
}

/**
 * Resolves when all lanes are ready to accept.
 * @throws Error if a thread can't be started, or lanesMissing() has a reason
 */
export async function openLanes(options: LanesOptions): Promise<Lanes> {
  const calls = openStreamCalls();
  if (typeof calls === "string") throw new Error(`there can be no lanes: ${calls}`);
  const counts = Array.from({ length: options.count }, newCounts);
  const sent = Array.from({ length: options.ready === undefined ? 0 : options.count }, newSentRing);
  const state: State = {
    options,
    calls,
    control: openControl(calls),
    counts,
    sent,
    running: counts.map(() => undefined),
    deaths: counts.map(() => 0),
    timers: new Set(),
    tls: options.tls === undefined ? undefined : openTlsOrders(options.tls),
    listening: new Map(),
    ids: 0,
    restarts: 0,
    isClosing: false,
  };
  const refreshTls = (): void => {
    for (const change of state.tls?.changes() ?? []) {
      for (const lane of state.running) if (lane !== undefined) order(lane, change);
    }
  };
  const delays = openLaneDelays(counts, options.clock);
  state.timers.add(delays.close);
  refreshTls();
  if (state.tls !== undefined) state.timers.add(options.clock.every(tlsCheckMs, refreshTls));
  const close = async (): Promise<void> => {
    if (state.isClosing) return;
    state.isClosing = true;
    for (const cancel of state.timers) cancel();
    await Promise.all(state.running.map(async (lane) => await (lane === undefined ? undefined : endLane(state, lane))));
    for (const { descriptors } of state.listening.values()) for (const one of descriptors) calls.close(one);
  };
  try {
    await Promise.all(counts.map(async (_, index) => await start(state, index).ready));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    count: options.count,
    listen: (address, about) => listen(state, address, about),
    counts: () => sumOf(counts),
    refreshTls,
    takeSent(taken) {
      for (const ring of sent) takeSent(ring, taken);
    },
    delayMs: delays.delayMs,
    untold: () => sent.reduce((sum, ring) => sum + lostOf(ring), 0),
    restarts: () => state.restarts,
    close,
  };
}

function start(state: State, index: number): Running {
  const { calls, control, options, counts, sent } = state;
  const { clock, count: share, ready } = options;
  const ring = sent[index];
  const lane = startLane(
    {
      calls,
      control,
      clock,
      counts: counts[index] ?? newCounts(),
      share,
      index,
      ready: ready === undefined || ring === undefined ? null : { ...ready, sent: ring },
      tls: options.tls ?? null,
    },
    {
      lent(connection, id) {
        const listening = state.listening.get(id);
        if (listening === undefined) connection.destroy();
        else listening.lent(connection);
      },
      drained(id) {
        isDrained(state, index, id);
      },
      problem(problem) {
        options.log.error({ problem }, "a lane can't use a certificate");
      },
      ended(error) {
        ended(state, index, error);
      },
    },
  );
  state.running[index] = lane;
  for (const known of state.tls?.all() ?? []) order(lane, known);
  for (const listening of state.listening.values()) tellListen(lane, listening, index);
  return lane;
}

function tellListen(lane: Running, { id, rules, descriptors, busyLanes }: Listening, index: number): void {
  const descriptor = descriptors[index];
  if (descriptor !== undefined && busyLanes === undefined) order(lane, { kind: "listen", id, descriptor, rules });
}

function listen(state: State, address: ListenAddress, about: LaneListenOptions): LaneListener {
  const { options, calls, control, running } = state;
  const {
    isSecure,
    isHttp2 = false,
    sharesPort,
    waitsMs,
    connectionsMax,
    bytesPerSecondMin,
    keepAliveSeconds,
    lent,
  } = about;
  const descriptors: number[] = [];
  let bound = address;
  const first = sharesPort ? "follower" : options.count > 1 ? "first" : "alone";
  try {
    for (let index = 0; index < options.count; index += 1) {
      const sharing = index === 0 ? first : "follower";
      const opened = openListeningSocket(calls, control, bound, { sharing, keepAliveSeconds });
      bound = { host: address.host, port: opened.port };
      descriptors.push(opened.descriptor);
    }
  } catch (error) {
    for (const descriptor of descriptors) calls.close(descriptor);
    throw error;
  }
  state.ids += 1;
  const listening: Listening = {
    id: state.ids,
    rules: {
      isSecure,
      isHttp2,
      waitsMs,
      connectionsMax: Math.max(1, Math.floor(connectionsMax / options.count)),
      bytesPerSecondMin,
    },
    descriptors,
    lent,
    busyLanes: undefined,
    drained: Promise.withResolvers(),
  };
  state.listening.set(listening.id, listening);
  for (const [index, lane] of running.entries()) if (lane !== undefined) tellListen(lane, listening, index);
  return {
    port: bound.port,
    async drain() {
      drain(state, listening);
      await listening.drained.promise;
    },
    cut() {
      for (const lane of running) if (lane !== undefined) order(lane, { kind: "cut", id: listening.id });
    },
  };
}

function drain(state: State, listening: Listening): void {
  const { calls, running } = state;
  if (listening.busyLanes !== undefined) return;
  // From now on, the system refuses clients. The sockets are closed when no lane uses them any more.
  for (const descriptor of listening.descriptors) calls.shutdown(descriptor, SHUT_RD);
  listening.busyLanes = new Set(listening.descriptors.keys());
  for (const [index, lane] of running.entries()) {
    if (lane === undefined) listening.busyLanes.delete(index);
    else order(lane, { kind: "drain", id: listening.id });
  }
  closeDrained(state, listening);
}

function isDrained(state: State, index: number, id: number): void {
  const listening = state.listening.get(id);
  listening?.busyLanes?.delete(index);
  if (listening !== undefined) closeDrained(state, listening);
}

function closeDrained(state: State, listening: Listening): void {
  if (listening.busyLanes?.size !== 0) return;
  state.listening.delete(listening.id);
  for (const descriptor of listening.descriptors) state.calls.close(descriptor);
  listening.drained.resolve();
}

function ended(state: State, index: number, error: unknown): void {
  const { options, running, deaths, counts } = state;
  // It reads no ready responses any more.
  if (options.ready !== undefined) leave(options.ready.memory, index);
  const lane = running[index];
  running[index] = undefined;
  if (counts[index] !== undefined) forgetOpen(counts[index]);
  for (const id of state.listening.keys()) isDrained(state, index, id);
  if (state.isClosing || lane === undefined) return;
  if (options.clock.monotonicMs() - lane.startedMs >= wellAfterMs) deaths[index] = 0;
  options.log.error({ err: error, lane: index + 1 }, "a lane died; another one takes its place");
  startLater(state, index);
}

function startLater(state: State, index: number): void {
  const { options, deaths, timers } = state;
  const died = deaths[index] ?? 0;
  deaths[index] = died + 1;
  const cancel = options.clock.after(Math.min(restartMs.first * 2 ** died, restartMs.most), () => {
    timers.delete(cancel);
    state.restarts += 1;
    try {
      start(state, index);
    } catch (error) {
      options.log.error({ err: error, lane: index + 1 }, "a lane could not be started; retrying");
      startLater(state, index);
    }
  });
  timers.add(cancel);
}
