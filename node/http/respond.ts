/**
 * A delivery onto the wire: conditions and ranges applied, Age, Cache-Status and Server-Timing added.
 *
 * Works on Node's response itself: the header pairs are already in their final form, and a framework's second look at
 * them would cost more than the rest of a hit.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { Log } from "#base/log.ts";
import { type HeaderPairs, headerPairsOf } from "../cache/object.ts";
import { dropStream } from "../fetch/body.ts";
import { cacheStatusOf, type Delivery } from "../serve/outcome.ts";
import { judgeConditions, type Verdict } from "./conditions.ts";

/** Pairs of a header block, read once per block: an object in memory is sent many times. */
const pairsOfBlock = new WeakMap<Buffer, HeaderPairs>();

/** Fields that a 304 repeats (RFC 9110 §15.4.5), beside those that are added here. */
const notModifiedFields = new Set([
  "cache-control",
  "content-location",
  "date",
  "etag",
  "expires",
  "vary",
  "last-modified",
  // Not of the RFC's list: what a browser may do with its copy is to hold as well.
  "x-content-type-options",
]);

export interface Sent {
  status: number;
  bodyBytes: number;
}

/** @param startedMs monotonic time of the request's arrival, `nowMs` of now: for Server-Timing */
export function respond(
  request: IncomingMessage,
  response: ServerResponse,
  delivery: Delivery,
  about: { node: string; startedMs: number; nowMs: number; log: Log },
): Sent {
  const verdict = verdictOn(request, delivery);
  const fields: string[] = [];
  for (const [name, value] of blockPairs(delivery.headerBlock)) {
    if (verdict.verdict !== "not-modified" || notModifiedFields.has(name.toLowerCase())) fields.push(name, value);
  }
  for (const [name, value] of delivery.headers) fields.push(name, value);
  if (delivery.ageSeconds !== null) fields.push("Age", String(delivery.ageSeconds));
  fields.push("Cache-Status", cacheStatusOf(about.node, delivery.outcome, delivery.statusBefore));
  fields.push("Server-Timing", serverTiming(delivery, about.nowMs - about.startedMs));
  const { status, body } = applied(verdict, delivery, fields);
  const isHead = request.method === "HEAD";
  response.writeHead(status, fields);
  if (isHead || Buffer.isBuffer(body)) {
    if (!Buffer.isBuffer(body)) dropStream(body);
    response.end(isHead ? undefined : body);
    return { status, bodyBytes: isHead || !Buffer.isBuffer(body) ? 0 : body.length };
  }
  pipeline(body, response).catch((error: unknown) => {
    // The status is sent; all that is left is that the client sees the break.
    about.log.debug({ reason: (error as Error).message }, "a relayed body ended early");
  });
  return { status, bodyBytes: delivery.lengthBytes ?? 0 };
}

const whole: Verdict = { verdict: "whole" };

function verdictOn(request: IncomingMessage, delivery: Delivery): Verdict {
  const { headers } = request;
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
      range: request.method === "GET" ? headers.range : undefined,
      ifRange: Array.isArray(headers["if-range"]) ? headers["if-range"][0] : headers["if-range"],
    },
    {
      status: Buffer.isBuffer(delivery.body) ? delivery.status : 0,
      etag: delivery.etag,
      lastModified: delivery.lastModified,
      lengthBytes: delivery.lengthBytes ?? 0,
    },
  );
}

const empty = Buffer.alloc(0);

/** The status and body that the verdict makes of the delivery; adds the fields that go with it. */
function applied(verdict: Verdict, delivery: Delivery, fields: string[]): { status: number; body: Delivery["body"] } {
  const { body, lengthBytes } = delivery;
  switch (verdict.verdict) {
    case "not-modified":
      return { status: 304, body: empty };
    case "precondition-failed":
      dropContentFields(fields);
      fields.push("Cache-Control", "no-store", "Content-Length", "0");
      return { status: 412, body: empty };
    case "unsatisfiable":
      dropContentFields(fields);
      fields.push("Cache-Control", "no-store", "Content-Range", `bytes */${lengthBytes}`, "Content-Length", "0");
      return { status: 416, body: empty };
    case "part": {
      const { start, end } = verdict;
      fields.push("Content-Range", `bytes ${start}-${end - 1}/${lengthBytes}`, "Content-Length", String(end - start));
      return { status: 206, body: Buffer.isBuffer(body) ? body.subarray(start, end) : body };
    }
    case "whole": {
      if (Buffer.isBuffer(body) && delivery.status === 200) fields.push("Accept-Ranges", "bytes");
      // 204 and 304 have no content, and so no length (RFC 9110 §8.6).
      const hasContent = delivery.status !== 204 && delivery.status !== 304;
      if (lengthBytes !== null && hasContent) fields.push("Content-Length", String(lengthBytes));
      return { status: delivery.status, body };
    }
  }
}

const lifetimeFields = new Set(["cache-control", "cdn-cache-control", "expires"]);

/** Fields of the body that is not sent, and of its lifetime: a refusal must not be kept in the body's stead. */
function dropContentFields(fields: string[]): void {
  for (let index = fields.length - 2; index >= 0; index -= 2) {
    const name = (fields[index] ?? "").toLowerCase();
    const isOfContent = name.startsWith("content-") && name !== "content-security-policy";
    if (isOfContent || lifetimeFields.has(name)) fields.splice(index, 2);
  }
}

function blockPairs(block: Buffer): HeaderPairs {
  let pairs = pairsOfBlock.get(block);
  if (pairs === undefined) {
    pairs = headerPairsOf(block);
    pairsOfBlock.set(block, pairs);
  }
  return pairs;
}

/** Server-Timing (W3C): what the request cost here, and where. */
function serverTiming(delivery: Delivery, totalMs: number): string {
  const { fetchMs, renderMs, peerMs } = delivery.timings;
  const parts = [`cache;desc=${delivery.outcome.word}`];
  if (fetchMs !== undefined) parts.push(`fetch;dur=${fetchMs.toFixed(1)}`);
  if (renderMs !== undefined) parts.push(`render;dur=${renderMs.toFixed(1)}`);
  if (peerMs !== undefined) parts.push(`peer;dur=${peerMs.toFixed(1)}`);
  parts.push(`total;dur=${totalMs.toFixed(1)}`);
  return parts.join(", ");
}
