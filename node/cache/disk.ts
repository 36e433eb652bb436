/**
 * The disk tier: objects in files, bounded by bytes, checksummed, warm after a restart.
 *
 *   DIR/tmp/…                 being written
 *   DIR/purges                purges of what the start's scan had not met yet (purge-journal.ts)
 *   DIR/objects/ab/ab12…      one object each (object-file.ts)
 *
 * Invariants
 * - A file appears under its final name whole (temp + rename), so `kill -9` leaves a whole file or none.
 * - No byte leaves without its checksum having been compared; a file that fails is removed and counts as a miss. The
 *   key is in the checksum, so a file under another's name fails.
 * - The sum of file sizes, in blocks of 4 KiB, never passes the bound: one file is written at a time, after room was
 *   made and the victims' files (and the one that it replaces) are gone.
 * - Work on one key happens in order.
 * - While the start's scan runs, files that it has not met are served all the same, by their name, after a look at
 *   the purges that came meanwhile. Nothing is written before the scan knows how much is there.
 */
import { LRUCache } from "lru-cache";
import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#base/clock.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { type CachedObject, memoryBytesOf, type ObjectFacts } from "./object.ts";
import { decodeObject, encodeObject, factsBytesMax, readFacts, readKnown, readWhole } from "./object-file.ts";
import { createTagIndex, type Found, isPurgedBy, type Purge } from "./purge.ts";
import { openPurgeJournal } from "./purge-journal.ts";

/** Objects that wait to be written; more are not stored (they stay in memory, and will be offered again). */
const backlogBytesMax = 256 * 1024 * 1024;
/** How many files the scan reads at once. */
const scanWidth = 16;
/** A read renews a file's place in the order of use on disk at most this often. */
const touchIntervalMs = 600_000;

interface Slot {
  /** Of the file; on disk it takes whole blocks. */
  sizeBytes: number;
  facts: ObjectFacts;
  touchedAtMs: number;
}

export interface DiskTier {
  load: (key: string) => Promise<CachedObject | undefined>;
  /** The facts of an object that is there, without reading it; undefined also while the scan has not met it. */
  factsOf: (key: string) => ObjectFacts | undefined;
  /** The bytes of the object's file, or what it will about take when it is written; 0 where factsOf() knows none. */
  bytesOf: (key: string) => number;
  /** Returns at once whether the object was taken; it is written behind. */
  store: (object: CachedObject) => boolean;
  remove: (key: string) => Promise<void>;
  /** Resolves when nothing that the purge names can be loaded any more, also not after a restart. */
  purge: (purge: Purge, tell?: Found) => Promise<number>;
  keysOf: (purge: Purge) => Set<string>;
  /** Resolves when the scan of the start is done. */
  scanned: Promise<void>;
  /** Whether it is still under way: what is on disk is then not all known. */
  isScanning: () => boolean;
  /** Resolves when all that was taken is written. */
  flushed: () => Promise<void>;
  stats: () => {
    entries: number;
    bytes: number;
    bytesMax: number;
    evictions: number;
    corrupt: number;
    writeFailures: number;
    refused: number;
  };
  close: () => Promise<void>;
}

/** @param bytesMax 0 turns the tier off: nothing is stored, nothing found */
export async function openDiskTier(options: {
  directory: string;
  bytesMax: number;
  clock: Clock;
  log: Log;
}): Promise<DiskTier> {
  const { directory, bytesMax, clock, log } = options;
  const failures = openFailureLog(log, clock);
  const objects = join(directory, "objects");
  const temporary = join(directory, "tmp");
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  await mkdir(objects, { recursive: true });

  const tags = createTagIndex();
  const chains = new Map<string, Promise<unknown>>();
  const doomed = new Map<string, Promise<void>>();
  const writing = new Map<string, CachedObject>();
  let backlogBytes = 0;
  let temporaryCount = 0;
  const counts = { evictions: 0, corrupt: 0, writeFailures: 0, refused: 0 };
  const state = { isScanning: true, isIndexed: false, isClosed: false };
  // Those that a start before this one could not carry out to the end are still in force.
  const journal = await openPurgeJournal(join(directory, "purges"), log);
  const found = new Map<string, Slot>();

  const slots = new LRUCache<string, Slot>({
    maxSize: Math.max(bytesMax, 1),
    sizeCalculation: (slot) => blocksOf(slot.sizeBytes),
    dispose(slot, key, reason) {
      tags.remove(key, slot.facts.tags);
      if (reason === "set") return;
      if (reason === "evict") counts.evictions += 1;
      const gone = removeFile(key).finally(() => {
        if (doomed.get(key) === gone) doomed.delete(key);
      });
      doomed.set(key, gone);
    },
  });

  function pathOf(key: string): string {
    return join(objects, key.slice(0, 2), key);
  }

  async function removeFile(key: string): Promise<void> {
    try {
      await rm(pathOf(key), { force: true });
    } catch (error) {
      failures.warn("REMOVE", { err: error, key }, "a cached file could not be removed; its space stays used");
    }
  }

  /** Runs `work` after all earlier work on this key. */
  function inOrder<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = chains.get(key) ?? Promise.resolve();
    const after = before.then(work, work);
    chains.set(key, after);
    const forget = (): void => {
      if (chains.get(key) === after) chains.delete(key);
    };
    after.then(forget, forget);
    return after;
  }

  async function read(key: string): Promise<CachedObject | undefined> {
    const known = slots.get(key);
    const isKnown = known !== undefined;
    if (!isKnown && (!state.isScanning || bytesMax === 0)) return undefined;
    let bytes: Buffer;
    try {
      bytes = await (isKnown ? readKnown(pathOf(key), known.sizeBytes) : readWhole(pathOf(key), bytesMax));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        failures.warn("READ", { err: error, key }, "a cached file could not be read; it counts as a miss");
      if (isKnown) slots.delete(key);
      return undefined;
    }
    const object = decodeObject(key, bytes);
    if (object === undefined) {
      counts.corrupt += 1;
      failures.warn("DAMAGED", { key }, "a cached file is damaged and was removed");
      if (isKnown) slots.delete(key);
      else await removeUnindexed(key);
      return undefined;
    }
    if (!isKnown && isPurgedMeanwhile(object.facts)) return undefined;
    const slot = slots.get(key);
    const nowMs = clock.wallMs();
    if (slot !== undefined && nowMs - slot.touchedAtMs > touchIntervalMs) {
      slot.touchedAtMs = nowMs;
      await utimes(pathOf(key), nowMs / 1000, nowMs / 1000).catch(() => undefined); // order of use only
    }
    return object;
  }

  /** A file that the scan has not put into the index yet. */
  async function removeUnindexed(key: string): Promise<void> {
    found.delete(key);
    await removeFile(key);
  }

  function isPurgedMeanwhile(facts: ObjectFacts): boolean {
    return journal.purges().some((purge) => isPurgedBy(facts, purge));
  }

  async function write(object: CachedObject): Promise<void> {
    const { key } = object;
    const path = join(temporary, `${key}.${(temporaryCount += 1)}`);
    try {
      const bytes = encodeObject(object);
      const fileBytes = blocksOf(bytes.byteLength);
      // Room first: what it replaces, then what was not used for longest; their files are gone before this one comes.
      slots.delete(key);
      while (slots.size > 0 && slots.calculatedSize + fileBytes > bytesMax) slots.pop();
      await Promise.all(doomed.values());
      await writeFile(path, bytes, { mode: 0o600 });
      await rename(path, pathOf(key)).catch(async (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        await mkdir(join(objects, key.slice(0, 2)), { recursive: true });
        await rename(path, pathOf(key));
      });
      // Purged while it was being written: whoever did so waits behind this to remove it.
      slots.set(key, { sizeBytes: bytes.length, facts: object.facts, touchedAtMs: clock.wallMs() });
      tags.add(key, object.facts.tags);
    } catch (error) {
      counts.writeFailures += 1;
      failures.warn("WRITE", { err: error, key }, "an object could not be written to the disk cache");
      await rm(path, { force: true }).catch(() => undefined); // the first failure was already told
    }
  }

  /** Never throws: the next in line must not suffer for this one. */
  async function writeInTurn(object: CachedObject, size: number): Promise<void> {
    const { key } = object;
    const isWanted = (): boolean => writing.get(key) === object; // not removed or replaced before its turn came
    try {
      if (!isWanted() || !state.isIndexed) return;
      await inOrder(key, async () => {
        if (isWanted()) await write(object);
      });
    } finally {
      backlogBytes -= size;
      if (isWanted()) writing.delete(key);
    }
  }

  async function flushed(): Promise<void> {
    let last: Promise<void>;
    do {
      last = writer;
      await last;
    } while (last !== writer);
  }

  async function* pathsOf(directories: readonly string[]): AsyncGenerator<string> {
    for (const name of directories) {
      try {
        for (const key of await readdir(join(objects, name))) {
          if (key.startsWith(name)) yield key;
          else await rm(join(objects, name, key), { force: true, recursive: true });
        }
      } catch (error) {
        // One that can't be read is no reason to give up all others.
        log.warn(
          { err: error, directory: name },
          "a directory of the disk cache could not be read; its files are not used",
        );
        if ((error as NodeJS.ErrnoException).code === "ENOTDIR") await rm(join(objects, name), { force: true });
      }
    }
  }

  async function scan(): Promise<void> {
    const usedAtMs = new Map<string, number>();
    const directories = (await readdir(objects)).filter((name) => /^[0-9a-f]{2}$/.test(name));
    const iterator = pathsOf(directories);
    const worker = async (): Promise<void> => {
      for (;;) {
        const next = await iterator.next();
        if (next.done === true || state.isClosed) return;
        const key = next.value;
        const path = pathOf(key);
        try {
          const facts = /^[0-9a-f]{64}$/.test(key) ? await readFacts(key, path) : undefined;
          const about = await stat(path);
          if (facts === undefined || isPurgedMeanwhile(facts)) {
            if (facts === undefined) counts.corrupt += 1;
            await rm(path, { force: true, recursive: true });
            continue;
          }
          usedAtMs.set(key, about.mtimeMs);
          found.set(key, { sizeBytes: about.size, facts, touchedAtMs: about.mtimeMs });
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOENT")
            log.warn({ err: error, key }, "a cached file could not be examined; it is not used");
        }
      }
    };
    await Promise.all(Array.from({ length: scanWidth }, worker));
    if (state.isClosed) return;
    for (const [key] of [...usedAtMs].toSorted((a, b) => a[1] - b[1])) {
      const slot = found.get(key);
      if (slot === undefined) continue; // removed meanwhile
      found.delete(key);
      if (isPurgedMeanwhile(slot.facts) || blocksOf(slot.sizeBytes) > bytesMax) {
        await removeFile(key);
        continue;
      }
      slots.set(key, slot);
      tags.add(key, slot.facts.tags);
    }
    await Promise.all(doomed.values());
    state.isScanning = false;
    state.isIndexed = true;
    await journal.clear();
    log.info({ entries: slots.size, bytes: slots.calculatedSize }, "indexed the disk cache");
  }

  const scanned = scan().catch((error: unknown) => {
    state.isScanning = false;
    log.error({ err: error }, "the disk cache could not be indexed; it is not used until the next start");
  });
  /** The end of the line of those who want to write. */
  let writer: Promise<void> = scanned;

  function remove(key: string): Promise<void> {
    writing.delete(key);
    return inOrder(key, async () => {
      const wasKnown = slots.delete(key);
      await doomed.get(key);
      if (!wasKnown && state.isScanning) await removeUnindexed(key);
    });
  }

  const factsOf = (key: string): ObjectFacts | undefined => writing.get(key)?.facts ?? slots.peek(key)?.facts;
  const bytesOf = (key: string): number => {
    const object = writing.get(key);
    return object === undefined ? (slots.peek(key)?.sizeBytes ?? 0) : memoryBytesOf(object);
  };

  return {
    scanned,
    load: (key) => {
      const fresh = writing.get(key);
      if (fresh !== undefined) return Promise.resolve(fresh);
      if (state.isClosed) return Promise.resolve(undefined);
      return inOrder(key, () => read(key));
    },
    factsOf,
    bytesOf,
    isScanning: () => state.isScanning,
    store(object) {
      const { key } = object;
      const size = memoryBytesOf(object);
      const fileBytes = blocksOf(object.body.length + object.headerBlock.length + factsBytesMax);
      if (bytesMax === 0 || state.isClosed) return false;
      const canBeWritten = state.isScanning || state.isIndexed;
      if (!canBeWritten || fileBytes > bytesMax || backlogBytes + size > backlogBytesMax) {
        counts.refused += 1;
        // What it would have replaced must not be found in its stead.
        void remove(key);
        return false;
      }
      backlogBytes += size;
      writing.set(key, object);
      writer = writer.then(() => writeInTurn(object, size));
      return true;
    },
    remove,
    async purge(purge, tell) {
      const journaled = state.isScanning ? journal.add(purge) : undefined;
      const keys = [...tags.keysOf(purge)].filter((key) => {
        const facts = slots.peek(key)?.facts;
        return facts !== undefined && isPurgedBy(facts, purge);
      });
      for (const [key, object] of writing) if (isPurgedBy(object.facts, purge)) keys.push(key);
      const concerned = new Set(keys);
      if (tell !== undefined) {
        for (const key of concerned) {
          const facts = factsOf(key);
          if (facts !== undefined) tell(facts, bytesOf(key));
        }
      }
      await Promise.all([journaled, ...[...concerned].map(remove)]);
      return concerned.size;
    },
    keysOf(purge) {
      const keys = tags.keysOf(purge);
      for (const [key, object] of writing) if (isPurgedBy(object.facts, purge)) keys.add(key);
      return keys;
    },
    flushed,
    stats: () => ({ entries: slots.size, bytes: slots.calculatedSize, bytesMax, ...counts }),
    async close() {
      // A scan that runs is given up, and with it what waits for its end to be written.
      state.isClosed = true;
      await flushed();
      await Promise.allSettled([...chains.values(), ...doomed.values()]);
    },
  };
}

function blocksOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / 4096) * 4096;
}
