/**
 * One DNS query to one server: over UDP, then over TCP if the answer is truncated. dns2 encodes the query and decodes
 * the answer. Its own clients are not used: they leave a TCP connection open if the server does not close it, which
 * keeps the command running; they accept any answer over TCP; and they can't use IPv6 there.
 *
 * Invariant: when the promise settles, no socket and no timer is left, whatever the server does.
 */
import { Packet } from "dns2";
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { canonicalName } from "#record/domain-names.ts";

export interface DnsServer {
  readonly host: string;
  readonly port: number;
}

export interface DnsQuery {
  readonly name: string;
  /** The number of the record type. */
  readonly type: number;
  readonly isRecursive: boolean;
  /** EDNS Client Subnet, such as `192.0.2.0/24`. */
  readonly subnet?: string;
}

export interface QueryLimits {
  readonly isTcp?: boolean;
  /** Longer answers are refused: decoding names that point to each other takes quadratic time. */
  readonly answerBytesMax: number;
}

/** For the whole query, over UDP and TCP. */
export const queryTimeoutMs = 3500;
/** A datagram may be lost, so the query is repeated at this interval. */
const repeatMs = 1000;
const headerBytes = 12;

interface Sent {
  readonly query: DnsQuery;
  readonly id: number;
  readonly message: Buffer;
  readonly answerBytesMax: number;
  readonly signal: AbortSignal;
}

/** @throws Error with the reason when the server does not answer in time, or its reply is not an answer */
export async function queryDns(server: DnsServer, query: DnsQuery, limits: QueryLimits): Promise<Packet> {
  const { isTcp = false, answerBytesMax } = limits;
  const ended = new AbortController();
  const timer = setTimeout(() => {
    ended.abort(new Error(`timed out after ${queryTimeoutMs} ms`));
  }, queryTimeoutMs);
  try {
    const sent = { query, ...messageOf(query), answerBytesMax, signal: ended.signal };
    const answer = isTcp ? undefined : await overUdp(server, sent);
    return answer === undefined || answer.header.tc === 1 ? await overTcp(server, sent) : answer;
  } finally {
    clearTimeout(timer);
  }
}

function messageOf({ name, type, isRecursive, subnet }: DnsQuery): { id: number; message: Buffer } {
  const packet = new Packet();
  const id = Packet.uuid();
  packet.header.id = id;
  packet.header.rd = isRecursive ? 1 : 0;
  packet.questions.push(new Packet.Question(name, type, Packet.CLASS.IN));
  if (subnet !== undefined) packet.additionals.push(Packet.Resource.EDNS([Packet.Resource.EDNS.ECS(subnet)]));
  return { id, message: packet.toBuffer() };
}

async function overUdp({ host, port }: DnsServer, sent: Sent): Promise<Packet> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  let repeat: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Packet>((resolve, reject) => {
      const send = (): void => {
        socket.send(sent.message, (error) => {
          if (error !== null) reject(error);
        });
      };
      rejectOnAbort(sent.signal, reject);
      socket.on("error", reject);
      socket.on("message", (message) => {
        // A late or forged answer: the right one may still arrive.
        if (message.length < headerBytes || message.readUInt16BE(0) !== sent.id) return;
        settle(() => answerIn(message, sent), resolve, reject);
      });
      // The kernel drops datagrams from any other address or port than the connected one.
      socket.connect(port, host);
      socket.once("connect", () => {
        send();
        repeat = setInterval(send, repeatMs);
      });
    });
  } finally {
    clearInterval(repeat);
    socket.close();
  }
}

/** RFC 1035 §4.2.2: a two-octet length precedes the message. */
async function overTcp({ host, port }: DnsServer, sent: Sent): Promise<Packet> {
  const socket = connect({ host, port });
  let received = Buffer.alloc(0);
  try {
    return await new Promise<Packet>((resolve, reject) => {
      rejectOnAbort(sent.signal, reject);
      socket.on("error", reject);
      socket.on("close", () => {
        reject(new Error("the connection was closed before the answer was complete"));
      });
      socket.on("data", (chunk: Buffer) => {
        // At most one chunk longer than the length that two octets can state.
        received = Buffer.concat([received, chunk]);
        if (received.length < 2) return;
        const length = received.readUInt16BE(0);
        if (length > sent.answerBytesMax) settle(() => tooLong(length, sent), resolve, reject);
        else if (received.length >= 2 + length) {
          settle(() => answerIn(received.subarray(2, 2 + length), sent), resolve, reject);
        }
      });
      const length = Buffer.alloc(2);
      length.writeUInt16BE(sent.message.length);
      socket.write(Buffer.concat([length, sent.message]));
    });
  } finally {
    socket.destroy();
  }
}

function rejectOnAbort(signal: AbortSignal, reject: (reason: Error) => void): void {
  const abort = (): void => {
    reject(signal.reason as Error);
  };
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
}

function settle(read: () => Packet, resolve: (packet: Packet) => void, reject: (reason: Error) => void): void {
  try {
    resolve(read());
  } catch (error) {
    reject(error as Error);
  }
}

/** @throws Error when the message does not answer the query, or can't be decoded */
function answerIn(message: Buffer, sent: Sent): Packet {
  if (message.length > sent.answerBytesMax) tooLong(message.length, sent);
  const packet = readMessage(message);
  const { header, questions } = packet;
  if (header.id !== sent.id || header.qr !== 1) throw new Error("the server sent something other than an answer");
  const [error] = packet.errors;
  // A truncated answer may end within a record; the query is repeated over TCP.
  if (error !== undefined && header.tc !== 1) throw new Error(`the answer is malformed: ${error.message}`);
  const [question] = questions;
  // A server that can't decode the query may omit the question.
  if (question === undefined && header.rcode !== Packet.RCODE.NOERROR) return packet;
  const isSame =
    questions.length === 1 &&
    question?.type === sent.query.type &&
    canonicalName(question.name) === canonicalName(sent.query.name);
  if (!isSame) throw new Error("the server answered another question");
  return packet;
}

function readMessage(message: Buffer): Packet {
  try {
    return Packet.parse(message);
  } catch (error) {
    throw new Error(`the answer is malformed: ${(error as Error).message}`, { cause: error });
  }
}

function tooLong(lengthBytes: number, { answerBytesMax }: Sent): never {
  throw new Error(`the answer has ${lengthBytes} octets; this command reads ${answerBytesMax} at most`);
}
