/**
 * Memory and disk as one store, in which purged objects don't exist.
 *
 * find() looks in memory, then on disk. A small object that is wanted whole, and more often than what would make room
 * for it in memory, is read from disk once for all callers, and admitted to memory. Of any other object, only the head
 * is read, and the body is read by whoever sends it. store() writes to both tiers, storeInMemory() and storeOnDisk() to
 * one.
 *
 * Each lookup judges what it finds by the marks of purges (purge-marks.ts): an object that a hard mark concerns counts
 * as a miss and is removed later; one that a soft mark concerns is returned as soft-purged. Each store judges, too: the
 * result of a fill that began before its purge is not stored.
 */
import type { BodyReader, Pin, StoredBody } from "#base/body.ts";
import type { BodyWriter } from "./disk/body-writer.ts";
import type { DiskTier } from "./disk/disk-tier.ts";
import type { DiskBody, DiskObject } from "./disk/reading.ts";
import { createFlights, type Flight } from "./flights.ts";
import { type MemoryTier, objectShareMax } from "./memory.ts";
import {
  areOfOneObject,
  type CachedObject,
  costMsOf,
  memoryBytesFor,
  memoryBytesOf,
  type ObjectFacts,
  type Tier,
} from "./object.ts";
import { isStorable, verdictOf } from "./purge-marks.ts";
import { type Purges, tellCounting } from "./purges.ts";

/** A stored object: its head, and its body wherever that is stored. */
export interface Stored {
  readonly key: string;
  readonly tier: Tier;
  readonly facts: ObjectFacts;
  readonly headerBlock: Buffer;
  readonly lengthBytes: number;
  readonly body: StoredBody;
  /** To be revalidated in the background of its next use. */
  readonly isSoftPurged: boolean;
}

export interface Tiers {
  /**
   * Looks in memory alone, at once. Ignores soft purges: for objects whose freshness is not their own, such as
   * variants.
   */
  loadMemory: (key: string) => CachedObject | undefined;
  /** An object was sent this often, without having been looked for. */
  noteUses: (key: string, times: number) => void;
  /**
   * @param isWhole the body is wanted whole: a small one is returned in memory. Otherwise, no body is read from disk.
   */
  find: (key: string, isWhole: boolean) => Stored | undefined | Promise<Stored | undefined>;
  /**
   * Where an object lies, without reading it or counting it as used. The disk does not know without reading whether a
   * purge concerns what it has.
   */
  locate: (key: string) => Tier | undefined;
  /** Its facts; of an object on disk, its head is read. */
  factsOf: (key: string) => Promise<ObjectFacts | undefined>;
  /** Whether the result of a fill may be stored: no purge of it has arrived since the fill began. */
  isStorable: (facts: Pick<ObjectFacts, "tags" | "feedSeq">) => boolean;
  /** Returns whether at least one tier took the object. */
  store: (object: CachedObject) => boolean;
  /**
   * For objects that another node keeps on its disk: memory alone. An object on disk under this key is older, and is
   * removed.
   */
  storeInMemory: (object: CachedObject) => boolean;
  /** For objects that are read whole once and rarely again, such as sources: the disk alone. */
  storeOnDisk: (object: CachedObject) => boolean;
  /** The disk alone; memory does not admit it. */
  loadFromDisk: (key: string) => Promise<CachedObject | undefined>;
  /**
   * A place on disk for a body that is arriving; undefined: the disk takes none now. What memory has under this key is
   * older, and is removed when the body has arrived.
   */
  write: (key: string, lengthBytes: number | null) => BodyWriter | undefined;
  /**
   * Stores a new head for the body of a stored object, after a 304. Resolves to whether a tier has it. Another object
   * that has replaced it stays as it is.
   */
  replaceHead: (stored: Stored, facts: ObjectFacts, headerBlock: Buffer) => Promise<boolean>;
  readonly hasDisk: boolean;
  /** False while the disk is left alone after a failure. */
  canReadDisk: () => boolean;
  /** Objects that could not be read from disk, since the start. */
  diskFailures: () => number;
  /** The largest body that memory takes. */
  memoryBodyBytesMax: number;
  remove: (key: string) => Promise<void>;
  /** Drops everything; resolves when that holds after a power failure too. */
  clear: () => Promise<void>;
  /** Resolves to whether all removals so far, those of records too, hold after a power failure. */
  sync: () => Promise<boolean>;
  /** How often everything was dropped: a fill that began before the last time must not store its result. */
  clears: () => number;
}

/**
 * A body of up to this size is sent from memory; a larger one comes from disk each time, through the system's page
 * cache, so that one reader of large bodies does not fill the memory of this process.
 */
const promotedBytesMax = 1024 * 1024;

/** The policy of the memory tier tells no more uses apart. */
const usesCountedMax = 15;

interface State {
  readonly memory: MemoryTier;
  readonly disk: DiskTier;
  readonly purges: Purges;
  readonly memoryBodyBytesMax: number;
  readonly loads: ReturnType<typeof createFlights<Stored | undefined>>;
  /** Called with the key of what is replaced or removed, but not of what makes room for others. */
  readonly changed: (key: string) => void;
  clears: number;
}

/** @param changed called with the key of each object that is replaced or removed, except where it makes room */
export function joinTiers(
  memory: MemoryTier,
  disk: DiskTier,
  purges: Purges,
  changed: (key: string) => void = () => undefined,
): Tiers {
  const { marks } = purges;
  // Without a disk, memory takes what it can. Collecting more would be useless.
  const hasDisk = disk.stats().bytesMax > 0;
  const memoryBodyBytesMax = hasDisk ? promotedBytesMax : Math.floor(memory.stats().bytesMax * objectShareMax);
  const state: State = { memory, disk, purges, memoryBodyBytesMax, loads: createFlights(), changed, clears: 0 };
  const { loads } = state;
  return {
    loadMemory: (key) => loadMemory(state, key),
    noteUses(key, times) {
      for (let count = Math.min(times, usesCountedMax); count > 0; count -= 1) memory.load(key);
    },
    find: (key, isWhole) => find(state, key, isWhole),
    locate(key) {
      const ready = memory.peek(key);
      if (ready !== undefined && !isGoneFromMemory(state, ready)) return "memory";
      return disk.contains(key) ? "disk" : undefined;
    },
    async factsOf(key) {
      const ready = memory.peek(key);
      if (ready !== undefined && !isGoneFromMemory(state, ready)) return ready.facts;
      const facts = (await disk.find(key))?.facts;
      return facts === undefined || isGone(state, facts) ? undefined : facts;
    },
    isStorable: (facts) => isStorable(marks, facts),
    store(object) {
      if (!isStorable(marks, object.facts)) return false;
      // An object that is being read from disk is older.
      loads.overtake((other) => other === object.key);
      changed(object.key);
      const isForMemory = object.body.length <= memoryBodyBytesMax;
      if (!isForMemory) memory.remove(object.key);
      const isInMemory = isForMemory && memory.store(object);
      return disk.store(object) || isInMemory;
    },
    storeInMemory(object) {
      if (!isStorable(marks, object.facts)) return false;
      loads.overtake((other) => other === object.key);
      changed(object.key);
      if (disk.contains(object.key)) void disk.remove(object.key);
      return memory.store(object);
    },
    storeOnDisk: (object) => isStorable(marks, object.facts) && disk.store(object),
    async loadFromDisk(key) {
      const { forgotten } = marks;
      const object = await disk.load(key);
      return object !== undefined && isUsable(state, object.facts, forgotten) ? object : undefined;
    },
    write: (key, lengthBytes) => write(state, key, lengthBytes),
    replaceHead: (stored, facts, headerBlock) => replaceHead(state, stored, facts, headerBlock),
    hasDisk,
    canReadDisk: () => disk.stats().canRead,
    diskFailures: () => disk.stats().readFailures,
    memoryBodyBytesMax,
    async remove(key) {
      changed(key);
      memory.remove(key);
      loads.overtake((other) => other === key);
      await disk.remove(key);
    },
    async clear() {
      state.clears += 1;
      memory.clear();
      loads.overtake(() => true);
      await disk.clear();
    },
    sync: disk.sync,
    clears: () => state.clears,
  };
}

/** An object that is in memory, as what find() gives. */
export function storedInMemory(object: CachedObject, isSoftPurged = false): Stored {
  const { key, facts, headerBlock, body } = object;
  const lengthBytes = body.length;
  return { key, tier: "memory", facts, headerBlock, lengthBytes, body: { kind: "bytes", bytes: body }, isSoftPurged };
}

function isGone({ purges }: State, facts: ObjectFacts): boolean {
  return verdictOf(purges.marks, facts) === "hard";
}

/** Removes and counts a purged object, because it may be replaced before the sweep reaches it. */
function isGoneFromMemory(state: State, object: CachedObject): boolean {
  if (!isGone(state, object.facts)) return false;
  tellCounting(state.purges, "memory", object.facts, memoryBytesOf(object));
  state.memory.remove(object.key);
  return true;
}

function isSoft({ purges }: State, facts: ObjectFacts): boolean {
  return facts.isSoftPurged === true || verdictOf(purges.marks, facts) === "soft";
}

/** @param forgotten `marks.forgotten` when the reading began: a mark may have come and been forgotten since */
function isUsable(state: State, facts: ObjectFacts, forgotten: number): boolean {
  const { marks } = state.purges;
  return !isGone(state, facts) && (marks.forgotten <= forgotten || facts.feedSeq >= marks.forgotten);
}

function loadMemory(state: State, key: string): CachedObject | undefined {
  const object = state.memory.load(key);
  return object === undefined || isGoneFromMemory(state, object) ? undefined : object;
}

function find(state: State, key: string, isWhole: boolean): Stored | undefined | Promise<Stored | undefined> {
  const ready = loadMemory(state, key);
  if (ready !== undefined) {
    const stored = storedInMemory(ready, isSoft(state, ready.facts));
    return { ...stored, body: { kind: "bytes", bytes: ready.body, pin: () => pinOnDisk(state, ready) } };
  }
  const running = state.loads.running(key);
  if (running !== undefined) return judgedAgain(state, running);
  const { forgotten } = state.purges.marks;
  const found = state.disk.find(key);
  if (found instanceof Promise) {
    const { result } = state.loads.join(key, (flight) => headFirst(state, found, { isWhole, flight, forgotten }));
    return judgedAgain(state, result);
  }
  if (found === undefined || isGone(state, found.facts)) return undefined;
  if (!isWhole || !isWorthMemory(state, found)) return storedOnDisk(state, found);
  const read = readWhole(found);
  if (!(read instanceof Promise)) return admit(state, found, read);
  const { result } = state.loads.join(key, (flight) => admitLater(state, found, read, { flight, forgotten }));
  return judgedAgain(state, result);
}

/** Whether an object on disk is small, and requested more often than what would make room for it. */
function isWorthMemory({ memory }: State, { key, facts, headerBlock, lengthBytes }: DiskObject): boolean {
  if (lengthBytes > promotedBytesMax) return false;
  return memory.isWanted(key, memoryBytesFor(lengthBytes, headerBlock), costMsOf(facts));
}

/** A caller that joined may have asked after a purge that arrived while the object was being admitted. */
async function judgedAgain(state: State, loading: Promise<Stored | undefined>): Promise<Stored | undefined> {
  const stored = await loading;
  if (stored === undefined || isGone(state, stored.facts)) return undefined;
  return { ...stored, isSoftPurged: isSoft(state, stored.facts) };
}

interface Loading {
  readonly flight: Flight;
  readonly forgotten: number;
}

async function headFirst(
  state: State,
  finding: Promise<DiskObject | undefined>,
  loading: Loading & { isWhole: boolean },
): Promise<Stored | undefined> {
  const found = await finding;
  if (found === undefined || loading.flight.isOvertaken) return undefined;
  if (!isUsable(state, found.facts, loading.forgotten)) return undefined;
  if (!loading.isWhole || !isWorthMemory(state, found)) return storedOnDisk(state, found);
  return await admitLater(state, found, Promise.resolve(readWhole(found)), loading);
}

async function admitLater(
  state: State,
  found: DiskObject,
  reading: Promise<Buffer | undefined>,
  { flight, forgotten }: Loading,
): Promise<Stored | undefined> {
  const body = await reading;
  return flight.isOvertaken || !isUsable(state, found.facts, forgotten) ? undefined : admit(state, found, body);
}

/** @param body undefined: it is damaged, or can't be read */
function admit(state: State, found: DiskObject, body: Buffer | undefined): Stored | undefined {
  if (body === undefined) return undefined;
  const { key, facts, headerBlock } = found;
  const object: CachedObject = { key, facts, headerBlock, body };
  state.memory.store(object);
  return { ...storedInMemory(object, isSoft(state, facts)), tier: "disk" };
}

function readWhole(found: DiskObject): Buffer | undefined | Promise<Buffer | undefined> {
  const body = found.open();
  const read = body.read(0, found.lengthBytes);
  if (read instanceof Promise) return read.catch(() => undefined).finally(body.close);
  body.close();
  return read;
}

function storedOnDisk(state: State, found: DiskObject): Stored {
  const { key, facts, headerBlock, lengthBytes } = found;
  const open = (start: number, end: number | null): BodyReader => diskReader(found.open(), start, end ?? lengthBytes);
  const borrow = (start: number, end: number | null, bytesMax: number): Uint8Array | undefined => {
    const length = (end ?? lengthBytes) - start;
    if (length > bytesMax) return undefined;
    const body = found.open();
    const bytes = body.borrow(start, start + length);
    body.close();
    return bytes;
  };
  const pin = (): Pin => pinFound(found);
  const body = { kind: "ranges", open, borrow, pin } as const;
  return { key, tier: "disk", facts, headerBlock, lengthBytes, body, isSoftPurged: isSoft(state, facts) };
}

/** The same object on disk. If it was not verified yet, that is done now, or if it takes long, for the next time. */
function pinOnDisk({ disk }: State, { key, facts, body: { length } }: CachedObject): Pin {
  const found = disk.find(key);
  if (found instanceof Promise) return "soon";
  if (found === undefined || !areOfOneObject(found.facts, facts)) return undefined;
  const pinned = pinFound(found);
  if (pinned !== "soon") return pinned;
  const body = found.open();
  const read = body.read(0, length);
  if (read instanceof Promise) {
    void read.then(body.close, body.close);
    return "soon";
  }
  body.close();
  return pinFound(found);
}

function pinFound(found: DiskObject): Pin {
  const body = found.open();
  const place = body.place();
  if (typeof place === "object") return { ...place, release: body.close };
  body.close();
  return place;
}

function diskReader(body: DiskBody, start: number, end: number): BodyReader {
  let position = start;
  return {
    ready: () => true,
    next(bytesMax) {
      if (position >= end) return null;
      const from = position;
      position = Math.min(end, from + bytesMax);
      return body.read(from, position);
    },
    close: body.close,
  };
}

function write(
  { memory, disk, loads, changed }: State,
  key: string,
  lengthBytes: number | null,
): BodyWriter | undefined {
  const writer = disk.write(key, lengthBytes);
  if (writer === undefined) return undefined;
  return {
    ...writer,
    async commit(facts, headerBlock) {
      const isFound = await writer.commit(facts, headerBlock);
      memory.remove(key);
      loads.overtake((other) => other === key);
      changed(key);
      return isFound;
    },
  };
}

async function replaceHead(
  { memory, disk, purges, changed }: State,
  stored: Stored,
  facts: ObjectFacts,
  headerBlock: Buffer,
): Promise<boolean> {
  if (!isStorable(purges.marks, facts)) return false;
  const { key, body } = stored;
  const present = memory.peek(key);
  if (present !== undefined && !areOfOneObject(present.facts, stored.facts)) return false;
  // What the disk alone has may be another: memory must not hide it.
  const isForMemory = body.kind === "bytes" && (present !== undefined || !disk.contains(key));
  const isInMemory = isForMemory && memory.store({ key, facts, headerBlock, body: body.bytes });
  if (!isInMemory) memory.remove(key);
  changed(key);
  const isOnDisk = await disk.replaceHead(stored, facts, headerBlock);
  return isInMemory || isOnDisk;
}
