/** A queue in which client networks take turns: one with a thousand items gets no more turns than one with a single. */

export interface NetworkQueue<Item> {
  readonly add: (network: string, item: Item) => void;
  readonly remove: (network: string, item: Item) => void;
  /** Takes the oldest item of the network whose turn it is. */
  readonly next: () => Item | undefined;
  /** Items for which this is so, and all older ones of their network are, too. They stay in the queue. */
  readonly oldest: (isSo: (item: Item) => boolean) => Item[];
  readonly size: () => number;
}

/** Whoever adds bounds the number of items. */
export function createNetworkQueue<Item>(): NetworkQueue<Item> {
  /** The first network has waited longest for a turn. */
  const byNetwork = new Map<string, Set<Item>>();
  let size = 0;
  const remove = (network: string, item: Item): void => {
    const items = byNetwork.get(network);
    if (items?.delete(item) !== true) return;
    size -= 1;
    if (items.size === 0) byNetwork.delete(network);
  };
  return {
    add(network, item) {
      const items = byNetwork.get(network) ?? new Set();
      if (items.has(item)) return;
      byNetwork.set(network, items.add(item));
      size += 1;
    },
    remove,
    next() {
      for (const [network, items] of byNetwork) {
        const [oldest] = items;
        if (oldest === undefined) continue;
        remove(network, oldest);
        // The others come before it from now on.
        if (byNetwork.delete(network)) byNetwork.set(network, items);
        return oldest;
      }
      return undefined;
    },
    oldest(isSo) {
      const found: Item[] = [];
      for (const items of byNetwork.values()) {
        for (const item of items) {
          if (!isSo(item)) break;
          found.push(item);
        }
      }
      return found;
    },
    size: () => size,
  };
}
