/**
 * The batch threads while they run: starts them, gives them sockets and orders, and restarts one that died. All
 * functions work on one record, created by openBatch().
 */
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { listenFailure } from "#base/listen-failure.ts";
import type { Log } from "#base/log.ts";
import { newCounters, type Counters } from "../counters.ts";
import type { Snapshot } from "../snapshot.ts";
import { batchArenaBytes } from "./batch-loop.ts";
import type { BatchOrder, BatchThreadStart, FromBatchThread } from "./batch-thread.ts";
import type { Arena, ArenaView, DatagramCalls } from "#base/system-calls.ts";
import type { ListenAddress } from "./transport.ts";
import { openUdpSocket, type PortSharing, type UdpSocket } from "./udp-sockets.ts";

export interface BatchDeps extends Pick<BatchThreadStart, "guard" | "rateTable" | "identity"> {
  readonly clock: Clock;
  readonly log: Log;
  /** Other processes bind the same ports, so the ports can't be exclusive. */
  readonly sharesPorts?: boolean;
  /** Answers the first queries; absent: SERVFAIL until publish(). */
  readonly snapshot?: Snapshot | undefined;
  /** As for setSecrets(). */
  readonly secrets?: readonly Uint8Array[];
  /** Called for the first query that failed inside a thread, which is a bug. */
  readonly onFailure: (error: NearcastError) => void;
}

/** A thread loads its files and builds a responder: some 100 ms, more on a busy machine. */
const readyTimeoutMs = 30_000;
/** A thread looks for orders at least ten times a second. */
const stopTimeoutMs = 2000;
const restartDelayMinMs = 1000;
const restartDelayMaxMs = 30_000;
/** A thread that has run this long was healthy: the next delay is the shortest again. */
const wellAfterMs = 60_000;

/** One of the threads while it runs. */
export interface Running {
  readonly worker: Worker;
  readonly orders: MessagePort;
  readonly bell: Int32Array<SharedArrayBuffer>;
  /** None before the thread is ready. */
  sockets: readonly UdpSocket[];
  readonly arena: Arena;
  readonly startedMs: number;
  readonly ready: Promise<void>;
  /** Resolves when the thread has ended and its resources are released. */
  readonly ended: Promise<void>;
}

/** All threads of one openBatch(). */
export interface Batch {
  readonly deps: BatchDeps;
  readonly clock: Clock;
  readonly log: Log;
  readonly calls: DatagramCalls;
  /** Memory for the calls that open sockets. */
  readonly control: ArenaView;
  /** One per thread, as are the next two. */
  readonly counters: readonly Counters[];
  readonly running: (Running | undefined)[];
  /** How often it has died recently. */
  readonly deaths: number[];
  /** How the first socket of an address shares its port. */
  readonly firstSharing: PortSharing;
  /** Pending restarts. */
  readonly timers: Set<Cancel>;
  /** The addresses with their ports, as far as the ports are known. */
  bound: readonly ListenAddress[];
  snapshot: Snapshot | undefined;
  secrets: readonly Uint8Array[] | undefined;
  restarts: number;
  isClosing: boolean;
}

/** Starts thread `index`; it answers once it has been given its sockets. */
export function startThread(batch: Batch, index: number): Running {
  const { calls, clock, deps } = batch;
  const { port1: orders, port2 } = new MessageChannel();
  orders.unref();
  const bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const arena = calls.mapArena(batchArenaBytes);
  const workerData: BatchThreadStart = {
    arena,
    counters: batch.counters[index] ?? newCounters(),
    rateTable: deps.rateTable,
    guard: deps.guard,
    identity: deps.identity,
    orders: port2,
    bell,
  };
  const name = `dns-${index + 1}`;
  const worker = new Worker(new URL("./batch-thread.ts", import.meta.url), {
    name,
    workerData,
    transferList: [port2],
  });
  let failure: unknown = new Error("it ended by itself");
  worker.on("error", (error: unknown) => {
    failure = error;
  });
  const ended = new Promise<void>((resolve) => {
    worker.once("exit", () => {
      orders.close();
      closeSockets(batch, thread.sockets);
      calls.unmapArena(arena);
      onEnd(batch, index, failure);
      resolve();
    });
  });
  const ready = new Promise<void>((resolve, reject) => {
    const giveUp = clock.after(readyTimeoutMs, () => {
      reject(new Error(`a DNS thread is not ready after ${readyTimeoutMs} ms`));
    });
    worker.once("exit", () => {
      giveUp();
      reject(new Error("a DNS thread could not start", { cause: failure }));
    });
    worker.on("message", (message: FromBatchThread) => {
      switch (message.kind) {
        case "ready":
          giveUp();
          resolve();
          return;
        case "failure":
          deps.onFailure(asFailure(message));
          return;
      }
    });
  });
  ready.catch(() => undefined); // onEnd handles the failure, too; only the start awaits this.
  const thread: Running = { worker, orders, bell, sockets: [], arena, startedMs: clock.monotonicMs(), ready, ended };
  batch.running[index] = thread;
  const { snapshot, secrets } = batch;
  if (snapshot !== undefined) send(thread, { kind: "snapshot", snapshot });
  if (secrets !== undefined) send(thread, { kind: "secrets", secrets });
  return thread;
}

/** Gives its sockets to a thread that is ready. Throws if an address can't be bound; then none stays bound. */
export function bindThread(batch: Batch, thread: Running, sharing: PortSharing): void {
  const sockets = openSockets(batch, batch.bound, sharing);
  thread.sockets = sockets;
  batch.bound = sockets.map(({ address }) => address);
  send(thread, { kind: "sockets", sockets: sockets.map(({ descriptor, family }) => ({ descriptor, family })) });
}

/** Opens a socket on each address, or none. */
function openSockets(batch: Batch, wanted: readonly ListenAddress[], sharing: PortSharing): UdpSocket[] {
  const sockets: UdpSocket[] = [];
  for (const address of wanted) {
    try {
      sockets.push(openUdpSocket(batch.calls, batch.control, address, sharing));
    } catch (error) {
      closeSockets(batch, sockets);
      throw listenFailure("DNS over UDP", address, error);
    }
  }
  return sockets;
}

function closeSockets({ calls }: Batch, sockets: readonly UdpSocket[]): void {
  for (const { descriptor } of sockets) calls.close(descriptor);
}

function onEnd(batch: Batch, index: number, failure: unknown): void {
  const thread = batch.running[index];
  batch.running[index] = undefined;
  if (batch.isClosing || thread === undefined) return;
  if (batch.clock.monotonicMs() - thread.startedMs >= wellAfterMs) batch.deaths[index] = 0;
  batch.log.error({ err: failure, thread: index + 1 }, "a DNS thread died; it is started again");
  startLater(batch, index);
}

function startLater(batch: Batch, index: number): void {
  const died = batch.deaths[index] ?? 0;
  batch.deaths[index] = died + 1;
  const cancel = batch.clock.after(Math.min(restartDelayMinMs * 2 ** died, restartDelayMaxMs), () => {
    batch.timers.delete(cancel);
    batch.restarts++;
    restart(batch, index);
  });
  batch.timers.add(cancel);
}

function restart(batch: Batch, index: number): void {
  let thread: Running;
  try {
    thread = startThread(batch, index);
  } catch (error) {
    batch.log.error({ err: error, thread: index + 1 }, "a DNS thread could not be started again; retrying");
    startLater(batch, index);
    return;
  }
  const bindIt = (): void => {
    if (batch.isClosing || batch.running[index] !== thread) return;
    const hasOthers = batch.running.some((one) => one !== undefined && one.sockets.length > 0);
    bindThread(batch, thread, hasOthers ? "follower" : batch.firstSharing);
  };
  thread.ready.then(bindIt).catch((error: unknown) => {
    batch.log.error({ err: error, thread: index + 1 }, "a DNS thread could not be started again; retrying");
    void thread.worker.terminate(); // its end triggers the next attempt
  });
}

function send({ orders, bell }: Running, order: BatchOrder): void {
  orders.postMessage(order, []);
  Atomics.add(bell, 0, 1);
  Atomics.notify(bell, 0); // only a thread without sockets sleeps on it
}

export function sendAll(batch: Batch, order: BatchOrder): void {
  for (const thread of batch.running) if (thread !== undefined) send(thread, order);
}

/** Ends all threads and releases their resources. */
export async function closeAll(batch: Batch): Promise<void> {
  batch.isClosing = true;
  for (const cancel of batch.timers) cancel();
  await Promise.all(batch.running.flatMap((thread) => (thread === undefined ? [] : [end(batch, thread)])));
  batch.calls.unmapArena(batch.control);
}

/** Stops the thread, by force if it does not respond. */
async function end(batch: Batch, thread: Running): Promise<void> {
  send(thread, { kind: "stop" });
  const kill = batch.clock.after(stopTimeoutMs, () => void thread.worker.terminate());
  await thread.ended;
  kill();
}

function asFailure({ message, stack }: FromBatchThread & { kind: "failure" }): NearcastError {
  const error = new NearcastError("INTERNAL", message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
