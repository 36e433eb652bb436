/**
 * A thread with clients that all send the same bytes, as soon as they are connected, or all at once. They go on while
 * the main thread is blocked, which looks at `counts`.
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
  /** A request to be answered before; then they wait for go(). */
  readonly first?: string;
  /** What they do when they have sent them. */
  readonly thenDo: "stay" | "reset" | "half-close";
  readonly counts: Int32Array<SharedArrayBuffer>;
}

const [sentAt, closedAt, answeredAt, goAt] = [0, 1, 2, 3];

export interface ClientCrowd {
  /** Clients whose first request is answered. */
  readonly answered: () => number;
  /** All send their bytes. */
  readonly go: () => void;
  /** Clients that have sent their bytes, so far. */
  readonly sent: () => number;
  /** Clients whose connection is closed. */
  readonly closed: () => number;
}

export function startClients(t: TestContext, about: Omit<Start, "counts" | "address"> & { address?: string }) {
  const counts = new Int32Array(new SharedArrayBuffer(16));
  const started: Start = { address: "127.0.0.1", ...about, counts };
  const worker = new Worker(new URL(import.meta.url), { workerData: { crowd: started } });
  t.after(async () => await worker.terminate());
  return {
    answered: () => Atomics.load(counts, answeredAt),
    go() {
      Atomics.store(counts, goAt, 1);
      Atomics.notify(counts, goAt);
    },
    sent: () => Atomics.load(counts, sentAt),
    closed: () => Atomics.load(counts, closedAt),
  } satisfies ClientCrowd;
}

function open({ port, address, first, bytes, thenDo, counts }: Start): void {
  const socket = connect({ port, host: "127.0.0.1", localAddress: address });
  const send = (): void => {
    socket.write(bytes);
    if (thenDo === "reset") socket.resetAndDestroy();
    else if (thenDo === "half-close") socket.end();
    Atomics.add(counts, sentAt, 1);
  };
  socket.on("error", () => undefined).on("data", () => undefined);
  socket.on("close", () => Atomics.add(counts, closedAt, 1));
  if (first === undefined) {
    socket.on("connect", send);
    return;
  }
  socket.write(first);
  socket.once("data", () => Atomics.add(counts, answeredAt, 1));
  const going = Atomics.waitAsync(counts, goAt, 0);
  if (going.async) void going.value.then(send);
  else send();
}

const { crowd } = (workerData ?? {}) as { crowd?: Start };
if (crowd !== undefined) for (let client = 0; client < crowd.clients; client += 1) open(crowd);
