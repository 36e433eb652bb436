/**
 * The rdata of a record in the form of the compiled zones: as its type writes it (dns/record/types/), but compressible
 * names end in two octets, where each answer puts a pointer to the zone's apex.
 *
 *   MX 10 mail.cdn.test, in cdn.test     00 0a 04 m a i l .. ..      apexSlots = [7]
 *
 * One object is reused, so that a million records make no garbage.
 */
import { hasRoom, putUint16, type NameForm, type Rdata, rdataOctetsMax } from "#record/rdata-writer.ts";
import { recordTypeOf, whyNotRaw, type ZoneRecord } from "#record/types.ts";
import { byteAt } from "../wire/bytes.ts";
import { isAtOrBelow, readNameText, scratchName, type WireName } from "../wire/name.ts";

export interface CompiledRdata extends Rdata {
  type: number;
  /** The apex of the record's zone. Names without a final dot are relative to it. */
  apex: WireName;
  /** Offsets of pointers to the apex; the first `apexSlotsCount` are valid. */
  readonly apexSlots: Uint16Array;
  apexSlotsCount: number;
  /** The name that a record of type NS, CNAME, DNAME or PTR points to. */
  readonly target: WireName;
  hasTarget: boolean;
  /** HTTPS and SVCB in service mode: offsets at which `ipv4hint` and `ipv6hint` are or would be; otherwise -1. */
  ipv4HintAt: number;
  ipv6HintAt: number;
}

export function emptyRdata(): CompiledRdata {
  return {
    type: 0,
    bytes: new Uint8Array(rdataOctetsMax),
    length: 0,
    isBroken: false,
    addName,
    apex: scratchName(),
    apexSlots: new Uint16Array(2),
    apexSlotsCount: 0,
    target: scratchName(),
    hasTarget: false,
    ipv4HintAt: -1,
    ipv6HintAt: -1,
  };
}

/** @param apex default: that of the previous record; only names written as text need it */
export function beginRdata(into: CompiledRdata, type: number, apex = into.apex): void {
  into.type = type;
  into.apex = apex;
  into.length = 0;
  into.isBroken = false;
  into.apexSlotsCount = 0;
  into.hasTarget = false;
  into.ipv4HintAt = -1;
  into.ipv6HintAt = -1;
}

/**
 * Writes the record's rdata to `into`.
 * @param apex the apex of its zone; names without a final dot are relative to it
 * @returns false if a name in it is invalid or too long, or a field has no wire format
 */
export function rdataOf(record: ZoneRecord, apex: WireName, into: CompiledRdata): boolean {
  const type = recordTypeOf(record);
  if (type.writeRdata === undefined) return false;
  const number = record.type === "RAW" ? record.typeNumber : type.number;
  // The document's check has already rejected these, but answers depend on it.
  if (record.type === "RAW" && whyNotRaw(number) !== undefined) return false;
  beginRdata(into, number, apex);
  type.writeRdata(record, into);
  return !into.isBroken;
}

function addName(this: void, into: CompiledRdata, text: string, form: NameForm, isTarget: boolean): void {
  const name = isTarget ? into.target : scratch;
  if (!readNameText(text, into.apex, name)) {
    into.isBroken = true;
    return;
  }
  if (isTarget) into.hasTarget = true;
  putWireName(into, name, form);
}

const scratch = scratchName();

export function putWireName(into: CompiledRdata, name: WireName, form: NameForm): void {
  if (!hasRoom(into, name.length)) return;
  const { apex } = into;
  const isShort = form === "compressible" && apex.labelsCount > 0 && isAtOrBelow(name, apex);
  const own = isShort ? name.length - apex.length : name.length;
  for (let i = 0; i < own; i++) into.bytes[into.length + i] = byteAt(name.bytes, i);
  into.length += own;
  if (!isShort) return;
  into.apexSlots[into.apexSlotsCount++] = into.length;
  putUint16(into, 0);
}
