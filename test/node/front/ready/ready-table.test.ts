/**
 * The ring of ready responses under readers that come and go: what a reader has found stays as it is until the reader
 * leaves, and a request never finds the response of another.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import { enter, laneWord, leave, lineBytes, openReadyMemory } from "../../../../node/front/ready/ready-memory.ts";
import { findReady } from "../../../../node/front/ready/ready-reader.ts";
import { recordDouble, recordWord, type ReadyResponse } from "../../../../node/front/ready/ready-record.ts";
import { openReadyTable, type ReadyTable } from "../../../../node/front/ready/ready-table.ts";
import { newRequestHead, readRequestHead, type RequestHead } from "../../../../node/front/request-head.ts";
import { rounds, seedOr } from "../../../support/long.ts";

interface Asked {
  readonly bytes: Buffer;
  readonly head: RequestHead;
}

function asked(target: string, fields: Record<string, string> = {}): Asked {
  const lines = Object.entries({ Host: "img.cdn.test", ...fields }).map(([name, value]) => `${name}: ${value}\r\n`);
  const bytes = Buffer.from(`GET ${target} HTTP/1.1\r\n${lines.join("")}\r\n`, "latin1");
  const head = newRequestHead();
  assert.equal(readRequestHead(bytes, 0, bytes.length, head), "whole");
  return { bytes, head };
}

function response(body: Buffer, more: Partial<ReadyResponse> = {}): ReadyResponse {
  const head = { text: "Age: \r\nCache-Status: fra1; hit; ttl=; detail=memory\r\n", ageAt: 5, ttlAt: 34 };
  return {
    whole: head,
    partLength: head.text.length,
    notModified: head,
    hasDate: false,
    etag: '"e"',
    bornAtMs: 0,
    lifetimeSeconds: 1000,
    endsAtMs: 1_000_000,
    body: { kind: "inline", bytes: body },
    ...more,
  };
}

const memoryOf = (sizeBytes: number) => openReadyMemory(new ArrayBuffer(sizeBytes), 7);
const ignore = { dropped: (): void => undefined, settle: (): void => undefined };

function find({ memory }: ReadyTable<string>, { bytes, head }: Asked, wallMs = 5): number {
  return findReady(memory, bytes, head, wallMs);
}

function bodyAt({ memory }: ReadyTable<string>, line: number): string {
  const at = (line * lineBytes) / 4;
  const start = line * lineBytes + (memory.words[at + recordWord.bodyAt] as number);
  const length = memory.doubles[(line * lineBytes) / 8 + recordDouble.bodyLength] as number;
  return memory.bytes.toString("latin1", start, start + length);
}

test("a response is found by the same target, host, Accept and Accept-Encoding, and by no other", () => {
  const table = openReadyTable<string>(memoryOf(64 * 1024), ignore);
  const one = asked("/a.jpg?w=1", { Accept: "image/webp", "Accept-Encoding": "gzip" });
  assert.equal(table.add(one.bytes, one.head, response(Buffer.from("one")), "one"), 1);
  assert.equal(bodyAt(table, find(table, one)), "one");
  const others: Asked[] = [
    asked("/a.jpg?w=2", { Accept: "image/webp", "Accept-Encoding": "gzip" }),
    asked("/a.jpg?w=1", { Accept: "image/png", "Accept-Encoding": "gzip" }),
    asked("/a.jpg?w=1", { Accept: "image/webp", "Accept-Encoding": "br" }),
    asked("/a.jpg?w=1", { Accept: "image/webp" }),
    asked("/a.jpg?w=1", { "Accept-Encoding": "image/webp", Accept: "gzip" }),
    asked("/a.jpg?w=1", { Host: "img2.cdn.test", Accept: "image/webp", "Accept-Encoding": "gzip" }),
  ];
  for (const other of others) assert.equal(find(table, other), 0, other.bytes.toString());
});

test("a response is not found past its end, before its birth, outdated, unlinked, or in a closed table", () => {
  const table = openReadyTable<string>(memoryOf(64 * 1024), ignore);
  const one = asked("/a.jpg");
  const add = (): number =>
    table.add(one.bytes, one.head, response(Buffer.from("one"), { bornAtMs: 1000, endsAtMs: 9000 }), "one");
  add();
  assert.notEqual(find(table, one, 1000), 0);
  assert.equal(find(table, one, 999), 0);
  assert.equal(find(table, one, 9000), 0);
  table.setOpen(false);
  assert.equal(find(table, one, 5000), 0);
  assert.equal(add(), 0, "nothing is added meanwhile");
  table.setOpen(true);
  assert.notEqual(find(table, one, 5000), 0);
  table.outdate();
  assert.equal(find(table, one, 5000), 0);
  const number = add();
  assert.notEqual(find(table, one, 5000), 0);
  table.unlink(number);
  assert.equal(find(table, one, 5000), 0);
});

test("a newer response for the same request takes the place of the older one", () => {
  const table = openReadyTable<string>(memoryOf(64 * 1024), ignore);
  const one = asked("/a.jpg");
  for (const body of ["one", "two"]) table.add(one.bytes, one.head, response(Buffer.from(body)), body);
  assert.equal(bodyAt(table, find(table, one)), "two");
  table.unlink(1);
  assert.equal(bodyAt(table, find(table, one)), "two");
});

test("what is larger than a sixteenth of the memory is not added", () => {
  const table = openReadyTable<string>(memoryOf(64 * 1024), ignore);
  const one = asked("/a.jpg");
  assert.equal(table.add(one.bytes, one.head, response(Buffer.alloc(4096)), "large"), 0);
  assert.equal(table.counts().refused, 1);
});

test("while a lane stays, nothing that it may have found is overwritten, and adding ends at its records", () => {
  const table = openReadyTable<string>(memoryOf(64 * 1024), ignore);
  enter(table.memory, 3);
  const found = asked("/0");
  table.add(found.bytes, found.head, response(Buffer.from("held")), "0");
  const line = find(table, found);
  let added = 0;
  for (let count = 1; count <= 1000; count += 1) {
    const { bytes, head } = asked(`/${count}`);
    if (table.add(bytes, head, response(Buffer.alloc(500, count)), String(count)) !== 0) added += 1;
  }
  assert.ok(added < 1000, "the ring is larger than this test");
  assert.equal(bodyAt(table, line), "held");
  leave(table.memory, 3);
  const { bytes, head } = asked("/later");
  assert.notEqual(table.add(bytes, head, response(Buffer.from("later")), "later"), 0);
});

interface Reader {
  readonly lane: number;
  /** What it found in this visit, and what was there. */
  readonly found: { readonly line: number; readonly body: string }[];
}

/** One step: a response is added, or a reader comes, looks or leaves. */
function step(random: Random, table: ReadyTable<string>, readers: Reader[], isEntering: boolean): void {
  const targets = 200;
  const target = Math.floor(random() * targets);
  if (random() < 0.4) {
    const one = asked(`/${target}`);
    const body = `${target}:`.padEnd(10 + Math.floor(random() * 900), String.fromCharCode(97 + (target % 26)));
    table.add(one.bytes, one.head, response(Buffer.from(body)), body);
    return;
  }
  const reader = readers[Math.floor(random() * readers.length)] as Reader;
  const isIn = table.memory.words[laneWord(reader.lane)] !== 0 || (!isEntering && reader.found.length > 0);
  if (!isIn) {
    if (isEntering) enter(table.memory, reader.lane);
  } else if (random() < 0.3) {
    check(table, reader);
    reader.found.length = 0;
    leave(table.memory, reader.lane);
    return;
  }
  const line = find(table, asked(`/${target}`));
  if (line === 0) return;
  const body = bodyAt(table, line);
  assert.ok(body.startsWith(`${target}:`), `/${target} finds ${body.slice(0, 20)}`);
  reader.found.push({ line, body });
}

function check(table: ReadyTable<string>, { found }: Reader): void {
  for (const { line, body } of found) assert.equal(bodyAt(table, line), body);
}

function run(seed: number, isEntering: boolean): void {
  const random = seededRandom(seed);
  const table = openReadyTable<string>(memoryOf(32 * 1024 + 8192), ignore);
  const readers = [0, 5, 31].map((lane): Reader => ({ lane, found: [] }));
  for (let count = 0; count < 3000; count += 1) step(random, table, readers, isEntering);
  for (const reader of readers) check(table, reader);
  assert.ok(table.counts().added > 200, "little was added");
}

test("whatever is added meanwhile, a reader's records stay as they are until it leaves", () => {
  for (let round = 0; round < rounds(20, 2000); round += 1) {
    const seed = seedOr(round + 1);
    try {
      run(seed, true);
    } catch (error) {
      throw new Error(`SEED=${seed}`, { cause: error });
    }
  }
});

test("the check above notices readers that do not say when they read", () => {
  assert.throws(() => {
    for (let seed = 1; seed < 20; seed += 1) run(seed, false);
  }, assert.AssertionError);
});

test("what a table says about itself, and that memory is given back", () => {
  const dropped: string[] = [];
  const table = openReadyTable<string>(memoryOf(64 * 1024), { ...ignore, dropped: (about) => dropped.push(about) });
  for (let count = 0; count < 2000; count += 1) {
    const { bytes, head } = asked(`/${count}`);
    table.add(bytes, head, response(Buffer.alloc(1000)), String(count));
  }
  const { records, usedBytes, sizeBytes, added } = table.counts();
  assert.equal(added, 2000);
  assert.ok(records > 20 && records < 60, String(records));
  assert.ok(usedBytes <= sizeBytes);
  assert.equal(dropped[0], "0");
  assert.ok(dropped.length >= added - 64);
});
