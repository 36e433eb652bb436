/**
 * One look at the node's own answers, through the service addresses that clients use: DNS over UDP and over TCP, and a
 * picture over HTTP. A node that can't say right answers to itself must not ask others to send it their clients.
 *
 *   each DNS address ── SOA of our zone, UDP ──▶ NOERROR, AA, the question that was asked
 *                    └─ the same, TCP ─────────▶ … and the SOA
 *   each HTTP address ─ GET on a new connection ─▶ 200, image/…
 *
 * Both transports of DNS, since a resolver that is refused over TCP gives a name server up for good. New sockets each
 * time, since what matters is whether the next client is served. All questions go out at once, each with half a second.
 * Only the first failure is told: it is for people, and one reason is enough to fall silent.
 */
import { Packet } from "dns2";
import { createSocket } from "node:dgram";
import { request } from "node:http";
import { connect, isIPv6 } from "node:net";
import type { Clock } from "#base/clock.ts";
import type { Random } from "#base/random.ts";

export type SelfCheck = { readonly ok: true } | { readonly ok: false; readonly reason: string };

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface SelfCheckTargets {
  /** The service addresses where DNS answers, each asked over UDP and over TCP. */
  readonly dns: readonly Endpoint[];
  /** A zone of ours: its SOA is asked for. Undefined: there is none, and DNS is not asked. */
  readonly zone: string | undefined;
  /** The service addresses where pictures are served over plain HTTP. */
  readonly http: readonly Endpoint[];
  /** What is asked there. `picture`: only a 200 with an image is right; `any`: whatever HTTP status. */
  readonly ask: { readonly host: string; readonly path: string; readonly expects: "picture" | "any" };
}

const timeoutMs = 500;
/** So much of a picture proves that it is served; the rest is not waited for. */
const bodyBytesMax = 1024 * 1024;
const dnsMessageBytesMax = 65_535;

/** @param options.targets asked before each round */
export function createSelfCheck(options: {
  targets: () => SelfCheckTargets;
  clock: Clock;
  random: Random;
}): () => Promise<SelfCheck> {
  const { targets, clock, random } = options;

  /** Runs one question; a failure is a sentence that begins with what and where. */
  async function one(what: string, { host, port }: Endpoint, ask: (signal: AbortSignal) => Promise<void>) {
    const where = port === 53 || port === 80 ? host : isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
    const ended = new AbortController();
    const cancel = clock.after(timeoutMs, () => {
      ended.abort(new Error("timeout"));
    });
    try {
      await ask(ended.signal);
      return [];
    } catch (error) {
      return [`${what} at ${where}: ${ended.signal.aborted ? "timeout" : reasonOf(error)}`];
    } finally {
      cancel();
      // Whatever socket is left is closed by it.
      ended.abort(new Error("over"));
    }
  }

  return async () => {
    const { dns, zone, http, ask } = targets();
    const id = (): number => Math.floor(random() * 65_536);
    const questions = [
      ...(zone === undefined ? [] : dns).flatMap((at) => [
        one("DNS over UDP", at, (signal) => askUdp(at, zone ?? "", id(), signal)),
        one("DNS over TCP", at, (signal) => askTcp(at, zone ?? "", id(), signal)),
      ]),
      ...http.map((at) => one("HTTP", at, (signal) => askHttp(at, ask, signal))),
    ];
    if (questions.length === 0) return { ok: false, reason: "there is no service address to ask" };
    const [reason] = (await Promise.all(questions)).flat();
    return reason === undefined ? { ok: true } : { ok: false, reason };
  };
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

/** Gives what `start` gets from a socket, and rejects when the signal comes first. */
function underway<Result>(
  signal: AbortSignal,
  start: (resolve: (result: Result) => void, reject: (error: Error) => void) => () => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const close = start(resolve, reject);
    signal.addEventListener("abort", () => {
      close();
      reject(signal.reason as Error);
    });
  });
}

function query(zone: string, id: number): Buffer {
  const packet = new Packet();
  packet.header.id = id;
  packet.header.rd = 0;
  packet.questions.push(new Packet.Question(zone, Packet.TYPE.SOA, Packet.CLASS.IN));
  return packet.toBuffer();
}

async function askUdp(at: Endpoint, zone: string, id: number, signal: AbortSignal): Promise<void> {
  const answer = await underway<Buffer>(signal, (resolve, reject) => {
    const socket = createSocket(isIPv6(at.host) ? "udp6" : "udp4");
    socket.on("error", reject);
    socket.on("message", resolve);
    // Connected: only this address is listened to, and a refusal is told at once.
    socket.on("connect", () => {
      socket.send(query(zone, id));
    });
    socket.connect(at.port, at.host);
    return () => {
      socket.close();
    };
  });
  judgeDns(answer, zone, id, { mayBeCut: true });
}

async function askTcp(at: Endpoint, zone: string, id: number, signal: AbortSignal): Promise<void> {
  const answer = await underway<Buffer>(signal, (resolve, reject) => {
    const socket = connect({ host: at.host, port: at.port, noDelay: true });
    let come: Buffer = Buffer.alloc(0);
    socket.on("error", reject);
    socket.on("close", () => {
      reject(new Error("closed without an answer"));
    });
    socket.on("connect", () => {
      const message = query(zone, id);
      const framed = Buffer.alloc(2 + message.length, message);
      framed.writeUInt16BE(message.length);
      message.copy(framed, 2);
      socket.write(framed);
    });
    socket.on("data", (chunk: Buffer) => {
      come = Buffer.concat([come, chunk]);
      if (come.length > 2 + dnsMessageBytesMax) reject(new Error("more than one answer"));
      else if (come.length >= 2 && come.length >= 2 + come.readUInt16BE(0)) resolve(come.subarray(2));
    });
    return () => {
      socket.destroy();
    };
  });
  judgeDns(answer, zone, id, { mayBeCut: false });
}

/** @throws Error with what is wrong with it */
function judgeDns(bytes: Buffer, zone: string, id: number, { mayBeCut }: { mayBeCut: boolean }): void {
  const { header, questions, answers } = Packet.parse(bytes);
  if (header.id !== id || header.qr !== 1) throw new Error("the answer to something else");
  const [asked] = questions;
  const isOurs = asked?.type === Packet.TYPE.SOA && asked.name.toLowerCase() === zone.toLowerCase().replace(/\.$/, "");
  if (!isOurs) throw new Error("the answer to another question");
  if (header.rcode !== 0) throw new Error(`rcode ${header.rcode}`);
  if (header.aa !== 1) throw new Error("not authoritative");
  // A short query without a cookie gets a cut answer over UDP: forging must not pay.
  if (mayBeCut && header.tc === 1) return;
  if (!answers.some((record) => record.type === Packet.TYPE.SOA)) throw new Error(`no SOA of ${zone}`);
}

function askHttp(at: Endpoint, ask: SelfCheckTargets["ask"], signal: AbortSignal): Promise<void> {
  return underway<undefined>(signal, (resolve, reject) => {
    const asked = request({
      host: at.host,
      port: at.port,
      path: ask.path,
      headers: { host: ask.host, "user-agent": "nearcast-self-check" },
      agent: false, // a connection of its own
    });
    asked.on("error", reject);
    asked.on("response", (answer) => {
      const type = answer.headers["content-type"] ?? "nothing";
      if (ask.expects === "picture" && (answer.statusCode !== 200 || !type.startsWith("image/"))) {
        reject(new Error(`status ${answer.statusCode ?? 0}, ${type}`));
        return;
      }
      let come = 0;
      answer.on("data", (chunk: Buffer) => {
        come += chunk.length;
        if (come > bodyBytesMax) resolve(undefined);
      });
      answer.on("error", reject);
      answer.on("end", () => {
        if (answer.complete) resolve(undefined);
        else reject(new Error("the answer is cut off"));
      });
    });
    asked.end();
    return () => {
      asked.on("error", () => undefined); // its own end, when it is cut
      asked.destroy();
    };
  });
}
