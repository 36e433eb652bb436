/**
 * An object as a file of the disk tier (big-endian):
 *
 *   magic 4 · facts length 4 · key + facts CRC 4 · header block length 4 · body length 4 · header block + body CRC 4 ·
 *   facts (JSON) · header block · body
 *
 * Every byte is in a checksum or in the sum of lengths, which must be the file's; the key is in the first checksum, so
 * that a file under another's name is no object.
 */
import { close as closeFile, open as openFile, read as readFile } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import type { CachedObject, ObjectFacts } from "./object.ts";

const magic = 0x4e434f31; // "NCO1"
const prefixBytes = 24;
/** Twenty-four tags of the largest size take some 45 KB. */
export const factsBytesMax = 64 * 1024;

export function encodeObject(object: CachedObject): Buffer {
  const facts = Buffer.from(JSON.stringify(object.facts));
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(magic, 0);
  prefix.writeUInt32BE(facts.length, 4);
  prefix.writeUInt32BE(crc32(facts, crc32(object.key)), 8);
  prefix.writeUInt32BE(object.headerBlock.length, 12);
  prefix.writeUInt32BE(object.body.length, 16);
  prefix.writeUInt32BE(crc32(object.body, crc32(object.headerBlock)), 20);
  return Buffer.concat([prefix, facts, object.headerBlock, object.body]);
}

/** Undefined when a byte is wrong, one is missing, or the file is under another's name. */
export function decodeObject(key: string, bytes: Buffer): CachedObject | undefined {
  if (bytes.length < prefixBytes || bytes.readUInt32BE(0) !== magic) return undefined;
  const factsEnd = prefixBytes + bytes.readUInt32BE(4);
  const blockEnd = factsEnd + bytes.readUInt32BE(12);
  if (blockEnd + bytes.readUInt32BE(16) !== bytes.length) return undefined;
  const facts = decodeFacts(key, bytes.subarray(prefixBytes, factsEnd), bytes.readUInt32BE(8));
  if (facts === undefined || crc32(bytes.subarray(factsEnd)) !== bytes.readUInt32BE(20)) return undefined;
  return { key, facts, headerBlock: bytes.subarray(factsEnd, blockEnd), body: bytes.subarray(blockEnd) };
}

/** The checksum proves that the facts are as this program wrote them, so their shape needs no second look. */
function decodeFacts(key: string, bytes: Buffer, checksum: number): ObjectFacts | undefined {
  return crc32(bytes, crc32(key)) === checksum ? (JSON.parse(bytes.toString()) as ObjectFacts) : undefined;
}

/**
 * A file whose length is known: opened, read, closed, and only the first two waited for. One of another length gives
 * bytes that fail decodeObject().
 *
 * By callbacks: a FileHandle's promises cost a hit of the disk tier more than the reading.
 */
export function readKnown(path: string, sizeBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    openFile(path, "r", (openError, descriptor) => {
      if (openError !== null) {
        reject(openError);
        return;
      }
      // One more than there should be, so that a file that grew is noticed.
      const bytes = Buffer.allocUnsafeSlow(sizeBytes + 1);
      readFile(descriptor, bytes, 0, bytes.length, 0, (readError, bytesRead) => {
        closeFile(descriptor, () => undefined); // nothing was written: closing can lose nothing
        if (readError === null) resolve(bytes.subarray(0, bytesRead));
        else reject(readError);
      });
    });
  });
}

/** @throws the system's error, or an Error for a file larger than `bytesMax` */
export async function readWhole(path: string, bytesMax: number): Promise<Buffer> {
  return await withFile(path, async (file) => {
    const { size } = await file.stat();
    if (size > bytesMax) throw new Error(`larger than the tier: ${size} bytes`);
    return await readExactly(file, size);
  });
}

/** The facts alone, without reading the rest; undefined when they are damaged or the file has another length. */
export async function readFacts(key: string, path: string): Promise<ObjectFacts | undefined> {
  return await withFile(path, async (file) => {
    const { size } = await file.stat();
    if (size < prefixBytes) return undefined;
    const prefix = await readExactly(file, prefixBytes);
    const factsBytes = prefix.readUInt32BE(4);
    if (prefix.readUInt32BE(0) !== magic || factsBytes > factsBytesMax) return undefined;
    if (prefixBytes + factsBytes + prefix.readUInt32BE(12) + prefix.readUInt32BE(16) !== size) return undefined;
    return decodeFacts(key, await readExactly(file, factsBytes), prefix.readUInt32BE(8));
  });
}

async function withFile<Result>(path: string, work: (file: FileHandle) => Promise<Result>): Promise<Result> {
  const file = await open(path, "r");
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

/** Reads on from where the last read ended. */
async function readExactly(file: FileHandle, sizeBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  let offset = 0;
  while (offset < sizeBytes) {
    const { bytesRead } = await file.read(bytes, offset, sizeBytes - offset);
    if (bytesRead === 0) return bytes.subarray(0, offset);
    offset += bytesRead;
  }
  return bytes;
}
