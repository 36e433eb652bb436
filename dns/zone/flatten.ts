/**
 * A draft → the compiled zones: the records of each node become RRsets, and everything moves to shared memory.
 *
 *   records of a node ─by type─▶ equal ones once (RFC 2181 §5), one TTL (§5.2) ─▶ block, slots
 *
 * An RRset has the TTL of its first record.
 */
import { byteAt, intAt, putUint16, putUint32 } from "../wire/bytes.ts";
import { isAtOrBelow, nameToText, readKnownName, scratchName, type WireName } from "../wire/name.ts";
import { classes, recordTypes } from "../wire/numbers.ts";
import {
  flagsOf,
  grown,
  grownBytes,
  nameOf,
  nodeOf,
  recordApexSlots,
  recordRdataAt,
  recordRdataLength,
  recordsOf,
  recordTargetAt,
  recordTtl,
  recordType,
  recordWords,
  type Draft,
} from "./draft.ts";
import {
  delegationCutLength,
  delegationGlue,
  delegationGlueCount,
  delegationNameservers,
  delegationWords,
  flagBits,
  hasCname,
  hintIpv4At,
  hintIpv6At,
  hintRdataLength,
  hintRecordAt,
  hintSteered,
  hintWords,
  isApex,
  isCut,
  nodeAlias,
  nodeExtra,
  nodeFirstSet,
  nodeFlags,
  nodeParent,
  nodeWords,
  setBlockAt,
  setBlockLength,
  setCount,
  setExtra,
  setSlotCounts,
  setSlotsAt,
  setTtl,
  setType,
  setWords,
  zoneApexLabels,
  zoneApexLength,
  zoneMinimalAny,
  zoneNegativeSoa,
  zoneWords,
  type CompiledZones,
} from "./compiled-zones.ts";

/** An answer over TCP holds 65,535 octets. Some are needed for the question and the OPT record. */
const blockLengthMax = 65_000;
/** Owner as a pointer, type, class, TTL, rdlength. */
const recordHeaderLength = 12;

/** A zone of the draft, with all its records. */
export interface DraftZone {
  readonly apex: WireName;
  readonly apexText: string;
  /** The record with the SOA, and its TTL in negative answers. */
  readonly soa: number;
  readonly negativeTtlSeconds: number;
  /** The record that answers ANY; it belongs to no node. */
  readonly minimalAny: number;
}

/** The arrays that grow while RRsets are built. */
interface Growing {
  readonly draft: Draft;
  readonly problems: string[];
  sets: Int32Array;
  setsCount: number;
  slots: Uint16Array;
  slotsCount: number;
  bytes: Uint8Array;
  bytesLength: number;
  readonly hints: number[];
}

/** Compiles the draft, which must not be used afterwards. Reports in `problems` what had to be left out. */
export function flatten(draft: Draft, zones: readonly DraftZone[], problems: string[]): CompiledZones {
  const growing: Growing = {
    draft,
    problems,
    sets: new Int32Array(Math.max(16, draft.nodesCount) * setWords),
    setsCount: 0,
    slots: new Uint16Array(Math.max(16, draft.recordsCount)),
    slotsCount: 0,
    bytes: draft.bytes,
    bytesLength: draft.bytesLength,
    hints: [],
  };
  const zoneNumbers: number[] = [];
  for (const zone of zones) {
    const soa = buildSet(growing, { type: recordTypes.SOA, records: [zone.soa], ttlSeconds: zone.negativeTtlSeconds });
    const any = buildSet(growing, { type: recordTypes.HINFO, records: [zone.minimalAny] });
    zoneNumbers.push(
      ...numbersOf(zoneWords, [
        [zoneApexLength, zone.apex.length],
        [zoneApexLabels, zone.apex.labelsCount],
        [zoneNegativeSoa, soa],
        [zoneMinimalAny, any],
      ]),
    );
  }
  // Glue is copied from other nodes' records, so build it before RRsets replace them.
  const cuts: number[] = [];
  const delegations: number[] = [];
  for (let node = 0; node < draft.nodesCount; node++) {
    if ((flagsOf(draft, node) & isCut) === 0) continue;
    const first = growing.setsCount;
    const zone = zones[zoneOf(draft, node)];
    if (zone !== undefined) buildGlue(growing, node, zone.apex);
    delegations.push(
      ...numbersOf(delegationWords, [
        [delegationGlue, first],
        [delegationGlueCount, growing.setsCount - first],
        [delegationCutLength, nameOf(draft, node).length],
      ]),
    );
    draft.nodes[node * nodeWords + nodeExtra] = cuts.length;
    cuts.push(node);
  }
  for (let node = 0; node < draft.nodesCount; node++) flattenNode(growing, node);
  for (const [index, node] of cuts.entries()) {
    delegations[index * delegationWords + delegationNameservers] = setOfNode(growing, node, recordTypes.NS);
  }
  return {
    table: sharedInts(draft.table),
    nodes: sharedInts(draft.nodes.subarray(0, draft.nodesCount * nodeWords)),
    sets: sharedInts(growing.sets.subarray(0, growing.setsCount * setWords)),
    slots: sharedSlots(growing.slots.subarray(0, growing.slotsCount)),
    bytes: sharedBytes(growing.bytes.subarray(0, growing.bytesLength)),
    zones: sharedInts(zoneNumbers),
    delegations: sharedInts(delegations),
    hints: sharedInts(growing.hints),
    zoneNames: zones.map((zone) => zone.apexText),
  };
}

function numbersOf(length: number, values: readonly (readonly [field: number, value: number])[]): number[] {
  const numbers = Array<number>(length).fill(0);
  for (const [field, value] of values) numbers[field] = value;
  return numbers;
}

/** The zone that contains `node`. */
function zoneOf(draft: Draft, node: number): number {
  let each = node;
  while (each > 0 && (flagsOf(draft, each) & isApex) === 0) each = intAt(draft.nodes, each * nodeWords + nodeParent);
  return intAt(draft.nodes, each * nodeWords + nodeExtra);
}

/** A and AAAA of the nameservers in this zone, above or below the cut (RFC 9471 §3). */
function buildGlue(growing: Growing, cut: number, apex: WireName): void {
  const { draft } = growing;
  const target = scratchName();
  const done = new Set<number>();
  for (const record of recordsOf(draft, cut, recordTypes.NS)) {
    readKnownName(draft.rdata, intAt(draft.records, record * recordWords + recordTargetAt), target);
    const node = isAtOrBelow(target, apex) ? nodeOf(draft, target) : -1;
    if (node < 0 || done.has(node)) continue;
    done.add(node);
    for (const type of [recordTypes.A, recordTypes.AAAA]) {
      const records = recordsOf(draft, node, type);
      if (records.length > 0) buildSet(growing, { type, records, owner: target, apex });
    }
  }
}

function flattenNode(growing: Growing, node: number): void {
  const { draft, problems } = growing;
  const { nodes, records } = draft;
  const base = node * nodeWords;
  const flags = flagsOf(draft, node);
  const all = recordsOf(draft, node);
  const typeOf = (record: number): number => intAt(records, record * recordWords + recordType);
  nodes[base + nodeFirstSet] = growing.setsCount;
  let types = [...new Set(all.map(typeOf))];
  if ((flags & hasCname) !== 0 && types.length > 1) {
    // RFC 1034 §3.6.2: a CNAME allows no other records at its name.
    problems.push(`${textOf(draft, node)}: records beside a CNAME`);
    types = [recordTypes.CNAME];
  }
  types.sort((a, b) => a - b);
  for (const type of types) {
    let ofType = types.length === 1 && all.length === 1 ? all : all.filter((record) => typeOf(record) === type);
    const isSingle = type === recordTypes.CNAME || type === recordTypes.DNAME;
    if (isSingle && ofType.length > 1) {
      problems.push(`${textOf(draft, node)}: only the first of ${ofType.length} CNAME or DNAME records counts`);
      ofType = ofType.slice(0, 1);
    }
    const isService = type === recordTypes.HTTPS || type === recordTypes.SVCB;
    const set = buildSet(growing, {
      type,
      records: ofType,
      // Hints must not outlive the addresses that they repeat.
      ...(isService
        ? { ttlSeconds: ofType.reduce((least, each) => Math.min(least, ttlOf(draft, each)), 0x7fff_ffff) }
        : {}),
      at: node,
    });
    if (isSingle) nodes[base + nodeAlias] = set;
  }
  nodes[base + nodeFlags] = flags | (types.length << flagBits);
}

function setOfNode({ draft, sets }: Growing, node: number, type: number): number {
  const base = node * nodeWords;
  const first = intAt(draft.nodes, base + nodeFirstSet);
  let set = first;
  while (intAt(sets, set * setWords + setType) !== type) set++;
  return set;
}

interface SetParts {
  readonly type: number;
  readonly records: readonly number[];
  /** Default: the first record's. */
  readonly ttlSeconds?: number;
  /** The name to write out; default: a pointer that each answer fills in. */
  readonly owner?: WireName;
  readonly apex?: WireName;
  /** For people: its node. */
  readonly at?: number;
}

/** @returns the RRset's number */
function buildSet(growing: Growing, { type, records, ttlSeconds, owner, apex, at }: SetParts): number {
  const { draft } = growing;
  const set = growing.setsCount++;
  if (growing.setsCount * setWords > growing.sets.length) growing.sets = grown(growing.sets);
  const kept = records.length === 1 ? records : withoutEqual(draft, records);
  const firstRecord = kept[0] ?? 0;
  const ttl = ttlSeconds ?? ttlOf(draft, firstRecord);
  // A whole owner ends in a pointer to the apex, as every name of the zone does.
  const ownerLabels = owner === undefined ? 0 : owner.length - (apex?.length ?? 0);
  const headerLength = recordHeaderLength + ownerLabels;
  let length = 0;
  for (const record of kept) length += headerLength + intAt(draft.records, record * recordWords + recordRdataLength);
  const base = set * setWords;
  const { sets } = growing;
  sets[base + setType] = type;
  sets[base + setTtl] = ttl;
  sets[base + setCount] = kept.length;
  sets[base + setBlockAt] = growing.bytesLength;
  sets[base + setBlockLength] = length;
  sets[base + setSlotsAt] = growing.slotsCount;
  sets[base + setSlotCounts] = 0;
  sets[base + setExtra] = -1;
  if (length > blockLengthMax) {
    // Keep it: SERVFAIL is the truthful answer, and leaving it out would deny that the name exists.
    const what = `an RRset has ${length} octets, above ${blockLengthMax}: no answer can hold it`;
    growing.problems.push(`${at === undefined ? "glue" : textOf(draft, at)} type ${type}: ${what}`);
    sets[base + setBlockLength] = 0x7fff_ffff;
    return set;
  }
  while (growing.bytesLength + length > growing.bytes.length) growing.bytes = grownBytes(growing.bytes);
  const apexSlots: number[] = [];
  const start = growing.bytesLength;
  const hintsAt = growing.hints.length / hintWords;
  let to = start;
  let isHinted = false;
  for (const record of kept) if (draft.hints.has(record)) isHinted = true;
  for (const record of kept) {
    const { bytes } = growing;
    const recordBase = record * recordWords;
    const recordAt = to - start;
    if (owner === undefined) addSlot(growing, recordAt);
    else {
      for (let i = 0; i < ownerLabels; i++) bytes[to + i] = byteAt(owner.bytes, i);
      apexSlots.push(recordAt + ownerLabels);
    }
    to += ownerLabels + 2;
    const rdataLength = intAt(draft.records, recordBase + recordRdataLength);
    putUint16(bytes, to, type);
    putUint16(bytes, to + 2, classes.IN);
    putUint32(bytes, to + 4, ttl);
    putUint16(bytes, to + 8, rdataLength);
    to += 10;
    for (let slot = 0; slot < 2; slot++) {
      const slotAt = intAt(draft.records, recordBase + recordApexSlots + slot);
      if (slotAt >= 0) apexSlots.push(to - start + slotAt);
    }
    const from = intAt(draft.records, recordBase + recordRdataAt);
    for (let i = 0; i < rdataLength; i++) bytes[to + i] = byteAt(draft.rdata, from + i);
    to += rdataLength;
    if (isHinted) addHint(growing, record, recordAt, rdataLength);
  }
  growing.bytesLength = to;
  for (const slot of apexSlots) addSlot(growing, slot);
  sets[base + setSlotCounts] = (apexSlots.length << 1) | (owner === undefined ? 1 : 0);
  if (isHinted) sets[base + setExtra] = hintsAt;
  if (type === recordTypes.CNAME || type === recordTypes.DNAME) sets[base + setExtra] = addTarget(growing, firstRecord);
  return set;
}

function addSlot(growing: Growing, slot: number): void {
  if (growing.slotsCount === growing.slots.length) {
    const next = new Uint16Array(growing.slots.length * 2);
    next.set(growing.slots);
    growing.slots = next;
  }
  growing.slots[growing.slotsCount++] = slot;
}

function addHint({ draft, hints }: Growing, record: number, recordAt: number, rdataLength: number): void {
  const place = draft.hints.get(record);
  hints.push(
    ...numbersOf(hintWords, [
      [hintRecordAt, recordAt],
      [hintRdataLength, rdataLength],
      [hintIpv4At, place?.ipv4At ?? rdataLength],
      [hintIpv6At, place?.ipv6At ?? rdataLength],
      [hintSteered, place?.steeredIndex ?? -1],
    ]),
  );
}

/** Copies the record's whole target to the compiled zones. @returns its offset there */
function addTarget(growing: Growing, record: number): number {
  const { draft } = growing;
  readKnownName(draft.rdata, intAt(draft.records, record * recordWords + recordTargetAt), scratchTarget);
  const at = growing.bytesLength;
  while (at + scratchTarget.length > growing.bytes.length) growing.bytes = grownBytes(growing.bytes);
  for (let i = 0; i < scratchTarget.length; i++) growing.bytes[at + i] = byteAt(scratchTarget.bytes, i);
  growing.bytesLength += scratchTarget.length;
  return at;
}

const scratchTarget = scratchName();

/** The records without those whose rdata repeats an earlier one's. */
function withoutEqual(draft: Draft, records: readonly number[]): number[] {
  const seen = new Set<string>();
  return records.filter((record) => {
    const base = record * recordWords;
    const from = intAt(draft.records, base + recordRdataAt);
    const length = intAt(draft.records, base + recordRdataLength);
    // Compare the apex pointer, too: the same octets may be a name of the zone or a complete name.
    const slot = intAt(draft.records, base + recordApexSlots);
    const key = `${slot} ${Buffer.from(draft.rdata.buffer, from, length).toString("latin1")}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function ttlOf(draft: Draft, record: number): number {
  return intAt(draft.records, record * recordWords + recordTtl);
}

function textOf(draft: Draft, node: number): string {
  return nameToText(nameOf(draft, node));
}

function sharedInts(from: ArrayLike<number>): Int32Array {
  const to = new Int32Array(new SharedArrayBuffer(from.length * Int32Array.BYTES_PER_ELEMENT));
  to.set(from);
  return to;
}

function sharedSlots(from: Uint16Array): Uint16Array {
  const to = new Uint16Array(new SharedArrayBuffer(from.length * Uint16Array.BYTES_PER_ELEMENT));
  to.set(from);
  return to;
}

function sharedBytes(from: Uint8Array): Uint8Array {
  const to = new Uint8Array(new SharedArrayBuffer(from.length));
  to.set(from);
  return to;
}
