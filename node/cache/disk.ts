/**
 * The disk tier: objects in files, bounded by bytes, checksummed, warm after a restart.
 *
 *   DIR/tmp/…                 being written
 *   DIR/objects/ab/ab12…      magic 4 · facts length 4 · facts CRC 4 · header block length 4 · body length 4 ·
 *                             header block + body CRC 4 · facts (JSON) · header block · body      (big-endian)
 *
 * Invariants
 * - A file appears under its final name whole (temp + rename), so `kill -9` leaves an old file, a new one or none.
 * - No byte leaves without its checksum having been compared; a file that fails is removed and counts as a miss.
 * - The sum of file sizes, in blocks of 4 KiB, never passes the bound: room is made (and the victims' files are
 *   gone) before a file is written.
 * - Work on one key happens in order.
 * - While the start's scan runs, files that it has not met are served all the same, by their name, after a look at
 *   the purges that came meanwhile.
 */
import { LRUCache } from "lru-cache";
import { mkdir, open, readdir, rename, rm, stat, utimes, writeFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { CachedObject, ObjectFacts } from "./object.ts";
import { createTagIndex, isPurgedBy, type Purge } from "./purge.ts";

const magic = 0x4e434f31; // "NCO1"
const prefixBytes = 24;
const factsBytesMax = 64 * 1024;
/** Bodies that wait to be written; more are not stored (they stay in memory, and will be offered again). */
const backlogBytesMax = 256 * 1024 * 1024;
/** How many files the scan reads at once. */
const scanWidth = 16;
/** A read renews a file's place in the order of use on disk at most this often. */
const touchIntervalMs = 600_000;
/** Purges remembered while the scan runs; past that everything that was not scanned yet is given up. */
const pendingPurgesMax = 10_000;

interface Slot {
  fileBytes: number;
  facts: ObjectFacts;
  touchedAtMs: number;
}

export interface DiskTier {
  load: (key: string) => Promise<CachedObject | undefined>;
  /** The facts of an object that is there, without reading it; undefined also while the scan has not met it. */
  factsOf: (key: string) => ObjectFacts | undefined;
  /** Returns at once whether the object was taken; it is written behind. */
  store: (object: CachedObject) => boolean;
  remove: (key: string) => Promise<void>;
  /** Resolves when nothing that the purge names can be loaded any more, also not after a restart. */
  purge: (purge: Purge) => Promise<number>;
  keysOf: (purge: Purge) => Set<string>;
  /** Resolves when the scan of the start is done. */
  scanned: Promise<void>;
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
  const state = { isScanning: true, isClosed: false };
  let pendingPurges: Purge[] = [];

  const slots = new LRUCache<string, Slot>({
    maxSize: Math.max(bytesMax, 1),
    sizeCalculation: (slot) => slot.fileBytes,
    dispose(slot, key, reason) {
      tags.remove(key, slot.facts.tags);
      if (reason === "set") return;
      if (reason === "evict") counts.evictions += 1;
      const gone = rm(pathOf(key), { force: true })
        .catch((error: unknown) => {
          log.warn({ err: error, key }, "a cached file can't be removed");
        })
        .finally(() => doomed.delete(key));
      doomed.set(key, gone);
    },
  });

  function pathOf(key: string): string {
    return join(objects, key.slice(0, 2), key);
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
    const isKnown = slots.get(key) !== undefined;
    if (!isKnown && (!state.isScanning || bytesMax === 0)) return undefined;
    let bytes: Buffer;
    try {
      bytes = await readWhole(pathOf(key), bytesMax);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        log.warn({ err: error, key }, "a cached file can't be read");
      if (isKnown) slots.delete(key);
      return undefined;
    }
    const object = decode(key, bytes);
    if (object === undefined) {
      counts.corrupt += 1;
      log.warn({ key }, "a cached file is damaged and was removed");
      if (isKnown) slots.delete(key);
      else await rm(pathOf(key), { force: true });
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

  function isPurgedMeanwhile(facts: ObjectFacts): boolean {
    return pendingPurges.some((purge) => isPurgedBy(facts, purge));
  }

  async function write(object: CachedObject): Promise<void> {
    const { key } = object;
    const bytes = encode(object);
    const fileBytes = blocksOf(bytes.byteLength);
    // A first, so that its victims are known and gone before the new file takes their room.
    slots.set(key, { fileBytes, facts: object.facts, touchedAtMs: clock.wallMs() });
    tags.add(key, object.facts.tags);
    await Promise.all(doomed.values());
    const path = join(temporary, `${key}.${(temporaryCount += 1)}`);
    try {
      await writeFile(path, bytes, { mode: 0o600 });
      await rename(path, pathOf(key)).catch(async (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        await mkdir(join(objects, key.slice(0, 2)), { recursive: true });
        await rename(path, pathOf(key));
      });
      // Evicted or purged while it was being written: the name must not stay behind.
      if (slots.peek(key) === undefined) await rm(pathOf(key), { force: true });
    } catch (error) {
      counts.writeFailures += 1;
      log.warn({ err: error, key }, "an object can't be written to the disk cache");
      slots.delete(key);
      await rm(path, { force: true }).catch(() => undefined); // the first failure was already told
    }
  }

  async function flushed(): Promise<void> {
    while (writing.size > 0) await Promise.allSettled(chains.values());
  }

  async function scan(): Promise<void> {
    const found: { key: string; slot: Slot; usedAtMs: number }[] = [];
    const directories = (await readdir(objects)).filter((name) => /^[0-9a-f]{2}$/.test(name));
    const paths = async function* (): AsyncGenerator<string> {
      for (const name of directories) for (const key of await readdir(join(objects, name))) yield key;
    };
    const iterator = paths();
    const worker = async (): Promise<void> => {
      for (;;) {
        const next = await iterator.next();
        if (next.done === true || state.isClosed) return;
        const key = next.value;
        const path = pathOf(key);
        try {
          if (slots.peek(key) !== undefined) continue; // written since the start
          const facts = /^[0-9a-f]{64}$/.test(key) ? await readFacts(path) : undefined;
          const about = await stat(path);
          if (facts === undefined || isPurgedMeanwhile(facts)) {
            if (facts === undefined) counts.corrupt += 1;
            await rm(path, { force: true, recursive: true });
            continue;
          }
          found.push({
            key,
            usedAtMs: about.mtimeMs,
            slot: { fileBytes: blocksOf(about.size), facts, touchedAtMs: about.mtimeMs },
          });
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOENT")
            log.warn({ err: error, key }, "a cached file can't be looked at");
        }
      }
    };
    await Promise.all(Array.from({ length: scanWidth }, worker));
    found.sort((a, b) => a.usedAtMs - b.usedAtMs);
    for (const { key, slot } of found) {
      if (slots.peek(key) !== undefined) continue;
      if (isPurgedMeanwhile(slot.facts) || slot.fileBytes > bytesMax) {
        await rm(pathOf(key), { force: true });
        continue;
      }
      slots.set(key, slot);
      tags.add(key, slot.facts.tags);
    }
    state.isScanning = false;
    pendingPurges = [];
    log.info({ entries: slots.size, bytes: slots.calculatedSize }, "the disk cache is indexed");
  }

  const scanned = scan().catch((error: unknown) => {
    state.isScanning = false;
    log.error({ err: error }, "the disk cache can't be indexed; it starts empty");
  });

  return {
    scanned,
    load: (key) => {
      const fresh = writing.get(key);
      if (fresh !== undefined) return Promise.resolve(fresh);
      if (state.isClosed) return Promise.resolve(undefined);
      return inOrder(key, () => read(key));
    },
    factsOf: (key) => writing.get(key)?.facts ?? slots.peek(key)?.facts,
    store(object) {
      const size = object.body.length;
      if (state.isClosed || blocksOf(size + factsBytesMax) > bytesMax || backlogBytes + size > backlogBytesMax) {
        if (bytesMax > 0) counts.refused += 1;
        return false;
      }
      backlogBytes += size;
      writing.set(object.key, object);
      void inOrder(object.key, async () => {
        // Removed or replaced before its turn came.
        if (writing.get(object.key) === object) await write(object);
      }).finally(() => {
        backlogBytes -= size;
        if (writing.get(object.key) === object) writing.delete(object.key);
      });
      return true;
    },
    remove(key) {
      writing.delete(key);
      return inOrder(key, async () => {
        const wasKnown = slots.delete(key);
        await doomed.get(key);
        if (!wasKnown && state.isScanning) await rm(pathOf(key), { force: true });
      });
    },
    async purge(purge) {
      if (state.isScanning) {
        pendingPurges.push(purge);
        if (pendingPurges.length > pendingPurgesMax) {
          pendingPurges = [{ seq: 0, tags: new Set(), sourcePrefixes: [], isAll: true, isSoft: false }];
        }
      }
      const keys = [...tags.keysOf(purge)].filter((key) => {
        const facts = slots.peek(key)?.facts;
        return facts !== undefined && isPurgedBy(facts, purge);
      });
      for (const [key, object] of writing) if (isPurgedBy(object.facts, purge)) keys.push(key);
      await Promise.all(
        keys.map((key) => {
          writing.delete(key);
          return inOrder(key, async () => {
            slots.delete(key);
            await doomed.get(key);
          });
        }),
      );
      return keys.length;
    },
    keysOf: tags.keysOf,
    flushed,
    stats: () => ({ entries: slots.size, bytes: slots.calculatedSize, bytesMax, ...counts }),
    async close() {
      await flushed();
      state.isClosed = true;
      await scanned;
      await Promise.allSettled([...chains.values(), ...doomed.values()]);
    },
  };
}

function blocksOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / 4096) * 4096;
}

function encode(object: CachedObject): Buffer {
  const facts = Buffer.from(JSON.stringify(object.facts));
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(magic, 0);
  prefix.writeUInt32BE(facts.length, 4);
  prefix.writeUInt32BE(crc32(facts), 8);
  prefix.writeUInt32BE(object.headerBlock.length, 12);
  prefix.writeUInt32BE(object.body.length, 16);
  prefix.writeUInt32BE(crc32(object.body, crc32(object.headerBlock)), 20);
  return Buffer.concat([prefix, facts, object.headerBlock, object.body]);
}

function decode(key: string, bytes: Buffer): CachedObject | undefined {
  if (bytes.length < prefixBytes || bytes.readUInt32BE(0) !== magic) return undefined;
  const factsEnd = prefixBytes + bytes.readUInt32BE(4);
  const blockEnd = factsEnd + bytes.readUInt32BE(12);
  if (blockEnd + bytes.readUInt32BE(16) !== bytes.length) return undefined;
  const facts = decodeFacts(bytes.subarray(prefixBytes, factsEnd), bytes.readUInt32BE(8));
  if (facts === undefined || crc32(bytes.subarray(factsEnd)) !== bytes.readUInt32BE(20)) return undefined;
  return { key, facts, headerBlock: bytes.subarray(factsEnd, blockEnd), body: bytes.subarray(blockEnd) };
}

/** The checksum proves that the facts are as this program wrote them, so their shape needs no second look. */
function decodeFacts(bytes: Buffer, checksum: number): ObjectFacts | undefined {
  return crc32(bytes) === checksum ? (JSON.parse(bytes.toString()) as ObjectFacts) : undefined;
}

async function readWhole(path: string, bytesMax: number): Promise<Buffer> {
  return await withFile(path, async (file) => {
    const { size } = await file.stat();
    if (size > bytesMax) throw new Error(`larger than the tier: ${size} bytes`);
    return await readExactly(file, size);
  });
}

async function readFacts(path: string): Promise<ObjectFacts | undefined> {
  return await withFile(path, async (file) => {
    const { size } = await file.stat();
    if (size < prefixBytes) return undefined;
    const prefix = await readExactly(file, prefixBytes);
    const factsBytes = prefix.readUInt32BE(4);
    if (prefix.readUInt32BE(0) !== magic || factsBytes > factsBytesMax) return undefined;
    if (prefixBytes + factsBytes + prefix.readUInt32BE(12) + prefix.readUInt32BE(16) !== size) return undefined;
    return decodeFacts(await readExactly(file, factsBytes), prefix.readUInt32BE(8));
  });
}

async function withFile<Result>(path: string, work: (file: FileHandle) => Promise<Result>): Promise<Result> {
  const file = await open(path, "r");
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

/** Reads on from where the last read ended. */
async function readExactly(file: FileHandle, sizeBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  let offset = 0;
  while (offset < sizeBytes) {
    const { bytesRead } = await file.read(bytes, offset, sizeBytes - offset);
    if (bytesRead === 0) return bytes.subarray(0, offset);
    offset += bytesRead;
  }
  return bytes;
}
