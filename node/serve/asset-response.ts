/**
 * Judges a response of an origin for the cache: the key and the head with which it is stored, or why it is not. Pure.
 */
import { isEventStream } from "#base/event-streams.ts";
import { canonicalName } from "#record/domain-names.ts";
import { type BypassReason, judgeStorability } from "../cache/freshness.ts";
import { headerBlockOf, type HeaderPairs, type ObjectFacts, tagsMax } from "../cache/object.ts";
import { fieldOf, type RequestFields } from "../fetch/asset.ts";
import { endToEndPairs, fieldsOf, mergedPairs, ownTags, tagsOf, withDate } from "./asset-answer.ts";
import { keyAmong, type Notes } from "./asset-key.ts";
import type { Way } from "./asset-way.ts";
import type { AssetOrder } from "./order.ts";

/** The head of a response, ready to be stored and sent. */
export interface AssetHead {
  readonly key: string;
  readonly facts: ObjectFacts;
  readonly headerBlock: Buffer;
  /** The fields that select among the URL's responses. */
  readonly varyFields: readonly string[];
}

export type Meaning =
  | { readonly outcome: "store"; readonly head: AssetHead }
  | {
      readonly outcome: "pass";
      readonly reason: BypassReason | "too-many-tags" | "event-stream";
      readonly pairs: HeaderPairs;
    };

/** @param before the stored response that a 304 freshens; null for any other status */
export function meaningOf(
  order: AssetOrder,
  answer: { readonly statusCode: number; readonly headers: RequestFields },
  times: { requestedAtMs: number; receivedAtMs: number },
  before: { readonly facts: ObjectFacts; readonly headerBlock: Buffer } | null,
  way: Pick<Way, "feedSeq" | "mark">,
): Meaning {
  const headers = withDate(answer.headers, times.receivedAtMs);
  const pairs = before === null ? endToEndPairs(headers) : mergedPairs(before.headerBlock, headers);
  const status = before === null ? answer.statusCode : before.facts.status;
  const fields = fieldsOf(pairs);
  // Events come for as long as the connection lasts: there is no whole body to store (WHATWG HTML §9.2).
  if (isEventStream(fields.get("content-type"))) return { outcome: "pass", reason: "event-stream", pairs };
  const judged = judgeStorability(
    {
      status,
      cacheControl: fields.get("cache-control"),
      cdnCacheControl: fields.get("cdn-cache-control"),
      expires: fields.get("expires"),
      // The origin's own fields: those in the pairs may be our stamp, or an Age from before the 304.
      date: fieldOf(answer.headers, "date"),
      age: fieldOf(answer.headers, "age"),
      vary: fields.get("vary"),
      hasSetCookie: answer.headers["set-cookie"] !== undefined,
    },
    times,
    order.host,
  );
  if (judged.outcome === "bypass") return { outcome: "pass", reason: judged.reason, pairs };
  const tags = tagsOf(canonicalName(order.host.name), order.target, fields);
  const isTooMany = tags.length - ownTags > tagsMax;
  if (isTooMany && before === null) return { outcome: "pass", reason: "too-many-tags", pairs };
  // An encoded body is only for clients that accept the coding, even if the origin forgets to say so.
  const isEncoded = fields.has("content-encoding") && !judged.varyFields.includes("accept-encoding");
  const varyFields = isEncoded ? [...judged.varyFields, "accept-encoding"].toSorted() : judged.varyFields;
  const told: HeaderPairs = isEncoded ? [...pairs, ["Vary", "Accept-Encoding"]] : pairs; // RFC 9110 §12.5.5
  const notes: Notes = {
    freshness: judged.freshness,
    etag: fields.get("etag") ?? null,
    lastModified: fields.get("last-modified") ?? null,
  };
  const facts: ObjectFacts = {
    tags: isTooMany && before !== null ? before.facts.tags : tags,
    storedAtMs: times.receivedAtMs,
    feedSeq: way.feedSeq,
    ...(way.mark === null ? {} : { isSoftPurged: true }),
    ...(before?.facts.costMs === undefined ? {} : { costMs: before.facts.costMs }),
    status,
    notes: { ...notes },
  };
  const headerBlock = headerBlockOf(told.filter(([name]) => !["age", "accept-ranges"].includes(name.toLowerCase())));
  const key = keyAmong(order.primaryKey, varyFields, order.fields);
  return { outcome: "store", head: { key, facts, headerBlock, varyFields } };
}

/** Whether a response says that something failed, rather than what the URL means. */
export function isFailure(status: number): boolean {
  return status >= 500 ? status !== 501 : failureStatuses.has(status);
}

/**
 * Statuses that a client's own fields can provoke, or that are temporary (RFC 9110 §15.5, RFC 6585, RFC 8470): they
 * never replace a stored response. 404, 405, 410 and 414 say what the URL means, and are stored.
 */
const failureStatuses = new Set([
  400, 401, 402, 403, 406, 407, 408, 409, 411, 412, 413, 415, 417, 421, 422, 425, 426, 428, 429, 431, 451,
]);

/** Whether a failure means that the URL's response is not for anyone any more: then stored responses are removed. */
export function isWithdrawal(status: number): boolean {
  return withdrawals.has(status);
}

const withdrawals = new Set([401, 402, 403, 451]);
