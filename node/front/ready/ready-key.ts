/**
 * What identifies a ready response: the parts of a request that may select it, as they were sent. Requests whose bytes
 * differ there get different records, even if they mean the same; that costs only memory.
 *
 *   Host, request target, Accept, Accept-Encoding, and whether it came over TLS
 */
import { fieldIndex, type RequestHead } from "../request-head.ts";
import type { ReadyMemory } from "./ready-memory.ts";
import { recordWord } from "./ready-record.ts";

/** Fields that may select among the ready responses of a URL. */
export const selectingFields: readonly string[] = ["accept", "accept-encoding"];

const { host, accept, "accept-encoding": encoding } = fieldIndex;

/** The hash of a request's key: 32 bits, never 0. */
export function hashOf(bytes: Buffer, head: RequestHead, seed: number): number {
  let hash = seed ^ (head.isSecure ? 0x5bd1e995 : 0x811c9dc5);
  hash = mixed(hash, bytes, head.starts[host] as number, head.ends[host] as number);
  hash = mixed(hash, bytes, head.targetStart, head.targetEnd);
  hash = mixed(hash, bytes, head.starts[accept] as number, head.ends[accept] as number);
  hash = mixed(hash, bytes, head.starts[encoding] as number, head.ends[encoding] as number);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 13;
  return hash === 0 ? 1 : hash;
}

/** FNV-1a, with the part's length at its end. A field that is absent has the end 0. */
function mixed(start: number, bytes: Buffer, from: number, to: number): number {
  let hash = start;
  for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return Math.imul(hash ^ (to === 0 ? 0x3ff : to - from), 0x01000193);
}

/** The bucket and the tag of a hash use different bits. */
export function bucketOf(hash: number, buckets: number): number {
  return (Math.imul(hash, 0x9e3779b1) >>> 8) & (buckets - 1);
}

/** Bytes of the key that a record stores. */
export function keyBytes(head: RequestHead): number {
  return lengthOf(head, host) + (head.targetEnd - head.targetStart) + lengthOf(head, accept) + lengthOf(head, encoding);
}

function lengthOf({ starts, ends }: RequestHead, index: number): number {
  const end = ends[index] as number;
  return end === 0 ? 0 : end - (starts[index] as number);
}

/** Whether the record at this word is for this request. */
export function isFor({ words, bytes: memory }: ReadyMemory, at: number, bytes: Buffer, head: RequestHead): boolean {
  let key = at * 4 + (words[at + recordWord.keyAt] as number);
  const { starts, ends, targetStart, targetEnd } = head;
  const hostLength = ends[host] === 0 ? -1 : (ends[host] as number) - (starts[host] as number);
  const acceptLength = ends[accept] === 0 ? -1 : (ends[accept] as number) - (starts[accept] as number);
  const encodingLength = ends[encoding] === 0 ? -1 : (ends[encoding] as number) - (starts[encoding] as number);
  if (
    words[at + recordWord.hostLength] !== hostLength ||
    words[at + recordWord.targetLength] !== targetWordOf(head) ||
    words[at + recordWord.acceptLength] !== acceptLength ||
    words[at + recordWord.encodingLength] !== encodingLength
  ) {
    return false;
  }
  if (!areEqual(memory, key, bytes, targetStart, targetEnd)) return false;
  key += targetEnd - targetStart;
  if (!areEqual(memory, key, bytes, starts[host] as number, ends[host] as number)) return false;
  key += Math.max(0, hostLength);
  if (!areEqual(memory, key, bytes, starts[accept] as number, ends[accept] as number)) return false;
  key += Math.max(0, acceptLength);
  return areEqual(memory, key, bytes, starts[encoding] as number, ends[encoding] as number);
}

/** Length of the target, and in the lowest bit whether the request came over TLS. */
function targetWordOf({ targetStart, targetEnd, isSecure }: RequestHead): number {
  return ((targetEnd - targetStart) << 1) | Number(isSecure);
}

function areEqual(memory: Buffer, at: number, bytes: Buffer, from: number, to: number): boolean {
  for (let offset = to - from - 1; offset >= 0; offset -= 1) {
    if (memory[at + offset] !== bytes[from + offset]) return false;
  }
  return true;
}

/** Writes the key behind a record's header, in the order in which isFor() compares. */
export function writeKey({ words, bytes: memory }: ReadyMemory, at: number, bytes: Buffer, head: RequestHead): void {
  const { starts, ends, targetStart, targetEnd } = head;
  let key = at * 4 + (words[at + recordWord.keyAt] as number);
  words[at + recordWord.targetLength] = targetWordOf(head);
  key += bytes.copy(memory, key, targetStart, targetEnd);
  for (const [word, index] of fieldsOfKey) {
    const end = ends[index] as number;
    const start = starts[index] as number;
    words[at + word] = end === 0 ? -1 : end - start;
    if (end !== 0) key += bytes.copy(memory, key, start, end);
  }
}

const fieldsOfKey = [
  [recordWord.hostLength, host],
  [recordWord.acceptLength, accept],
  [recordWord.encodingLength, encoding],
] as const;
