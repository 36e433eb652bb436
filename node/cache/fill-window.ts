/**
 * The newest bytes of a fill, in memory: consecutive pieces, oldest first. Pure; used by fill.ts.
 *
 *   0 ······ start ├─ piece ─┼─ piece ─┼─ piece, may grow ─┤ end
 *    dropped
 *
 * Invariants
 * - Bytes that were read never change: a piece only grows at its end.
 * - Two neighbouring pieces have more than `blockBytes` together, so the cost of a body does not depend on the size of
 *   the chunks that its source sends. An origin may send one byte per chunk.
 */
interface Piece {
  readonly start: number;
  bytes: Buffer;
  /** The memory that small chunks are copied into; null: the piece is a chunk as it came. */
  readonly block: Buffer | null;
}

export interface FillWindow {
  readonly pieces: Piece[];
  start: number;
  end: number;
}

/** Chunks below this size are copied together. */
const blockBytes = 4096;

export function createWindow(): FillWindow {
  return { pieces: [], start: 0, end: 0 };
}

export function addChunk(window: FillWindow, chunk: Buffer): void {
  if (chunk.length === 0) return;
  if (chunk.length >= blockBytes) window.pieces.push({ start: window.end, bytes: chunk, block: null });
  else addSmall(window, chunk);
  window.end += chunk.length;
}

function addSmall(window: FillWindow, chunk: Buffer): void {
  const last = window.pieces.at(-1);
  if (last?.block && last.bytes.length + chunk.length <= blockBytes) {
    chunk.copy(last.block, last.bytes.length);
    last.bytes = last.block.subarray(0, last.bytes.length + chunk.length);
    return;
  }
  const block = Buffer.allocUnsafeSlow(blockBytes);
  chunk.copy(block);
  window.pieces.push({ start: window.end, bytes: block.subarray(0, chunk.length), block });
}

/** The bytes from `position` to before `end` at most, as far as one piece has them; no copy. */
export function bytesAt({ pieces }: FillWindow, position: number, end: number): Buffer {
  let low = 0;
  let high = pieces.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((pieces[middle]?.start ?? Infinity) <= position) low = middle;
    else high = middle - 1;
  }
  const piece = pieces[low];
  const from = position - (piece?.start ?? Infinity);
  if (piece === undefined || from < 0 || from >= piece.bytes.length) throw new Error("no such position in the window");
  return piece.bytes.subarray(from, Math.min(end - piece.start, piece.bytes.length));
}

/** Drops the pieces that end at or before `position`. */
export function dropBefore(window: FillWindow, position: number): void {
  for (let first = window.pieces[0]; first !== undefined; first = window.pieces[0]) {
    const end = first.start + first.bytes.length;
    if (end > position) return;
    window.pieces.shift();
    window.start = end;
  }
}

/** All bytes as one buffer, which takes the place of the pieces. Nothing may have been dropped. */
export function joinPieces(window: FillWindow): Buffer {
  const bytes = Buffer.concat(
    window.pieces.map((piece) => piece.bytes),
    window.end,
  );
  window.pieces.splice(0, Infinity, ...(bytes.length > 0 ? [{ start: 0, bytes, block: null }] : []));
  return bytes;
}
