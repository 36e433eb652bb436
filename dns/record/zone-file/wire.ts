/** Names and numbers as octets, for rdata that is given or kept as bytes (RFC 1035 §3.1, never compressed). */
import { labelText, octetsOf, octetsOfName } from "./names.ts";

/** @param name in normal form */
export function nameToWire(name: string): Buffer {
  const wire = Buffer.alloc(octetsOfName(name));
  if (name === ".") return wire;
  let at = 0;
  let start = 0;
  for (let dot = 0; dot < name.length; dot++) {
    const char = name.charCodeAt(dot);
    if (char === 0x5c) dot += 1;
    else if (char === 0x2e) {
      const label = octetsOf(name.slice(start, dot)) ?? Buffer.alloc(0);
      wire[at] = label.length;
      wire.set(label, at + 1);
      at += 1 + label.length;
      start = dot + 1;
    }
  }
  return wire;
}

export function uint8(value: number): Buffer {
  return Buffer.of(value);
}

export function uint16(value: number): Buffer {
  return Buffer.of(value >>> 8, value & 0xff);
}

export function uint32(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
}

/** Reads octets from left to right; once they don't suffice, `isBroken` is true and what is read has no meaning. */
export interface WireReader {
  readonly octets: Buffer;
  at: number;
  isBroken: boolean;
}

export function wireReader(octets: Buffer): WireReader {
  return { octets, at: 0, isBroken: false };
}

export function isAtEnd(reader: WireReader): boolean {
  return reader.at >= reader.octets.length;
}

export function readOctets(reader: WireReader, count: number): Buffer {
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

export function readUint16(reader: WireReader): number {
  return readOctets(reader, 2).readUInt16BE();
}

export function readUint32(reader: WireReader): number {
  return readOctets(reader, 4).readUInt32BE();
}

/** A name in normal form; compression is a fault (RFC 3597 §4). */
export function readName(reader: WireReader): string {
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

/** Text of an address of 4 or 16 octets; IPv6 as eight groups without `::`. */
export function addressText(octets: Buffer): string {
  if (octets.length === 4) return octets.join(".");
  const groups: string[] = [];
  for (let at = 0; at < octets.length; at += 2) groups.push(octets.readUInt16BE(at).toString(16));
  return groups.join(":");
}
