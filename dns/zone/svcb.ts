/**
 * The rdata of HTTPS and SVCB records (RFC 9460 §2.2): priority, TargetName, then SvcParams in the order of their keys.
 *
 *   priority │ target │ mandatory alpn no-default-alpn port │ ipv4hint │ ech │ ipv6hint │ keys from 7 on
 *                                                           ^ ipv4HintAt    ^ ipv6HintAt
 *
 * When the target is a name of ours, the hints are its A and AAAA, never the record's own: compiled in where they are
 * the same for everybody, else written per answer at the two places that are kept here.
 */
import type { ZoneRecord } from "#record/zone-record.ts";
import { bitsOf, emptyAddress, readIp, type Family } from "../wire/address.ts";
import { byteAt, putUint16, uint16At } from "../wire/bytes.ts";
import { readName, readNameText, type WireName } from "../wire/name.ts";
import { beginRdata, putName, putNumber16, putOctets, type Rdata } from "./rdata.ts";

export type SvcbRecord = Extract<ZoneRecord, { type: "HTTPS" | "SVCB" }>;

/** SvcParamKeys (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4). */
const keys: ReadonlyMap<string, number> = new Map([
  ["mandatory", 0],
  ["alpn", 1],
  ["no-default-alpn", 2],
  ["port", 3],
  ["ipv4hint", 4],
  ["ech", 5],
  ["ipv6hint", 6],
  ["dohpath", 7],
  ["ohttp", 8],
]);
export const keyMandatory = 0;
const keyAlpn = 1;
const keyNoDefaultAlpn = 2;
const keyPort = 3;
export const keyIpv4Hint = 4;
const keyEch = 5;
export const keyIpv6Hint = 6;
const keyInvalid = 65_535;

export type SvcParams = Map<number, Uint8Array>;

/** Priority 0: another name for the target, without parameters (RFC 9460 §2.4.2). */
export interface Svcb {
  readonly priority: number;
  readonly params: SvcParams;
}

/**
 * The record's fields; the target is read into `target`.
 * @returns undefined when the record contradicts itself or can't be written to the wire
 */
export function svcbOf(record: SvcbRecord, apex: WireName, target: WireName): Svcb | undefined {
  if (!readNameText(record.target, apex, target)) return undefined;
  const params: SvcParams = new Map();
  if (record.priority === 0) return { priority: 0, params };
  const { mandatory, alpn, noDefaultAlpn, port, ipv4hint, ech, ipv6hint, other } = record.params;
  if (alpn !== undefined) {
    const octets = alpn.map((id) => Buffer.from(id, "utf8"));
    if (octets.some((id) => id.length === 0 || id.length > 255)) return undefined;
    params.set(keyAlpn, Buffer.concat(octets.flatMap((id) => [Uint8Array.of(id.length), id])));
  }
  if (noDefaultAlpn === true) params.set(keyNoDefaultAlpn, new Uint8Array(0));
  if (port !== undefined) params.set(keyPort, Uint8Array.of(port >>> 8, port));
  if (ech !== undefined) params.set(keyEch, Buffer.from(ech, "base64"));
  for (const [key, texts, family] of [
    [keyIpv4Hint, ipv4hint, 4],
    [keyIpv6Hint, ipv6hint, 6],
  ] as const) {
    if (texts === undefined) continue;
    const octets = addressesOf(texts, family);
    if (octets === undefined) return undefined;
    params.set(key, octets);
  }
  for (const [name, hex] of Object.entries(other ?? {})) {
    const key = keyNumber(name);
    // A key with a name here has one form only.
    if (key === undefined || key <= keyIpv6Hint || params.has(key)) return undefined;
    params.set(key, Buffer.from(hex, "hex"));
  }
  if (mandatory !== undefined) {
    const numbers = mandatory.map(keyNumber);
    if (numbers.some((key) => key === undefined)) return undefined;
    params.set(keyMandatory, mandatoryValue(numbers.map((key) => key ?? keyInvalid)));
  }
  return { priority: record.priority, params };
}

/** The fields of rdata in wire form (RFC 3597), or undefined when it is malformed. */
export function svcbOfRaw(octets: Uint8Array, target: WireName): Svcb | undefined {
  const params: SvcParams = new Map();
  let at = readName(octets, 2, octets.length, target);
  if (at < 0) return undefined;
  let last = -1;
  while (at < octets.length) {
    const key = uint16At(octets, at);
    const end = at + 4 + uint16At(octets, at + 2);
    if (at + 4 > octets.length || end > octets.length || key <= last) return undefined;
    params.set(key, octets.slice(at + 4, end));
    last = key;
    at = end;
  }
  return { priority: uint16At(octets, 0), params };
}

/** Whether clients will take the record for well-formed (RFC 9460 §7.1.1, §8). */
export function isConsistent({ params }: Svcb): boolean {
  if (params.has(keyInvalid) || (params.has(keyNoDefaultAlpn) && !params.has(keyAlpn))) return false;
  if ((params.get(keyIpv4Hint)?.length ?? 0) % 4 !== 0 || (params.get(keyIpv6Hint)?.length ?? 0) % 16 !== 0)
    return false;
  if ((params.get(keyMandatory)?.length ?? 2) % 2 !== 0 || params.get(keyMandatory)?.length === 0) return false;
  const listed = mandatoryKeys(params);
  return listed.every((key, index) => key !== keyMandatory && params.has(key) && key > (listed[index - 1] ?? 0));
}

/** The keys that a client must know to use the record (RFC 9460 §8). */
export function mandatoryKeys(params: SvcParams): number[] {
  const value = params.get(keyMandatory) ?? new Uint8Array(0);
  return Array.from({ length: value.length >> 1 }, (_, index) => uint16At(value, index * 2));
}

/** RFC 9460 §8: in ascending order, each once. */
export function mandatoryValue(numbers: readonly number[]): Uint8Array {
  const sorted = [...new Set(numbers)].toSorted((a, b) => a - b);
  const value = new Uint8Array(sorted.length * 2);
  sorted.forEach((key, index) => {
    putUint16(value, index * 2, key);
  });
  return value;
}

/**
 * Writes the rdata.
 * @param type HTTPS or SVCB
 * @returns false when it is longer than any rdata
 */
export function putSvcb({ priority, params }: Svcb, type: number, target: WireName, into: Rdata): boolean {
  beginRdata(into, type);
  putNumber16(into, priority);
  // RFC 9460 §2.2: the target is not compressed.
  putName(into, target);
  if (priority === 0) return true;
  const sorted = [...params].toSorted(([a], [b]) => a - b);
  for (const [key, value] of sorted) {
    if (key >= keyIpv4Hint && into.ipv4HintAt < 0) into.ipv4HintAt = into.length;
    if (key >= keyIpv6Hint && into.ipv6HintAt < 0) into.ipv6HintAt = into.length;
    if (into.length + 4 + value.length > into.bytes.length) return false;
    putNumber16(into, key);
    putNumber16(into, value.length);
    if (!putOctets(into, value)) return false;
  }
  if (into.ipv4HintAt < 0) into.ipv4HintAt = into.length;
  if (into.ipv6HintAt < 0) into.ipv6HintAt = into.length;
  return true;
}

function keyNumber(name: string): number | undefined {
  const known = keys.get(name);
  if (known !== undefined) return known;
  const number = /^key(\d{1,5})$/.exec(name);
  const key = Number(number?.[1] ?? keyInvalid);
  return key < keyInvalid ? key : undefined;
}

const scratchAddress = emptyAddress();

function addressesOf(texts: readonly string[], family: Family): Uint8Array | undefined {
  const octets = bitsOf(family) / 8;
  const value = new Uint8Array(texts.length * octets);
  for (const [index, text] of texts.entries()) {
    if (!readIp(text, scratchAddress) || scratchAddress.family !== family) return undefined;
    for (let i = 0; i < octets; i++) value[index * octets + i] = byteAt(scratchAddress.bytes, i);
  }
  return value;
}
