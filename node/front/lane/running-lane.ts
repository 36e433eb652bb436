/** The thread of one lane, as the main thread runs it. */
import { existsSync } from "node:fs";
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import type { Cancel, Clock } from "#base/clock.ts";
import { openFilesMax } from "#base/open-files.ts";
import { openOpenSsl } from "#base/openssl.ts";
import { type Arena, type ArenaView, errnoName, type StreamCalls } from "#base/system-calls.ts";
import { type HandshakeLimits, handshakeLimits } from "../../tls/handshake-results.ts";
import { contextsMax } from "../../tls/native-contexts.ts";
import type { ReadyMemory } from "../ready/ready-memory.ts";
import { type Counts, read } from "./counts.ts";
import { limitsOfLane } from "./lane-limits.ts";
import { layout } from "./layout.ts";
import { reservedAt } from "./lane-control.ts";
import type { FromLane, LaneOrder, LaneStart } from "./lane-thread.ts";
import { adoptPair, type Lent } from "./lent-connection.ts";
import type { SentRing } from "./sent-ring.ts";
import type { LaneTlsParts } from "./tls-orders.ts";

/** A thread loads its files: some 100 ms, more on a busy machine. */
const readyMs = 30_000;
/** A lane looks for orders at once, unless something holds it up. */
const stopMs = 2000;
/** How often a lane checks its deadlines. */
const checkMs = 250;
/** A lane that makes no turn between so many looks hangs. */
const looksMax = 5;
const lookMs = 1000;

/** Ready responses, in memory that lanes can read. */
export interface SharedReady {
  readonly memory: ReadyMemory;
  /** The same memory. */
  readonly arena: Arena;
  readonly keepAliveSeconds: number;
}

export interface LaneParts {
  readonly calls: StreamCalls;
  readonly control: ArenaView;
  readonly clock: Clock;
  readonly counts: Counts;
  /** Number of lanes, which share limits. */
  readonly share: number;
  readonly index: number;
  readonly ready: (SharedReady & { readonly sent: SentRing }) | null;
  /** Null: no listener will be secure. */
  readonly tls: LaneTlsParts | null;
}

export interface LaneEvents {
  readonly lent: Lent;
  readonly drained: (id: number) => void;
  readonly problem: (text: string) => void;
  /** The thread has ended, and what it had open is closed. */
  readonly ended: (error: unknown) => void;
}

export interface Running {
  readonly worker: Worker;
  readonly orders: MessagePort;
  readonly bell: number;
  readonly calls: StreamCalls;
  readonly control: ArenaView;
  readonly startedMs: number;
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
}

export function startLane(
  { calls, control, clock, counts, share, index, ready: shared, tls }: LaneParts,
  events: LaneEvents,
): Running {
  const { port1: orders, port2 } = new MessageChannel();
  orders.unref();
  const owned = new Uint8Array(new SharedArrayBuffer(openFilesMax()));
  const native = newNative(owned.length);
  const bell = calls.openEvent();
  if (bell < 0) throw new Error(`eventfd ${errnoName(calls.errno())}`);
  const arena = calls.mapArena(layout.sizeBytes);
  const workerData: LaneStart = {
    arena,
    owned,
    counts,
    orders: port2,
    bell,
    limits: limitsOfLane(share),
    checkMs,
    ready: shared === null ? null : readyFor(shared, index),
    tls: tls === null ? null : { native, protocols: tls.protocols, limits: limitsOf(tls, share) },
  };
  const worker = new Worker(new URL("./lane-thread.ts", import.meta.url), {
    name: `lane-${index + 1}`,
    workerData,
    transferList: [port2],
    // A lane allocates little; a small heap keeps garbage collections short.
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
  let failure: unknown = new Error("it ended by itself");
  worker.on("error", (error: unknown) => {
    failure = error;
  });
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined); // "ended" tells, too
  const ended = Promise.withResolvers<void>();
  const giveUp = clock.after(readyMs, () => {
    failure = new Error(`a lane is not ready after ${readyMs} ms`);
    void worker.terminate();
  });
  let stopLooking: Cancel | undefined;
  let isEnded = false;
  worker.on("message", (message: FromLane) => {
    switch (message.kind) {
      case "ready":
        giveUp();
        stopLooking = whenHung(clock, counts, message.thread, {
          hung() {
            failure = new Error(`it made no turn for ${(looksMax * lookMs) / 1000} s`);
            void endLane({ options: { clock } }, lane);
          },
          // Node waits for a word of the thread, which will never come.
          gone() {
            failure = new Error("its thread is gone");
            worker.unref();
            end();
          },
        });
        ready.resolve();
        return;
      case "pair":
        owned[message.descriptor] = 0;
        adoptPair(message.descriptor, events.lent);
        return;
      case "drained":
        events.drained(message.id);
        return;
      case "problem":
        events.problem(message.text);
    }
  });
  const end = (): void => {
    giveUp();
    stopLooking?.();
    if (isEnded) return;
    isEnded = true;
    orders.close();
    freeNative(native, owned.length);
    for (let at = owned.indexOf(1); at !== -1; at = owned.indexOf(1, at + 1)) calls.close(at);
    calls.close(bell);
    calls.unmapArena(arena);
    ready.reject(new Error("a lane could not start", { cause: failure }));
    events.ended(failure);
    ended.resolve();
  };
  worker.once("exit", end);
  const startedMs = clock.monotonicMs();
  const lane = { worker, orders, bell, calls, control, startedMs, ready: ready.promise, ended: ended.promise };
  return lane;
}

/**
 * Calls back if the lane hangs, or its thread has ended without a word. A process that was stopped as a whole is no
 * such case: then nobody looks either.
 * @param thread exists as long as the thread; null: not known
 */
function whenHung(
  clock: Clock,
  counts: Counts,
  thread: string | null,
  { hung, gone }: { hung: () => void; gone: () => void },
): Cancel {
  let turns = -1;
  let looks = 0;
  return clock.every(lookMs, () => {
    const now = read(counts, "turns");
    looks = now === turns ? looks + 1 : 0;
    turns = now;
    // After an ordinary end, Node has said so by the second look.
    if (looks >= 2 && thread !== null && !existsSync(thread)) gone();
    else if (looks === looksMax) hung();
  });
}

/** Addresses of OpenSSL's objects (lane-tls.ts). Pages that nobody writes to take no memory. */
function newNative(descriptors: number): Float64Array<SharedArrayBuffer> {
  const length = descriptors + contextsMax + 1;
  return new Float64Array(new SharedArrayBuffer(length * Float64Array.BYTES_PER_ELEMENT));
}

/** Frees what OpenSSL has for a thread that has ended: its objects belong to the process. */
function freeNative(native: Float64Array, descriptors: number): void {
  const ssl = openOpenSsl();
  if (typeof ssl === "string") return;
  for (const [index, address] of native.entries()) {
    if (address === 0) continue;
    native[index] = 0;
    if (index < descriptors) ssl.free(address);
    else ssl.freeContext(address);
  }
  ssl.takeError();
}

/** Each lane's part of the limits. */
function limitsOf({ limits }: LaneTlsParts, share: number): HandshakeLimits {
  const { handshakes, handshakesOfNetwork, handshakeMs } = { ...handshakeLimits, ...limits };
  return {
    handshakes: Math.ceil(handshakes / share),
    handshakesOfNetwork: Math.ceil(handshakesOfNetwork / share),
    handshakeMs,
  };
}

function readyFor(
  { memory, arena, keepAliveSeconds, sent }: NonNullable<LaneParts["ready"]>,
  index: number,
): LaneStart["ready"] {
  const { address, sizeBytes } = arena;
  return { arena: { address, sizeBytes }, seed: memory.seed, index, sent, keepAliveSeconds };
}

export function order({ orders, bell, calls, control }: Running, message: LaneOrder): void {
  orders.postMessage(message, []);
  calls.write(bell, control.address + reservedAt, 8);
}

/**
 * Stops the thread, by force if it does not respond. Force may come only when the thread is ready: while it loads
 * koffi, it could take the process with it (koffi can't report the interruption of its own start to anybody).
 */
export async function endLane({ options }: { options: { clock: Clock } }, lane: Running): Promise<void> {
  await Promise.race([lane.ready.catch(() => undefined), lane.ended]);
  order(lane, { kind: "stop" });
  const kill = options.clock.after(stopMs, () => void lane.worker.terminate());
  await lane.ended;
  kill();
}
