/**
 * Sends a delivery: judges the request's conditions and ranges, writes the head with Age, Cache-Status and
 * Server-Timing, then the body.
 *
 *   body in memory ──▶ head and body in one write; most often the system takes all of it at once
 *                      └── what it does not take counts in the budget (body-holds.ts), before the write if it is large
 *   small on disk ───▶ the same, when it is in the page cache
 *   other bodies ────▶ room in the budget ──▶ head ──▶ transfer.ts
 */
import type { IncomingHttpHeaders } from "node:http";
import { eventStreamSilenceMs, isEventStream } from "#base/event-streams.ts";
import { NearcastError } from "#base/errors.ts";
import { headerPairsOf } from "../cache/object.ts";
import { type Body, type BodyReader, dropUnread, streamReader } from "#base/body.ts";
import { judgeConditions, type Verdict } from "./conditions.ts";
import { cacheStatusOf, type Delivery } from "./outcome.ts";
import type { Sink } from "./sink.ts";
import { chunkBytesMax, openRoom } from "./room.ts";
import { closedInTime, transfer, type TransferEnd, type TransferRules } from "./transfer.ts";

/** Fields that a 304 repeats (RFC 9110 §15.4.5), besides those that are added here. */
const notModifiedFields = new Set([
  "cache-control",
  "content-location",
  "date",
  "etag",
  "expires",
  "vary",
  "last-modified",
  // Not on the RFC's list: the rules for what a browser may do with its copy must apply as well.
  "x-content-type-options",
]);

export interface Asked {
  readonly method?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export interface Sent {
  readonly status: number;
  /** Bytes of the body that the receiver's connection took. */
  readonly bodyBytes: number;
  /** How the body ended. */
  readonly end: TransferEnd["end"];
  /** Why the body's source failed. */
  readonly error?: Error;
}

export interface SendContext {
  readonly rules: TransferRules;
  /**
   * The share of the budget: the client's network. Not called for a small body in memory that the system takes at once.
   */
  readonly share: () => string;
}

export interface DeliveryContext extends SendContext {
  readonly node: string;
  /** Monotonic time of the request's arrival, and the current time: for Server-Timing. */
  readonly startedMs: number;
  readonly nowMs: number;
}

/** The part of a body that is sent. */
export interface Part {
  readonly start: number;
  /** Null: to the end of the body. */
  readonly end: number | null;
}

export const wholeBody: Part = { start: 0, end: null };

export interface Head {
  readonly status: number;
  readonly fields: readonly string[];
  /** Lines of further fields, as they are stored. They go in front of the others. */
  readonly block?: Buffer | null;
}

/** How long a response that has not begun waits for room. Then the request fails with 503. */
const roomWaitMs = 5000;

/**
 * Returns at once if the system took the whole response; otherwise, a promise of the end of the response.
 * @throws Error for a field that can't be sent, NearcastError OVERLOADED when the body finds no room. In these cases
 *   nothing was sent, and the body was given up.
 */
export function deliver(asked: Asked, delivery: Delivery, sink: Sink, context: DeliveryContext): Sent | Promise<Sent> {
  const { part, ...head } = headOf(delivery, verdictOn(asked, delivery), context);
  return send(head, delivery.body, asked.method === "HEAD" ? null : part, sink, context);
}

/**
 * Sends a head and a part of a body; null: the head alone. Returns and throws like deliver().
 */
export function send(
  head: Head,
  body: Body,
  part: Part | null,
  sink: Sink,
  context: SendContext,
): Sent | Promise<Sent> {
  const { status } = head;
  if (part === null) {
    dropUnread(body);
    sink.head(status, head.fields, head.block);
    sink.end();
    return { status, bodyBytes: 0, end: "complete" };
  }
  if (body.kind === "ranges") {
    const bytes = body.borrow?.(part.start, part.end, chunkBytesMax);
    if (bytes !== undefined) return sendBorrowed(head, bytes, sink, context);
  }
  if (body.kind !== "bytes") return sendInChunks(head, readerOf(body, part), sink, context);
  const whole = body.bytes;
  const bytes = part.end === null ? whole : whole.subarray(part.start, part.end);
  if (bytes.length > chunkBytesMax) return sendLarge(head, { whole, bytes }, sink, context);
  return holdUntilTaken(sendAll(head, bytes, sink), whole, sink, context);
}

function sendBorrowed(
  { status, fields, block }: Head,
  bytes: Uint8Array,
  sink: Sink,
  context: SendContext,
): Sent | Promise<Sent> {
  sink.head(status, fields, block);
  const kept = sink.endBorrowed(bytes);
  return holdUntilTaken({ status, bodyBytes: bytes.length, end: "complete" }, kept, sink, context);
}

/** @param body the buffer that holds what the system has not taken: it counts in the budget until the system has it */
export function holdUntilTaken(sent: Sent, body: Buffer, sink: Sink, context: SendContext): Sent | Promise<Sent> {
  if (sink.pendingBytes() === 0) return sent;
  if (context.rules.bodies.take(body, context.share(), 0) === true) return watch(sent, body, sink, context);
  sink.cut();
  context.rules.counts.noRoom += 1;
  return { ...sent, end: "no-room" };
}

/** Sends a body in memory that the system may not take at once: there must be room for what it does not take. */
function sendLarge(
  head: Head,
  { whole, bytes }: { whole: Buffer; bytes: Buffer },
  sink: Sink,
  context: SendContext,
): Sent | Promise<Sent> {
  const { rules, share } = context;
  const left = new AbortController();
  const taken = rules.bodies.take(whole, share(), roomWaitMs, left.signal);
  const go = (isGranted: boolean): Sent | Promise<Sent> => {
    if (!isGranted) return refused(head.status, sink, rules);
    let isAllTaken = true;
    try {
      const sent = sendAll(head, bytes, sink);
      isAllTaken = sink.pendingBytes() === 0;
      return isAllTaken ? sent : watch(sent, whole, sink, context);
    } finally {
      if (isAllTaken) rules.bodies.release(whole);
    }
  };
  if (!(taken instanceof Promise)) return go(taken);
  const leave = (): void => {
    left.abort();
  };
  void sink.closed().then(leave);
  return taken.then(go);
}

function sendAll({ status, fields, block }: Head, bytes: Buffer, sink: Sink): Sent {
  sink.head(status, fields, block);
  sink.end(bytes);
  return { status, bodyBytes: bytes.length, end: "complete" };
}

/** @throws NearcastError OVERLOADED, unless the receiver has left */
function refused(status: number, sink: Sink, { counts }: TransferRules): Sent {
  if (sink.isClosed()) return { status, bodyBytes: 0, end: "gone" };
  counts.refused += 1;
  throw new NearcastError("OVERLOADED", "too many bytes are waiting for slow clients");
}

async function sendInChunks(
  { status, fields, block = null }: Head,
  reader: BodyReader,
  sink: Sink,
  { rules, share }: SendContext,
): Promise<Sent> {
  const room = openRoom(rules.budget, share(), sink);
  void sink.closed().then(reader.close);
  const taken = room.take(roomWaitMs);
  if (taken !== true && !(await taken)) {
    reader.close();
    return refused(status, sink, rules);
  }
  try {
    sink.head(status, fields, block);
    if (isOfEvents(fields, block)) sink.allowSilence(eventStreamSilenceMs);
    if (reader.ready() !== true) sink.flush();
  } catch (error) {
    room.free();
    reader.close();
    throw error;
  }
  const ended = await transfer(reader, sink, rules, room);
  const sent = { status, bodyBytes: ended.bytes, end: ended.end };
  return ended.end === "failed" ? { ...sent, error: ended.error } : sent;
}

/**
 * A response that the system has not taken completely keeps its body in memory, so its receiver has a minimum rate.
 * @param body held for it, and released at the end
 */
async function watch(sent: Sent, body: Buffer, sink: Sink, { rules }: SendContext): Promise<Sent> {
  const isInTime = await closedInTime(sink, rules);
  rules.bodies.release(body);
  if (!isInTime) return { ...sent, end: "too-slow" };
  return sink.isComplete() ? sent : { ...sent, end: "gone" };
}

function readerOf(body: Exclude<Body, { kind: "bytes" }>, part: Part): BodyReader {
  return body.kind === "ranges" ? body.open(part.start, part.end) : streamReader(body.stream);
}

function isOfEvents(fields: readonly string[], block: Buffer | null): boolean {
  const type =
    block === null ? undefined : headerPairsOf(block).find(([name]) => name.toLowerCase() === "content-type");
  if (type !== undefined) return isEventStream(type[1]);
  for (let index = 0; index < fields.length; index += 2) {
    if (fields[index]?.toLowerCase() === "content-type") return isEventStream(fields[index + 1]);
  }
  return false;
}

const whole: Verdict = { verdict: "whole" };

function verdictOn({ method, headers }: Asked, delivery: Delivery): Verdict {
  const { range } = headers;
  const isPlain =
    range === undefined &&
    headers["if-none-match"] === undefined &&
    headers["if-modified-since"] === undefined &&
    headers["if-match"] === undefined &&
    headers["if-unmodified-since"] === undefined;
  if (isPlain) return whole;
  return judgeConditions(
    {
      ifMatch: headers["if-match"],
      ifNoneMatch: headers["if-none-match"],
      ifModifiedSince: headers["if-modified-since"],
      ifUnmodifiedSince: headers["if-unmodified-since"],
      // Range is for GET alone (RFC 9110 §14.2).
      range: method === "GET" ? headers.range : undefined,
      ifRange: Array.isArray(headers["if-range"]) ? headers["if-range"][0] : headers["if-range"],
    },
    {
      // The origin has judged a response that passes through. Without a length, no range can be named.
      status: delivery.body.kind === "stream" || delivery.lengthBytes === null ? 0 : delivery.status,
      etag: delivery.etag,
      lastModified: delivery.lastModified,
      lengthBytes: delivery.lengthBytes ?? 0,
    },
  );
}

/** The head of a delivery that was judged, and the part of its body that goes with it. */
export function headOf(
  delivery: Delivery,
  verdict: Verdict,
  { node, startedMs, nowMs }: Pick<DeliveryContext, "node" | "startedMs" | "nowMs">,
): Head & { part: Part | null } {
  const fields: string[] = [];
  const block = verdict.verdict === "whole" || verdict.verdict === "part" ? delivery.headerBlock : null;
  if (block === null) {
    for (const [name, value] of headerPairsOf(delivery.headerBlock)) {
      if (verdict.verdict !== "not-modified" || notModifiedFields.has(name.toLowerCase())) fields.push(name, value);
    }
  }
  for (const [name, value] of delivery.headers) fields.push(name, value);
  if (delivery.ageSeconds !== null) fields.push("Age", String(delivery.ageSeconds));
  fields.push("Cache-Status", cacheStatusOf(node, delivery.outcome, delivery.statusBefore));
  fields.push("Server-Timing", serverTiming(delivery, nowMs - startedMs));
  return { fields, block, ...applied(verdict, delivery, fields) };
}

/** The status and the part of the body to send, by the verdict; adds the fields that go with them. */
function applied(verdict: Verdict, delivery: Delivery, fields: string[]): { status: number; part: Part | null } {
  const { body, lengthBytes } = delivery;
  switch (verdict.verdict) {
    case "not-modified":
      return { status: 304, part: null };
    case "precondition-failed":
      dropContentFields(fields);
      fields.push("Cache-Control", "no-store", "Content-Length", "0");
      return { status: 412, part: null };
    case "unsatisfiable":
      dropContentFields(fields);
      fields.push("Cache-Control", "no-store", "Content-Range", `bytes */${lengthBytes}`, "Content-Length", "0");
      return { status: 416, part: null };
    case "part": {
      const { start, end } = verdict;
      fields.push("Content-Range", `bytes ${start}-${end - 1}/${lengthBytes}`, "Content-Length", String(end - start));
      return { status: 206, part: { start, end } };
    }
    case "whole": {
      const isRangeable = body.kind !== "stream" && lengthBytes !== null;
      if (isRangeable && delivery.status === 200) fields.push("Accept-Ranges", "bytes");
      // 204 and 304 have no content, and so no length (RFC 9110 §8.6).
      const hasContent = delivery.status !== 204 && delivery.status !== 304;
      if (lengthBytes !== null && hasContent) fields.push("Content-Length", String(lengthBytes));
      return { status: delivery.status, part: wholeBody };
    }
  }
}

const lifetimeFields = new Set(["cache-control", "cdn-cache-control", "expires"]);

/**
 * Fields about the body that is not sent, and about its lifetime: a refusal must not be cached in place of the body.
 */
function dropContentFields(fields: string[]): void {
  for (let index = fields.length - 2; index >= 0; index -= 2) {
    const name = (fields[index] ?? "").toLowerCase();
    const isOfContent = name.startsWith("content-") && name !== "content-security-policy";
    if (isOfContent || lifetimeFields.has(name)) fields.splice(index, 2);
  }
}

/** With one decimal, like toFixed(), which takes longer than the look-up of a hit. */
function tenthsOf(timeMs: number): string {
  const tenths = Math.round(timeMs * 10);
  return `${Math.trunc(tenths / 10)}.${tenths % 10}`;
}

/** Server-Timing (W3C): what the request cost here, and where. */
function serverTiming(delivery: Delivery, totalMs: number): string {
  const { fetchMs, renderMs, peerMs } = delivery.timings;
  const parts = [`cache;desc=${delivery.outcome.word}`];
  if (fetchMs !== undefined) parts.push(`fetch;dur=${tenthsOf(fetchMs)}`);
  if (renderMs !== undefined) parts.push(`render;dur=${tenthsOf(renderMs)}`);
  if (peerMs !== undefined) parts.push(`peer;dur=${tenthsOf(peerMs)}`);
  parts.push(`total;dur=${tenthsOf(totalMs)}`);
  return parts.join(", ");
}
