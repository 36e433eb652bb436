/**
 * Answers a request with a ready response: judges its conditions, and writes the head. Only simple cases are decided
 * here; the main thread has all the rules (deliver/conditions.ts):
 *
 *   If-None-Match with one entity tag           304, or the whole       (RFC 9110 §13.1.2)
 *   Range of one span within the body, on GET   206                     (§14.2)
 *   none of these                               200
 *   all else                                    undecided
 */
import { fieldIndex, type RequestHead } from "../request-head.ts";
import { lineBytes, type ReadyMemory } from "./ready-memory.ts";
import { headWord, recordDouble, recordWord } from "./ready-record.ts";

/** What to send. One record serves all requests of a thread. */
export interface ReadyAnswer {
  status: 200 | 206 | 304;
  /** The part of the body to send; empty for HEAD and 304. */
  bodyStart: number;
  bodyEnd: number;
}

export function newReadyAnswer(): ReadyAnswer {
  return { status: 200, bodyStart: 0, bodyEnd: 0 };
}

const noneMatch = fieldIndex["if-none-match"];
const { range } = fieldIndex;
const left = ["if-range", "if-match", "if-unmodified-since"] as const;
const leftIndexes = left.map((name) => fieldIndex[name]);
const modifiedSince = fieldIndex["if-modified-since"];

/** @param line of the record. @returns whether the answer is decided */
export function judgeReady(
  memory: ReadyMemory,
  line: number,
  bytes: Buffer,
  head: RequestHead,
  answer: ReadyAnswer,
): boolean {
  const { ends } = head;
  for (const index of leftIndexes) if (ends[index] !== 0) return false;
  const length = memory.doubles[(line * lineBytes) / 8 + recordDouble.bodyLength] as number;
  answer.status = 200;
  answer.bodyStart = 0;
  answer.bodyEnd = length;
  if (ends[noneMatch] !== 0) {
    const isMatch = matches(memory, line, bytes, head.starts[noneMatch] as number, ends[noneMatch] as number);
    if (isMatch === undefined) return false;
    if (isMatch) answer.status = 304;
  } else if (ends[modifiedSince] !== 0) return false;
  if (answer.status === 200 && ends[range] !== 0 && !head.isHead) {
    if (!readRange(bytes, head.starts[range] as number, ends[range] as number, length, answer)) return false;
    answer.status = 206;
  }
  if (answer.status === 304 || head.isHead) answer.bodyEnd = answer.bodyStart;
  return true;
}

const [quote, slash, weak, dash, comma] = [0x22, 0x2f, 0x57, 0x2d, 0x2c];

/** Weak comparison with one tag (RFC 9110 §8.8.3.2). Undefined: it is no single tag, or the response has none. */
function matches(memory: ReadyMemory, line: number, bytes: Buffer, start: number, end: number): boolean | undefined {
  const at = (line * lineBytes) / 4;
  const own = line * lineBytes + (memory.words[at + recordWord.etagAt] as number);
  const ownEnd = own + (memory.words[at + recordWord.etagLength] as number);
  if (own === ownEnd) return undefined;
  const from = skipWeak(bytes, start, end);
  if (from + 2 > end || bytes[from] !== quote || bytes[end - 1] !== quote) return undefined;
  for (let index = from + 1; index < end - 1; index += 1) if (bytes[index] === quote) return undefined;
  const ownFrom = skipWeak(memory.bytes, own, ownEnd);
  if (ownEnd - ownFrom !== end - from) return false;
  for (let offset = 0; offset < end - from; offset += 1) {
    if (memory.bytes[ownFrom + offset] !== bytes[from + offset]) return false;
  }
  return true;
}

function skipWeak(bytes: Buffer, start: number, end: number): number {
  return start + 2 <= end && bytes[start] === weak && bytes[start + 1] === slash ? start + 2 : start;
}

const unit = Buffer.from("bytes=");
/** More digits are left to the application. */
const digitsMax = 15;

/** Reads `bytes=a-b`, `bytes=a-` or `bytes=-n` whose span lies within the body. */
function readRange(bytes: Buffer, start: number, end: number, length: number, answer: ReadyAnswer): boolean {
  for (let index = 0; index < unit.length; index += 1) if (bytes[start + index] !== unit[index]) return false;
  let at = start + unit.length;
  const first = readDigits(bytes, at, end);
  at += first.count;
  if (at >= end || bytes[at] !== dash || bytes[at] === comma) return false;
  at += 1;
  const firstCount = first.count;
  const from = first.value;
  const last = readDigits(bytes, at, end);
  if (at + last.count !== end || (firstCount === 0 && last.count === 0)) return false;
  if (firstCount === 0) {
    if (last.value === 0) return false;
    answer.bodyStart = Math.max(0, length - last.value);
    answer.bodyEnd = length;
    return length > 0;
  }
  if (from >= length || (last.count > 0 && last.value < from)) return false;
  answer.bodyStart = from;
  answer.bodyEnd = last.count === 0 ? length : Math.min(length, last.value + 1);
  return true;
}

const digits = { value: 0, count: 0 };

/** The number at a position, in a record that the next call overwrites. More than `digitsMax` digits: -1 of them. */
function readDigits(bytes: Buffer, start: number, end: number): { readonly value: number; readonly count: number } {
  let value = 0;
  let at = start;
  for (; at < end && at - start <= digitsMax; at += 1) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  digits.value = value;
  digits.count = at - start;
  return digits;
}

const statusLines = {
  200: Buffer.from("HTTP/1.1 200 OK\r\n"),
  206: Buffer.from("HTTP/1.1 206 Partial Content\r\n"),
  304: Buffer.from("HTTP/1.1 304 Not Modified\r\n"),
};
const contentRange = Buffer.from("Content-Range: bytes ");
const contentLength = Buffer.from("\r\nContent-Length: ");
const lineEnd = Buffer.from("\r\n");

/** A head is longer than its fields in a record by at most this: status line, digits, Content-Range, and its end. */
export const headExtraBytes = 512;

/** What ends all heads of a second: with the field Date, and without. */
interface HeadEnds {
  readonly dated: Buffer;
  readonly undated: Buffer;
}

/** Made once a second. */
export type HeadEndsAt = (wallMs: number) => HeadEnds;

export function createHeadEnds(keepAliveSeconds: number): HeadEndsAt {
  const text = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSeconds}\r\n\r\n`;
  const undated = Buffer.from(text, "latin1");
  let second = -1;
  let ends: HeadEnds = { dated: undated, undated };
  return (wallMs) => {
    const now = Math.floor(wallMs / 1000);
    if (now !== second) {
      second = now;
      ends = { dated: Buffer.from(`Date: ${new Date(now * 1000).toUTCString()}\r\n${text}`, "latin1"), undated };
    }
    return ends;
  };
}

/**
 * Writes the head of an answer.
 * @param target with room for the fields of the record and `headExtraBytes`
 * @returns where it ends
 */
export function writeHead(
  memory: ReadyMemory,
  line: number,
  { status, bodyStart, bodyEnd }: ReadyAnswer,
  wallMs: number,
  endsAt: HeadEndsAt,
  target: Buffer,
  start: number,
): number {
  const { words, doubles } = memory;
  const at = (line * lineBytes) / 4;
  const double = (line * lineBytes) / 8;
  const age = Math.max(0, (wallMs - (doubles[double + recordDouble.bornAtMs] as number)) / 1000);
  const ttl = Math.ceil((doubles[double + recordDouble.lifetimeSeconds] as number) - age);
  const which = at + (status === 304 ? recordWord.notModified : recordWord.whole);
  const length = words[status === 206 ? at + recordWord.partLength : which + headWord.length] as number;
  let to = put(statusLines[status], target, start);
  to = putFields(memory, line, which, length, Math.floor(age), ttl, target, to);
  if (status === 206) {
    const total = doubles[double + recordDouble.bodyLength] as number;
    to = put(contentRange, target, to);
    to = putDecimal(bodyStart, target, to);
    target[to] = dash;
    to = putDecimal(bodyEnd - 1, target, to + 1);
    target[to] = slash;
    to = putDecimal(total, target, to + 1);
    to = put(contentLength, target, to);
    to = putDecimal(bodyEnd - bodyStart, target, to);
    to = put(lineEnd, target, to);
  }
  const { dated, undated } = endsAt(wallMs);
  return put(words[at + recordWord.hasDate] === 1 ? undated : dated, target, to);
}

function putFields(
  { bytes, words }: ReadyMemory,
  line: number,
  which: number,
  length: number,
  age: number,
  ttl: number,
  target: Buffer,
  start: number,
): number {
  const from = line * lineBytes + (words[which + headWord.at] as number);
  const ageAt = words[which + headWord.ageAt] as number;
  const ttlAt = words[which + headWord.ttlAt] as number;
  let to = start + bytes.copy(target, start, from, from + ageAt);
  to = putDecimal(age, target, to);
  to += bytes.copy(target, to, from + ageAt, from + ttlAt);
  to = putDecimal(ttl, target, to);
  return to + bytes.copy(target, to, from + ttlAt, from + length);
}

function put(text: Buffer, target: Buffer, at: number): number {
  return at + text.copy(target, at);
}

/** @param value a whole number that is not negative */
function putDecimal(value: number, target: Buffer, at: number): number {
  let count = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) count += 1;
  let rest = value;
  for (let position = at + count - 1; position >= at; position -= 1) {
    target[position] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return at + count;
}
