/** Replays a trace through a simulated cache, and counts the hits. */
import type { SimulatedCache } from "./simulated-cache.ts";
import type { Trace } from "./trace.ts";

export interface HitRatios {
  /** Hits / requests. */
  readonly objects: number;
  /** Bytes of the hits / bytes of the requests. */
  readonly bytes: number;
  /** Bytes that the cache copied / bytes of the misses, which it wrote. */
  readonly copied: number;
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

export function replay({ bytes, requests }: Trace, cache: SimulatedCache): HitRatios {
  const counts = { hits: 0, bytes: 0, hitBytes: 0 };
  for (const position of requests) {
    const bytesOf = bytes[position] as number;
    counts.bytes += bytesOf;
    if (!cache.request(position)) continue;
    counts.hits += 1;
    counts.hitBytes += bytesOf;
  }
  return {
    objects: counts.hits / requests.length,
    bytes: counts.hitBytes / counts.bytes,
    copied: cache.copiedBytes() / Math.max(1, counts.bytes - counts.hitBytes),
  };
}
