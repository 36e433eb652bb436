/** Changes of the index together with everything that depends on it: volumes, heads, counts and the journal. */
import {
  addRow,
  field,
  findRow,
  flag,
  frequencyMax,
  frequencyOf,
  get,
  hasFlag,
  headBytesOf,
  type RowFacts,
  removeRow,
  setFlag,
  setFrequency,
  setRowFacts,
  setTags,
} from "./index-table.ts";
import type { ObjectFacts } from "../object.ts";
import { addFrequency, addObject, addRemoved, addVolume } from "./journal-format.ts";
import { readKey, tagHash } from "./key.ts";
import { linkRow, unlinkRow } from "./layout.ts";
import type { DiskState } from "./state.ts";

/** Rows whose new frequency waits to be written to disk; a crash loses that of others. */
const dirtyMax = 65_536;

export function rowOf(state: DiskState, key: string): number {
  return findRow(state.index, readKey(key, state.scratch));
}

/** Counts a use. */
export function touch(state: DiskState, row: number): void {
  const frequency = frequencyOf(state.index, row);
  if (frequency === frequencyMax) return;
  setFrequency(state.index, row, frequency + 1);
  if (hasFlag(state.index, row, flag.dirty) || state.dirtyRows.length >= dirtyMax) return;
  setFlag(state.index, row, flag.dirty, true);
  state.dirtyRows.push(row);
}

/** Makes an object findable under its new head and body. False: the index is full. */
export function putRow(state: DiskState, key: string, facts: RowFacts, tags: ObjectFacts["tags"]): boolean {
  const { index } = state;
  const present = rowOf(state, key);
  const row = present === 0 ? addRow(index, readKey(key, state.scratch)) : present;
  if (row === 0) return false;
  if (present !== 0) detach(state, row);
  setRowFacts(index, row, facts);
  setTags(index, row, tags.map(tagHash));
  attach(state, row);
  setFlag(index, row, flag.verified, false);
  noteMoved(state);
  addObject(state.journal.pending, index, row);
  return true;
}

/** Points a row to a new head of the same body, whose verified blocks stay verified. */
export function replaceHeadOf(state: DiskState, row: number, facts: RowFacts, tags: ObjectFacts["tags"]): void {
  detach(state, row);
  setRowFacts(state.index, row, facts);
  setTags(state.index, row, tags.map(tagHash));
  attach(state, row);
  addObject(state.journal.pending, state.index, row);
}

/** Points a row to another place of its body. */
export function moveBody(state: DiskState, row: number, facts: RowFacts): void {
  unlinkRow(state.layout, row);
  setRowFacts(state.index, row, facts);
  linkRow(state.layout, row);
  setFlag(state.index, row, flag.verified, false);
  noteMoved(state);
  addObject(state.journal.pending, state.index, row);
}

/** Makes an object unfindable; after a restart too, once the journal has been flushed. */
export function dropRow(state: DiskState, row: number): void {
  addRemoved(state.journal.pending, state.index, row);
  dropRowQuietly(state, row);
}

/** For an object that is removed with its volume, which the journal records once. */
export function dropRowQuietly(state: DiskState, row: number): void {
  detach(state, row);
  removeRow(state.index, row);
}

/** The journal must record a volume before objects in it. */
export function noteMoved(state: DiskState): void {
  for (const volume of state.layout.moved) addVolume(state.journal.pending, volume);
  state.layout.moved.clear();
}

export function noteFrequencies(state: DiskState): void {
  for (const row of state.dirtyRows) {
    // The row may be free or another object's by now: then it is not marked, or its frequency is worth recording too.
    if (!hasFlag(state.index, row, flag.dirty)) continue;
    setFlag(state.index, row, flag.dirty, false);
    addFrequency(state.journal.pending, state.index, row, frequencyOf(state.index, row));
  }
  state.dirtyRows = [];
}

/** Adds a row to the lists and sums; also for the replay, which writes nothing. */
export function attach(state: DiskState, row: number): void {
  linkRow(state.layout, row);
  countHead(state, row, 1);
}

export function detach(state: DiskState, row: number): void {
  unlinkRow(state.layout, row);
  countHead(state, row, -1);
}

function countHead(state: DiskState, row: number, sign: 1 | -1): void {
  const bytes = sign * headBytesOf(state.index, row);
  const segment = state.headSegments.get(get(state.index, row, field.headSegment));
  if (segment !== undefined) segment.liveBytes += bytes;
  if (get(state.index, row, field.volume) === 0) state.bodilessBytes += bytes;
}
