/** One turn of a lane: waits for events and handles them. Also opens and closes the parts of a lane. */
import {
  type ArenaView,
  EPOLLERR,
  epollEvent,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  errnoName,
  errnos,
  type StreamCalls,
} from "#base/system-calls.ts";
import { createNetworkQueue } from "../network-queue.ts";
import { newRequestHead } from "../request-head.ts";
import { createUnfinished } from "../unfinished.ts";
import { createHeadEnds, newReadyAnswer } from "../ready/ready-answer.ts";
import { enter, leave } from "../ready/ready-memory.ts";
import { flush, isBlocked, prepareCalls } from "./channel.ts";
import {
  acceptAll,
  addSecureClient,
  cut,
  drain,
  readAhead,
  readClient,
  readWaiting,
  sweep,
  writeClient,
} from "./clients.ts";
import { count as countOne, type Counts } from "./counts.ts";
import {
  type Client,
  close,
  type Lane,
  type LaneReady,
  type LaneTls,
  type ListeningSocket,
  type ListenRules,
  nextStamp,
  watch,
} from "./lane.ts";
import { clientsOf } from "./crowding.ts";
import { settleTouched } from "./http2-clients.ts";
import { type LaneDelay, openLaneDelay } from "./lane-delay.ts";
import type { LaneLimits } from "./lane-limits.ts";
import { eventsMax, layout } from "./layout.ts";
import { beginWaiting, continueHandshake } from "./handshakes.ts";
import { beginSessions } from "./session-turns.ts";
import { newSeenBodies } from "./page-cache.ts";
import { abandon, closePair, flushToMain, hangUp, readPair, watchBoth } from "./sessions.ts";

export interface LaneDeps {
  readonly calls: StreamCalls;
  /** At least layout.sizeBytes, zeroed, for this lane alone. */
  readonly memory: ArenaView;
  readonly owned: Uint8Array;
  readonly counts: Counts;
  /** Becomes readable when there are orders. */
  readonly bell: number;
  readonly limits: LaneLimits;
  /** How often deadlines are checked. */
  readonly checkMs: number;
  /** Null: the main thread answers everything. */
  readonly ready: LaneReady | null;
  /** Null: no listener of this lane is secure. */
  readonly tls: LaneTls | null;
  readonly keepAliveSeconds: number;
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly offer: Lane["offer"];
  readonly drained: Lane["drained"];
  readonly takeOrders: () => void;
}

export interface LaneLoop {
  /** Waits up to `checkMs` for events, and handles those that there are. */
  readonly turn: () => void;
  /** Accepts the clients of a listening socket. It stays the main thread's. */
  readonly listen: (id: number, descriptor: number, rules: ListenRules) => void;
  /** Accepts no more, and closes what is idle. */
  readonly drain: (id: number) => void;
  /** Closes all clients of this listener. */
  readonly cut: (id: number) => void;
  readonly close: () => void;
}

const bellStamp = -1;

export function openLaneLoop(deps: LaneDeps): LaneLoop {
  const { calls, memory, owned, counts, limits, ready, tls } = deps;
  const epoll = calls.openEpoll();
  if (epoll < 0 || epoll >= owned.length) throw new Error(`epoll_create1 ${errnoName(calls.errno())}`);
  owned[epoll] = 1;
  const lane: Lane = {
    calls,
    memory,
    bytes: Buffer.from(memory.bytes),
    words: new Int32Array(memory.bytes),
    epoll,
    owned,
    counts,
    limits,
    listening: new Map(),
    clients: new Map(),
    pairs: new Map(),
    freePairs: [],
    quietPairs: new Set(),
    waitingBytes: 0,
    head: newRequestHead(),
    unfinished: createUnfinished(limits.unfinishedBytesMax),
    ready,
    unsentBytes: 0,
    answer: newReadyAnswer(),
    seenBodies: newSeenBodies(),
    headEndsAt: createHeadEnds(deps.keepAliveSeconds),
    waiting: [],
    inLine: createNetworkQueue(),
    newSessions: 0,
    ahead: new Set(),
    tls: deps.tls,
    http2: null,
    wallMs: deps.wallMs(),
    nowMs: deps.monotonicMs(),
    stamps: 0,
    offer: deps.offer,
    drained: deps.drained,
  };
  prepareCalls(lane);
  watch(lane, { descriptor: deps.bell, stamp: bellStamp, watching: 0 }, EPOLLIN);
  const delay = ownDelay(lane, deps);
  let sweptMs = lane.nowMs;
  const byId = (id: number): ListeningSocket | undefined =>
    [...lane.listening.values()].find((listening) => listening.id === id);

  return {
    turn() {
      const isBusy = lane.waiting.length > 0 || lane.ahead.size > 0 || (tls !== null && tls.queue.size() > 0);
      const waitMs = isBusy ? 0 : deps.checkMs;
      const count = calls.waitEpoll(epoll, memory.address + layout.events, eventsMax, waitMs);
      // Before anything else that could make a system call.
      const errno = count < 0 ? calls.errno() : 0;
      countOne(counts, "turns");
      lane.nowMs = deps.monotonicMs();
      lane.wallMs = deps.wallMs();
      if (count < 0 && errno !== errnos.EINTR) throw new Error(`epoll_wait ${errnoName(errno)}`);
      if (ready !== null) enter(ready.memory, ready.index);
      readWaiting(lane);
      if (lane.ahead.size > 0) readAhead(lane);
      if (tls !== null) {
        beginWaiting(lane, tls, (completed) => {
          addSecureClient(lane, completed);
        });
      }
      for (let index = 0; index < count; index += 1) {
        const at = (layout.events + index * epollEvent.sizeBytes) / 4;
        const events = lane.words[at + epollEvent.events / 4] ?? 0;
        const descriptor = lane.words[at + epollEvent.data / 4] ?? -1;
        const stamp = lane.words[at + epollEvent.data / 4 + 1] ?? 0;
        if (stamp === bellStamp) {
          calls.read(deps.bell, memory.address + layout.control, 8);
          delay.heard();
          deps.takeOrders();
        } else dispatch(lane, events, descriptor, stamp);
      }
      settleTouched(lane);
      if (ready !== null) leave(ready.memory, ready.index);
      if (lane.nowMs - sweptMs >= deps.checkMs) {
        sweptMs = lane.nowMs;
        sweep(lane);
      }
      beginSessions(lane);
      settleTouched(lane);
      if (count > 0) delay.look();
    },
    listen(id, descriptor, rules) {
      const stamp = nextStamp(lane);
      const listening: ListeningSocket = {
        descriptor,
        stamp,
        watching: 0,
        id,
        rules,
        openClients: 0,
        crowd: { connectionsMax: rules.connectionsMax, groups: [], census: null },
        pausedUntilMs: 0,
        isDraining: false,
      };
      listening.crowd.groups.push(clientsOf(lane, listening));
      lane.listening.set(descriptor, listening);
      watch(lane, listening, EPOLLIN);
    },
    drain(id) {
      const listening = byId(id);
      if (listening === undefined) return;
      lane.listening.delete(listening.descriptor);
      drain(lane, listening);
    },
    cut(id) {
      cut(lane, id);
    },
    close() {
      const { clients, pairs } = lane;
      for (const [descriptor] of [...clients, ...pairs, ...(tls?.handshakes ?? [])]) close(lane, descriptor);
      close(lane, epoll);
    },
  };
}

function ownDelay({ calls, memory, words }: Lane, { bell, counts, monotonicMs }: LaneDeps): LaneDelay {
  return openLaneDelay(counts, {
    ring() {
      words.set([1, 0], layout.control / 4);
      calls.write(bell, memory.address + layout.control, 8);
    },
    nowMs: monotonicMs,
  });
}

/** An event may be about a descriptor that was closed, and used again, since it was reported: the stamp tells. */
function dispatch(lane: Lane, events: number, descriptor: number, stamp: number): void {
  const isError = (events & EPOLLERR) !== 0;
  const isEnd = isError || (events & EPOLLHUP) !== 0;
  const client = lane.clients.get(descriptor);
  if (client?.stamp === stamp) {
    if ((events & EPOLLOUT) !== 0) writable(lane, client);
    if (lane.clients.get(descriptor) !== client) return;
    if ((events & EPOLLIN) !== 0 && (client.watching & EPOLLIN) !== 0) readClient(lane, client);
    else if (isEnd) hangUp(lane, client, isError);
    return;
  }
  const pair = lane.pairs.get(descriptor);
  if (pair?.stamp === stamp) {
    if ((events & EPOLLIN) !== 0 && (pair.watching & EPOLLIN) !== 0) readPair(lane, pair);
    else if (isEnd) closePair(lane, pair);
    if ((events & EPOLLOUT) !== 0 && pair.phase !== "closed") flushToMain(lane, pair);
    return;
  }
  const handshake = lane.tls?.handshakes.get(descriptor);
  if (lane.tls !== null && handshake?.stamp === stamp) {
    const completed = continueHandshake(lane, lane.tls, handshake, events);
    if (completed !== undefined) addSecureClient(lane, completed);
    return;
  }
  const listening = lane.listening.get(descriptor);
  if (listening?.stamp === stamp) acceptAll(lane, listening);
}

function writable(lane: Lane, client: Client): void {
  if (!flush(lane, client)) {
    abandon(lane, client);
    return;
  }
  if (isBlocked(client)) return;
  const { secure, pair } = client;
  if (secure?.readsAfterWrite === true) {
    secure.readsAfterWrite = false;
    watchBoth(lane, client, pair);
    if (client.unsent === null && pair?.isClientFull !== true) {
      readClient(lane, client);
      return;
    }
  }
  if (client.unsent !== null) writeClient(lane, client);
  else if (pair !== null) readPair(lane, pair);
}
