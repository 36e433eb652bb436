/**
 * A growable array of 32-bit words outside the JavaScript heap, in chunks.
 *
 * Chunks never move, so growing costs neither a copy nor a pause, and the kernel gives memory only to pages that were
 * written. Other threads can map the chunks: they are SharedArrayBuffers.
 */

/** 4 MiB each. */
const chunkBits = 20;
export const chunkWords = 1 << chunkBits;
const mask = chunkWords - 1;

export interface Words {
  readonly chunks: Uint32Array[];
}

export function createWords(): Words {
  return { chunks: [] };
}

/** Makes all indexes below `count` usable; new words are 0. */
export function growWords(words: Words, count: number): void {
  while (words.chunks.length * chunkWords < count) {
    words.chunks.push(new Uint32Array(new SharedArrayBuffer(chunkWords * Uint32Array.BYTES_PER_ELEMENT)));
  }
}

export function wordAt(words: Words, index: number): number {
  return chunkOf(words, index)[index & mask] ?? 0;
}

export function setWord(words: Words, index: number, value: number): void {
  chunkOf(words, index)[index & mask] = value;
}

/** The chunk that holds a word; its place in the chunk is `placeOf(index)`. */
export function chunkOf(words: Words, index: number): Uint32Array {
  const chunk = words.chunks[index >>> chunkBits];
  if (chunk === undefined) throw new RangeError(`word ${index} is beyond the array`);
  return chunk;
}

export function placeOf(index: number): number {
  return index & mask;
}
