/**
 * Caches without bytes, for replays: one around an eviction policy, and the disk tier without its files. Eviction and
 * admission are those of the tiers; only the store is simulated.
 */
import assert from "node:assert/strict";
import { createDiskModel, request } from "../../node/cache/disk/model.ts";
import { keyWords, readKey } from "../../node/cache/disk/key.ts";
import { admit, type EvictionPolicy } from "../../node/cache/eviction-policy.ts";
import { keyOf } from "../../node/cache/object.ts";
import type { Trace } from "./trace.ts";

export interface SimulatedCache {
  /** A request for the object at this position of the trace. Returns whether it was a hit; a miss stores the object. */
  request: (position: number) => boolean;
  /** Bytes that were written a second time, because they were copied within the cache. */
  copiedBytes: () => number;
}

export interface CacheBounds {
  readonly bytesMax: number;
  /** Larger objects are not stored. */
  readonly objectBytesMax: number;
}

export function cacheWithPolicy(trace: Trace, policy: EvictionPolicy, bounds: CacheBounds): SimulatedCache {
  const stored = new Map<string, number>();
  let freeBytes = bounds.bytesMax;
  const evict = (key: string): number => {
    const bytes = stored.get(key);
    assert(bytes !== undefined, "a victim must be stored");
    stored.delete(key);
    policy.removed(key);
    freeBytes += bytes;
    return bytes;
  };
  return {
    request(position) {
      const key = trace.keys[position] as string;
      if (stored.has(key)) {
        policy.used(key);
        return true;
      }
      const [bytes, costMs] = [trace.bytes[position] as number, trace.costsMs[position] as number];
      if (bytes > bounds.objectBytesMax || !admit(policy, { key, bytes, costMs }, freeBytes, evict)) return false;
      stored.set(key, bytes);
      freeBytes -= bytes;
      assert(freeBytes >= 0);
      return false;
    },
    copiedBytes: () => 0,
  };
}

export function diskCache(trace: Trace, bounds: CacheBounds): SimulatedCache {
  const model = createDiskModel(bounds.bytesMax);
  const keys = new Uint32Array(trace.keys.length * keyWords);
  const keyAt = (position: number): Uint32Array => keys.subarray(position * keyWords, (position + 1) * keyWords);
  for (const [position, key] of trace.keys.entries()) readKey(keyOf(key), keyAt(position));
  return {
    request(position) {
      const bytes = trace.bytes[position] as number;
      return bytes <= bounds.objectBytesMax && request(model, keyAt(position), bytes);
    },
    copiedBytes: () => model.copiedBytes,
  };
}
