/**
 * The memory tier: objects ready to send, bounded by bytes.
 *
 *   store ──▶ admit: the policy names victims until there is room ──▶ lru-cache keeps the object
 *
 * lru-cache holds the objects and counts their bytes. The policy (greedy-dual-policy.ts) decides which of them are
 * removed, before an object is stored, so lru-cache never has to choose, and the bytes never exceed the budget. An
 * object that would be the next victim itself is not admitted, and one object may take at most an eighth of the budget.
 */
import { LRUCache } from "lru-cache";
import { setImmediate as nextTurn } from "node:timers/promises";
import { admit } from "./eviction-policy.ts";
import { createGreedyDualPolicy } from "./greedy-dual-policy.ts";
import { type CachedObject, costMsOf, memoryBytesOf } from "./object.ts";
import type { SweepVisitor } from "./purge-sweep.ts";

export interface MemoryTier {
  /** The object, which counts as used now. */
  load: (key: string) => CachedObject | undefined;
  /** The object, without counting as used. */
  peek: (key: string) => CachedObject | undefined;
  /** Whether an object that is not here is worth more than what would make room for it. Counts as a use. */
  isWanted: (key: string, bytes: number, costMs: number) => boolean;
  /** Returns whether the object was admitted. */
  store: (object: CachedObject) => boolean;
  remove: (key: string) => void;
  clear: () => void;
  /** For the sweep. */
  walk: (visitor: SweepVisitor) => Promise<void>;
  stats: () => { entries: number; bytes: number; bytesMax: number; evictions: number };
}

/** Objects that a walk looks at in one turn of the event loop: about 2 ms. */
const objectsPerTurn = 5000;
/** The part of the budget that one object may take. */
export const objectShareMax = 1 / 8;

export function openMemoryTier(bytesMax: number): MemoryTier {
  const policy = createGreedyDualPolicy();
  const objectBytesMax = Math.floor(bytesMax * objectShareMax);
  let evictions = 0;
  const cache = new LRUCache<string, CachedObject>({
    // A backstop: there is always room when an object is stored.
    maxSize: bytesMax + objectBytesMax,
    sizeCalculation: memoryBytesOf,
    dispose(_object, key) {
      policy.removed(key);
    },
  });

  function evict(key: string): number {
    const bytesBefore = cache.calculatedSize;
    cache.delete(key);
    evictions += 1;
    return bytesBefore - cache.calculatedSize;
  }

  return {
    load(key) {
      const object = cache.peek(key);
      if (object !== undefined) policy.used(key);
      return object;
    },
    peek: (key) => cache.peek(key),
    isWanted(key, bytes, costMs) {
      if (bytes > objectBytesMax) return false;
      const isRoom = cache.calculatedSize + bytes <= bytesMax;
      return policy.isWorthMore(key, bytes, costMs) || isRoom;
    },
    store(object) {
      const { key } = object;
      const bytes = memoryBytesOf(object);
      // Even if it is not admitted: the object that it replaces must not be found instead.
      cache.delete(key);
      if (bytes > objectBytesMax) return false;
      const candidate = { key, bytes, costMs: costMsOf(object.facts) };
      if (!admit(policy, candidate, bytesMax - cache.calculatedSize, evict)) return false;
      cache.set(key, object);
      return true;
    },
    remove(key) {
      cache.delete(key);
    },
    clear() {
      cache.clear();
    },
    async walk({ isConcernable, visit }) {
      // Slots stay where they are while objects come and go between two slices.
      for (let slot = 0; slot < policy.slots(); slot += 1) {
        if (slot % objectsPerTurn === objectsPerTurn - 1) await nextTurn();
        const key = policy.keyAt(slot);
        const object = key === undefined ? undefined : cache.peek(key);
        if (object === undefined || !isConcernable(object.facts.feedSeq)) continue;
        if (visit(object.facts, memoryBytesOf(object)) === "drop") cache.delete(object.key);
      }
    },
    stats: () => ({ entries: cache.size, bytes: cache.calculatedSize, bytesMax, evictions }),
  };
}
