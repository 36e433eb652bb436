/** The index, layout and eviction of the tier without files, for tests and benches that replay traces. */
import {
  addRow,
  createIndex,
  field,
  findRow,
  flag,
  frequencyMax,
  frequencyOf,
  get,
  removeRow,
  setFlag,
  setFrequency,
  setRowFacts,
} from "./index-table.ts";
import {
  assign,
  bytesOfBodies,
  chooseReclaim,
  createLayout,
  forgetVolume,
  type Layout,
  linkRow,
  noteDropped,
  rowsOf,
  streamFor,
  takeUse,
  unlinkRow,
  type Volume,
} from "./layout.ts";
import type { Key } from "./key.ts";
import type { Stream } from "./eviction.ts";

export interface DiskModel {
  readonly layout: Layout;
  readonly bytesMax: number;
  /** Bytes of bodies that were copied from reclaimed volumes: write amplification. */
  copiedBytes: number;
}

export function createDiskModel(bytesMax: number, objectsMax = 2 ** 24): DiskModel {
  return { layout: createLayout(createIndex(objectsMax), bytesMax), bytesMax, copiedBytes: 0 };
}

/** A request for an object; returns whether it was a hit. A miss stores the object. @param key words of a hash */
export function request(model: DiskModel, key: Key, bytes: number): boolean {
  const { layout } = model;
  const { index } = layout;
  const row = findRow(index, key);
  if (row !== 0) {
    setFrequency(index, row, Math.min(frequencyMax, frequencyOf(index, row) + 1));
    return true;
  }
  while (bytesOfBodies(layout) + bytes + layout.segmentBytes > model.bytesMax) if (!reclaim(model)) return false;
  const added = addRow(index, key);
  if (added !== 0) put(model, added, streamFor(layout, key), bytes);
  return false;
}

function put({ layout }: DiskModel, row: number, stream: Stream, lengthBytes: number): void {
  const { volume, offset } = assign(layout, stream, lengthBytes);
  setRowFacts(layout.index, row, {
    volume: volume.number,
    offset,
    lengthBytes,
    headSegment: 0,
    headOffset: 0,
    headBytes: 1,
    feedSeq: 0,
  });
  linkRow(layout, row);
}

function reclaim(model: DiskModel): boolean {
  const { layout } = model;
  const { index } = layout;
  const chosen = chooseReclaim(layout);
  if (chosen === undefined) return false;
  const { volume, keep } = chosen;
  for (const row of keep) {
    const length = get(index, row, field.lengthLow);
    unlinkRow(layout, row);
    takeUse(layout, volume, row);
    put(model, row, "main", length);
    setFlag(index, row, flag.verified, false);
    model.copiedBytes += length;
  }
  dropRows(layout, volume);
  forgetVolume(layout, volume);
  return true;
}

function dropRows(layout: Layout, volume: Volume): void {
  for (const row of rowsOf(layout, volume)) {
    noteDropped(layout, volume, row);
    unlinkRow(layout, row);
    removeRow(layout.index, row);
  }
}
