/**
 * Adding RRsets to the answer's sections. An RRset that does not fit sets `isTruncated`. From then on nothing more is
 * added, and the answer is emptied as a whole later.
 */
import { byteAt, intAt, putUint16, putUint32 } from "../wire/bytes.ts";
import { classes, recordTypes } from "../wire/numbers.ts";
import {
  delegationGlue,
  delegationGlueCount,
  delegationNameservers,
  setCount,
  setWords,
  zoneNegativeSoa,
  type CompiledZones,
} from "../zone/compiled-zones.ts";
import { pointedHeaderLength, writeSet } from "../zone/write-rrsets.ts";
import type { Responding } from "./state.ts";

/**
 * Accounts for the records that a writer has appended.
 * @param next the offset after them, or less than 0 if they did not fit
 * @param records the number of records, counted as steps
 */
export function advance(state: Responding, next: number, records: number): void {
  state.steps += records;
  if (next < 0 || state.isTruncated) state.isTruncated = true;
  else state.at = next;
}

/** Adds the RRset to the answer section, owned by the name at `ownerAt`. */
export function addSet(state: Responding, compiled: CompiledZones, set: number, ownerAt: number): void {
  const records = intAt(compiled.sets, set * setWords + setCount);
  advance(state, writeSet(compiled, set, state.out, state.at, state.limit, ownerAt, state.apexAt), records);
  state.answers += records;
}

/** Adds the zone's SOA to the authority section, which makes the answer NXDOMAIN or NODATA (RFC 2308 §2). */
export function addNegativeSoa(state: Responding, compiled: CompiledZones): void {
  const { apexAt } = state;
  const soa = intAt(compiled.zones, state.zoneBase + zoneNegativeSoa);
  advance(state, writeSet(compiled, soa, state.out, state.at, state.limit, apexAt, apexAt), 1);
  state.authorities++;
}

/**
 * Adds the delegation's nameservers to the authority section and their glue to the additional one.
 * @param cut offset of the delegation in `delegations`
 * @param cutAt offset of the delegated name in the answer
 */
export function addReferral(state: Responding, compiled: CompiledZones, cut: number, cutAt: number): void {
  const { out, limit, apexAt } = state;
  const nameservers = intAt(compiled.delegations, cut + delegationNameservers);
  const nameserversCount = intAt(compiled.sets, nameservers * setWords + setCount);
  advance(state, writeSet(compiled, nameservers, out, state.at, limit, cutAt, apexAt), nameserversCount);
  state.authorities += nameserversCount;
  const glue = intAt(compiled.delegations, cut + delegationGlue);
  const end = glue + intAt(compiled.delegations, cut + delegationGlueCount);
  for (let set = glue; set < end && !state.isTruncated; set++) {
    const records = intAt(compiled.sets, set * setWords + setCount);
    // Glue that does not fit makes the answer useless, so it counts as truncated (RFC 9471 §3.1).
    advance(state, writeSet(compiled, set, out, state.at, limit, 0, apexAt), records);
    state.additionals += records;
  }
}

/**
 * Adds the CNAME that a DNAME stands for (RFC 6672 §3.1), owned by the name at `ownerAt`. Its target consists of the
 * first `prefixLength` octets of the chain's target and the DNAME's target, which is at `dnameTargetAt`.
 */
export function addSynthesizedCname(
  state: Responding,
  ttlSeconds: number,
  ownerAt: number,
  prefixLength: number,
  dnameTargetAt: number,
): void {
  const { out, at } = state;
  const { bytes } = state.chain.target;
  const length = pointedHeaderLength + prefixLength + 2;
  if (length > state.limit - at) {
    state.isTruncated = true;
    return;
  }
  putUint16(out, at, 0xc000 | ownerAt);
  putUint16(out, at + 2, recordTypes.CNAME);
  putUint16(out, at + 4, classes.IN);
  putUint32(out, at + 6, ttlSeconds);
  putUint16(out, at + 10, prefixLength + 2);
  const rdataAt = at + pointedHeaderLength;
  for (let i = 0; i < prefixLength; i++) out[rdataAt + i] = byteAt(bytes, i);
  putUint16(out, rdataAt + prefixLength, 0xc000 | dnameTargetAt);
  state.at = at + length;
  state.answers++;
  state.steps++;
}
