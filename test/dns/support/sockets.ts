/** Real sockets against a running responder: raw octets out, raw octets in. */
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { seededRandom } from "#base/random.ts";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import type { CompilerInputs } from "../../../dns/compiler.ts";
import { startDns, type Dns, type DnsOptions } from "../../../dns/start.ts";
import { testFleet } from "./fleet.ts";

/** Longer than any answer on loopback takes, however busy the machine is. */
const waitMs = 10_000;

/** A responder on 127.0.0.1 and a free port, with the test fleet unless told otherwise; closed with the test. */
export async function running(
  t: TestContext,
  options: Partial<DnsOptions> = {},
  inputs: Partial<CompilerInputs> | "not yet" = {},
): Promise<{ dns: Dns; port: number }> {
  const dns = await startDns({
    addresses: [{ host: "127.0.0.1", port: 0 }],
    site: "fra",
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    geo: { files: [] },
    geoCheckMs: 30_000,
    threads: 1,
    guard: { responsesPerSecond: 0, slip: 2, amplificationMax: 0 },
    identity: {},
    ...options,
  });
  t.after(() => dns.close());
  if (inputs !== "not yet") await dns.update({ ...inputsOf(), ...inputs });
  return { dns, port: dns.addresses()[0]?.port ?? 0 };
}

/** The test fleet with every site up. */
export function inputsOf(): CompilerInputs {
  return { fleet: testFleet(), version: 7, siteStates: new Map(), keptShares: new Map() };
}

/** Sends all packets from one socket, then `last`; what came back until the answer with the id of `last`. */
export async function exchange(
  port: number,
  packets: readonly Uint8Array[],
  last: Buffer,
  host = "127.0.0.1",
): Promise<Buffer[]> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  const answers: Buffer[] = [];
  const id = last.readUInt16BE(0);
  try {
    const done = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`no answer after ${waitMs} ms`));
      }, waitMs);
      socket.on("message", (answer) => {
        answers.push(answer);
        if (answer.length < 2 || answer.readUInt16BE(0) !== id) return;
        clearTimeout(timer);
        resolve();
      });
    });
    for (const packet of packets) await sendOne(packet);
    await sendOne(last);
    await done;
  } finally {
    socket.close();
  }
  return answers;

  function sendOne(packet: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      socket.send(packet, port, host, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }
}

/** The answer to one UDP query. */
export async function askUdp(port: number, query: Buffer, host?: string): Promise<Buffer> {
  const [answer] = await exchange(port, [], query, host);
  if (answer === undefined) throw new Error("no answer");
  return answer;
}

/** With the length before it, as it goes over TCP. */
export function framed(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(2 + message.length);
  bytes.writeUInt16BE(message.length);
  bytes.set(message, 2);
  return bytes;
}

export interface TcpClient {
  readonly socket: Socket;
  /** The next whole answer. */
  next: () => Promise<Buffer>;
  /** Resolves when the server has closed the connection. */
  readonly closed: Promise<void>;
}

export async function openTcp(t: TestContext, port: number, host = "127.0.0.1"): Promise<TcpClient> {
  const socket = connect({ port, host });
  t.after(() => socket.destroy());
  await once(socket, "connect");
  let bytes = Buffer.alloc(0);
  let wake = (): void => undefined;
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  socket.on("error", () => undefined); // A reset by the server closes as well.
  socket.setTimeout(waitMs, () => socket.destroy());
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      wake();
      resolve();
    });
  });
  const next = async (): Promise<Buffer> => {
    for (;;) {
      const length = bytes.length < 2 ? Number.POSITIVE_INFINITY : bytes.readUInt16BE(0);
      if (bytes.length >= 2 + length) {
        const answer = bytes.subarray(2, 2 + length);
        bytes = bytes.subarray(2 + length);
        return Buffer.from(answer);
      }
      if (socket.closed) throw new Error("closed before the answer");
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await woken;
    }
  };
  return { socket, next, closed };
}
