/** The rdata of each record type that the fleet document knows, as parts of an RRset. */
import type { ZoneRecord } from "#fleet/document.ts";
import { bitsOf, parseIp } from "../wire/address.ts";
import { putUint16, putUint32 } from "../wire/bytes.ts";
import { nameFromText, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import type { RdataPart } from "./rrset.ts";

export interface Rdata {
  readonly type: number;
  readonly parts: readonly RdataPart[];
  /** The name that the record points to, where it has one. */
  readonly target: WireName | undefined;
}

/**
 * The record's rdata.
 * @param absolute turns a name as written in the document into a whole one
 * @returns undefined when a name in it is longer than 255 octets or an address is none
 */
export function rdataOf(record: ZoneRecord, absolute: (name: string) => string): Rdata | undefined {
  switch (record.type) {
    case "A":
    case "AAAA": {
      const bytes = addressBytes(record.address);
      return bytes && { type: recordTypes[record.type], parts: [{ bytes }], target: undefined };
    }
    case "NS":
    case "CNAME": {
      const target = nameFromText(absolute(record.target));
      return target && { type: recordTypes[record.type], parts: [{ name: target, mayCompress: true }], target };
    }
    case "TXT":
      return {
        type: recordTypes.TXT,
        parts: record.text.map((text) => ({ bytes: characterString(text) })),
        target: undefined,
      };
    case "MX": {
      const target = nameFromText(absolute(record.exchange));
      return (
        target && {
          type: recordTypes.MX,
          parts: [{ bytes: uint16s(record.preference) }, { name: target, mayCompress: true }],
          target,
        }
      );
    }
    case "CAA": {
      // RFC 8659 §4.1: flags, tag length, tag, value to the end.
      const tag = Buffer.from(record.tag, "ascii");
      const bytes = Buffer.concat([Uint8Array.of(record.flags, tag.length), tag, Buffer.from(record.value, "utf8")]);
      return { type: recordTypes.CAA, parts: [{ bytes }], target: undefined };
    }
    case "SRV": {
      const target = nameFromText(absolute(record.target));
      return (
        target && {
          type: recordTypes.SRV,
          parts: [
            { bytes: uint16s(record.priority, record.weight, record.port) },
            // RFC 2782: the target is never compressed.
            { name: target, mayCompress: false },
          ],
          target,
        }
      );
    }
  }
}

/** The 4 or 16 octets of an address in text. */
export function addressBytes(text: string): Uint8Array | undefined {
  const address = parseIp(text);
  return address?.bytes.slice(0, bitsOf(address.family) / 8);
}

export interface SoaFields {
  readonly primary: WireName;
  readonly mailbox: WireName;
  readonly serial: number;
  readonly minimumSeconds: number;
}

/**
 * SOA rdata (RFC 1035 §3.3.13). Refresh, retry and expire only speak to secondaries that transfer the zone; they are
 * the values that RFC 1912 §2.2 and RIPE-203 advise.
 */
export function soaRdata({ primary, mailbox, serial, minimumSeconds }: SoaFields): readonly RdataPart[] {
  const numbers = new Uint8Array(20);
  [serial, 7200, 3600, 1_209_600, minimumSeconds].forEach((value, index) => {
    putUint32(numbers, index * 4, value);
  });
  return [{ name: primary, mayCompress: true }, { name: mailbox, mayCompress: true }, { bytes: numbers }];
}

/** The minimal answer to ANY: HINFO with the CPU "RFC8482" and no operating system (RFC 8482 §4.2). */
export const minimalAnyRdata: readonly RdataPart[] = [
  { bytes: Buffer.concat([characterString("RFC8482"), characterString("")]) },
];

function characterString(text: string): Uint8Array {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}

function uint16s(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 2);
  values.forEach((value, index) => {
    putUint16(bytes, index * 2, value);
  });
  return bytes;
}
