/** One DNS query to one server, by dns2, as the check of a delegation needs it. */
import { canonicalAddress } from "#base/ip-text.ts";
import { before } from "#base/lifecycle.ts";
import { Packet, UDPClient } from "dns2";
import { isIPv6 } from "node:net";
import { canonicalName } from "#record/domain-names.ts";

export interface DnsServer {
  readonly host: string;
  readonly port: number;
}

type QueryType = "A" | "AAAA" | "NS" | "SOA" | "DS";

export interface DnsReply {
  readonly rcode: number;
  /** Whether the server answers with authority for the name (AA). */
  readonly isAuthoritative: boolean;
  /** Those of answer and authority sections. */
  readonly nameservers: readonly { owner: string; target: string }[];
  /** Those of answer and additional sections. */
  readonly addresses: readonly { owner: string; address: string }[];
  /** Types of the records in the answer section. */
  readonly answerTypes: readonly string[];
  readonly hasDs: boolean;
}

/** @throws Error when the server does not answer */
export type AskDns = (
  server: DnsServer,
  question: { name: string; type: QueryType; isRecursive: boolean },
) => Promise<DnsReply>;

export const rcodes = { noError: 0, nameError: 3 } as const;

const timeoutMs = 3000;

/** dns2 takes types by name and has none for DS (RFC 4034); in answers it calls it by its number. */
const dsNumber = 43;
const typeNumbers: Record<string, number> = Packet.TYPE;
typeNumbers["DS"] ??= dsNumber;

export const askDns: AskDns = async ({ host, port }, { name, type, isRecursive }) => {
  const socketType = isIPv6(host) ? "udp6" : "udp4";
  const resolve = UDPClient({ dns: host, port, socketType, timeout: timeoutMs });
  // The client's own limit covers UDP alone, not the second try by TCP after a truncated answer.
  const reply = resolve(name, type, Packet.CLASS.IN, { recursive: isRecursive });
  const packet = await before(AbortSignal.timeout(timeoutMs + 500), reply);
  const { answers, authorities, additionals } = packet;
  return {
    rcode: packet.header.rcode,
    isAuthoritative: packet.header.aa === 1,
    nameservers: [...answers, ...authorities].flatMap((record) => {
      const target = record.ns ?? record.domain;
      if (Packet.typeName(record.type) !== "NS" || target === undefined) return [];
      return [{ owner: canonicalName(record.name), target: canonicalName(target) }];
    }),
    addresses: [...answers, ...additionals].flatMap((record) => {
      const isAddress = ["A", "AAAA"].includes(Packet.typeName(record.type));
      if (!isAddress || record.address === undefined) return [];
      return [{ owner: canonicalName(record.name), address: canonicalAddress(record.address) }];
    }),
    answerTypes: answers.map((record) => Packet.typeName(record.type)),
    hasDs: answers.some((record) => record.type === dsNumber),
  };
};
