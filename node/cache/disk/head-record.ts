/**
 * The head of an object as bytes, little-endian: everything that HEAD, a 304 and a conditional request need.
 *
 *   magic 4 · length 4 · CRC 4 · body length 8 · key length 2 · facts length 4 · header block length 4 · blocks 4 ·
 *   key · facts (JSON) · header block · CRC-32 of each 256 KiB of the body, 4 each
 *
 * The CRC covers everything after it. The key is included, so a record that is read from a wrong place is not valid.
 */
import { crc32 } from "node:zlib";
import type { ObjectFacts } from "../object.ts";
import { headBytesMax } from "./index-table.ts";

/** A block of a body has one checksum, and is verified as a whole. */
export const bodyBlockBytes = 256 * 1024;
const headPrefixBytes = 34;
const magic = 0x31_48_43_4e; // "NCH1"
const checkedFrom = 12;

/** Everything in the answer to a GET except the body. */
export interface Head {
  readonly key: string;
  readonly facts: ObjectFacts;
  readonly headerBlock: Buffer;
  /** Of the body. */
  readonly lengthBytes: number;
}

/** With the checksums of the body's blocks. */
export interface StoredHead extends Head {
  readonly blockChecksums: Uint32Array;
}

/** Undefined: too large for the index, which no legitimate object is. */
export function encodeHead(head: StoredHead): Buffer | undefined {
  const facts = Buffer.from(JSON.stringify(head.facts));
  const key = Buffer.from(head.key, "latin1");
  const { headerBlock, blockChecksums } = head;
  const lengthBytes = headPrefixBytes + key.length + facts.length + headerBlock.length + 4 * blockChecksums.length;
  if (lengthBytes > headBytesMax) return undefined;
  const bytes = Buffer.allocUnsafeSlow(lengthBytes);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(lengthBytes, 4);
  bytes.writeUInt32LE(head.lengthBytes % 2 ** 32, 12);
  bytes.writeUInt32LE(Math.floor(head.lengthBytes / 2 ** 32), 16);
  bytes.writeUInt16LE(key.length, 20);
  bytes.writeUInt32LE(facts.length, 22);
  bytes.writeUInt32LE(headerBlock.length, 26);
  bytes.writeUInt32LE(blockChecksums.length, 30);
  let at = headPrefixBytes;
  for (const part of [key, facts, headerBlock]) {
    bytes.set(part, at);
    at += part.length;
  }
  for (const checksum of blockChecksums) at = bytes.writeUInt32LE(checksum, at);
  bytes.writeUInt32LE(crc32(bytes.subarray(checkedFrom)), 8);
  return bytes;
}

/** The length of the record that begins here; 0: none does. For a walk over a head segment. */
export function headLengthAt(bytes: Buffer, at: number): number {
  if (at + headPrefixBytes > bytes.length || bytes.readUInt32LE(at) !== magic) return 0;
  const lengthBytes = bytes.readUInt32LE(at + 4);
  return lengthBytes >= headPrefixBytes && at + lengthBytes <= bytes.length ? lengthBytes : 0;
}

/** Undefined if a byte is wrong or missing. */
export function decodeHead(bytes: Buffer): StoredHead | undefined {
  if (bytes.length === 0 || headLengthAt(bytes, 0) !== bytes.length) return undefined;
  if (crc32(bytes.subarray(checkedFrom)) !== bytes.readUInt32LE(8)) return undefined;
  const keyEnd = headPrefixBytes + bytes.readUInt16LE(20);
  const factsEnd = keyEnd + bytes.readUInt32LE(22);
  const blockEnd = factsEnd + bytes.readUInt32LE(26);
  const blockChecksums = new Uint32Array(bytes.readUInt32LE(30));
  if (blockEnd + 4 * blockChecksums.length !== bytes.length) return undefined;
  for (let at = 0; at < blockChecksums.length; at += 1) blockChecksums[at] = bytes.readUInt32LE(blockEnd + 4 * at);
  return {
    key: bytes.toString("latin1", headPrefixBytes, keyEnd),
    // The checksum proves that this program wrote it, so its shape needs no check.
    facts: JSON.parse(bytes.toString("utf8", keyEnd, factsEnd)) as ObjectFacts,
    headerBlock: bytes.subarray(factsEnd, blockEnd),
    lengthBytes: bytes.readUInt32LE(16) * 2 ** 32 + bytes.readUInt32LE(12),
    blockChecksums,
  };
}

/** The checksums of a body that is in memory. */
export function checksumsOf(body: Buffer): Uint32Array {
  const checksums = new Uint32Array(Math.ceil(body.length / bodyBlockBytes));
  for (let block = 0; block < checksums.length; block += 1) {
    checksums[block] = crc32(body.subarray(block * bodyBlockBytes, (block + 1) * bodyBlockBytes));
  }
  return checksums;
}

/** The checksums of a body that arrives in pieces. */
export interface Checksums {
  readonly done: number[];
  current: number;
  currentBytes: number;
}

export function createChecksums(): Checksums {
  return { done: [], current: 0, currentBytes: 0 };
}

export function addToChecksums(checksums: Checksums, chunk: Buffer): void {
  for (let at = 0; at < chunk.length;) {
    const part = chunk.subarray(at, at + bodyBlockBytes - checksums.currentBytes);
    checksums.current = crc32(part, checksums.current);
    checksums.currentBytes += part.length;
    at += part.length;
    if (checksums.currentBytes < bodyBlockBytes) continue;
    checksums.done.push(checksums.current);
    checksums.current = 0;
    checksums.currentBytes = 0;
  }
}

export function finishChecksums({ done, current, currentBytes }: Checksums): Uint32Array {
  return Uint32Array.from(currentBytes === 0 ? done : [...done, current]);
}
