/**
 * UDP answered in batches: threads that each take many packets with one system call (batch-thread.ts), seen from the
 * main thread, which opens their sockets, sends them what they answer from, and starts one anew that has died.
 *
 *   openBatch ──▶ threads ready ──▶ sockets bound for every thread and address ──▶ publish() … close()
 *                                                                   │ died (which is a bug)
 *                     sockets closed: the kernel gives their clients to the other threads
 *                     1 s, 2 s … 30 s later: a new thread, the last snapshot and secrets, new sockets
 *
 * Sockets come last: from the moment that one of several is bound, a share of the clients waits for its thread.
 */
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { newCounters, type Counters } from "../counters.ts";
import type { Snapshot } from "../snapshot.ts";
import { batchArenaBytes, socketsMax } from "./batch-loop.ts";
import type { BatchOrder, BatchThreadStart, FromBatchThread } from "./batch-thread.ts";
import { openSocketCalls, type Arena } from "./socket-calls.ts";
import type { ListenAddress } from "./transport.ts";
import { controlSizeBytes, openUdpSocket, type PortSharing, type UdpSocket } from "./udp-sockets.ts";

export interface BatchDeps extends Pick<BatchThreadStart, "guard" | "rateTable" | "identity"> {
  readonly clock: Clock;
  readonly log: Log;
  /** Other processes bind the same ports, so that nobody can be kept off them. */
  readonly sharesPorts?: boolean;
  /** What the first query is answered from; absent: SERVFAIL until publish(). */
  readonly snapshot?: Snapshot | undefined;
  /** As by setSecrets(). */
  readonly secrets?: readonly Uint8Array[];
  /** Told of the first query that failed inside a thread, which is a bug. */
  readonly onFailure: (error: NearcastError) => void;
}

export interface BatchTransport {
  /** The addresses with the ports that were really bound. */
  readonly addresses: readonly ListenAddress[];
  /** One per thread; they go on from where they were when a thread is started anew. */
  readonly counters: readonly Counters[];
  /** A query that is sent after this has returned is answered from `snapshot`. */
  publish: (snapshot: Snapshot) => void;
  /** Cookies are made with the first and accepted from all. */
  setSecrets: (secrets: readonly Uint8Array[]) => void;
  /** How often a thread had to be started anew. */
  restarts: () => number;
  /** Ends the threads and frees the ports. Calling it twice is harmless. */
  close: () => Promise<void>;
}

/** A thread loads its files and builds a responder: some 100 ms, more on a busy machine. */
const readyTimeoutMs = 30_000;
/** A thread looks for orders at least ten times a second. */
const stopTimeoutMs = 2000;
const restartDelayMinMs = 1000;
const restartDelayMaxMs = 30_000;
/** A thread that has lived this long was well: the next delay is the shortest again. */
const wellAfterMs = 60_000;

/** One of the threads while it runs. */
interface Running {
  readonly worker: Worker;
  readonly orders: MessagePort;
  readonly bell: Int32Array<SharedArrayBuffer>;
  /** None before the thread is ready. */
  sockets: readonly UdpSocket[];
  readonly arena: Arena;
  readonly startedMs: number;
  readonly ready: Promise<void>;
  /** Resolves when the thread has ended and all it had is given back. */
  readonly ended: Promise<void>;
}

/**
 * Starts `threads` threads and binds all addresses for each.
 * @param addresses at most 64; port 0 takes a free one
 * @throws NearcastError CANNOT_LISTEN when an address can't be bound; then none is left bound
 */
export async function openBatch(
  addresses: readonly ListenAddress[],
  threads: number,
  deps: BatchDeps,
): Promise<BatchTransport> {
  const { clock, log } = deps;
  if (addresses.length > socketsMax) {
    throw new NearcastError("CANNOT_LISTEN", `${addresses.length} DNS addresses are too many, at most ${socketsMax}`);
  }
  const opened = openSocketCalls();
  if (typeof opened === "string") throw new NearcastError("CANNOT_LISTEN", `no batches: ${opened}`);
  const calls = opened;
  const control = calls.viewArena(calls.mapArena(controlSizeBytes));
  const counters = Array.from({ length: threads }, newCounters);
  const running: (Running | undefined)[] = counters.map(() => undefined);
  const deaths = counters.map(() => 0);
  const timers = new Set<Cancel>();
  let bound = addresses;
  let { snapshot, secrets } = deps;
  let restarts = 0;
  let isClosing = false;

  /** Opens a socket on each address, or none. */
  function openSockets(wanted: readonly ListenAddress[], sharing: PortSharing): UdpSocket[] {
    const sockets: UdpSocket[] = [];
    for (const address of wanted) {
      try {
        sockets.push(openUdpSocket(calls, control, address, sharing));
      } catch (error) {
        closeSockets(sockets);
        const { host, port } = address;
        const reason = error instanceof Error ? error.message : String(error);
        throw new NearcastError("CANNOT_LISTEN", `DNS can't listen on UDP ${host} port ${port}: ${reason}`, {
          cause: error,
        });
      }
    }
    return sockets;
  }

  function closeSockets(sockets: readonly UdpSocket[]): void {
    for (const { descriptor } of sockets) calls.close(descriptor);
  }

  /** Gives a thread that is ready its sockets; throws when an address can't be bound, and then none is. */
  function bindThread(thread: Running, sharing: PortSharing): void {
    const sockets = openSockets(bound, sharing);
    thread.sockets = sockets;
    bound = sockets.map(({ address }) => address);
    send(thread, { kind: "sockets", sockets: sockets.map(({ descriptor, family }) => ({ descriptor, family })) });
  }

  function startThread(index: number): Running {
    const { port1: orders, port2 } = new MessageChannel();
    orders.unref();
    const bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const arena = calls.mapArena(batchArenaBytes);
    const workerData: BatchThreadStart = {
      arena,
      counters: counters[index] ?? newCounters(),
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
        closeSockets(thread.sockets);
        calls.unmapArena(arena);
        onEnd(index, failure);
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
    ready.catch(() => undefined); // Its end is told by onEnd as well; only the start waits for it.
    const thread: Running = { worker, orders, bell, sockets: [], arena, startedMs: clock.monotonicMs(), ready, ended };
    running[index] = thread;
    if (snapshot !== undefined) send(thread, { kind: "snapshot", snapshot });
    if (secrets !== undefined) send(thread, { kind: "secrets", secrets });
    return thread;
  }

  function onEnd(index: number, failure: unknown): void {
    const thread = running[index];
    running[index] = undefined;
    if (isClosing || thread === undefined) return;
    if (clock.monotonicMs() - thread.startedMs >= wellAfterMs) deaths[index] = 0;
    log.error({ err: failure, thread: index + 1 }, "a DNS thread died and is started anew");
    startLater(index);
  }

  function startLater(index: number): void {
    const died = deaths[index] ?? 0;
    deaths[index] = died + 1;
    const cancel = clock.after(Math.min(restartDelayMinMs * 2 ** died, restartDelayMaxMs), () => {
      timers.delete(cancel);
      restarts++;
      restart(index);
    });
    timers.add(cancel);
  }

  function restart(index: number): void {
    let thread: Running;
    try {
      thread = startThread(index);
    } catch (error) {
      log.error({ err: error, thread: index + 1 }, "a DNS thread can't be started anew yet");
      startLater(index);
      return;
    }
    const bindIt = (): void => {
      if (isClosing || running[index] !== thread) return;
      const hasOthers = running.some((one) => one !== undefined && one.sockets.length > 0);
      bindThread(thread, hasOthers ? "follower" : firstSharing);
    };
    thread.ready.then(bindIt).catch((error: unknown) => {
      log.error({ err: error, thread: index + 1 }, "a DNS thread can't be started anew yet");
      void thread.worker.terminate(); // its end leads to the next try
    });
  }

  function send({ orders, bell }: Running, order: BatchOrder): void {
    orders.postMessage(order, []);
    Atomics.add(bell, 0, 1);
    Atomics.notify(bell, 0); // only a thread without sockets sleeps on it
  }

  function sendAll(order: BatchOrder): void {
    for (const thread of running) if (thread !== undefined) send(thread, order);
  }

  async function end(thread: Running): Promise<void> {
    send(thread, { kind: "stop" });
    const kill = clock.after(stopTimeoutMs, () => void thread.worker.terminate());
    await thread.ended;
    kill();
  }

  async function closeAll(): Promise<void> {
    isClosing = true;
    for (const cancel of timers) cancel();
    await Promise.all(running.flatMap((thread) => (thread === undefined ? [] : [end(thread)])));
    calls.unmapArena(control);
  }

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeAll());

  const firstSharing: PortSharing = deps.sharesPorts === true ? "follower" : threads > 1 ? "first" : "alone";
  try {
    const started = counters.map((_, index) => startThread(index));
    await Promise.all(started.map(({ ready }) => ready));
    for (const [index, thread] of started.entries()) {
      // One that has died meanwhile is being started anew.
      if (running[index] === thread) bindThread(thread, index === 0 ? firstSharing : "follower");
    }
  } catch (error) {
    await close();
    throw error;
  }

  return {
    addresses: bound,
    counters,
    publish(next) {
      snapshot = next;
      sendAll({ kind: "snapshot", snapshot: next });
    },
    setSecrets(next) {
      secrets = next;
      sendAll({ kind: "secrets", secrets: next });
    },
    restarts: () => restarts,
    close,
  };
}

function asFailure({ message, stack }: FromBatchThread & { kind: "failure" }): NearcastError {
  const error = new NearcastError("INTERNAL", message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
