/**
 * What both tiers store: one response body, with everything that is needed to send it.
 *
 *   ┌ facts: small JSON, in the head record on disk ┐ ┌ headerBlock ┐ ┌ body ┐
 *
 * An object never changes: a new version of anything has another key, or replaces the object as a whole. `headerBlock`
 * holds the header lines that are the same for everyone (`Name: value\r\n`, latin1).
 */
import { createHash, hash } from "node:crypto";

/**
 * An object's tags are what a purge can name: `source:…`, `host:…`, `url:…` and the origin's own. An object with more
 * of the latter can't be stored, because a purge by an omitted tag would miss it. (All tags of a response fit into 16
 * KB of fields.)
 */
export const tagsMax = 1000;

/** Where an object lies. */
export type Tier = "memory" | "disk";

export interface ObjectFacts {
  readonly status: number;
  readonly tags: readonly string[];
  /** Wall clock at which it was stored. */
  readonly storedAtMs: number;
  /** The feed's position when the fetch of these bytes began: a later purge of one of the tags outdates them. */
  readonly feedSeq: number;
  /** The measured time that it took to fetch and render it; absent: unknown. */
  readonly costMs?: number;
  /** The node that it came from said that a soft purge concerned it. */
  readonly isSoftPurged?: true;
  /** What the code that made the object needs to know about it later; JSON. */
  readonly notes: Readonly<Record<string, unknown>>;
}

export interface CachedObject {
  readonly key: string;
  readonly facts: ObjectFacts;
  readonly headerBlock: Buffer;
  readonly body: Buffer;
}

/** Whether these are the facts of one stored object, not of two versions under one key. They may have been on disk. */
export function areOfOneObject(facts: ObjectFacts, others: ObjectFacts): boolean {
  return facts === others || JSON.stringify(facts) === JSON.stringify(others);
}

export type HeaderPairs = readonly (readonly [name: string, value: string])[];

/** Header lines as they go over the wire. Values must be free of CR and LF; undici and our own code see to that. */
export function headerBlockOf(pairs: HeaderPairs): Buffer {
  return Buffer.from(pairs.map(([name, value]) => `${name}: ${value}\r\n`).join(""), "latin1");
}

/** The pairs of a header block, for a listener that needs them one by one. */
export function headerPairsOf(block: Buffer): HeaderPairs {
  const lines = block.toString("latin1").split("\r\n");
  lines.pop();
  return lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 2)] as const;
  });
}

/** Bytes that the object takes in memory: its buffers and a flat estimate for the rest. */
export function memoryBytesOf({ body, headerBlock }: Pick<CachedObject, "body" | "headerBlock">): number {
  return memoryBytesFor(body.length, headerBlock);
}

/** The same for an object whose body is not in memory. */
export function memoryBytesFor(bodyBytes: number, headerBlock: Buffer): number {
  return bodyBytes + headerBlock.length + 512;
}

/** The cost of a fetch from an origin on the same continent, for objects whose cost was not measured. */
const costMsDefault = 100;
/** These bounds keep an object that was made in no time, or after a stall, from being worth nothing or everything. */
const [costMsMin, costMsMax] = [1, 10_000];

/** What it costs to make the object again, for the eviction policies of the tiers. */
export function costMsOf({ costMs = costMsDefault }: Pick<ObjectFacts, "costMs">): number {
  return Math.min(Math.max(costMs, costMsMin), costMsMax);
}

/**
 * A cache key: SHA-256 of its parts, in hexadecimal. Each part is preceded by its length, so that no two lists of
 * parts give the same bytes.
 */
export function keyOf(...parts: readonly string[]): string {
  let text = "";
  for (const part of parts) text += `${Buffer.byteLength(part)}:${part}`;
  return hash("sha256", text);
}

/** A strong entity tag (RFC 9110 §8.8.3) that differs whenever the bytes do. */
export function etagOf(body: Buffer): string {
  return `"${createHash("sha256").update(body).digest("base64url").slice(0, 27)}"`;
}
