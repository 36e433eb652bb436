/**
 * A thread with clients that all send the same bytes as soon as they are connected. They go on while the main thread is
 * blocked, which looks at `counts`.
 */
import { connect } from "node:net";
import { workerData, Worker } from "node:worker_threads";
import type { TestContext } from "node:test";

interface Start {
  readonly port: number;
  /** Of the clients. */
  readonly address: string;
  readonly clients: number;
  readonly bytes: string;
  /** What they do when they have sent them. */
  readonly thenDo: "stay" | "reset" | "half-close";
  readonly counts: Int32Array<SharedArrayBuffer>;
}

const [sentAt, closedAt] = [0, 1];

export interface ClientCrowd {
  /** Clients that have sent their bytes, so far. */
  readonly sent: () => number;
  /** Clients whose connection is closed. */
  readonly closed: () => number;
}

export function startClients(t: TestContext, about: Omit<Start, "counts" | "address"> & { address?: string }) {
  const counts = new Int32Array(new SharedArrayBuffer(8));
  const started: Start = { address: "127.0.0.1", ...about, counts };
  const worker = new Worker(new URL(import.meta.url), { workerData: { crowd: started } });
  t.after(async () => await worker.terminate());
  return {
    sent: () => Atomics.load(counts, sentAt),
    closed: () => Atomics.load(counts, closedAt),
  } satisfies ClientCrowd;
}

function open({ port, address, bytes, thenDo, counts }: Start): void {
  const socket = connect({ port, host: "127.0.0.1", localAddress: address });
  socket.on("error", () => undefined).on("data", () => undefined);
  socket.on("close", () => Atomics.add(counts, closedAt, 1));
  socket.on("connect", () => {
    socket.write(bytes);
    if (thenDo === "reset") socket.resetAndDestroy();
    else if (thenDo === "half-close") socket.end();
    Atomics.add(counts, sentAt, 1);
  });
}

const { crowd } = (workerData ?? {}) as { crowd?: Start };
if (crowd !== undefined) for (let client = 0; client < crowd.clients; client += 1) open(crowd);
