/**
 * Checks the node's own answers at the service addresses that clients use: DNS over UDP and over TCP, and a picture
 * over HTTP. A node that does not answer itself correctly must not attract clients.
 *
 *   each DNS address ── SOA of our zone, UDP ──▶ NOERROR, AA, the question that was asked
 *                    └─ the same, TCP ─────────▶ … and the SOA
 *   each HTTP address ─ GET on a new connection ─▶ 200, image/…
 *
 * Both DNS transports are checked, since a resolver may give up on a nameserver that refuses TCP. Each check uses new
 * sockets, since the next client will. All queries and requests are sent at once, each with a time limit of half a
 * second. Only the first failure is reported: one is enough to withdraw.
 */
import { Packet } from "dns2";
import { createSocket } from "node:dgram";
import { request } from "node:http";
import { connect, isIPv6 } from "node:net";
import type { Clock } from "#base/clock.ts";
import type { Random } from "#base/random.ts";
import { systemReason } from "#base/system-reason.ts";

export type SelfCheck = { readonly ok: true } | { readonly ok: false; readonly reason: string };

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface SelfCheckTargets {
  /** The service addresses of DNS; each is checked over UDP and over TCP. */
  readonly dns: readonly Endpoint[];
  /** The zone whose SOA is asked for; undefined when there is none, and DNS is not checked. */
  readonly zone: string | undefined;
  /** The service addresses of plain HTTP. */
  readonly http: readonly Endpoint[];
  /** The HTTP request. `picture`: only a 200 with an image is correct; `any`: any HTTP status is. */
  readonly ask: { readonly host: string; readonly path: string; readonly expects: "picture" | "any" };
}

const timeoutMs = 500;
/** After this much of a picture the check does not wait for the rest. */
const bodyBytesMax = 1024 * 1024;
const dnsMessageBytesMax = 65_535;

/** @param options.targets called before each check */
export function createSelfCheck(options: {
  targets: () => SelfCheckTargets;
  clock: Clock;
  random: Random;
}): () => Promise<SelfCheck> {
  const { targets, clock, random } = options;

  /** Runs one check; a failure is a sentence that starts with what failed and where. */
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
      const reason = ended.signal.aborted ? `no answer within ${timeoutMs} ms` : systemReason(error);
      return [`${what} at ${where}: ${reason}`];
    } finally {
      cancel();
      // Closes any socket that is still open.
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
    if (questions.length === 0) return { ok: false, reason: "this node has no service address to check" };
    const [reason] = (await Promise.all(questions)).flat();
    return reason === undefined ? { ok: true } : { ok: false, reason };
  };
}

/** Resolves with what `start` gets from a socket; rejects when the signal aborts first. */
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
    // A connected socket receives only from this address, and reports a refusal at once.
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
      reject(new Error("the connection was closed before it answered"));
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
      if (come.length > 2 + dnsMessageBytesMax) reject(new Error("it sent more than one answer"));
      else if (come.length >= 2 && come.length >= 2 + come.readUInt16BE(0)) resolve(come.subarray(2));
    });
    return () => {
      socket.destroy();
    };
  });
  judgeDns(answer, zone, id, { mayBeCut: false });
}

/** @throws Error that says what is wrong with the answer */
function judgeDns(bytes: Buffer, zone: string, id: number, { mayBeCut }: { mayBeCut: boolean }): void {
  const { header, questions, answers } = Packet.parse(bytes);
  if (header.id !== id || header.qr !== 1) throw new Error("it answered another query");
  const [asked] = questions;
  const isOurs = asked?.type === Packet.TYPE.SOA && asked.name.toLowerCase() === zone.toLowerCase().replace(/\.$/, "");
  if (!isOurs) throw new Error("it answered another question");
  if (header.rcode !== 0) throw new Error(`the answer has RCODE ${header.rcode}`);
  if (header.aa !== 1) throw new Error("the answer is not authoritative");
  // A short query without a cookie gets a truncated answer over UDP, so that spoofed queries are not amplified.
  if (mayBeCut && header.tc === 1) return;
  if (!answers.some((record) => record.type === Packet.TYPE.SOA)) throw new Error(`the answer has no SOA of ${zone}`);
}

function askHttp(at: Endpoint, ask: SelfCheckTargets["ask"], signal: AbortSignal): Promise<void> {
  return underway<undefined>(signal, (resolve, reject) => {
    const asked = request({
      host: at.host,
      port: at.port,
      path: ask.path,
      headers: { host: ask.host, "user-agent": "nearcast-self-check" },
      agent: false, // a separate connection
    });
    asked.on("error", reject);
    asked.on("response", (answer) => {
      const type = answer.headers["content-type"] ?? "no Content-Type";
      if (ask.expects === "picture" && (answer.statusCode !== 200 || !type.startsWith("image/"))) {
        reject(new Error(`status ${answer.statusCode ?? 0} with ${type}, not a picture`));
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
        else reject(new Error("the answer ended early"));
      });
    });
    asked.end();
    return () => {
      asked.on("error", () => undefined); // expected when the request is destroyed
      asked.destroy();
    };
  });
}
