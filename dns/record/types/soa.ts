/** SOA (RFC 1035 §3.3.13): what a zone says of itself. A zone has one, apart from its records (zone.ts). */
import { isAtEnd, rdataReader, readName, readUint32 } from "../rdata-reader.ts";
import { putName, putUint32, type Rdata } from "../rdata-writer.ts";
import { uint32Max } from "../record-schema.ts";
import { type Fields, hasMore, rawField, refuse, takeName, takeNumber, takeTime } from "../zone-file/fields.ts";
import { quote } from "../zone-file/words.ts";

export interface Soa {
  readonly primary: string;
  readonly mailbox: string;
  readonly serial: number;
  readonly refreshSeconds: number;
  readonly retrySeconds: number;
  readonly expireSeconds: number;
  readonly minimumSeconds: number;
}

/** Reads the fields that follow the type in a zone file. @returns undefined when `fields` has a problem */
export function soaFromText(fields: Fields): Soa | undefined {
  const soa = {
    primary: takeName(fields, "the primary server's name"),
    mailbox: takeName(fields, "a mailbox"),
    serial: takeNumber(fields, "a serial", uint32Max),
    refreshSeconds: takeTime(fields, "a refresh time"),
    retrySeconds: takeTime(fields, "a retry time"),
    expireSeconds: takeTime(fields, "an expiry time"),
    minimumSeconds: takeTime(fields, "a minimum"),
  };
  if (hasMore(fields)) refuse(fields, `${quote(rawField(fields, fields.next))} is more than a SOA has`, fields.next);
  return fields.problem === "" ? soa : undefined;
}

/** @returns undefined when the octets are no SOA */
export function soaFromRdata(rdata: Buffer): Soa | undefined {
  const reader = rdataReader(rdata);
  const soa = {
    primary: readName(reader),
    mailbox: readName(reader),
    serial: readUint32(reader),
    refreshSeconds: readUint32(reader),
    retrySeconds: readUint32(reader),
    expireSeconds: readUint32(reader),
    minimumSeconds: readUint32(reader),
  };
  return reader.isBroken || !isAtEnd(reader) ? undefined : soa;
}

export function writeSoa(soa: Soa, into: Rdata): void {
  putName(into, soa.primary, "compressible");
  putName(into, soa.mailbox, "compressible");
  putUint32(into, soa.serial);
  putUint32(into, soa.refreshSeconds);
  putUint32(into, soa.retrySeconds);
  putUint32(into, soa.expireSeconds);
  putUint32(into, soa.minimumSeconds);
}
