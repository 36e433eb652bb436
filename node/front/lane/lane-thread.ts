/**
 * The start of a lane's thread. It never returns to Node's event loop, except to end.
 *
 *   main thread ──order──▶ port, and then the bell: a descriptor that wakes the lane
 */
import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { openOpenSsl } from "#base/openssl.ts";
import { type Arena, type ArenaView, openStreamCalls } from "#base/system-calls.ts";
import type { HandshakeLimits } from "../../tls/handshake-results.ts";
import { nativeRoomBytes, type NativeRoom, openNativeContexts } from "../../tls/native-contexts.ts";
import { openReadyMemory } from "../ready/ready-memory.ts";
import type { Counts } from "./counts.ts";
import { type LaneReady, type LaneTls, type ListenRules } from "./lane.ts";
import type { LaneLimits } from "./lane-limits.ts";
import { layout, receiveBytes } from "./layout.ts";
import { openLaneLoop } from "./lane-loop.ts";
import { openLaneTls, takeTlsOrder } from "./lane-tls.ts";
import type { SentRing } from "./sent-ring.ts";
import type { TlsOrder } from "./tls-orders.ts";

export interface LaneStart {
  /** Mapped by the main thread for this one. */
  readonly arena: Arena;
  readonly owned: Uint8Array<SharedArrayBuffer>;
  readonly counts: Counts;
  readonly orders: MessagePort;
  readonly bell: number;
  readonly limits: LaneLimits;
  readonly checkMs: number;
  /** Null: the main thread answers everything. */
  readonly ready: {
    readonly arena: Arena;
    readonly seed: number;
    readonly index: number;
    readonly sent: SentRing;
    readonly keepAliveSeconds: number;
  } | null;
  /** Null: no listener will be secure. */
  readonly tls: {
    readonly native: Float64Array<SharedArrayBuffer>;
    readonly protocols: readonly string[];
    readonly limits: HandshakeLimits;
  } | null;
}

export type LaneOrder =
  | { readonly kind: "listen"; readonly id: number; readonly descriptor: number; readonly rules: ListenRules }
  | { readonly kind: "drain" | "cut"; readonly id: number }
  | TlsOrder
  | { readonly kind: "stop" };

export type FromLane =
  /** `thread`: a path in /proc that exists as long as the thread does; null: there is no /proc. */
  | { readonly kind: "ready"; readonly thread: string | null }
  /** The main thread's end of a new pair. */
  | { readonly kind: "pair"; readonly descriptor: number }
  /** A listener that drains has no clients left. */
  | { readonly kind: "drained"; readonly id: number }
  /** A certificate can't be used. */
  | { readonly kind: "problem"; readonly text: string };

assert(parentPort !== null, "this file is the start of a thread");
const toMain = parentPort;
const { arena, owned, counts, orders, bell, limits, checkMs, ready, tls: secure } = workerData as LaneStart;
const calls = openStreamCalls();
assert(typeof calls !== "string", "the main thread has looked");

const state = { isStopped: false };
const tell = (message: FromLane): void => {
  toMain.postMessage(message, []);
};

const memory = calls.viewArena(arena);
const tls = secure === null ? null : openTls(secure, memory);
const loop = openLaneLoop({
  calls,
  memory,
  tls,
  owned,
  counts,
  bell,
  limits,
  checkMs,
  ready: ready === null ? null : openReady(ready),
  keepAliveSeconds: ready?.keepAliveSeconds ?? 0,
  monotonicMs: systemClock.monotonicMs,
  wallMs: systemClock.wallMs,
  offer(descriptor) {
    tell({ kind: "pair", descriptor });
  },
  drained(id) {
    tell({ kind: "drained", id });
  },
  takeOrders() {
    for (let next = receiveMessageOnPort(orders); next !== undefined; next = receiveMessageOnPort(orders)) {
      take(next.message as LaneOrder);
    }
  },
});

function openReady(start: NonNullable<LaneStart["ready"]>): LaneReady {
  assert(typeof calls !== "string");
  const { arena: shared, seed, index, sent } = start;
  return { memory: openReadyMemory(calls.viewArena(shared).bytes, seed), address: shared.address, index, sent };
}

function openTls(start: NonNullable<LaneStart["tls"]>, { address, bytes }: ArenaView): LaneTls {
  const ssl = openOpenSsl();
  assert(typeof ssl !== "string", "the main thread has looked");
  const room = (at: number, lengthBytes: number): NativeRoom => ({
    address: address + at,
    bytes: Buffer.from(bytes, at, lengthBytes),
  });
  const { native, protocols } = start;
  const contexts = openNativeContexts({
    ssl,
    room: room(layout.contexts, nativeRoomBytes),
    scratch: room(layout.receive, receiveBytes),
    protocols,
    note(slot, context) {
      native[owned.length + slot] = context;
    },
  });
  const report = (text: string): void => {
    tell({ kind: "problem", text });
  };
  return openLaneTls({ ssl, native, contexts, limits: start.limits, report });
}

function take(order: LaneOrder): void {
  switch (order.kind) {
    case "listen":
      loop.listen(order.id, order.descriptor, order.rules);
      return;
    case "drain":
      loop.drain(order.id);
      return;
    case "cut":
      loop.cut(order.id);
      return;
    case "certificates":
    case "ticketKeys":
      assert(tls !== null, "an order for TLS, and none here");
      takeTlsOrder(tls, order);
      return;
    case "stop":
      state.isStopped = true;
      return;
  }
}

/** Read in this thread, so it is this thread's. */
function ownThread(): string | null {
  try {
    return `/proc/${readlinkSync("/proc/thread-self")}`;
  } catch {
    return null;
  }
}

tell({ kind: "ready", thread: ownThread() });
while (!state.isStopped) loop.turn();
loop.close();
orders.close();
