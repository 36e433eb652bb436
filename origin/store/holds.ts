/**
 * Separates the sweep from the uploads. Between the moment a blob is stored and the moment a version refers to it,
 * nothing refers to it: a sweep at that moment would remove a blob that is about to be acknowledged.
 *
 *   upload  hold(key)   waits while the key is being removed; then nobody removes it until the upload releases it
 *   sweep   seize(key)  refused while anybody holds the key
 *
 * There is no await between checking and marking, so the two can't race.
 */

export interface Holds {
  /** Runs `work` while nobody may remove the blob. */
  readonly hold: <Result>(key: string, work: () => Promise<Result>) => Promise<Result>;
  /** Runs `work`, which may remove the blob, unless it is held. @returns whether it ran */
  readonly seize: (key: string, work: () => Promise<void>) => Promise<boolean>;
}

export function openHolds(): Holds {
  // Bounded by the number of concurrent uploads, and by the one removal of the sweep.
  const holderCounts = new Map<string, number>();
  const removals = new Map<string, Promise<void>>();
  return {
    hold: async (key, work) => {
      for (let removal = removals.get(key); removal !== undefined; removal = removals.get(key)) await removal;
      holderCounts.set(key, (holderCounts.get(key) ?? 0) + 1);
      try {
        return await work();
      } finally {
        const left = (holderCounts.get(key) ?? 1) - 1;
        if (left === 0) holderCounts.delete(key);
        else holderCounts.set(key, left);
      }
    },
    seize: async (key, work) => {
      if (holderCounts.has(key) || removals.has(key)) return false;
      const { promise, resolve } = Promise.withResolvers<void>();
      removals.set(key, promise);
      try {
        await work();
        return true;
      } finally {
        removals.delete(key);
        resolve();
      }
    },
  };
}
