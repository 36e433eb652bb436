/** Least recently used, for the comparison. */
import type { EvictionPolicy } from "../../node/cache/eviction-policy.ts";
import { createKeyQueue } from "./key-queue.ts";

export function createLruPolicy(): EvictionPolicy {
  const keys = createKeyQueue<true>();
  return {
    inserted(key) {
      keys.push(key, true);
    },
    used(key) {
      if (keys.remove(key)) keys.push(key, true);
    },
    removed(key) {
      keys.remove(key);
    },
    victim: () => keys.oldest()?.key,
  };
}
