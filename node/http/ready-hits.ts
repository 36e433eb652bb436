/**
 * Hits that need no decision: a response that was sent before is sent again, from memory that is ready to send, for as
 * long as nothing has changed that the decision depended on.
 *
 *   hits.ts decides ──▶ offer() ── second time ──▶ table (front/ready/)
 *   next request    ──▶ answer() ── in the table, and current? ──▶ sent
 *
 * A ready response is not used any more when
 * - the fleet document changes, a purge arrives, or the node is not ready: one number, the stamp, covers these;
 * - what it was made of is replaced or removed: forget();
 * - it is not fresh, or was added too long ago: then hits.ts decides again.
 *
 * Caches and peers learn of uses a little later, in batches.
 */
import type { Clock } from "#base/clock.ts";
import type { Host } from "#document/schema/hosts.ts";
import type { Delivery, StoredResponse, Outcome } from "../deliver/outcome.ts";
import type { FrontRequest } from "../front/connection.ts";
import { joinedBytesMax } from "../front/lane-sink.ts";
import {
  headExtraBytes,
  type HeadEnds,
  judgeReady,
  newReadyAnswer,
  type ReadyAnswer,
  writeHead,
} from "../front/ready/ready-answer.ts";
import { hashOf } from "../front/ready/ready-key.ts";
import { lineBytes, openReadyMemory } from "../front/ready/ready-memory.ts";
import { findReady } from "../front/ready/ready-reader.ts";
import { recordWord } from "../front/ready/ready-record.ts";
import { openReadyTable, type ReadyTable } from "../front/ready/ready-table.ts";
import { readyResponseOf } from "./ready-response.ts";

/** Larger bodies are sent by hits.ts. */
const readyBodyBytesMax = 64 * 1024;
/** After this time a response is decided on again, whatever happened to it. */
const decidedAgainMs = 10_000;
/** Requests that were seen once: hashes, each of which replaces another. */
const onceSlots = 16_384;
const usesReportedMs = 50;

/** Which response was sent, for counting. */
export interface ReadyAbout {
  readonly host: Host;
  readonly outcome: Outcome["word"];
  readonly stored: StoredResponse;
  uses: number;
}

export interface ReadySent {
  readonly about: ReadyAbout;
  readonly status: number;
  readonly bodyBytes: number;
  /** The buffer that holds what the system has not taken. */
  readonly kept: Buffer;
}

export interface ReadyHits {
  /** Sends the response, if there is one for this request. */
  readonly answer: (request: FrontRequest, wallMs: number) => ReadySent | undefined;
  /** A response was sent to this request: it may be used again. */
  readonly offer: (request: FrontRequest, host: Host, delivery: Delivery, wallMs: number) => void;
  /** All ready responses are out of date. */
  readonly outdate: () => void;
  /** What is stored under this key or name is replaced or removed. */
  readonly forget: (key: string) => void;
  readonly counts: ReadyTable<ReadyAbout>["counts"];
}

interface Uses {
  readonly noteUses: (stored: StoredResponse, times: number) => void;
}

/** The share of the memory for cached bodies, and the most, that ready responses take besides. */
const [readyShare, readyBytesMost] = [1 / 8, 64 * 1024 * 1024];

export function readyBytesFor(memoryBytes: number): number {
  return Math.min(readyBytesMost, Math.floor(memoryBytes * readyShare));
}

export interface ReadyHitsParts {
  readonly node: string;
  readonly sizeBytes: number;
  readonly seed: number;
  /** Who stored the responses learns of their uses. */
  readonly used: { readonly images: Uses; readonly assets: Uses };
  readonly keepAliveSeconds: number;
  readonly clock: Clock;
}

interface State extends ReadyHitsParts {
  readonly table: ReadyTable<ReadyAbout>;
  readonly answer: ReadyAnswer;
  /** Numbers of records, by what they were made of. */
  readonly numbersOf: Map<string, Set<number>>;
  readonly seenOnce: Int32Array;
  usedNow: ReadyAbout[];
  ends: HeadEnds;
  endsSecond: number;
}

export function openReadyHits(parts: ReadyHitsParts): ReadyHits {
  const { sizeBytes, seed, clock } = parts;
  const numbersOf = new Map<string, Set<number>>();
  const memory = openReadyMemory(new ArrayBuffer(Math.ceil(sizeBytes / lineBytes) * lineBytes), seed);
  const table = openReadyTable<ReadyAbout>(memory, (about, number) => {
    for (const key of keysOf(about)) {
      const numbers = numbersOf.get(key);
      numbers?.delete(number);
      if (numbers?.size === 0) numbersOf.delete(key);
    }
  });
  const state: State = {
    ...parts,
    table,
    answer: newReadyAnswer(),
    numbersOf,
    seenOnce: new Int32Array(onceSlots),
    usedNow: [],
    ends: { dated: Buffer.alloc(0), undated: Buffer.alloc(0) },
    endsSecond: -1,
  };
  clock.every(usesReportedMs, () => {
    reportUses(state);
  });
  return {
    answer: (request, wallMs) => answer(state, request, wallMs),
    offer(request, host, delivery, wallMs) {
      offer(state, request, host, delivery, wallMs);
    },
    outdate: table.outdate,
    forget(key) {
      const numbers = numbersOf.get(key);
      if (numbers !== undefined) for (const number of numbers) table.unlink(number);
    },
    counts: table.counts,
  };
}

function keysOf({ stored }: ReadyAbout): readonly string[] {
  return stored.key === stored.foundBy ? [stored.key] : [stored.key, stored.foundBy];
}

function answer(state: State, { bytes, head, sink }: FrontRequest, wallMs: number): ReadySent | undefined {
  const { table, answer: judged } = state;
  const { memory } = table;
  const line = findReady(memory, bytes, head, wallMs);
  if (line === 0 || !judgeReady(memory, line, bytes, head, judged)) return undefined;
  const at = (line * lineBytes) / 4;
  const about = table.about(memory.words[at + recordWord.number] as number);
  if (about === undefined) return undefined;
  const ends = endsAt(state, wallMs);
  const { status, bodyStart, bodyEnd } = judged;
  const body = line * lineBytes + (memory.words[at + recordWord.bodyAt] as number);
  const kept = sink.endWith((target) => {
    const length = writeHead(memory, line, judged, wallMs, ends, target, 0);
    return length + memory.bytes.copy(target, length, body + bodyStart, body + bodyEnd);
  });
  if (about.uses === 0) state.usedNow.push(about);
  about.uses += 1;
  return { about, status, bodyBytes: bodyEnd - bodyStart, kept };
}

function endsAt(state: State, wallMs: number): HeadEnds {
  const second = Math.floor(wallMs / 1000);
  if (second === state.endsSecond) return state.ends;
  const undated = `Connection: keep-alive\r\nKeep-Alive: timeout=${state.keepAliveSeconds}\r\n\r\n`;
  const date = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  state.ends = { dated: Buffer.from(date + undated, "latin1"), undated: Buffer.from(undated, "latin1") };
  state.endsSecond = second;
  return state.ends;
}

function offer(state: State, { bytes, head }: FrontRequest, host: Host, delivery: Delivery, wallMs: number): void {
  const { stored, body, outcome } = delivery;
  if (stored === undefined || body.kind !== "bytes" || body.bytes.length > readyBodyBytesMax) return;
  const { table, seenOnce, node } = state;
  const hash = hashOf(bytes, head, table.memory.seed);
  const slot = hash & (onceSlots - 1);
  if (seenOnce[slot] !== hash) {
    seenOnce[slot] = hash;
    return;
  }
  const endsAtMs = wallMs + decidedAgainMs;
  const response = readyResponseOf(delivery, stored, { kind: "inline", bytes: body.bytes }, { node, endsAtMs });
  if (response === undefined) return;
  const headBytes = response.whole.text.length + headExtraBytes;
  if (headBytes + body.bytes.length > joinedBytesMax) return;
  const about = { host, outcome: outcome.word, stored, uses: 0 };
  const number = table.add(bytes, head, response, about);
  if (number === 0) return;
  for (const key of keysOf(about)) {
    const numbers = state.numbersOf.get(key);
    if (numbers === undefined) state.numbersOf.set(key, new Set([number]));
    else numbers.add(number);
  }
}

function reportUses(state: State): void {
  const { usedNow, used } = state;
  if (usedNow.length === 0) return;
  state.usedNow = [];
  for (const about of usedNow) {
    used[about.host.kind].noteUses(about.stored, about.uses);
    about.uses = 0;
  }
}
