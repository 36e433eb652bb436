/**
 * As much DNS as an observer needs: a question, and what an answer says of who answered and with which addresses.
 * Bounded reading: an answer that is not whole is none.
 */

export type QueryType = "A" | "AAAA";

export interface Answer {
  readonly id: number;
  readonly rcode: number;
  readonly isTruncated: boolean;
  /** Which node answered (RFC 5001); null when it does not say. */
  readonly node: string | null;
  /** Of the A and AAAA records, in their order. */
  readonly addresses: readonly string[];
}

const typeNumbers: Readonly<Record<QueryType, number>> = { A: 1, AAAA: 28 };
const OPT = 41;
const NSID = 3;
const payloadBytes = 1232;
const headerBytes = 12;

/** @param name of letters, digits and hyphens, without the final dot */
export function buildQuery(id: number, name: string, type: QueryType, wantsRecursion: boolean): Buffer {
  const labels = name.split(".").flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  const header = Buffer.from([id >> 8, id & 255, wantsRecursion ? 1 : 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
  const question = Buffer.from([0, 0, typeNumbers[type], 0, 1]);
  // EDNS (RFC 6891) with an empty NSID: tell me.
  const opt = Buffer.from([0, 0, OPT, payloadBytes >> 8, payloadBytes & 255, 0, 0, 0, 0, 0, 4, 0, NSID, 0, 0]);
  return Buffer.concat([header, ...labels, question, opt]);
}

export function readAnswer(bytes: Buffer): Answer | null {
  try {
    return read(bytes);
  } catch (error) {
    // Past the end, or a name that does not end.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function read(bytes: Buffer): Answer | null {
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) === 0) return null;
  const questions = bytes.readUInt16BE(4);
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  let at = headerBytes;
  for (let index = 0; index < questions; index++) at = skipName(bytes, at) + 4;
  const addresses: string[] = [];
  let node: string | null = null;
  for (let index = 0; index < records; index++) {
    at = skipName(bytes, at);
    const type = bytes.readUInt16BE(at);
    const length = bytes.readUInt16BE(at + 8);
    const data = bytes.subarray(at + 10, at + 10 + length);
    if (data.length < length) return null;
    at += 10 + length;
    if (type === typeNumbers.A && length === 4) addresses.push(data.join("."));
    if (type === typeNumbers.AAAA && length === 16) addresses.push(address6(data));
    if (type === OPT) node = nsidOf(data) ?? node;
  }
  return {
    id: bytes.readUInt16BE(0),
    rcode: flags & 15,
    isTruncated: (flags & 0x200) !== 0,
    node,
    addresses,
  };
}

function skipName(bytes: Buffer, start: number): number {
  for (let at = start; ;) {
    const length = bytes.readUInt8(at);
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
  }
}

function nsidOf(options: Buffer): string | null {
  for (let at = 0; at < options.length;) {
    const length = options.readUInt16BE(at + 2);
    if (options.readUInt16BE(at) === NSID) return options.subarray(at + 4, at + 4 + length).toString("latin1");
    at += 4 + length;
  }
  return null;
}

/** As the plan writes them: the longest run of zero groups shortened, which in the lab is always the first. */
function address6(data: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => data.readUInt16BE(2 * index).toString(16)).join(":");
  return groups.replace(/(?:^|:)0(?::0)+(?::|$)/, "::");
}
