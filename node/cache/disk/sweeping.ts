/**
 * Removes many objects at once: for the sweep after purges, which looks at the index first, or everything.
 *
 * The index has the age of each object and the hashes of its tags. Where these don't suffice (for a purge by prefix, or
 * to count what a purge covers), the sweep reads the head of the object, which has its tags as text.
 */
import { memoryBytesOf } from "../object.ts";
import type { SweepVisitor } from "../purge-sweep.ts";
import type { StoredHead } from "./head-record.ts";
import { headOf } from "./heads.ts";
import { field, get, headBytesOf, type Index, isHeadAt, isRow, lengthOf, rowFacts } from "./index-table.ts";
import { flush, invalidate, mustInvalidate, syncIndex } from "./journal.ts";
import { tellIndexFailure } from "./room.ts";
import { dropRow } from "./rows.ts";
import type { DiskState } from "./state.ts";
import { tagAt, tagCount } from "./tag-pool.ts";
import { forget } from "./writer.ts";

/** Rows that are judged in one turn of the event loop: about 2 ms. */
const rowsPerTurn = 65_536;

/** Shows each object to a visitor and removes what it drops. Resolves when that holds after a restart too. */
export async function walk(state: DiskState, visitor: SweepVisitor): Promise<void> {
  let isChanged = false;
  for (const object of Array.from(state.waiting.values())) {
    const { key, facts } = object;
    if (!visitor.isConcernable(facts.feedSeq)) continue;
    if (visitor.visit(facts, memoryBytesOf(object)) === "keep") continue;
    isChanged = true;
    forget(state, key);
  }
  for (const one of state.coming) {
    if (visitor.isConcernable(one.facts.feedSeq) && visitor.visit(one.facts, 0) === "drop") one.isCancelled = true;
  }
  let turnEnd = rowsPerTurn;
  for (let row = 1; row < state.index.rowsEnd; row += 1) {
    if (row >= turnEnd) {
      turnEnd = row + rowsPerTurn;
      await nextTurn();
    }
    if (!isRow(state.index, row)) continue;
    const { feedSeq } = rowFacts(state.index, row);
    if (!visitor.isConcernable(feedSeq)) continue;
    const verdict = visitor.judge(feedSeq, hashesOf(state.index, row));
    if (verdict === "keep") continue;
    if (verdict === "drop") dropRow(state, row);
    else if (!(await dropByHead(state, row, visitor))) continue;
    isChanged = true;
  }
  if (isChanged) await makeDurable(state);
}

/** Removes everything. Resolves when that holds after a power failure too. */
export async function clear(state: DiskState): Promise<void> {
  for (const key of Array.from(state.waiting.keys())) forget(state, key);
  for (const one of state.coming) one.isCancelled = true;
  for (let row = 1; row < state.index.rowsEnd; row += 1) {
    if (row % rowsPerTurn === 0) await nextTurn();
    if (isRow(state.index, row)) dropRow(state, row);
  }
  await makeDurable(state, syncIndex);
}

/**
 * Writes removals to disk, or else gives up the index on disk: the next start must not find these objects again.
 * @param write syncIndex, if they must not be found after a power failure either
 */
export async function makeDurable(state: DiskState, write: typeof flush | typeof syncIndex = flush): Promise<void> {
  if (state.isClosed) return;
  try {
    await write(state.journal);
  } catch {
    await invalidateIndex(state);
  }
}

/**
 * Makes all removals so far survive a power failure. Resolves to false if that is not certain, because the disk
 * refuses. Without a tier, nothing can come back.
 */
export async function syncRemovals(state: DiskState): Promise<boolean> {
  if (state.space.bytesMax === 0) return true;
  // The files of an index that could not be read are still being removed.
  if (state.isClosed || state.isReadOnly) return false;
  try {
    await syncIndex(state.journal);
    return true;
  } catch (error) {
    tellIndexFailure(state, error);
  }
  return mustInvalidate(state.journal) && (await invalidateIndex(state));
}

async function invalidateIndex(state: DiskState): Promise<boolean> {
  try {
    await invalidate(state.journal);
    return true;
  } catch (error) {
    state.failures.error(
      "REMOVAL",
      { err: error },
      "a removal could not be written to disk; it is in force until this process ends",
    );
    return false;
  }
}

/** Judges an object by its head, and drops it in the same turn: later, it might have been removed or replaced. */
async function dropByHead(state: DiskState, row: number, { visit }: SweepVisitor): Promise<boolean> {
  const segment = get(state.index, row, field.headSegment);
  const offset = get(state.index, row, field.headOffset);
  const head = await headOrNone(state, row);
  // The object that is there now was judged when it was stored.
  if (!isHeadAt(state.index, row, segment, offset)) return false;
  const bytes = lengthOf(state.index, row) + headBytesOf(state.index, row);
  // An object whose head can't be read is dropped, too.
  if (head !== undefined && visit(head.facts, bytes) === "keep") return false;
  dropRow(state, row);
  return true;
}

async function headOrNone(state: DiskState, row: number): Promise<StoredHead | undefined> {
  try {
    return await headOf(state, row);
  } catch {
    return undefined;
  }
}

function hashesOf(index: Index, row: number): number[] {
  const tags = get(index, row, field.tags);
  return Array.from({ length: tagCount(index.tags, tags) }, (_, at) => tagAt(index.tags, tags, at));
}

async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
}
