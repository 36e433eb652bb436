/**
 * The outcome of a request, in the words that the code switches on, the metrics count, and Cache-Status (RFC 9211)
 * reports.
 *
 *   hit     from a tier, fresh
 *   stale   from a tier, after its lifetime: it is being revalidated in the background, the origin failed or is late,
 *           or this node is overloaded
 *   miss    the response had to be fetched, rendered or revalidated first
 *   bypass  the response passed through and was neither stored nor shared
 *
 * The detail of a miss says which other node took part: `owner`, `spill-nyc` (a member of that site made it),
 * `shield-rendered` (rendered here from what the shield sent). The entries of those nodes come first in Cache-Status,
 * the one nearest to the origin before the others.
 */
import { type ErrorCode, isKeptFailure, type NearcastError } from "#base/errors.ts";
import type { HeaderPairs, Tier } from "../cache/object.ts";
import type { Body } from "#base/body.ts";

export type MissReason = "uri-miss" | "vary-miss" | "stale";

/**
 * Why a stale response is delivered: it is being revalidated, the origin failed or is late, or this node is too busy to
 * ask.
 */
export type StaleReason = "revalidating" | "origin-error" | "origin-slow" | "overloaded";

export type Outcome =
  | { word: "hit"; tier: Tier; ttlSeconds: number }
  | { word: "stale"; tier: Tier; reason: StaleReason; ttlSeconds: number }
  | { word: "miss"; reason: MissReason; isStored: boolean; isCollapsed: boolean; detail: string; ttlSeconds: number }
  | { word: "bypass"; reason: string; isCollapsed: boolean };

/** Milliseconds that parts of the work took, for Server-Timing. A part that did not happen is absent. */
export interface Timings {
  fetchMs?: number;
  renderMs?: number;
  /** Time until another node had answered. */
  peerMs?: number;
}

/** An answer, before conditions and ranges of the request are applied to it. */
export interface Delivery {
  readonly outcome: Outcome;
  readonly status: number;
  /** Header lines that belong to the object, ready to send. */
  readonly headerBlock: Buffer;
  /** Header lines that depend on host or URL. */
  readonly headers: HeaderPairs;
  readonly body: Body;
  /** Null: not known yet. */
  readonly lengthBytes: number | null;
  readonly etag: string | null;
  readonly lastModified: string | null;
  /** Null: the answer was made or validated for this request. */
  readonly ageSeconds: number | null;
  readonly timings: Timings;
  /** Cache-Status of the nodes that were asked, which precedes this node's own. */
  readonly statusBefore?: string | null;
  /** Of a hit: what is needed to answer further requests in the same way. */
  readonly stored?: StoredResponse;
}

/** A stored response that was delivered, and how it is found. */
export interface StoredResponse {
  readonly key: string;
  /** What led to it: the name of a picture's source, or the key of all responses for an asset's URL. */
  readonly foundBy: string;
  /** Of a picture's variant: the hash of its source. */
  readonly sourceHash?: string;
  /** When its age was 0 (RFC 9111 §4.2.3), in wall-clock milliseconds. */
  readonly bornAtMs: number;
  readonly lifetimeSeconds: number;
  /** Names of the request fields that selected it (Vary), in lower case. */
  readonly selectedBy: readonly string[];
}

/** This cache's name in Cache-Status: a token begins with a letter (RFC 9651 §3.3.4), other names are strings. */
function cacheNameOf(node: string): string {
  return /^[a-z]/i.test(node) ? node : `"${node}"`;
}

/** Failures that occur before anyone else is asked, so that there is no `fwd` (RFC 9211 §2.2). */
const unforwarded: ReadonlySet<ErrorCode> = new Set(["NOT_CACHED", "LOOP_DETECTED", "NOT_READY"]);

/**
 * Cache-Status of an error response of this node: it could not get a response, or could not send the one that it had.
 * Such a failure is not a `hit`: the cache did not satisfy the request (RFC 9211 §2.1).
 * @param outcome the outcome of the response that could not be sent
 */
export function errorStatusOf(node: string, error: NearcastError, outcome: Outcome | undefined): string {
  const isForwarded = !unforwarded.has(error.code) && (outcome === undefined || wasForwarded(outcome));
  const forwarded = isForwarded ? "; fwd=miss" : "";
  return `${cacheNameOf(node)}${forwarded}${isKeptFailure(error) ? "; collapsed" : ""}; detail=${error.code}`;
}

/** If the origin failed or is late, the request was forwarded, so it is not a `hit` (RFC 9211 §2.1, §2.2). */
const forwardedReasons: ReadonlySet<StaleReason> = new Set(["origin-error", "origin-slow"]);

function wasForwarded(outcome: Outcome): boolean {
  return !(outcome.word === "hit" || (outcome.word === "stale" && !forwardedReasons.has(outcome.reason)));
}

/** The value of Cache-Status (RFC 9211 §2): of the caches nearer to the origin, if any, and of this node. */
export function cacheStatusOf(nodeName: string, outcome: Outcome, statusBefore?: string | null): string {
  const own = entryOf(cacheNameOf(nodeName), outcome);
  return statusBefore === undefined || statusBefore === null ? own : `${statusBefore}, ${own}`;
}

function entryOf(node: string, outcome: Outcome): string {
  switch (outcome.word) {
    case "hit":
      return `${node}; hit; ttl=${outcome.ttlSeconds}; detail=${outcome.tier}`;
    case "stale": {
      const how = forwardedReasons.has(outcome.reason) ? "fwd=stale" : "hit";
      return `${node}; ${how}; ttl=${outcome.ttlSeconds}; detail=${outcome.tier}-${outcome.reason}`;
    }
    case "miss": {
      const flags = `${outcome.isStored ? "; stored" : ""}${outcome.isCollapsed ? "; collapsed" : ""}`;
      return `${node}; fwd=${outcome.reason}${flags}; ttl=${outcome.ttlSeconds}; detail=${outcome.detail}`;
    }
    case "bypass":
      return `${node}; fwd=bypass${outcome.isCollapsed ? "; collapsed" : ""}; detail=${outcome.reason}`;
  }
}
