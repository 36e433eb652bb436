/**
 * HTTPS and SVCB records (RFC 9460 §2.2) while zones are compiled: parsed into their SvcParams, so that hints can be
 * added or left out, and then written again in the order of the keys.
 *
 *   priority │ target │ mandatory alpn no-default-alpn port │ ipv4hint │ ech │ ipv6hint │ keys from 7 on
 *                                                           ^ ipv4HintAt    ^ ipv6HintAt
 *
 * If the target is in our zones, the hints are its A and AAAA, never the record's own. They are compiled in if they are
 * the same for every client, otherwise written per answer at the two offsets that are stored here.
 */
import { putOctets, putUint16 as putNumber } from "#record/rdata-writer.ts";
import { inMandatoryOrder, invalidSvcParamKey, svcParamKeys } from "#record/svc-param-keys.ts";
import { putUint16, uint16At } from "../wire/bytes.ts";
import { readName, type WireName } from "../wire/name.ts";
import { beginRdata, putWireName, type CompiledRdata } from "./rdata.ts";

export type SvcParams = Map<number, Uint8Array>;

/** Priority 0: an alias for the target, without parameters (RFC 9460 §2.4.2). */
export interface Svcb {
  readonly priority: number;
  readonly params: SvcParams;
}

/**
 * Parses rdata; reads the target into `target`.
 * @returns undefined if it is malformed
 */
export function svcbOf(octets: Uint8Array, target: WireName): Svcb | undefined {
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

/** Whether clients will consider the record well-formed (RFC 9460 §7.1.1, §8). */
export function isConsistent({ params }: Svcb): boolean {
  if (params.has(invalidSvcParamKey) || (params.has(svcParamKeys["no-default-alpn"]) && !params.has(svcParamKeys.alpn)))
    return false;
  if (
    (params.get(svcParamKeys.ipv4hint)?.length ?? 0) % 4 !== 0 ||
    (params.get(svcParamKeys.ipv6hint)?.length ?? 0) % 16 !== 0
  )
    return false;
  if ((params.get(svcParamKeys.mandatory)?.length ?? 2) % 2 !== 0 || params.get(svcParamKeys.mandatory)?.length === 0)
    return false;
  const listed = mandatoryKeys(params);
  return listed.every(
    (key, index) => key !== svcParamKeys.mandatory && params.has(key) && key > (listed[index - 1] ?? 0),
  );
}

/** The keys that a client must support to use the record (RFC 9460 §8). */
export function mandatoryKeys(params: SvcParams): number[] {
  const value = params.get(svcParamKeys.mandatory) ?? new Uint8Array(0);
  return Array.from({ length: value.length >> 1 }, (_, index) => uint16At(value, index * 2));
}

export function mandatoryValue(numbers: readonly number[]): Uint8Array {
  const sorted = inMandatoryOrder(numbers);
  const value = new Uint8Array(sorted.length * 2);
  sorted.forEach((key, index) => {
    putUint16(value, index * 2, key);
  });
  return value;
}

/**
 * Writes the rdata.
 * @param type HTTPS or SVCB
 * @returns false if it exceeds the maximum length of rdata
 */
export function putSvcb({ priority, params }: Svcb, type: number, target: WireName, into: CompiledRdata): boolean {
  beginRdata(into, type);
  putNumber(into, priority);
  // RFC 9460 §2.2: the target is not compressed.
  putWireName(into, target, "whole");
  if (priority === 0) return true;
  const sorted = [...params].toSorted(([a], [b]) => a - b);
  for (const [key, value] of sorted) {
    if (key >= svcParamKeys.ipv4hint && into.ipv4HintAt < 0) into.ipv4HintAt = into.length;
    if (key >= svcParamKeys.ipv6hint && into.ipv6HintAt < 0) into.ipv6HintAt = into.length;
    putNumber(into, key);
    putNumber(into, value.length);
    putOctets(into, value);
  }
  if (into.ipv4HintAt < 0) into.ipv4HintAt = into.length;
  if (into.ipv6HintAt < 0) into.ipv6HintAt = into.length;
  return !into.isBroken;
}
