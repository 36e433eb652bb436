/**
 * Estimates how often each key was requested recently: a count-min sketch (Cormode and Muthukrishnan, 2005) of 4-bit
 * counters that decay. Pure. The eviction policies of both tiers use it.
 *
 *   block = 64 bytes, one cache line           row 0        row 1        row 2        row 3
 *   ┌ 16 words of 8 counters each ┐         ┌ 32 counters ┬ 32 counters ┬ 32 counters ┬ 32 counters ┐
 *
 * The hash of a key selects one block, and one counter in each of its four rows. The estimate is the smallest of the
 * four: other keys can only raise it. Only counters that equal the estimate are incremented ("conservative update"),
 * which keeps such errors small.
 *
 * Additions move a cursor over the blocks, and each block that it reaches is halved. So old requests are forgotten, and
 * no addition has to halve the whole sketch at once.
 */
const wordsPerBlock = 16;
const rows = 4;
const wordsPerRow = wordsPerBlock / rows;
const bitsPerRow = 7;
/** A 4-bit counter holds no more. */
export const frequencyMax = 15;
/** Clears the bit of each counter that the shift by one took from its neighbour. */
const halvedMask = 0x7777_7777;
const blocksMin = 64;
/** 64 MiB of counters, enough for 8 million objects; with more, the estimates become coarser. */
const blocksMax = 2 ** 20;
/**
 * One block, 64 bytes, serves this many objects of the cache: 8 to 16 bytes for each. A sketch of half the size costs
 * about half a point of the hit ratio, one of twice the size gains a quarter.
 */
const objectsPerBlock = 8;
/** Between two halvings of a block there are this many additions for each object that the sketch serves. */
const additionsPerObject = 16;

export interface FrequencySketch {
  words: Uint32Array;
  /** Number of blocks - 1; the number is a power of two. */
  blockMask: number;
  /** The next block to halve. */
  cursor: number;
  additionsUntilHalving: number;
}

export function createFrequencySketch(): FrequencySketch {
  return {
    words: new Uint32Array(blocksMin * wordsPerBlock),
    blockMask: blocksMin - 1,
    cursor: 0,
    additionsUntilHalving: objectsPerBlock * additionsPerObject,
  };
}

/** Makes room for the number of objects that the cache holds. Estimates stay as they are. */
export function fitSketch(sketch: FrequencySketch, objects: number): void {
  while (objects > (sketch.blockMask + 1) * objectsPerBlock && sketch.blockMask + 1 < blocksMax) {
    // A block is selected by the low bits of the hash: with one more bit, each half needs a copy of what it had.
    const doubled = new Uint32Array(sketch.words.length * 2);
    doubled.set(sketch.words, 0);
    doubled.set(sketch.words, sketch.words.length);
    sketch.words = doubled;
    sketch.blockMask = sketch.blockMask * 2 + 1;
  }
}

/**
 * Counts one request.
 * @param hash 32 evenly distributed bits of the key
 * @returns the estimate after it, 1 to 15
 */
export function addToSketch(sketch: FrequencySketch, hash: number): number {
  const { words } = sketch;
  const block = (hash & sketch.blockMask) * wordsPerBlock;
  const places = placesOf(hash);
  const before = frequencyInSketch(sketch, hash);
  if (before < frequencyMax) {
    for (let row = 0; row < rows; row += 1) {
      const place = places >>> (row * bitsPerRow);
      const word = block + wordsPerRow * row + ((place >>> 3) & 3);
      const shift = (place & 7) << 2;
      const bits = words[word] as number;
      if (((bits >>> shift) & 15) === before) words[word] = bits + (1 << shift);
    }
  }
  sketch.additionsUntilHalving -= 1;
  if (sketch.additionsUntilHalving === 0) halveNextBlock(sketch);
  return Math.min(before + 1, frequencyMax);
}

/** The estimate, 0 to 15. @param hash 32 evenly distributed bits of the key */
export function frequencyInSketch({ words, blockMask }: FrequencySketch, hash: number): number {
  const block = (hash & blockMask) * wordsPerBlock;
  const places = placesOf(hash);
  let least = frequencyMax;
  for (let row = 0; row < rows; row += 1) {
    const place = places >>> (row * bitsPerRow);
    const word = block + wordsPerRow * row + ((place >>> 3) & 3);
    least = Math.min(least, ((words[word] as number) >>> ((place & 7) << 2)) & 15);
  }
  return least;
}

/** Seven bits for each row, independent of those that selected the block. */
function placesOf(hash: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x9e37_79b1);
}

function halveNextBlock(sketch: FrequencySketch): void {
  const { words, cursor } = sketch;
  for (let word = cursor * wordsPerBlock; word < (cursor + 1) * wordsPerBlock; word += 1) {
    words[word] = ((words[word] as number) >>> 1) & halvedMask;
  }
  sketch.cursor = (cursor + 1) & sketch.blockMask;
  sketch.additionsUntilHalving = objectsPerBlock * additionsPerObject;
}
