/**
 * A batch thread: its own responder, and a loop that returns to Node's event loop only to stop.
 *
 *   main thread ──order──▶ port   and the bell: a number in shared memory, one higher after each order
 *                                  │
 *   packets come ──▶ bell changed? handle the orders ──▶ answer
 *
 * Reading the bell costs a few nanoseconds, so the thread reads it before every batch. A query sent after publish() has
 * returned is answered from the new snapshot, whether the thread was busy or asleep.
 */
import assert from "node:assert/strict";
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { systemRandom } from "#base/random.ts";
import type { Counters } from "../counters.ts";
import { createCookies } from "../guard/cookie.ts";
import { createRateLimit } from "../guard/rate-limit.ts";
import type { Identity } from "../answer/state.ts";
import { createResponder } from "../responder.ts";
import type { Snapshot } from "../snapshot.ts";
import { createBatchLoop, type BatchSocket } from "./batch-loop.ts";
import { openDatagramCalls, type Arena } from "#base/system-calls.ts";

export interface BatchThreadStart {
  /** Mapped by the main thread for this one. */
  readonly arena: Arena;
  readonly counters: Counters;
  /** Shared by all threads, so that a client network has one limit. */
  readonly rateTable: SharedArrayBuffer;
  readonly guard: {
    readonly responsesPerSecond: number;
    readonly slip: number;
    readonly amplificationMax: number;
  };
  readonly identity: Identity;
  readonly orders: MessagePort;
  readonly bell: Int32Array<SharedArrayBuffer>;
}

export type BatchOrder =
  /** Sent once, when this thread is ready. The main thread closes them after the thread has ended. */
  | { readonly kind: "sockets"; readonly sockets: readonly BatchSocket[] }
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
  | { readonly kind: "secrets"; readonly secrets: readonly Uint8Array[] }
  | { readonly kind: "stop" };

export type FromBatchThread =
  | { readonly kind: "ready" }
  /** A query failed with an internal error. Sent for the first one only. */
  | { readonly kind: "failure"; readonly message: string; readonly stack: string | undefined };

assert(parentPort !== null, "this file is the start of a thread");
const toMain = parentPort;
const start = workerData as BatchThreadStart;
const { guard, orders, bell } = start;
const calls = openDatagramCalls();
assert(typeof calls !== "string", "the main thread has looked");

const tell = (message: FromBatchThread): void => {
  toMain.postMessage(message, []);
};

let sockets: readonly BatchSocket[] | undefined;
let snapshot: Snapshot | undefined;
let isStopped = false;
let heard = 0;
let hasFailed = false;
let nowMs = systemClock.wallMs();
const cookies = createCookies();

const { respond } = createResponder({
  snapshot: () => snapshot,
  counters: start.counters,
  cookies,
  rateLimit: guard.responsesPerSecond > 0 ? createRateLimit(guard, start.rateTable) : undefined,
  amplificationMax: guard.amplificationMax,
  identity: start.identity,
  random: systemRandom,
  nowMs: () => nowMs,
  onFailure(error) {
    if (!hasFailed) tell({ kind: "failure", message: error.message, stack: error.stack });
    hasFailed = true;
  },
});

function take(order: BatchOrder): void {
  switch (order.kind) {
    case "sockets":
      ({ sockets } = order);
      return;
    case "snapshot":
      ({ snapshot } = order);
      return;
    case "secrets":
      cookies.setSecrets(order.secrets);
      return;
    case "stop":
      isStopped = true;
      return;
  }
}

/** Returns whether to continue. */
function takeOrders(): boolean {
  const rung = Atomics.load(bell, 0);
  if (rung === heard) return !isStopped;
  heard = rung;
  for (let next = receiveMessageOnPort(orders); next !== undefined; next = receiveMessageOnPort(orders)) {
    take(next.message as BatchOrder);
  }
  return !isStopped;
}

const hasSockets = (): boolean => sockets !== undefined;

tell({ kind: "ready" });
while (takeOrders() && !hasSockets()) Atomics.wait(bell, 0, heard);
if (sockets !== undefined) {
  const turn = createBatchLoop({
    calls,
    arena: calls.viewArena(start.arena),
    sockets,
    respond,
    counters: start.counters,
    beforeBatch() {
      nowMs = systemClock.wallMs();
      takeOrders();
    },
  });
  while (takeOrders()) turn();
}
orders.close();
