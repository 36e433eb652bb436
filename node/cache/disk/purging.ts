/**
 * Purges: which objects they concern, by the hashes of tags in the index first. Hashes may collide, so the head of an
 * object, which has its tags as text, confirms.
 *
 * A purge that names a prefix of sources concerns tags that no hash tells, so it reads the heads of all objects.
 */
import { memoryBytesOf } from "../object.ts";
import { type Found, isPurgedBy, type Purge } from "../purge.ts";
import type { Head, StoredHead } from "./head-record.ts";
import { headOf } from "./heads.ts";
import { feedSeqOf, field, get, headBytesOf, isRow, lengthOf } from "./index-table.ts";
import { flush, invalidate } from "./journal.ts";
import { tagHash } from "./key.ts";
import { dropRow } from "./rows.ts";
import type { DiskState } from "./state.ts";
import { tagAt, tagCount } from "./tag-pool.ts";
import { forget } from "./writer.ts";

/** Work of one turn of the event loop, some 2 ms: a row that is judged is one unit, a head that is read has more. */
const unitsPerTurn = 16_384;
const unitsPerHead = 64;

/** The bytes that an object takes on disk. */
type Told = (head: Pick<Head, "key" | "facts">, bytes: number) => void;

/** Tells of each object that a purge concerns; changes nothing. */
export async function eachPurged(state: DiskState, purge: Purge, told: Told): Promise<void> {
  for (const object of state.waiting.values()) if (isPurgedBy(object.facts, purge)) told(object, memoryBytesOf(object));
  await eachConcernedRow(state, purge, true, (row, head) => {
    if (head !== undefined) told(head, bytesOf(state, row));
  });
}

/**
 * Makes what a purge concerns unfindable. Resolves when that holds after a restart too; never rejects.
 * @returns the number of objects
 */
export async function carryOut(state: DiskState, purge: Purge, tell?: Found): Promise<number> {
  let count = 0;
  for (const object of Array.from(state.waiting.values())) {
    if (!isPurgedBy(object.facts, purge)) continue;
    tell?.(object.facts, memoryBytesOf(object));
    forget(state, object.key);
    count += 1;
  }
  for (const one of state.coming) if (isPurgedBy(one.facts, purge)) one.isCancelled = true;
  await eachConcernedRow(state, purge, tell !== undefined || !purge.isAll, (row, head) => {
    if (head !== undefined) tell?.(head.facts, bytesOf(state, row));
    dropRow(state, row);
    count += 1;
  });
  if (count > 0) await makeDurable(state);
  return count;
}

/**
 * Removals are written down, or else the index on disk is given up: the next start must not find them again. Where the
 * disk allows neither, the position of the feed, which is on the same disk, can't be saved either: then the next start
 * applies the purge again.
 */
export async function makeDurable(state: DiskState): Promise<void> {
  if (state.isClosed) return;
  try {
    await flush(state.journal);
  } catch {
    try {
      await invalidate(state.journal);
    } catch (error) {
      state.failures.error(
        "PURGE",
        { err: error },
        "a purge could not be written to disk; it is in force until this process ends",
      );
    }
  }
}

function bytesOf(state: DiskState, row: number): number {
  return lengthOf(state.index, row) + headBytesOf(state.index, row);
}

/** @param withHeads false: no head is read, and what the hashes say is believed */
async function eachConcernedRow(
  state: DiskState,
  purge: Purge,
  withHeads: boolean,
  concerned: (row: number, head: StoredHead | undefined) => void,
): Promise<void> {
  const hashes = new Set([...purge.tags].map(tagHash));
  const isForAll = purge.isAll || purge.sourcePrefixes.length > 0;
  let units = 0;
  for (let row = 1; row < state.index.rowsEnd; row += 1) {
    units += 1;
    if (units >= unitsPerTurn) {
      units = 0;
      await nextTurn();
    }
    if (!isRow(state.index, row) || !isOlder(state, row, purge) || !(isForAll || hasTag(state, row, hashes))) continue;
    if (!withHeads) {
      concerned(row, undefined);
      continue;
    }
    const segment = get(state.index, row, field.headSegment);
    const offset = get(state.index, row, field.headOffset);
    units += unitsPerHead;
    const head = await headOrNone(state, row);
    // Removed or replaced while its head was read: what is there now came after the purge.
    if (get(state.index, row, field.headSegment) !== segment || get(state.index, row, field.headOffset) !== offset)
      continue;
    // A head that can't be read can't speak for its object.
    if (head === undefined || isPurgedBy(head.facts, purge)) concerned(row, head);
  }
}

async function headOrNone(state: DiskState, row: number): Promise<StoredHead | undefined> {
  try {
    return await headOf(state, row);
  } catch {
    return undefined;
  }
}

function isOlder(state: DiskState, row: number, purge: Purge): boolean {
  return purge.seq === 0 || feedSeqOf(state.index, row) < purge.seq;
}

function hasTag(state: DiskState, row: number, hashes: ReadonlySet<number>): boolean {
  const tags = get(state.index, row, field.tags);
  const count = tagCount(state.index.tags, tags);
  for (let at = 0; at < count; at += 1) if (hashes.has(tagAt(state.index.tags, tags, at))) return true;
  return false;
}

async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
}
