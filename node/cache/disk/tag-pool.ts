/**
 * The hashes of objects' tags, in blocks of words outside the heap: a count, then as many hashes.
 *
 *   row ──▶ [3, hash, hash, hash]      freed blocks of a length form a list through their second word
 *
 * A block stays within one chunk. Freed blocks are reused for the same length, which works well: most objects of an
 * edge have two to six tags.
 */
import { chunkWords, createWords, growWords, placeOf, setWord, wordAt, type Words } from "./words.ts";

export interface TagPool {
  readonly words: Words;
  /** The first word that was never used. */
  end: number;
  /** First free block by count of hashes; 0: none. */
  readonly free: Map<number, number>;
}

export function createTagPool(): TagPool {
  // Word 0 is not used: 0 means "no tags".
  return { words: createWords(), end: 1, free: new Map() };
}

/**
 * @param hashes those from `start` to before `end`, fewer than a chunk has words; object.ts allows 1,000 tags
 * @returns the block, 0 for no hashes
 */
export function addTags(pool: TagPool, hashes: ArrayLike<number>, start: number, end: number): number {
  const length = end - start;
  if (length === 0) return 0;
  const block = takeBlock(pool, length);
  setWord(pool.words, block, length);
  for (let at = 0; at < length; at += 1) setWord(pool.words, block + 1 + at, hashes[start + at] ?? 0);
  return block;
}

function takeBlock(pool: TagPool, length: number): number {
  const freed = pool.free.get(length) ?? 0;
  if (freed !== 0) {
    pool.free.set(length, wordAt(pool.words, freed + 1));
    return freed;
  }
  if (placeOf(pool.end) + length + 1 > chunkWords) pool.end += chunkWords - placeOf(pool.end);
  const block = pool.end;
  pool.end += length + 1;
  growWords(pool.words, pool.end);
  return block;
}

export function removeTags(pool: TagPool, block: number): void {
  if (block === 0) return;
  const length = wordAt(pool.words, block);
  setWord(pool.words, block + 1, pool.free.get(length) ?? 0);
  pool.free.set(length, block);
}

export function tagCount(pool: TagPool, block: number): number {
  return block === 0 ? 0 : wordAt(pool.words, block);
}

export function tagAt(pool: TagPool, block: number, at: number): number {
  return wordAt(pool.words, block + 1 + at);
}
