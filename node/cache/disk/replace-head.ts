/** A 304: the body stays, its head is replaced. */
import { areOfOneObject, type ObjectFacts } from "../object.ts";
import type { Head } from "./head-record.ts";
import { encodeHead } from "./head-record.ts";
import { appendHeads, headOf } from "./heads.ts";
import { isHeadAt, rowFacts } from "./index-table.ts";
import { DiskPaused } from "./patience.ts";
import { giveBack, makeRoom, tidy, writeIndex } from "./room.ts";
import { dropRow, replaceHeadOf, rowOf } from "./rows.ts";
import type { Coming, DiskState } from "./state.ts";
import { store } from "./writer.ts";

/**
 * False: the object is gone, or its new head can't be written. Then the old head, which is outdated, is gone too.
 * @param before the object that the 304 is about; another one that has replaced it stays as it is
 */
export async function replaceHead(
  state: DiskState,
  before: Pick<Head, "key" | "facts">,
  facts: ObjectFacts,
  headerBlock: Buffer,
): Promise<boolean> {
  const { key } = before;
  const waiting = state.waiting.get(key);
  if (waiting !== undefined)
    return areOfOneObject(waiting.facts, before.facts) && store(state, { ...waiting, facts, headerBlock });
  const row = rowOf(state, key);
  if (row === 0 || state.isClosed || state.isReadOnly) return false;
  const coming: Coming = { key, facts, isCancelled: false };
  state.coming.add(coming);
  try {
    return await replaceNow(state, row, coming, { before: before.facts, headerBlock });
  } catch (error) {
    state.counts.writeFailures += 1;
    if (!(error instanceof DiskPaused))
      state.failures.warn("WRITE", { err: error, key }, "a head could not be written to the disk cache");
    if (rowOf(state, key) === row && !coming.isCancelled) dropRow(state, row);
    return false;
  } finally {
    state.coming.delete(coming);
    tidy(state);
  }
}

async function replaceNow(
  state: DiskState,
  row: number,
  coming: Coming,
  { before, headerBlock }: { before: ObjectFacts; headerBlock: Buffer },
): Promise<boolean> {
  const { key, facts } = coming;
  const { headSegment, headOffset } = rowFacts(state.index, row);
  const head = await headOf(state, row);
  if (head === undefined || head.key !== key || !areOfOneObject(head.facts, before)) return false;
  const bytes = encodeHead({ ...head, facts, headerBlock });
  if (bytes === undefined || !(await makeRoom(state, bytes.length + 4096))) return false;
  try {
    const [place] = await appendHeads(state, [bytes]);
    // Removed, or replaced by another body meanwhile. A body that was only moved is still the same.
    const isSame = rowOf(state, key) === row && isHeadAt(state.index, row, headSegment, headOffset);
    if (place === undefined || !isSame || coming.isCancelled) return false;
    const now = rowFacts(state.index, row);
    replaceHeadOf(
      state,
      row,
      { ...now, headSegment: place.segment, headOffset: place.offset, headBytes: bytes.length, feedSeq: facts.feedSeq },
      facts.tags,
    );
  } finally {
    giveBack(state, bytes.length + 4096);
  }
  await writeIndex(state);
  return true;
}
