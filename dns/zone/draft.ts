/**
 * Zones under construction: the table and nodes of the compiled zones, still growing, and the records in the order in
 * which they were added. No name or record is an object of its own, so a million of them temporarily take some tens of
 * megabytes.
 *
 *   nodes     as in the compiled zones, but nodeFirstSet is the node's last record, or -1
 *   records   previous record of the node │ type │ ttl │ rdata at, length │ apex pointers │ target
 */
import { byteAt, intAt } from "../wire/bytes.ts";
import { labelHash, scratchName, type WireName } from "../wire/name.ts";
import { recordTypes } from "../wire/numbers.ts";
import {
  hasCname,
  hasDname,
  hasWildcard,
  isApex,
  isCut,
  nodeAlias,
  nodeExtra,
  nodeFirstSet,
  nodeFlags,
  nodeLabelAt,
  nodeParent,
  nodeSteered,
  nodeTtlMax,
  nodeWords,
} from "./compiled-zones.ts";
import { childOf, placeOf } from "./lookup.ts";
import type { CompiledRdata } from "./rdata.ts";

export const recordWords = 8;
const recordPrevious = 0;
export const recordType = 1;
export const recordTtl = 2;
export const recordRdataAt = 3;
export const recordRdataLength = 4;
/** Offset in rdata of a pointer to the apex, or -1. A second one follows. */
export const recordApexSlots = 5;
/** Offset in `rdata` of the whole name that the record points to, or -1. */
export const recordTargetAt = 7;

/** Hints of an HTTPS or SVCB record that are written per answer. */
export interface HintPlace {
  readonly ipv4At: number;
  readonly ipv6At: number;
  readonly steeredIndex: number;
}

export interface Draft {
  table: Int32Array;
  nodes: Int32Array;
  nodesCount: number;
  /** Labels. */
  bytes: Uint8Array;
  bytesLength: number;
  records: Int32Array;
  recordsCount: number;
  rdata: Uint8Array;
  rdataLength: number;
  /** By record. */
  readonly hints: Map<number, HintPlace>;
}

export function newDraft(): Draft {
  const draft: Draft = {
    table: new Int32Array(64),
    nodes: new Int32Array(32 * nodeWords),
    nodesCount: 0,
    bytes: new Uint8Array(1024),
    bytesLength: 0,
    records: new Int32Array(32 * recordWords),
    recordsCount: 0,
    rdata: new Uint8Array(1024),
    rdataLength: 0,
    hints: new Map(),
  };
  addNode(draft, -1, Uint8Array.of(0), 0);
  return draft;
}

const uncounted = { steps: 0 };

/** The node of `name`. Creates it, and all nodes above it, if it does not exist yet. */
export function insertName(draft: Draft, name: WireName): number {
  let node = 0;
  for (let label = name.labelsCount - 1; label >= 0; label--) {
    const at = byteAt(name.labelStarts, label);
    const child = childOf(draft, node, name.bytes, at, intAt(name.labelHashes, label), uncounted);
    node = child < 0 ? addNode(draft, node, name.bytes, at) : child;
  }
  return node;
}

/** The node of `name` itself, or -1. Wildcards are not applied. */
export function nodeOf(draft: Draft, name: WireName): number {
  let node = 0;
  for (let label = name.labelsCount - 1; label >= 0 && node >= 0; label--) {
    const at = byteAt(name.labelStarts, label);
    node = childOf(draft, node, name.bytes, at, intAt(name.labelHashes, label), uncounted);
  }
  return node;
}

function addNode(draft: Draft, parent: number, bytes: Uint8Array, at: number): number {
  const node = draft.nodesCount++;
  const base = node * nodeWords;
  if (base + nodeWords > draft.nodes.length) draft.nodes = grown(draft.nodes);
  const { nodes } = draft;
  nodes[base + nodeParent] = parent;
  nodes[base + nodeLabelAt] = draft.bytesLength;
  nodes[base + nodeFirstSet] = -1;
  nodes[base + nodeSteered] = -1;
  nodes[base + nodeTtlMax] = 0x7fff_ffff;
  nodes[base + nodeAlias] = -1;
  const size = 1 + byteAt(bytes, at);
  while (draft.bytesLength + size > draft.bytes.length) draft.bytes = grownBytes(draft.bytes);
  for (let i = 0; i < size; i++) draft.bytes[draft.bytesLength + i] = byteAt(bytes, at + i);
  draft.bytesLength += size;
  if (parent < 0) return node;
  if (isWildcard(draft, node)) setFlag(draft, parent, hasWildcard);
  if (draft.nodesCount * 2 > draft.table.length) {
    draft.table = new Int32Array(draft.table.length * 2);
    for (let each = 1; each < draft.nodesCount; each++) putIntoTable(draft, each);
  } else putIntoTable(draft, node);
  return node;
}

function putIntoTable({ table, nodes, bytes }: Draft, node: number): void {
  const base = node * nodeWords;
  const mask = table.length - 1;
  const hash = labelHash(bytes, intAt(nodes, base + nodeLabelAt));
  let place = placeOf(intAt(nodes, base + nodeParent), hash) & mask;
  while (intAt(table, place) !== 0) place = (place + 1) & mask;
  table[place] = node + 1;
}

export function flagsOf(draft: Draft, node: number): number {
  return intAt(draft.nodes, node * nodeWords + nodeFlags);
}

function setFlag(draft: Draft, node: number, flag: number): void {
  draft.nodes[node * nodeWords + nodeFlags] = flagsOf(draft, node) | flag;
}

/** Makes `node` the apex of a zone. */
export function setApex(draft: Draft, node: number, zone: number): void {
  setFlag(draft, node, isApex);
  draft.nodes[node * nodeWords + nodeExtra] = zone;
}

function isWildcard({ nodes, bytes }: Draft, node: number): boolean {
  const at = intAt(nodes, node * nodeWords + nodeLabelAt);
  return byteAt(bytes, at) === 1 && byteAt(bytes, at + 1) === 0x2a;
}

/** @returns the record's number */
export function addRecord(draft: Draft, node: number, ttlSeconds: number, rdata: CompiledRdata): number {
  const record = addLooseRecord(draft, ttlSeconds, rdata);
  const { records, nodes } = draft;
  const lastAt = node * nodeWords + nodeFirstSet;
  records[record * recordWords + recordPrevious] = intAt(nodes, lastAt);
  nodes[lastAt] = record;
  const { type } = rdata;
  // Neither a wildcard (RFC 4592 §4.2) nor the apex is a zone cut.
  if (type === recordTypes.NS && (flagsOf(draft, node) & isApex) === 0 && !isWildcard(draft, node)) {
    setFlag(draft, node, isCut);
  }
  if (type === recordTypes.CNAME) setFlag(draft, node, hasCname);
  if (type === recordTypes.DNAME) setFlag(draft, node, hasDname);
  return record;
}

/** A record that belongs to no node. @returns its number */
export function addLooseRecord(draft: Draft, ttlSeconds: number, rdata: CompiledRdata): number {
  const record = draft.recordsCount++;
  const base = record * recordWords;
  if (base + recordWords > draft.records.length) draft.records = grown(draft.records);
  const { records } = draft;
  records[base + recordPrevious] = -1;
  records[base + recordType] = rdata.type;
  records[base + recordTtl] = ttlSeconds;
  records[base + recordRdataAt] = draft.rdataLength;
  records[base + recordRdataLength] = rdata.length;
  for (let slot = 0; slot < 2; slot++) {
    records[base + recordApexSlots + slot] = slot < rdata.apexSlotsCount ? (rdata.apexSlots[slot] ?? -1) : -1;
  }
  appendRdata(draft, rdata.bytes, rdata.length);
  records[base + recordTargetAt] = -1;
  if (rdata.hasTarget) {
    records[base + recordTargetAt] = draft.rdataLength;
    appendRdata(draft, rdata.target.bytes, rdata.target.length);
  }
  return record;
}

function appendRdata(draft: Draft, bytes: Uint8Array, length: number): void {
  while (draft.rdataLength + length > draft.rdata.length) draft.rdata = grownBytes(draft.rdata);
  for (let i = 0; i < length; i++) draft.rdata[draft.rdataLength + i] = byteAt(bytes, i);
  draft.rdataLength += length;
}

/** The records of `node`, of one type or all, in the order in which they were added. */
export function recordsOf({ nodes, records }: Draft, node: number, type?: number): number[] {
  const found: number[] = [];
  let record = intAt(nodes, node * nodeWords + nodeFirstSet);
  while (record >= 0) {
    const base = record * recordWords;
    if (type === undefined || intAt(records, base + recordType) === type) found.push(record);
    record = intAt(records, base + recordPrevious);
  }
  return found.length > 1 ? found.toReversed() : found;
}

/** Removes the records of these types from `node`. @returns their number */
export function dropRecords(draft: Draft, node: number, types: readonly number[]): number {
  const { nodes, records } = draft;
  const all = recordsOf(draft, node);
  const kept = all.filter((record) => !types.includes(intAt(records, record * recordWords + recordType)));
  let last = -1;
  for (const record of kept) {
    records[record * recordWords + recordPrevious] = last;
    last = record;
  }
  nodes[node * nodeWords + nodeFirstSet] = last;
  return all.length - kept.length;
}

/** The name of `node`, in a scratch name that the next call overwrites. */
export function nameOf({ nodes, bytes }: Draft, node: number): WireName {
  const name = scratchOfNode;
  let length = 0;
  let labels = 0;
  for (let each = node; each > 0; each = intAt(nodes, each * nodeWords + nodeParent)) {
    const at = intAt(nodes, each * nodeWords + nodeLabelAt);
    const size = 1 + byteAt(bytes, at);
    name.labelStarts[labels++] = length;
    for (let i = 0; i < size; i++) name.bytes[length + i] = byteAt(bytes, at + i);
    length += size;
  }
  name.bytes[length] = 0;
  name.length = length + 1;
  name.labelsCount = labels;
  return name;
}

const scratchOfNode = scratchName();

/** A copy of twice the length. */
export function grown(numbers: Int32Array): Int32Array {
  const next = new Int32Array(numbers.length * 2);
  next.set(numbers);
  return next;
}

export function grownBytes(bytes: Uint8Array): Uint8Array {
  const next = new Uint8Array(bytes.length * 2);
  next.set(bytes);
  return next;
}
