/** SOA (RFC 1035 §3.3.13): the parameters of a zone. A zone has one, separate from its records (zone.ts). */
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

/** Reads the fields after the type in a zone file. @returns undefined when `fields` has a problem */
export function soaFromText(fields: Fields): Soa | undefined {
  const soa = {
    primary: takeName(fields, "the primary server's name"),
    mailbox: takeName(fields, "the mailbox"),
    serial: takeNumber(fields, "the serial", uint32Max),
    refreshSeconds: takeTime(fields, "the refresh time"),
    retrySeconds: takeTime(fields, "the retry time"),
    expireSeconds: takeTime(fields, "the expiry time"),
    minimumSeconds: takeTime(fields, "the minimum"),
  };
  if (hasMore(fields))
    refuse(fields, `unexpected ${quote(rawField(fields, fields.next))} after the SOA data`, fields.next);
  return fields.problem === "" ? soa : undefined;
}

/** @returns undefined when the octets are not a valid SOA */
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
