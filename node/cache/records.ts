/**
 * What the edge knows of each source by name: which bytes the name means, and since when that is known to be true.
 *
 *   record: name ──▶ sha256 ──▶ variants (keyed by sha256 and order, so they never go stale themselves)
 *
 * So freshness lives here alone: one revalidation serves all sizes of a picture, a purge is one mark, and a rollback
 * finds the older version's variants where they were. Records live in a bounded map and, for a warm start, as objects
 * without a body on disk: heads alone, one after the other in the files of the heads.
 *
 * A purge marks a record instead of dropping it, since its hashes make the next question to the origin a cheap one:
 *   "replaced"  ask first; while the origin fails the old version may still be served inside the stale window
 *   "removed"   ask first; the old version is never served again unless the origin says so
 *   "soft"      answer now, ask behind
 */
import { LRUCache } from "lru-cache";
import { sourceTag } from "#purge/entry-tags.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import type { DiskTier } from "./disk/disk-tier.ts";
import { createFlights } from "./flights.ts";
import { keyOf } from "./object.ts";
import type { Purge } from "./purge.ts";

const marks = ["soft", "replaced", "removed"] as const;
export type SourceMark = (typeof marks)[number];

export interface SourceRecord {
  readonly name: string;
  /** The bytes that the name means, or why there are none. */
  readonly meaning: { sha256: string } | { absentStatus: 404 | 410 };
  /** What the bytes are, as the origin recorded it at the upload. Absent: nobody said. */
  readonly picture?: PictureFacts;
  /** Hashes that this name had, the newest first: what the origin need not send again. */
  readonly knownHashes: readonly string[];
  /** Wall clock at which the origin last said so. */
  readonly validatedAtMs: number;
  readonly feedSeq: number;
  readonly mark: SourceMark | null;
}

export const knownHashesMax = 8;
/** Some 400 bytes each. */
const recordsMax = 200_000;
/**
 * Names under which there is nothing live apart, and never on disk: whoever asks for names by chance must not push out
 * the records of pictures, nor fill the disk with files.
 */
const absentMax = 20_000;

export interface Records {
  load: (name: string) => Promise<SourceRecord | undefined>;
  /** What memory knows, at once; counts as used. */
  peek: (name: string) => SourceRecord | undefined;
  store: (record: SourceRecord) => void;
  /**
   * For what another node said, which keeps it on its disk: memory alone. One that was validated later stays, unless it
   * bears a mark. What the disk has of the name is older, and goes.
   */
  storeInMemory: (record: SourceRecord) => void;
  /**
   * Marks the records in memory that a purge concerns; in force at once.
   * @returns the names of the pictures whose records it marked; not those that were marked before, nor absent ones
   */
  mark: (purge: Purge, mark: SourceMark) => readonly string[];
  /** Makes the disk forget the records that a purge concerns, so that a restart asks the origin again. */
  forgetOnDisk: (purge: Purge) => Promise<void>;
  size: () => number;
}

export function openRecords(disk: DiskTier): Records {
  const present = new LRUCache<string, SourceRecord>({ max: recordsMax });
  const absent = new LRUCache<string, SourceRecord>({ max: absentMax });
  const loads = createFlights<SourceRecord | undefined>();

  /** Puts a record where it belongs in memory; returns whether the disk may have one of this name too. */
  function remember(record: SourceRecord): boolean {
    const isAbsent = "absentStatus" in record.meaning;
    const wasPresent = isAbsent ? present.delete(record.name) : absent.delete(record.name);
    (isAbsent ? absent : present).set(record.name, record);
    return (isAbsent && wasPresent) || disk.contains(recordKey(record.name));
  }

  return {
    peek: (name) => present.get(name) ?? absent.get(name),
    async load(name) {
      const remembered = present.get(name) ?? absent.get(name);
      if (remembered !== undefined) return remembered;
      const { result } = loads.join(name, async (flight) => {
        const object = await disk.load(recordKey(name));
        // Somebody may have stored a newer one while the disk was read, or a purge may have come.
        const newer = present.get(name) ?? absent.get(name);
        if (newer !== undefined || object === undefined || flight.isOvertaken) return newer;
        // Our own words, proven by the head's checksum.
        const record = object.facts.notes["record"] as SourceRecord;
        present.set(name, record);
        return record;
      });
      return await result;
    },
    store(record) {
      const mayBeOnDisk = remember(record);
      if ("absentStatus" in record.meaning) {
        if (mayBeOnDisk) void disk.remove(recordKey(record.name));
        return;
      }
      disk.store({
        key: recordKey(record.name),
        facts: {
          status: 0,
          tags: [sourceTag(record.name)],
          storedAtMs: record.validatedAtMs,
          feedSeq: record.feedSeq,
          notes: { record },
        },
        headerBlock: Buffer.alloc(0),
        body: Buffer.alloc(0),
      });
    },
    storeInMemory(record) {
      const before = present.peek(record.name) ?? absent.peek(record.name);
      if (before !== undefined && before.mark === null && before.validatedAtMs > record.validatedAtMs) return;
      if (remember(record)) void disk.remove(recordKey(record.name));
    },
    mark(purge, mark) {
      loads.overtake((name) => purgesSource(purge, name));
      const isByName = !purge.isAll && purge.sourcePrefixes.length === 0;
      const marked: string[] = [];
      for (const records of [present, absent]) {
        for (const name of isByName ? namesOf(purge) : [...records.keys()]) {
          const record = records.peek(name);
          if (record === undefined || !purgesSource(purge, name)) continue;
          // A later, softer purge takes nothing back.
          if (record.mark !== null && marks.indexOf(record.mark) >= marks.indexOf(mark)) continue;
          if (purge.seq !== 0 && record.feedSeq >= purge.seq) continue;
          records.set(name, { ...record, mark });
          if (records === present) marked.push(name);
        }
      }
      return marked;
    },
    async forgetOnDisk(purge) {
      const keys = new Set(namesOf(purge).map(recordKey));
      if (purge.isAll || purge.sourcePrefixes.length > 0) {
        await disk.eachPurged(purge, ({ key, facts }) => {
          if (facts.notes["record"] !== undefined) keys.add(key);
        });
      }
      await Promise.all([...keys].map((key) => disk.remove(key)));
    },
    size: () => present.size + absent.size,
  };
}

function namesOf(purge: Purge): string[] {
  return [...purge.tags].flatMap((tag) => (tag.startsWith(sourceTag("")) ? [tag.slice(sourceTag("").length)] : []));
}

function recordKey(name: string): string {
  return keyOf("record", name);
}

/** Whether a purge concerns a source of this name. */
export function purgesSource(purge: Purge, name: string): boolean {
  return (
    purge.isAll || purge.tags.has(sourceTag(name)) || purge.sourcePrefixes.some((prefix) => name.startsWith(prefix))
  );
}
