/**
 * A ready response in memory: a header of fixed size, then the key, the entity tag, the heads and, if it is small, the
 * body. It never changes once the index names it.
 *
 *   words 0–47  header: the words below, and from word 32 on, the doubles
 *   key         target, Host, Accept, Accept-Encoding (ready-key.ts)
 *   etag        the entity tag, for If-None-Match; empty: none
 *   heads       the fields of a 200, of a 304; a 206 takes the beginning of those of the 200
 *   body        inline, or somewhere in a file
 *
 * Heads lack what changes: the status line, the numbers of Age and of `ttl` in Cache-Status, and what ends all heads of
 * a second alike (Date, Connection, Keep-Alive).
 */
import { lineBytes, type ReadyMemory } from "./ready-memory.ts";

/** Word numbers in a record. Positions are in bytes, from the beginning of the record. */
export const recordWord = {
  lines: 0,
  /** Counts records, from 1: names one for as long as it is in the ring. */
  number: 1,
  stamp: 2,
  hash: 3,
  keyAt: 4,
  /** Twice the length, and 1 for requests over TLS. */
  targetLength: 5,
  hostLength: 6,
  acceptLength: 7,
  encodingLength: 8,
  etagAt: 9,
  etagLength: 10,
  /** 1: the heads have a Date of their own, which is the origin's. */
  hasDate: 11,
  /** Of the file that has the body, or −1: the body is inline. */
  descriptor: 12,
  bodyAt: 13,
  /** Heads: four words each, see headWord. */
  whole: 16,
  notModified: 20,
  /** Length of the beginning of the 200's head that a 206 has, too. */
  partLength: 24,
} as const;

/** Word numbers in the description of a head. `ageAt` and `ttlAt` are where digits are to be inserted. */
export const headWord = { at: 0, length: 1, ageAt: 2, ttlAt: 3 } as const;

/** Numbers of doubles in a record. Times are of the wall clock. */
export const recordDouble = {
  /** When the response's age was 0 (RFC 9111 §4.2.3). */
  bornAtMs: 16,
  lifetimeSeconds: 17,
  /** From this moment, the record is not used any more. */
  endsAtMs: 18,
  bodyOffset: 19,
  bodyLength: 20,
} as const;

const recordHeaderBytes = 192;

export type ReadyBody =
  | { readonly kind: "inline"; readonly bytes: Buffer }
  | { readonly kind: "file"; readonly descriptor: number; readonly offset: number; readonly lengthBytes: number };

/** The fields of a head as text, and where the numbers go. `ttlAt` is not before `ageAt`. */
export interface ReadyHead {
  readonly text: string;
  readonly ageAt: number;
  readonly ttlAt: number;
}

export interface ReadyResponse {
  readonly whole: ReadyHead;
  readonly partLength: number;
  readonly notModified: ReadyHead;
  readonly hasDate: boolean;
  readonly etag: string;
  readonly bornAtMs: number;
  readonly lifetimeSeconds: number;
  readonly endsAtMs: number;
  readonly body: ReadyBody;
}

/** @param keyLength in bytes */
export function linesFor({ whole, notModified, etag, body }: ReadyResponse, keyLength: number): number {
  const inline = body.kind === "inline" ? body.bytes.length : 0;
  const bytes = recordHeaderBytes + keyLength + etag.length + whole.text.length + notModified.text.length + inline;
  return Math.ceil(bytes / lineBytes);
}

/** Writes everything but the key, which goes to `keyAt`. @param line the record's place */
export function writeRecord(
  { bytes, words, doubles }: ReadyMemory,
  line: number,
  response: ReadyResponse,
  about: { lines: number; number: number; stamp: number; hash: number; keyLength: number },
): void {
  const start = line * lineBytes;
  const at = start / 4;
  const { whole, notModified, etag, body } = response;
  let position: number = recordHeaderBytes;
  const place = (text: string): number => {
    const from = position;
    position += bytes.write(text, start + position, "latin1");
    return from;
  };
  words[at + recordWord.lines] = about.lines;
  words[at + recordWord.number] = about.number;
  words[at + recordWord.stamp] = about.stamp;
  words[at + recordWord.hash] = about.hash;
  words[at + recordWord.keyAt] = position;
  position += about.keyLength;
  words[at + recordWord.etagAt] = place(etag);
  words[at + recordWord.etagLength] = etag.length;
  words[at + recordWord.hasDate] = response.hasDate ? 1 : 0;
  for (const [word, head] of [
    [recordWord.whole, whole],
    [recordWord.notModified, notModified],
  ] as const) {
    words[at + word + headWord.at] = place(head.text);
    words[at + word + headWord.length] = head.text.length;
    words[at + word + headWord.ageAt] = head.ageAt;
    words[at + word + headWord.ttlAt] = head.ttlAt;
  }
  words[at + recordWord.partLength] = response.partLength;
  const double = start / 8;
  doubles[double + recordDouble.bornAtMs] = response.bornAtMs;
  doubles[double + recordDouble.lifetimeSeconds] = response.lifetimeSeconds;
  doubles[double + recordDouble.endsAtMs] = response.endsAtMs;
  words[at + recordWord.bodyAt] = position;
  if (body.kind === "inline") {
    words[at + recordWord.descriptor] = -1;
    doubles[double + recordDouble.bodyOffset] = 0;
    doubles[double + recordDouble.bodyLength] = body.bytes.length;
    body.bytes.copy(bytes, start + position);
  } else {
    words[at + recordWord.descriptor] = body.descriptor;
    doubles[double + recordDouble.bodyOffset] = body.offset;
    doubles[double + recordDouble.bodyLength] = body.lengthBytes;
  }
}
