/**
 * The memory tier: objects ready to send, bounded by bytes, over lru-cache.
 *
 * Only what is small next to the budget enters (an eighth), so that one large body can't empty the tier.
 */
import { LRUCache } from "lru-cache";
import { type CachedObject, memoryBytesOf } from "./object.ts";
import { createTagIndex, type Found, isPurgedBy, type Purge } from "./purge.ts";

export interface MemoryTier {
  /** The object, which counts as used now. */
  load: (key: string) => CachedObject | undefined;
  /** The object, without counting as used. */
  peek: (key: string) => CachedObject | undefined;
  /** Returns whether the object was admitted. */
  store: (object: CachedObject) => boolean;
  remove: (key: string) => void;
  /** Removes what the purge names; returns how many objects that were. */
  purge: (purge: Purge, found?: Found) => number;
  keysOf: (purge: Purge) => Set<string>;
  stats: () => { entries: number; bytes: number; bytesMax: number; evictions: number };
}

export function openMemoryTier(bytesMax: number): MemoryTier {
  const tags = createTagIndex();
  const entryBytesMax = Math.floor(bytesMax / 8);
  let evictions = 0;
  const cache = new LRUCache<string, CachedObject>({
    maxSize: bytesMax,
    sizeCalculation: memoryBytesOf,
    dispose(object, key, reason) {
      tags.remove(key, object.facts.tags);
      if (reason === "evict") evictions += 1;
    },
  });
  return {
    load: (key) => cache.get(key),
    peek: (key) => cache.peek(key),
    store(object) {
      if (memoryBytesOf(object) > entryBytesMax) {
        // What it replaces must not be found in its stead.
        cache.delete(object.key);
        return false;
      }
      cache.set(object.key, object);
      tags.add(object.key, object.facts.tags);
      return true;
    },
    remove(key) {
      cache.delete(key);
    },
    purge(purge, found) {
      let count = 0;
      for (const key of tags.keysOf(purge)) {
        const object = cache.peek(key);
        if (object === undefined || !isPurgedBy(object.facts, purge) || !cache.delete(key)) continue;
        count += 1;
        found?.(object.facts, memoryBytesOf(object));
      }
      return count;
    },
    keysOf: tags.keysOf,
    stats: () => ({ entries: cache.size, bytes: cache.calculatedSize, bytesMax, evictions }),
  };
}
