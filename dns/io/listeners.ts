/**
 * All sockets of one responder: TCP on every address, and UDP on the same ports, with batch threads where the system
 * supports them, and with Node's dgram elsewhere.
 */
import type { Clock } from "#base/clock.ts";
import { listenFailure } from "#base/listen-failure.ts";
import type { Snapshot } from "../snapshot.ts";
import { openBatch, type BatchTransport } from "./batch.ts";
import { openDatagram } from "./datagram.ts";
import type { BatchDeps } from "./running-threads.ts";
import { openDatagramCalls } from "#base/system-calls.ts";
import { openStream, type StreamTransport } from "./stream.ts";
import { defaultStreamLimits, type StreamLimits } from "./stream-connections.ts";
import type { ListenAddress, Transport, TransportDeps } from "./transport.ts";

export interface Listeners {
  readonly streams: StreamTransport[];
  readonly datagrams: Transport[];
  batch: BatchTransport | undefined;
}

export interface ListenersDeps
  extends TransportDeps, Pick<BatchDeps, "guard" | "rateTable" | "identity" | "onFailure"> {
  /** Port 0 means any free port. */
  readonly addresses: readonly ListenAddress[];
  /** Threads that answer UDP; 0: Node's dgram. */
  readonly threads: number;
  readonly streamLimits: StreamLimits | undefined;
  readonly clock: Clock;
  readonly sharesPorts: boolean;
  /** What batch threads begin with. Read again after they have started, since both may have changed in the meantime. */
  readonly snapshot: () => Snapshot | undefined;
  readonly secrets: () => readonly Uint8Array[];
}

/** With port 0, the free TCP port may be in use for UDP. Then another one is tried. */
const freePortTries = 8;

export function newListeners(): Listeners {
  return { streams: [], datagrams: [], batch: undefined };
}

/**
 * Binds all addresses.
 * @throws NearcastError CANNOT_LISTEN if one can't be bound; then none stays bound
 */
export async function bindAll(listeners: Listeners, deps: ListenersDeps): Promise<void> {
  const hasFreePorts = deps.addresses.some((address) => address.port === 0);
  for (let tries = 1; ; tries++) {
    try {
      await openAll(listeners, deps);
      return;
    } catch (error) {
      await closeAll(listeners);
      if (!hasFreePorts || tries >= freePortTries) throw error;
    }
  }
}

/** Frees all ports. Calling it twice is harmless. */
export async function closeAll(listeners: Listeners): Promise<void> {
  const { streams, datagrams, batch } = listeners;
  const open = [...streams.splice(0), ...datagrams.splice(0), ...(batch === undefined ? [] : [batch])];
  listeners.batch = undefined;
  await Promise.all(open.map((transport) => transport.close()));
}

async function openAll(listeners: Listeners, deps: ListenersDeps): Promise<void> {
  const { streams, datagrams } = listeners;
  const { respond, counters, clock, log, sharesPorts } = deps;
  const transportDeps: TransportDeps = { respond, counters, log, sharesPorts };
  const limits = deps.streamLimits ?? defaultStreamLimits;
  for (const address of deps.addresses) {
    streams.push(await listening("TCP", address, () => openStream(address, { ...transportDeps, clock, limits })));
  }
  const addresses = streams.map((stream) => stream.address);
  if (deps.threads > 0 && addresses.length > 0) {
    const calls = openDatagramCalls();
    if (typeof calls !== "string") {
      listeners.batch = await openThreads(addresses, deps);
      return;
    }
    log.warn({ reason: calls }, "DNS batch threads are not available here: the main thread answers UDP");
  }
  for (const address of addresses) {
    datagrams.push(await listening("UDP", address, () => openDatagram(address, transportDeps)));
  }
}

async function openThreads(addresses: readonly ListenAddress[], deps: ListenersDeps): Promise<BatchTransport> {
  const { guard, rateTable, identity, clock, log, onFailure, sharesPorts } = deps;
  const about = { guard, rateTable, identity, clock, log, onFailure, sharesPorts };
  const [first, firstSecrets] = [deps.snapshot(), deps.secrets()];
  const batch = await openBatch(addresses, deps.threads, { ...about, snapshot: first, secrets: firstSecrets });
  const [snapshot, secrets] = [deps.snapshot(), deps.secrets()];
  if (snapshot !== undefined && snapshot !== first) batch.publish(snapshot);
  if (secrets !== firstSecrets) batch.setSecrets(secrets);
  return batch;
}

async function listening<Opened>(what: string, address: ListenAddress, open: () => Promise<Opened>): Promise<Opened> {
  try {
    return await open();
  } catch (error) {
    throw listenFailure(`DNS over ${what}`, address, error);
  }
}
