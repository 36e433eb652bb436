/**
 * Which object a cache gives up when it needs room: the interface of eviction policies, and the one way in which a
 * cache uses them. Pure.
 *
 * The cache tells the policy what it stores, uses and removes. The policy keeps its own data about each object that is
 * stored, and no bytes.
 */
export interface EvictionPolicy {
  /**
   * The object is stored; no object with this key was.
   * @param costMs the time that it took to fetch or render it
   */
  inserted: (key: string, bytes: number, costMs: number) => void;
  used: (key: string) => void;
  /** The object is no longer stored, for whatever reason. */
  removed: (key: string) => void;
  /** The object to evict now. The caller evicts it. Undefined: none is stored. */
  victim: () => string | undefined;
}

/**
 * Evicts objects until there is room for a new one. An object that would be the next victim itself is not admitted.
 *
 * @param freeBytes what the cache has left
 * @param evict removes a stored object from cache and policy, and returns its bytes
 * @returns whether the cache may store the object; the policy then counts it as stored
 */
export function admit(
  policy: EvictionPolicy,
  candidate: { readonly key: string; readonly bytes: number; readonly costMs: number },
  freeBytes: number,
  evict: (key: string) => number,
): boolean {
  const { key, bytes, costMs } = candidate;
  policy.inserted(key, bytes, costMs);
  let free = freeBytes;
  while (free < bytes) {
    const victim = policy.victim();
    if (victim === undefined || victim === key) {
      policy.removed(key);
      return false;
    }
    free += evict(victim);
  }
  return true;
}
