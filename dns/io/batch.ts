/**
 * The main thread's side of the batch threads, which receive many UDP packets with one system call (batch-thread.ts):
 * opens their sockets, sends them snapshots, and restarts a thread that died.
 *
 *   openBatch ──▶ threads ready ──▶ sockets bound for every thread and address ──▶ publish() … close()
 *                                                                   │ died (a bug)
 *                     sockets closed: the kernel moves their clients to the other threads
 *                     1 s, 2 s … 30 s later: a new thread, the last snapshot and secrets, new sockets
 *
 * Sockets come last: as soon as one of several is bound, a share of the clients depends on its thread.
 */
import { NearcastError } from "#base/errors.ts";
import { newCounters, type Counters } from "../counters.ts";
import type { Snapshot } from "../snapshot.ts";
import { socketsMax } from "./batch-loop.ts";
import { bindThread, closeAll, sendAll, startThread, type Batch, type BatchDeps } from "./running-threads.ts";
import { openDatagramCalls } from "#base/system-calls.ts";
import type { ListenAddress } from "./transport.ts";
import { controlSizeBytes } from "./udp-sockets.ts";

export interface BatchTransport {
  /** The addresses with the ports that were actually bound. */
  readonly addresses: readonly ListenAddress[];
  /** One per thread. A restarted thread continues with its predecessor's counters. */
  readonly counters: readonly Counters[];
  /** A query sent after this has returned is answered from `snapshot`. */
  publish: (snapshot: Snapshot) => void;
  /** Cookies are made with the first and accepted from all. */
  setSecrets: (secrets: readonly Uint8Array[]) => void;
  /** How often threads had to be restarted. */
  restarts: () => number;
  /** Ends the threads and frees the ports. Calling it twice is harmless. */
  close: () => Promise<void>;
}

/**
 * Starts `threads` threads and binds all addresses for each of them.
 * @param addresses at most 64; port 0 means any free port
 * @throws NearcastError CANNOT_LISTEN if an address can't be bound; then none stays bound
 */
export async function openBatch(
  addresses: readonly ListenAddress[],
  threads: number,
  deps: BatchDeps,
): Promise<BatchTransport> {
  if (addresses.length > socketsMax) {
    throw new NearcastError(
      "CANNOT_LISTEN",
      `dns.addresses must not have more than ${socketsMax} entries (got ${addresses.length})`,
    );
  }
  const calls = openDatagramCalls();
  if (typeof calls === "string")
    throw new NearcastError("CANNOT_LISTEN", `batched system calls are not available: ${calls}`);
  const counters = Array.from({ length: threads }, newCounters);
  const batch: Batch = {
    deps,
    clock: deps.clock,
    log: deps.log,
    calls,
    control: calls.viewArena(calls.mapArena(controlSizeBytes)),
    counters,
    running: counters.map(() => undefined),
    deaths: counters.map(() => 0),
    firstSharing: deps.sharesPorts === true ? "follower" : threads > 1 ? "first" : "alone",
    timers: new Set(),
    bound: addresses,
    snapshot: deps.snapshot,
    secrets: deps.secrets,
    restarts: 0,
    isClosing: false,
  };
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeAll(batch));

  try {
    const started = counters.map((_, index) => startThread(batch, index));
    await Promise.all(started.map(({ ready }) => ready));
    for (const [index, thread] of started.entries()) {
      // A thread that has died in the meantime is being restarted already.
      if (batch.running[index] === thread) bindThread(batch, thread, index === 0 ? batch.firstSharing : "follower");
    }
  } catch (error) {
    await close();
    throw error;
  }

  return {
    addresses: batch.bound,
    counters,
    publish(next) {
      batch.snapshot = next;
      sendAll(batch, { kind: "snapshot", snapshot: next });
    },
    setSecrets(next) {
      batch.secrets = next;
      sendAll(batch, { kind: "secrets", secrets: next });
    },
    restarts: () => batch.restarts,
    close,
  };
}
