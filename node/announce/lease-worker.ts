/**
 * The thread that holds the lease. It announces what the main thread last ordered, for as long as that one's heart
 * beats, or nobody else announces; nothing else makes it speak.
 *
 *   main thread ──order──▶ wanted ─┐
 *               ──beat───▶ fresh? ─┴─▶ speaker ──BGP──▶ BIRD
 *               ◀─stall, report ──
 *
 * After a stall the order of before is void, though the heart beats again: the main thread must hear of the stall, and
 * order anew. Orders carry the number of stalls that it has heard of, so an order that was given before one, and
 * arrives behind it, is void too.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { aloneSlot, beatSlot, firstBeat, isStale, lookMs, nextBeat } from "./heartbeat.ts";
import { administrativeShutdown, ceaseSubcodes } from "./bgp/notification.ts";
import type { Family } from "./bgp/prefix.ts";
import { openDialer, openKeyedDialer } from "./dial.ts";
import { readLeaseKey } from "#base/lease-key.ts";
import { nothingWanted, type Wanted } from "./routes.ts";
import type { SessionSettings, SessionState } from "./session.ts";
import { createSpeaker } from "./speaker.ts";

export interface LeaseWorkerStart {
  readonly peer: { readonly host: string; readonly port: number };
  readonly source: string;
  /** Holds the key of the session (lease-key.ts); undefined: it has none. */
  readonly keyFile: string | undefined;
  /** At beatSlot the main thread adds one each 50 ms; aloneSlot is 1 while it knows of no other that announces. */
  readonly beat: Int32Array<SharedArrayBuffer>;
}

export type LeaseOrder =
  | {
      readonly kind: "order";
      /** Stalls that the main thread has heard of. */
      readonly stalls: number;
      /** Null: there is nobody to be, and no session. */
      readonly session: SessionSettings | null;
      readonly wanted: Wanted;
    }
  | { readonly kind: "close" };

/** What the thread knows of the peer. */
export interface LeaseReport {
  readonly session: SessionState;
  readonly announced: readonly string[];
  readonly reason: string;
  readonly lastNotification: string | null;
  /** What the session can carry. */
  readonly families: readonly Family[];
  /** The main thread stands still, so nothing is announced. */
  readonly isStalled: boolean;
}

export type FromLeaseWorker =
  | { readonly kind: "report"; readonly report: LeaseReport }
  /** The heart beats again; everything was withdrawn meanwhile. */
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
  // The last one stays: names are answered by threads of their own, and there is nobody else to go to.
  const isAlone = !isStalled && Atomics.load(shared, aloneSlot) === 1;
  if ((isStale(beat) && !isAlone) === isStalled) return;
  isStalled = !isStalled;
  if (isStalled) {
    stalls++;
    refresh();
  } else post({ kind: "stall", stalls, forMs: Math.round(beat.lookedAtMs - before.movedAtMs) });
}

async function take(message: LeaseOrder): Promise<void> {
  if (message.kind === "close") {
    await speaker.stop(administrativeShutdown("nearcast stops"), "closed");
    port.close(); // nothing else keeps the thread
    return;
  }
  order = message;
  refresh();
  if (message.session !== null) {
    speaker.start(message.session);
    return;
  }
  const subcode = ceaseSubcodes.peerDeconfigured;
  await speaker.stop({ code: 6, subcode, data: new Uint8Array() }, "there is nothing to announce");
}

port.on("message", (message: LeaseOrder) => {
  void take(message);
});
clock.every(lookMs, look);
