/** The header section and body of an origin's response, to be stored as an object or passed through to a client. */
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { cacheTag, hostTag, urlTag } from "#purge/entry-tags.ts";
import { type HeaderPairs, headerPairsOf } from "../cache/object.ts";
import { fieldOf, type RequestFields } from "../fetch/asset.ts";
import { dropBody } from "../fetch/body.ts";
import { ownPrefix } from "./wire.ts";

/** An answer from any source; its body is here in full, or still arriving. */
export interface Arrived {
  statusCode: number;
  headers: RequestFields;
  body: Buffer | Dispatcher.ResponseData["body"];
  /** Of an answer of another node: to be called by who can get the rest elsewhere (peer/client.ts). */
  endIfFrozen?: () => void;
}

export function drop({ body }: Arrived): void {
  if (!Buffer.isBuffer(body)) dropBody({ body });
}

export function streamOf({ body }: Arrived): Readable {
  return Buffer.isBuffer(body) ? Readable.from([body]) : body;
}

/** Tags of an object that do not come from its origin. */
export const ownTags = 2;

/** What a purge can name: the host, the address without its query, and what the origin calls it. */
export function tagsOf(host: string, target: string, fields: ReadonlyMap<string, string>): string[] {
  const own = `${fields.get("cache-tag") ?? ""} ${fields.get("surrogate-key") ?? ""}`
    .split(/[\s,]+/)
    .filter((tag) => tag !== "");
  const path = target.split("?", 1)[0] ?? "";
  return [hostTag(host), urlTag(host, path), ...own.map(cacheTag)];
}

/**
 * Fields of one connection only (RFC 9110 §7.6.1), those named in Connection, lengths, which are set again, and fields
 * that only nodes may send to each other.
 */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "content-length",
]);

export function endToEndPairs(headers: RequestFields): HeaderPairs {
  // Split at each comma and then trimmed: a pattern of spaces, comma, spaces takes quadratic time on spaces alone.
  const connection = (fieldOf(headers, "connection") ?? "").toLowerCase();
  const named = new Set(connection.split(",").map((name) => name.trim()));
  return Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined || hopByHop.has(name) || named.has(name) || name.startsWith(ownPrefix)) return [];
    return (Array.isArray(value) ? value : [value]).map((one) => [name, one] as const);
  });
}

/** An answer without Date gets the time of its arrival, even if it is forwarded later (RFC 9110 §6.6.1). */
export function withDate(headers: RequestFields, receivedAtMs: number): RequestFields {
  return headers["date"] === undefined ? { ...headers, date: new Date(receivedAtMs).toUTCString() } : headers;
}

/** Whether a 304 is about the requested version; one for another version may not freshen it (RFC 9111 §4.3.4). */
export function isAbout(etag: string | null, unchanged: Pick<Arrived, "headers">): boolean {
  const theirs = fieldOf(unchanged.headers, "etag");
  return etag === null || theirs === undefined || theirs.replace(/^W\//, "") === etag.replace(/^W\//, "");
}

/** The stored header section, freshened by that of a 304 (RFC 9111 §3.2). */
export function mergedPairs(before: Buffer, headers: RequestFields): HeaderPairs {
  const news = endToEndPairs(headers).filter(
    ([name]) => !["content-encoding", "content-type", "content-range"].includes(name),
  );
  const renewed = new Set(news.map(([name]) => name));
  const kept = headerPairsOf(before).filter(([name]) => !renewed.has(name.toLowerCase()));
  return [...kept, ...news];
}

/**
 * Fields by name in lower case. Several lines of one name are one list (RFC 9110 §5.3): the second Cache-Control counts
 * as much as the first. Of validators the first holds.
 */
export function fieldsOf(pairs: HeaderPairs): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [name, value] of pairs) {
    const key = name.toLowerCase();
    const earlier = fields.get(key);
    if (earlier === undefined) fields.set(key, value);
    else if (key !== "etag" && key !== "last-modified") fields.set(key, `${earlier}, ${value}`);
  }
  return fields;
}

/** The length that the origin announced for a body that passes through as it is. */
export function lengthOf(answer: Omit<Arrived, "body">): number | null {
  const text = answer.statusCode === 304 ? undefined : fieldOf(answer.headers, "content-length");
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

type Collected = { outcome: "whole"; body: Buffer } | { outcome: "too-large"; body: Readable };

/**
 * The whole body, or, beyond the bound, a stream of what was read and what is still to come.
 * @param most `timeoutMs`: the time until the whole body, or more than `bytesMax` of it, has arrived
 * @throws NearcastError ORIGIN_TIMEOUT, ORIGIN_BAD_ANSWER
 */
export async function collect(
  answer: Arrived,
  most: { bytesMax: number; timeoutMs: number },
  clock: Clock,
): Promise<Collected> {
  const { body: arriving } = answer;
  const { bytesMax, timeoutMs } = most;
  if (Buffer.isBuffer(arriving)) return { outcome: "whole", body: arriving };
  if (Number(answer.headers["content-length"] ?? 0) > bytesMax) return { outcome: "too-large", body: arriving };
  const cancel = clock.after(timeoutMs, () => {
    arriving.destroy(
      new NearcastError("ORIGIN_TIMEOUT", `the body of an error response was not complete within ${timeoutMs} ms`),
    );
  });
  try {
    return await collectFrom(arriving, bytesMax);
  } catch (error) {
    if (error instanceof NearcastError) throw error;
    const isSilent = (error as { code?: string }).code === "UND_ERR_BODY_TIMEOUT";
    throw isSilent
      ? new NearcastError("ORIGIN_TIMEOUT", `no byte of the body within ${timeoutMs} ms`, { cause: error })
      : new NearcastError("ORIGIN_BAD_ANSWER", "the origin closed the connection in the middle of a body", {
          cause: error,
        });
  } finally {
    cancel();
  }
}

async function collectFrom(arriving: Readable, bytesMax: number): Promise<Collected> {
  const chunks: Buffer[] = [];
  let length = 0;
  const iterator = arriving[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) return { outcome: "whole", body: Buffer.concat(chunks, length) };
    chunks.push(next.value);
    length += next.value.length;
    if (length > bytesMax) {
      const body = Readable.from(rest(chunks, iterator));
      // A generator that nobody has read from does not run its `finally`, so the connection is released from outside.
      arriving.on("error", () => undefined); // undici's, of a body destroyed unread
      body.once("close", () => {
        arriving.destroy();
      });
      return { outcome: "too-large", body };
    }
  }
}

async function* rest(chunks: readonly Buffer[], iterator: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield* chunks;
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
}
