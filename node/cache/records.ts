/**
 * What the edge knows about each source by name: the hash that the name stands for, and when the edge last learned it.
 *
 *   record: name ──▶ sha256 ──▶ variants (keyed by sha256 and parameters, so they never become stale themselves)
 *
 * Freshness exists only here: one revalidation covers all sizes of a picture, a purge is one mark, and after a rollback
 * the variants of the older version are still where they were. Records are in a bounded map and, for a warm start, on
 * disk as heads without bodies.
 *
 * A record that a purge concerns is marked instead of dropped, because its hashes make the next request to the origin
 * cheap. Purges that somebody requested are found by the marks of purges at the next lookup. An upload or a rollback
 * concerns one name, and marks its record at once:
 *   "replaced"  ask the origin first; while it fails, the old version may be served within the stale window
 *   "removed"   ask the origin first; the old version is never served again unless the origin says so
 *   "soft"      serve now, revalidate in the background
 */
import { LRUCache } from "lru-cache";
import { sourceTag } from "#purge/entry-tags.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { DiskTier } from "./disk/disk-tier.ts";
import { createFlights } from "./flights.ts";
import { keyOf, type ObjectFacts } from "./object.ts";
import { isStorable, verdictOf } from "./purge-marks.ts";
import { type Purges, tellCounting } from "./purges.ts";
import type { Swept } from "./purge-sweep.ts";

export type SourceMark = "soft" | "replaced" | "removed";

export interface SourceRecord {
  readonly name: string;
  /** The bytes that the name means, or why there are none. */
  readonly meaning: { sha256: string } | { absentStatus: 404 | 410 };
  /** What the bytes are, as the origin recorded at the upload. Absent: unknown. */
  readonly picture?: PictureFacts;
  /** Hashes that this name had, the newest first: what the origin need not send again. */
  readonly knownHashes: readonly string[];
  /** Wall clock at which the origin last said so. */
  readonly validatedAtMs: number;
  readonly feedSeq: number;
  readonly mark: SourceMark | null;
}

export const knownHashesMax = 8;
/** About 400 bytes each. */
const recordsMax = 200_000;
/**
 * Names under which there is nothing are kept apart, and never on disk: requests for random names must not push out the
 * records of pictures, or fill the disk with files.
 */
const absentMax = 20_000;

export interface Records {
  load: (name: string) => Promise<SourceRecord | undefined>;
  /** What memory knows, at once. Counts as a use. */
  peek: (name: string) => SourceRecord | undefined;
  store: (record: SourceRecord) => void;
  /**
   * For a record from another node, which keeps it on its disk: stored in memory alone. A record that was validated
   * later stays, unless it has a mark. The record that the disk has for the name is older, and is removed.
   */
  storeInMemory: (record: SourceRecord) => void;
  /**
   * These names mean other bytes since an event of the feed: marks the records as replaced, and makes the disk forget
   * them, so that the origin is asked after a restart too. In force at once; resolves when that holds after a kill (for
   * a power failure, see DiskTier.sync()).
   */
  replaced: (names: readonly string[], seq: number) => Promise<void>;
  /** Drops everything. Records on disk are removed together with the disk's objects. */
  clear: () => void;
  size: () => number;
  readonly swept: Swept;
}

/** Records that a walk looks at in one turn of the event loop: about 2 ms. */
const recordsPerTurn = 5000;

/** @param changed called with the name of each record that is stored or marked */
export function openRecords(
  disk: DiskTier,
  purges: Purges,
  changed: (name: string) => void = () => undefined,
): Records {
  const present = new LRUCache<string, SourceRecord>({ max: recordsMax });
  const absent = new LRUCache<string, SourceRecord>({ max: absentMax });
  const loads = createFlights<SourceRecord | undefined>();

  /** Stores a record where it belongs in memory; returns whether the disk may have one with this name too. */
  function remember(record: SourceRecord): boolean {
    const isAbsent = "absentStatus" in record.meaning;
    changed(record.name);
    const wasPresent = isAbsent ? present.delete(record.name) : absent.delete(record.name);
    (isAbsent ? absent : present).set(record.name, record);
    return (isAbsent && wasPresent) || disk.contains(recordKey(record.name));
  }

  function remembered(name: string): SourceRecord | undefined {
    const record = present.get(name) ?? absent.get(name);
    return record === undefined ? undefined : judged(record);
  }

  /** The record with the mark of the purges that concern it; a weaker mark does not replace a stronger one. */
  function judged(record: SourceRecord): SourceRecord {
    if (record.feedSeq >= purges.marks.newest || record.mark === "removed") return record;
    const facts = factsOf(record);
    const verdict = verdictOf(purges.marks, facts);
    if (verdict === "current" || (verdict === "soft" && record.mark !== null)) return record;
    const marked = { ...record, mark: verdict === "soft" ? ("soft" as const) : ("removed" as const) };
    if ("absentStatus" in record.meaning) absent.set(record.name, marked);
    else {
      present.set(record.name, marked);
      tellCounting(purges, "memory", facts, 0);
    }
    return marked;
  }

  async function loadFromDisk(name: string): Promise<SourceRecord | undefined> {
    const { forgotten } = purges.marks;
    const object = await disk.load(recordKey(name));
    if (object === undefined) return undefined;
    const { facts } = object;
    if (purges.marks.forgotten > forgotten && facts.feedSeq < purges.marks.forgotten) return undefined;
    // The sweep removes it.
    if (verdictOf(purges.marks, facts) === "hard") return undefined;
    // Written by this program, as the head's checksum proves.
    return facts.notes["record"] as SourceRecord;
  }

  return {
    peek: remembered,
    async load(name) {
      const known = remembered(name);
      if (known !== undefined) return known;
      const { result } = loads.join(name, async (flight) => {
        const record = await loadFromDisk(name);
        // Somebody may have stored a newer one while the disk was read, or the name may have got other bytes.
        const newer = remembered(name);
        if (newer !== undefined || record === undefined || flight.isOvertaken) return newer;
        present.set(name, record);
        return record;
      });
      const loaded = await result;
      return loaded === undefined ? undefined : judged(loaded);
    },
    store(record) {
      const facts = factsOf(record);
      if (!isStorable(purges.marks, facts)) return;
      const mayBeOnDisk = remember(record);
      if ("absentStatus" in record.meaning) {
        if (mayBeOnDisk) void disk.remove(recordKey(record.name));
        return;
      }
      const empty = Buffer.alloc(0);
      disk.store({ key: recordKey(record.name), facts, headerBlock: empty, body: empty });
    },
    storeInMemory(record) {
      if (!isStorable(purges.marks, factsOf(record))) return;
      const before = present.peek(record.name) ?? absent.peek(record.name);
      const isNewer = before !== undefined && before.validatedAtMs > record.validatedAtMs;
      if (isNewer && judged(before).mark === null) return;
      if (remember(record)) void disk.remove(recordKey(record.name));
    },
    async replaced(names, seq) {
      const concerned = new Set(names);
      loads.overtake((name) => concerned.has(name));
      for (const name of concerned) {
        for (const records of [present, absent]) {
          const record = records.peek(name);
          if (record === undefined || record.feedSeq >= seq) continue;
          const { mark } = judged(record);
          if (mark === null || mark === "soft") records.set(name, { ...record, mark: "replaced" });
        }
      }
      await Promise.all([...concerned].map((name) => disk.remove(recordKey(name))));
    },
    clear() {
      present.clear();
      absent.clear();
      loads.overtake(() => true);
    },
    size: () => present.size + absent.size,
    swept: {
      tier: "memory",
      async walk({ isConcernable }) {
        let looked = 0;
        for (const records of [present, absent]) {
          // Records that arrive during the walk are judged when they are stored.
          for (const name of Array.from(records.keys())) {
            if ((looked += 1) % recordsPerTurn === 0) await nextTurn();
            const record = records.peek(name);
            if (record !== undefined && isConcernable(record.feedSeq)) judged(record);
          }
        }
      },
    },
  };
}

/** A record as an object that a purge can concern. */
function factsOf(record: SourceRecord): ObjectFacts {
  const { name, validatedAtMs, feedSeq } = record;
  return { status: 0, tags: [sourceTag(name)], storedAtMs: validatedAtMs, feedSeq, notes: { record } };
}

function recordKey(name: string): string {
  return keyOf("record", name);
}
