import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  addRow,
  createIndex,
  field,
  findRow,
  flag,
  frequencyOf,
  get,
  hasFlag,
  type Index,
  indexBytes,
  isRow,
  removeRow,
  type RowFacts,
  rowFacts,
  setFlag,
  setFrequency,
  setRowFacts,
  setTags,
} from "../../../../node/cache/disk/index-table.ts";
import { type Key, readKey, tagHash } from "../../../../node/cache/disk/key.ts";
import { tagAt, tagCount } from "../../../../node/cache/disk/tag-pool.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { keyFor } from "../../../support/objects.ts";

const seed = seedOr(5);
const message = `SEED=${seed}`;

function keyOfNumber(number: number): Key {
  return readKey(keyFor(String(number)), new Uint32Array(4));
}

function factsOf(random: () => number): RowFacts {
  const integer = (below: number): number => Math.floor(random() * below);
  return {
    volume: integer(2 ** 32),
    offset: integer(2 ** 32),
    lengthBytes: integer(random() < 0.5 ? 2 ** 48 : 100_000),
    headSegment: integer(2 ** 32),
    headOffset: integer(2 ** 32),
    headBytes: 1 + integer(2 ** 24 - 1),
    feedSeq: random() < 0.1 ? -1 : integer(2 ** 47),
  };
}

function tagsOf(index: Index, row: number): number[] {
  const tags = get(index, row, field.tags);
  return Array.from({ length: tagCount(index.tags, tags) }, (_, at) => tagAt(index.tags, tags, at));
}

test("the index does what a map does, through additions, changes and removals", () => {
  const random = seededRandom(seed);
  const index = createIndex(10_000);
  const expected = new Map<number, { facts: RowFacts; tags: number[]; frequency: number; isVerified: boolean }>();
  for (let step = 0; step < rounds(60_000, 1_000_000); step += 1) {
    const number = Math.floor(random() * 5000);
    const key = keyOfNumber(number);
    const row = findRow(index, key);
    assert.equal(row !== 0, expected.has(number), message);
    const dice = random();
    if (row !== 0 && dice < 0.4) {
      removeRow(index, row);
      expected.delete(number);
      continue;
    }
    const there = row === 0 ? addRow(index, key) : row;
    assert(there > 0, message);
    const facts = factsOf(random);
    const tags = Array.from({ length: Math.floor(random() * 9) }, () => Math.floor(random() * 2 ** 32));
    const frequency = Math.floor(random() * 4);
    const isVerified = random() < 0.5;
    setRowFacts(index, there, facts);
    setTags(index, there, tags);
    setFrequency(index, there, frequency);
    setFlag(index, there, flag.verified, isVerified);
    expected.set(number, { facts, tags, frequency, isVerified });
  }
  assert.equal(index.count, expected.size);
  for (const [number, { facts, tags, frequency, isVerified }] of expected) {
    const row = findRow(index, keyOfNumber(number));
    assert.deepEqual(rowFacts(index, row), facts, message);
    assert.deepEqual(tagsOf(index, row), tags, message);
    assert.deepEqual([frequencyOf(index, row), hasFlag(index, row, flag.verified)], [frequency, isVerified], message);
  }
  let rows = 0;
  for (let row = 1; row < index.rowsEnd; row += 1) if (isRow(index, row)) rows += 1;
  assert.equal(rows, expected.size, message);
});

test("an index that is full refuses, and takes again what was removed", () => {
  const index = createIndex(100);
  for (let number = 0; number < 100; number += 1) assert(addRow(index, keyOfNumber(number)) > 0);
  assert.equal(addRow(index, keyOfNumber(100)), 0);
  removeRow(index, findRow(index, keyOfNumber(7)));
  assert(addRow(index, keyOfNumber(100)) > 0);
});

test("an object with six tags takes at most 100 bytes of memory, all of it outside the heap", () => {
  const count = rounds(200_000, 2_000_000);
  const random = seededRandom(seed);
  const index = createIndex(count);
  const key = new Uint32Array(4);
  const before = process.memoryUsage();
  for (let number = 0; number < count; number += 1) {
    for (let word = 0; word < 4; word += 1) key[word] = Math.floor(random() * 2 ** 32);
    const row = addRow(index, key);
    setRowFacts(index, row, { ...factsOf(random), headBytes: 600 });
    setTags(index, row, [1, 2, 3, 4, 5, number]);
  }
  assert(indexBytes(index) / count <= 100, `${indexBytes(index) / count} bytes an object`);
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  // What was allocated: chunks of 4 MiB, and so up to 12 MiB more than what is used.
  assert(arrayBuffers - before.arrayBuffers <= 100 * count + 12 * 1024 * 1024);
  assert(heapUsed - before.heapUsed < 32 * 1024 * 1024, "garbage at most");
});

test("tags are known by hashes that differ", () => {
  const hashes = new Set(Array.from({ length: 20_000 }, (_, index) => tagHash(`tag:product-${index}`)));
  assert(hashes.size >= 19_998, `${hashes.size} of 20,000`);
});
