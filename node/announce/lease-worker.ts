/**
 * The lease thread. It announces what the main thread last ordered, for as long as the main thread's heartbeat runs or
 * no other node announces the same prefixes.
 *
 *   main thread ──order──▶ wanted ─┐
 *               ──beat───▶ fresh? ─┴─▶ speaker ──BGP──▶ BIRD
 *               ◀─stall, report ──
 *
 * A stall voids the last order, even when the heartbeat resumes: the main thread must learn of the stall and order
 * again. Each order carries the number of stalls that the main thread knows of, so an order that was sent before a
 * stall and arrives after it is void, too.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { aloneSlot, beatSlot, firstBeat, isStale, lookMs, nextBeat, silenceSlot } from "./heartbeat.ts";
import { administrativeShutdown, ceaseSubcodes } from "./bgp/notification.ts";
import type { Family } from "./bgp/prefix.ts";
import { openDialer, openKeyedDialer } from "./dial.ts";
import { readLeaseKey } from "#base/lease-key.ts";
import { nothingWanted, type Wanted } from "./announced-routes.ts";
import type { SessionSettings, SessionState } from "./session.ts";
import { createSpeaker } from "./speaker.ts";

export interface LeaseWorkerStart {
  readonly peer: { readonly host: string; readonly port: number };
  readonly source: string;
  /** The file with the key of the session (lease-key.ts); undefined when there is no key. */
  readonly keyFile: string | undefined;
  /** The main thread increments beatSlot every 50 ms; aloneSlot is 1 while it knows of no other announcer. */
  readonly beat: Int32Array<SharedArrayBuffer>;
}

export type LeaseOrder =
  | {
      readonly kind: "order";
      /** How many stalls the main thread knows of. */
      readonly stalls: number;
      /** Null: nothing to announce, and no session. */
      readonly session: SessionSettings | null;
      readonly wanted: Wanted;
    }
  | { readonly kind: "close" };

/** What the thread knows about its peer. */
export interface LeaseReport {
  readonly session: SessionState;
  readonly announced: readonly string[];
  readonly reason: string;
  readonly lastNotification: string | null;
  /** Address families that the session can carry. */
  readonly families: readonly Family[];
  /** The main thread is blocked, so nothing is announced. */
  readonly isStalled: boolean;
}

export type FromLeaseWorker =
  | { readonly kind: "report"; readonly report: LeaseReport }
  /** The heartbeat has resumed; everything was withdrawn meanwhile. */
  | { readonly kind: "stall"; readonly stalls: number; readonly forMs: number };

assert(parentPort !== null, "this file is the start of a thread");
const port = parentPort;
const { peer, source, keyFile, beat: shared } = workerData as LeaseWorkerStart;
const clock = systemClock;

let order: Extract<LeaseOrder, { kind: "order" }> | undefined;
let stalls = 0;
let isStalled = false;
let beat = firstBeat(Atomics.load(shared, beatSlot), clock.monotonicMs());
let lastReport: LeaseReport | undefined;

const dial =
  keyFile === undefined
    ? openDialer({ peer, source })
    : openKeyedDialer({ peer, source }, () => readLeaseKey(keyFile), clock);
const speaker = createSpeaker({ dial, clock, changed: reportChange });

function post(message: FromLeaseWorker): void {
  port.postMessage(message);
}

function reportChange(): void {
  const { state, reason, lastNotification, families } = speaker.session();
  const report = { session: state, announced: speaker.announced(), reason, lastNotification, families, isStalled };
  if (isDeepStrictEqual(report, lastReport)) return;
  lastReport = report;
  post({ kind: "report", report });
}

function refresh(): void {
  const isInForce = order !== undefined && order.stalls === stalls && !isStalled;
  speaker.want(isInForce && order !== undefined ? order.wanted : nothingWanted);
}

function look(): void {
  const before = beat;
  beat = nextBeat(beat, Atomics.load(shared, beatSlot), clock.monotonicMs());
  // The only announcer stays announced: DNS is answered by other threads, and clients have nowhere else to go.
  const isAlone = !isStalled && Atomics.load(shared, aloneSlot) === 1;
  if ((isStale(beat, Atomics.load(shared, silenceSlot)) && !isAlone) === isStalled) return;
  isStalled = !isStalled;
  if (isStalled) {
    stalls++;
    refresh();
  } else post({ kind: "stall", stalls, forMs: Math.round(beat.lookedAtMs - before.movedAtMs) });
}

async function take(message: LeaseOrder): Promise<void> {
  if (message.kind === "close") {
    await speaker.stop(administrativeShutdown("nearcast stops"), "closed");
    port.close(); // nothing else keeps the thread alive
    return;
  }
  order = message;
  refresh();
  if (message.session !== null) {
    speaker.start(message.session);
    return;
  }
  const subcode = ceaseSubcodes.peerDeconfigured;
  await speaker.stop({ code: 6, subcode, data: new Uint8Array() }, "nothing to announce");
}

port.on("message", (message: LeaseOrder) => {
  void take(message);
});
clock.every(lookMs, look);
