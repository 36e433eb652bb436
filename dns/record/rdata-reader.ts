/**
 * Reads rdata given as octets (RFC 3597) from left to right. When the octets run out, `isBroken` becomes true, and
 * everything read after that is meaningless.
 */
import { labelText } from "./name-text.ts";

export interface RdataReader {
  readonly octets: Buffer;
  at: number;
  isBroken: boolean;
}

export function rdataReader(octets: Buffer): RdataReader {
  return { octets, at: 0, isBroken: false };
}

export function isAtEnd(reader: RdataReader): boolean {
  return reader.at >= reader.octets.length;
}

export function readOctets(reader: RdataReader, count: number): Buffer {
  const end = reader.at + count;
  if (end > reader.octets.length) {
    reader.isBroken = true;
    reader.at = reader.octets.length;
    return Buffer.alloc(count);
  }
  const octets = reader.octets.subarray(reader.at, end);
  reader.at = end;
  return octets;
}

export function readUint16(reader: RdataReader): number {
  return readOctets(reader, 2).readUInt16BE();
}

export function readUint32(reader: RdataReader): number {
  return readOctets(reader, 4).readUInt32BE();
}

/** A name in normal form. A compressed name breaks the reader (RFC 3597 §4). */
export function readName(reader: RdataReader): string {
  let name = "";
  let octets = 1;
  for (;;) {
    const size = readOctets(reader, 1).readUInt8();
    if (size === 0 || reader.isBroken) break;
    octets += 1 + size;
    if (size > 63 || octets > 255) {
      reader.isBroken = true;
      break;
    }
    name += `${labelText(readOctets(reader, size))}.`;
  }
  return name === "" ? "." : name;
}
