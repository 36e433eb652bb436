/** One DNS query to one server, for the check of a delegation. */
import { canonicalAddress } from "#base/ip-text.ts";
import { Packet } from "dns2";
import { canonicalName } from "#record/domain-names.ts";
import { type DnsServer, queryDns } from "../../dns-query.ts";

/** RFC 1035 §3.2.2, RFC 3596, RFC 4034. dns2 has no name for DS. */
const typeNumbers = { A: 1, NS: 2, SOA: 6, AAAA: 28, DS: 43 } as const;

export interface Question {
  readonly name: string;
  readonly type: keyof typeof typeNumbers;
  readonly isRecursive: boolean;
}

export interface DnsReply {
  readonly rcode: number;
  /** Whether the server answers with authority for the name (AA). */
  readonly isAuthoritative: boolean;
  /** NS records of the answer and authority sections. */
  readonly nameservers: readonly { owner: string; target: string }[];
  /** Addresses in the answer section. */
  readonly addresses: readonly string[];
  /** Addresses of the answer and additional sections. */
  readonly glue: readonly { owner: string; address: string }[];
  /** Types of the records in the answer section. */
  readonly answerTypes: readonly string[];
  readonly hasDs: boolean;
}

/** @throws Error when the server does not answer */
export type AskDns = (server: DnsServer, question: Question) => Promise<DnsReply>;

export const rcodes = { noError: 0, nameError: 3 } as const;

/** Enough for thirteen nameservers with their addresses; the servers are not ours, so we read no more. */
const answerBytesMax = 4096;

export const askDns: AskDns = async (server, { name, type, isRecursive }) => {
  const packet = await queryDns(server, { name, type: typeNumbers[type], isRecursive }, { answerBytesMax });
  const { answers, authorities, additionals } = packet;
  const addressesIn = (records: Packet["answers"]): { owner: string; address: string }[] =>
    records.flatMap((record) => {
      const isAddress = record.type === typeNumbers.A || record.type === typeNumbers.AAAA;
      if (!isAddress || record.address === undefined) return [];
      return [{ owner: canonicalName(record.name), address: canonicalAddress(record.address) }];
    });
  return {
    rcode: packet.header.rcode,
    isAuthoritative: packet.header.aa === 1,
    nameservers: [...answers, ...authorities].flatMap((record) => {
      const target = record.ns ?? record.domain;
      if (record.type !== typeNumbers.NS || target === undefined) return [];
      return [{ owner: canonicalName(record.name), target: canonicalName(target) }];
    }),
    addresses: addressesIn(answers).map(({ address }) => address),
    glue: addressesIn([...answers, ...additionals]),
    answerTypes: answers.map((record) => Packet.typeName(record.type)),
    hasDs: answers.some((record) => record.type === typeNumbers.DS),
  };
};

/** The name of a response code in RFC 1035 and its successors. */
export function rcodeName(rcode: number): string {
  return Object.entries(Packet.RCODE).find(([, number]) => number === rcode)?.[0] ?? `RCODE${rcode}`;
}
