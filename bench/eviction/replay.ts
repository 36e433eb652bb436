/** Replays a trace through a cache with a budget and an eviction policy, and counts the hits. Stores no bytes. */
import assert from "node:assert/strict";
import { admit, type EvictionPolicy } from "../../node/cache/eviction-policy.ts";
import type { Trace } from "./trace.ts";

export interface HitRatios {
  /** Hits / requests. */
  readonly objects: number;
  /** Bytes of the hits / bytes of the requests. */
  readonly bytes: number;
}

/** Of all objects of a trace that are requested at least once. */
export function uniqueBytes({ bytes, requests }: Trace): number {
  const seen = new Uint8Array(bytes.length);
  let sum = 0;
  for (const position of requests) {
    if (seen[position] === 1) continue;
    seen[position] = 1;
    sum += bytes[position] as number;
  }
  return sum;
}

/** @param objectBytesMax larger ones are not stored */
export function replay(trace: Trace, policy: EvictionPolicy, bytesMax: number, objectBytesMax: number): HitRatios {
  const stored = new Map<string, number>();
  const counts = { requests: 0, hits: 0, bytes: 0, hitBytes: 0 };
  let freeBytes = bytesMax;
  const evict = (key: string): number => {
    const bytes = stored.get(key);
    assert(bytes !== undefined, "a victim must be stored");
    stored.delete(key);
    policy.removed(key);
    freeBytes += bytes;
    return bytes;
  };
  for (const position of trace.requests) {
    const key = trace.keys[position] as string;
    const bytes = trace.bytes[position] as number;
    counts.requests += 1;
    counts.bytes += bytes;
    if (stored.has(key)) {
      counts.hits += 1;
      counts.hitBytes += bytes;
      policy.used(key);
      continue;
    }
    if (bytes > objectBytesMax) continue;
    const costMs = trace.costsMs[position] as number;
    if (!admit(policy, { key, bytes, costMs }, freeBytes, evict)) continue;
    stored.set(key, bytes);
    freeBytes -= bytes;
    assert(freeBytes >= 0);
  }
  return { objects: counts.hits / counts.requests, bytes: counts.hitBytes / counts.bytes };
}
