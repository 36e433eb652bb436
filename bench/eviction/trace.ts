/**
 * Requests to replay through a cache: read from a file, drawn from a joint distribution of popularity and size, or
 * drawn from Zipf's law.
 */
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { type Random, seededRandom } from "#base/random.ts";

export interface Trace {
  readonly name: string;
  readonly keys: readonly string[];
  /** Of each object, by its position in `keys`; so are the costs, in ms. */
  readonly bytes: Float64Array;
  readonly costsMs: Float64Array;
  /** Positions of objects, in the order of the requests. */
  readonly requests: Uint32Array;
}

/** A trace with more than that would not fit in memory beside the caches. */
const requestsMax = 50_000_000;
/** For objects whose cost a trace does not tell: all cost the same. */
const costMsDefault = 1;

/**
 * Reads a trace: one request on each line, `time key bytes [costMs]`, separated by blanks. Lines are in the order of
 * the requests; the time is only checked to be a number. `#` begins a comment. An object keeps the size and cost of its
 * first request.
 *
 * @throws Error that names the line
 */
export async function readTrace(path: string): Promise<Trace> {
  const positions = new Map<string, number>();
  const bytes: number[] = [];
  const costsMs: number[] = [];
  const requests: number[] = [];
  let line = 0;
  for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
    line += 1;
    if (text.startsWith("#") || text.trim() === "") continue;
    const [time, key, size, cost = String(costMsDefault), ...rest] = text.trim().split(/\s+/);
    const numbers = [Number(time), Number(size), Number(cost)] as const;
    const isRequest = key !== undefined && rest.length === 0 && numbers.every(Number.isFinite);
    if (!isRequest || numbers[1] < 1 || numbers[2] <= 0) {
      throw new Error(`${path}, line ${line}: not "time key bytes [costMs]": ${text.slice(0, 80)}`);
    }
    if (requests.length === requestsMax) throw new Error(`${path}: more than ${requestsMax} requests`);
    let position = positions.get(key);
    if (position === undefined) {
      position = positions.size;
      positions.set(key, position);
      bytes.push(numbers[1]);
      costsMs.push(numbers[2]);
    }
    requests.push(position);
  }
  return {
    name: path,
    keys: [...positions.keys()],
    bytes: Float64Array.from(bytes),
    costsMs: Float64Array.from(costsMs),
    requests: Uint32Array.from(requests),
  };
}

/** Objects drawn from a distribution; some 2.5 requests for each in the image traffic that was published. */
const drawnObjects = 400_000;

/**
 * Draws a trace from a joint distribution of popularity and size, in the format of the JEDI trace generator: a line
 * with one number begins a block for objects that are requested that many times, each further line of the block is
 * `kilobytes probability`. Half of the objects are requested over the whole span, half within 5 to 35 % of it.
 *
 * @param text the file
 * @throws Error that names the line
 */
export function drawTrace(name: string, text: string, seed: number): Trace {
  const cells = readDistribution(name, text);
  const random = seededRandom(seed);
  const total = cells.at(-1)?.upTo ?? 0;
  const objects = Array.from({ length: drawnObjects }, () => cells[cellAt(cells, random() * total)] as Cell);
  const spans = objects.map(() => {
    if (random() < 0.5) return { start: 0, length: 1 };
    const length = 0.05 + 0.3 * random();
    return { start: (1 - length) * random(), length };
  });
  return {
    name,
    keys: objects.map((_cell, position) => `object-${position}`),
    bytes: Float64Array.from(objects, ({ kilobytes }) => kilobytes * 1024),
    costsMs: new Float64Array(drawnObjects).fill(costMsDefault),
    requests: inOrderOfTime(
      objects.flatMap(({ popularity }, position) => {
        const { start, length } = spans[position] as (typeof spans)[number];
        return Array.from({ length: popularity }, () => ({ position, time: start + length * random() }));
      }),
    ),
  };
}

interface Cell {
  popularity: number;
  kilobytes: number;
  /** Sum of the probabilities up to this cell. */
  upTo: number;
}

function readDistribution(name: string, text: string): Cell[] {
  const cells: Cell[] = [];
  let popularity = 0;
  let upTo = 0;
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const [first = Number.NaN, second] = line.trim().split(/\s+/).map(Number);
    const isRight = first > 0 && (second === undefined ? Number.isInteger(first) : second >= 0 && popularity > 0);
    if (!isRight) throw new Error(`${name}, line ${index + 1}: neither a popularity nor "kilobytes probability"`);
    if (second === undefined) {
      popularity = first;
      continue;
    }
    upTo += second;
    cells.push({ popularity, kilobytes: first, upTo });
  }
  if (cells.length === 0) throw new Error(`${name}: an empty distribution`);
  return cells;
}

/** The first cell whose sum is above `value`. */
function cellAt(cells: readonly Cell[], value: number): number {
  let [low, high] = [0, cells.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cells[middle] as Cell).upTo > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** 2^30 moments and 2^22 objects fit into one double, and an array of numbers sorts fastest. */
const moments = 2 ** 30;
const positionsMax = 2 ** 22;

function inOrderOfTime(requests: readonly { position: number; time: number }[]): Uint32Array {
  const packed = Float64Array.from(requests, ({ position, time }) => {
    assert(position < positionsMax);
    return Math.floor(time * moments) * positionsMax + position;
  });
  return Uint32Array.from(packed.toSorted(), (value) => value % positionsMax);
}

const zipfObjects = 200_000;
const zipfRequests = 1_000_000;

/**
 * A trace without a file: the n-th most popular object is requested in proportion to n^-0.9, as in published traces of
 * web caches, and sizes are log-normal with a median of 12 KB, independent of popularity.
 */
export function zipfTrace(seed: number): Trace {
  const random = seededRandom(seed);
  const upTo = new Float64Array(zipfObjects);
  let total = 0;
  for (let rank = 1; rank <= zipfObjects; rank += 1) {
    total += rank ** -0.9;
    upTo[rank - 1] = total;
  }
  return {
    name: "zipf",
    keys: Array.from(upTo, (_sum, position) => `object-${position}`),
    bytes: Float64Array.from(upTo, () => Math.round(12 * 1024 * Math.exp(1.2 * normal(random)))),
    costsMs: new Float64Array(zipfObjects).fill(costMsDefault),
    requests: Uint32Array.from({ length: zipfRequests }, () => rankAt(upTo, random() * total)),
  };
}

function rankAt(upTo: Float64Array, value: number): number {
  let [low, high] = [0, upTo.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((upTo[middle] as number) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** A standard normal value (Box and Muller, 1958). */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
