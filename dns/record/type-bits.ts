/** One bit per kind of record, so that the set of types at a name is one number. */
import type { RecordKind } from "./record-type.ts";
import { recordKinds, type ZoneRecord } from "./types.ts";

const bits = new Map<RecordKind, number>(recordKinds.map((kind, index) => [kind, 1 << index]));

/** The SOA, which every apex has and which is not among the zone's records. */
export const soaBit = 1 << recordKinds.length;

export function bitOfKind(kind: RecordKind): number {
  return bits.get(kind) ?? 0;
}

export function bitOf(record: ZoneRecord): number {
  return bits.get(record.type) ?? 0;
}

export function bitsOfKinds(kinds: readonly RecordKind[]): number {
  return kinds.reduce((all, kind) => all | bitOfKind(kind), 0);
}
