/**
 * Memory before disk, seen as one store.
 *
 * load() asks memory, then the disk once per key however many ask, and admits what the disk gave to memory. store()
 * writes to both, storeInMemory() and storeOnDisk() to one. A purge is in force for memory when purge() returns and
 * for the disk when its promise resolves; an object that it means and that was on its way from disk to memory meanwhile
 * is dropped.
 */
import type { DiskTier } from "./disk/disk-tier.ts";
import { createFlights, type Flight } from "./flights.ts";
import type { MemoryTier } from "./memory.ts";
import { type CachedObject, memoryBytesOf, type ObjectFacts } from "./object.ts";
import { type Found, isPurgedBy, type Purge } from "./purge.ts";

export type Tier = "memory" | "disk";

export type TierLookup = { outcome: "hit"; tier: Tier; object: CachedObject } | { outcome: "miss" };

export interface Tiers {
  /** Memory alone, at once. */
  loadMemory: (key: string) => CachedObject | undefined;
  load: (key: string) => Promise<TierLookup>;
  /** Where the object lies, without reading it or counting it as used. */
  locate: (key: string) => Tier | undefined;
  /** Its facts; of an object on disk, its head is read. */
  factsOf: (key: string) => Promise<ObjectFacts | undefined>;
  /** Returns whether one tier at least took the object. */
  store: (object: CachedObject) => boolean;
  /** For what another node keeps on its disk: memory alone. What the disk has under this key is older, and goes. */
  storeInMemory: (object: CachedObject) => boolean;
  /** For what is read whole once and rarely again, such as sources: the disk alone. */
  storeOnDisk: (object: CachedObject) => boolean;
  /** The disk alone; memory does not admit it. */
  loadFromDisk: (key: string) => Promise<CachedObject | undefined>;
  remove: (key: string) => Promise<void>;
  /** @param found told of each object, from what the tiers' indices know; nothing is read for it */
  purge: (purge: Purge, found?: FoundInTier) => Promise<number>;
  /** The keys of the objects in either tier that a purge concerns. */
  keysOf: (purge: Purge, found?: FoundInTier) => Promise<Set<string>>;
}

export type FoundInTier = (tier: Tier, ...about: Parameters<Found>) => void;

export function joinTiers(memory: MemoryTier, disk: DiskTier): Tiers {
  const loads = createFlights<CachedObject | undefined>();
  /** The purges that came during each load under way: which objects they mean is not known before the file is read. */
  const underway = new Set<Purge[]>();

  async function admitFromDisk(
    loading: Promise<CachedObject | undefined>,
    flight: Flight,
  ): Promise<CachedObject | undefined> {
    const meanwhile: Purge[] = [];
    underway.add(meanwhile);
    try {
      const object = await loading;
      if (object === undefined || flight.isOvertaken) return undefined;
      if (meanwhile.some((purge) => isPurgedBy(object.facts, purge))) return undefined;
      memory.store(object);
      return object;
    } finally {
      underway.delete(meanwhile);
    }
  }

  /** What the disk has. At once where it can: then nothing comes in between. */
  function loadOnce(key: string): CachedObject | undefined | Promise<CachedObject | undefined> {
    const running = loads.running(key);
    if (running !== undefined) return running;
    const loaded = disk.load(key);
    if (loaded instanceof Promise) return loads.join(key, (flight) => admitFromDisk(loaded, flight)).result;
    if (loaded !== undefined) memory.store(loaded);
    return loaded;
  }

  return {
    loadMemory: (key) => memory.load(key),
    async load(key) {
      const ready = memory.load(key);
      if (ready !== undefined) return { outcome: "hit", tier: "memory", object: ready };
      const loaded = loadOnce(key);
      const object = loaded instanceof Promise ? await loaded : loaded;
      return object === undefined ? { outcome: "miss" } : { outcome: "hit", tier: "disk", object };
    },
    locate(key) {
      if (memory.peek(key) !== undefined) return "memory";
      return disk.contains(key) ? "disk" : undefined;
    },
    async factsOf(key) {
      return memory.peek(key)?.facts ?? (await disk.find(key))?.facts;
    },
    store(object) {
      // What is on its way from disk is older.
      loads.overtake((other) => other === object.key);
      const isInMemory = memory.store(object);
      return disk.store(object) || isInMemory;
    },
    storeInMemory(object) {
      loads.overtake((other) => other === object.key);
      if (disk.contains(object.key)) void disk.remove(object.key);
      return memory.store(object);
    },
    storeOnDisk: (object) => disk.store(object),
    loadFromDisk: async (key) => await disk.load(key),
    async remove(key) {
      memory.remove(key);
      loads.overtake((other) => other === key);
      await disk.remove(key);
    },
    async purge(purge, found) {
      const inMemory = memory.purge(purge, (...about) => found?.("memory", ...about));
      for (const meanwhile of underway) meanwhile.push(purge);
      const onDisk = await disk.purge(purge, (...about) => found?.("disk", ...about));
      return Math.max(inMemory, onDisk);
    },
    async keysOf(purge, found) {
      const keys = memory.keysOf(purge);
      for (const key of keys) {
        const object = memory.peek(key);
        if (object !== undefined && isPurgedBy(object.facts, purge))
          found?.("memory", object.facts, memoryBytesOf(object));
      }
      await disk.eachPurged(purge, ({ key, facts }, bytes) => {
        keys.add(key);
        found?.("disk", facts, bytes);
      });
      return keys;
    },
  };
}
