/**
 * Threads with TLS clients: some that do nothing but full handshakes, from one address or from many, and one that
 * requests hits on established connections and notes how long each takes.
 */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";
import type { TestContext } from "node:test";
import { parentPort, workerData, Worker } from "node:worker_threads";
import { testAuthority } from "./certificates.ts";

interface Start {
  readonly does: "handshakes" | "hits";
  readonly port: number;
  readonly ca: string;
  readonly name: string;
  /** Addresses from 127.0.`from`.1 on, each in a network of its own. */
  readonly from: number;
  readonly networks: number;
  /** At once. */
  readonly clients: number;
  readonly target: string;
  /** Stop, and the number of handshakes. */
  readonly counts: Int32Array<SharedArrayBuffer>;
}

const [stopAt, doneAt, readyAt] = [0, 1, 2];

export interface HandshakeFlood {
  /** Handshakes that were complete, so far. */
  readonly done: () => number;
  readonly stop: () => Promise<void>;
}

type About = Pick<Start, "port" | "name" | "networks" | "clients"> & Partial<Pick<Start, "from">>;

function start(t: TestContext, about: About & Pick<Start, "does" | "target">) {
  const counts = new Int32Array(new SharedArrayBuffer(12));
  const started: Start = { from: 1, ...about, ca: testAuthority.certificatePem, counts };
  const worker = new Worker(new URL(import.meta.url), { workerData: { tlsCrowd: started } });
  t.after(async () => await worker.terminate());
  return { worker, counts };
}

/** New connections, one after another for each client: a full handshake, and the end. */
export function startHandshakes(t: TestContext, about: About): HandshakeFlood {
  const { worker, counts } = start(t, { ...about, does: "handshakes", target: "" });
  return {
    done: () => Atomics.load(counts, doneAt),
    async stop() {
      await worker.terminate();
    },
  };
}

export interface Times {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly mostMs: number;
  /** Connections that ended, or responses that were no 200. */
  readonly failures: number;
}

/** Hits on established connections, one every 2 ms or so on each, while `work` runs. */
export async function timeHits(
  t: TestContext,
  about: About & Pick<Start, "target">,
  work: () => Promise<void>,
): Promise<Times> {
  const { worker, counts } = start(t, { ...about, does: "hits" });
  const result = once(worker, "message") as Promise<[Times]>;
  while (Atomics.load(counts, readyAt) === 0) await sleep(10);
  await work();
  Atomics.store(counts, stopAt, 1);
  const [times] = await result;
  return times;
}

function open({ port, ca, name, from }: Start, network: number): TLSSocket {
  const tcp = connectTcp({ port, host: "127.0.0.1", localAddress: `127.0.${from + network}.1` });
  tcp.on("error", () => undefined);
  return connect({ socket: tcp, servername: name, ca }).on("error", () => undefined);
}

async function shakeHands(about: Start, client: number): Promise<void> {
  for (let round = 0; ; round += 1) {
    const socket = open(about, (client + round * about.clients) % about.networks);
    await new Promise((resolve) => socket.once("secureConnect", resolve).once("close", resolve));
    if (!socket.destroyed) Atomics.add(about.counts, doneAt, 1);
    socket.destroy();
  }
}

async function requestHits(about: Start): Promise<void> {
  const { counts, clients, networks, target } = about;
  const times: number[] = [];
  let failures = 0;
  const sockets = Array.from({ length: clients }, (_, client) => open(about, client % networks));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("secureConnect", resolve))));
  Atomics.store(counts, readyAt, 1);
  const asks = sockets.map(async (socket) => {
    while (Atomics.load(counts, stopAt) === 0 && !socket.destroyed) {
      const begunMs = performance.now();
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const text = await nextText(socket);
      if (text.startsWith("HTTP/1.1 200 ")) times.push(performance.now() - begunMs);
      else failures += 1;
      await sleep(2);
    }
  });
  await Promise.all(asks);
  times.sort((one, other) => one - other);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  const result: Times = { requests: times.length, p50Ms: at(0.5), p99Ms: at(0.99), mostMs: at(1), failures };
  parentPort?.postMessage(result);
  for (const socket of sockets) socket.destroy();
}

/** The response, which is short; nothing if the connection ends. */
function nextText(socket: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    const closed = (): void => {
      resolve("");
    };
    socket.once("data", (bytes: Buffer) => {
      socket.off("close", closed);
      resolve(bytes.toString("latin1"));
    });
    socket.once("close", closed);
  });
}

const { tlsCrowd } = (workerData ?? {}) as { tlsCrowd?: Start };
if (tlsCrowd?.does === "hits") await requestHits(tlsCrowd);
else if (tlsCrowd !== undefined) {
  const { clients } = tlsCrowd;
  await Promise.all(Array.from({ length: clients }, async (_, client) => await shakeHands(tlsCrowd, client)));
}
