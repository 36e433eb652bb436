/**
 * What the edge knows of each source by name: which bytes the name means, and since when that is known to be true.
 *
 *   record: name ──▶ sha256 ──▶ variants (keyed by sha256 and order, so they never go stale themselves)
 *
 * So freshness lives here alone: one revalidation serves all sizes of a picture, a purge is one mark, and a rollback
 * finds the older version's variants where they were. Records live in a bounded map and, for a warm start, as small
 * objects on disk.
 *
 * A purge marks a record instead of dropping it, since its hashes make the next question to the origin a cheap one:
 *   "replaced"  ask first; while the origin fails the old version may still be served inside the stale window
 *   "removed"   ask first; the old version is never served again unless the origin says so
 *   "soft"      answer now, ask behind
 */
import { LRUCache } from "lru-cache";
import type { DiskTier } from "./disk.ts";
import { keyOf } from "./object.ts";
import type { Purge } from "./purge.ts";

export type SourceMark = "replaced" | "removed" | "soft";

export interface SourceRecord {
  readonly name: string;
  /** The bytes that the name means, or why there are none. */
  readonly meaning: { sha256: string } | { absentStatus: 404 | 410 };
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

export interface Records {
  load: (name: string) => Promise<SourceRecord | undefined>;
  store: (record: SourceRecord) => void;
  /** Marks the records that a purge concerns. In force for memory at once, for the disk when it resolves. */
  mark: (isConcerned: (record: Pick<SourceRecord, "name" | "feedSeq">) => boolean, mark: SourceMark) => void;
  /** Makes the disk forget this record, so that a restart asks the origin again. */
  forgetOnDisk: (name: string) => Promise<void>;
  size: () => number;
}

export function openRecords(disk: DiskTier): Records {
  const records = new LRUCache<string, SourceRecord>({ max: recordsMax });
  return {
    async load(name) {
      const present = records.get(name);
      if (present !== undefined) return present;
      const object = await disk.load(recordKey(name));
      // Somebody may have stored a newer one while the disk was read.
      const newer = records.get(name);
      if (newer !== undefined || object === undefined) return newer;
      // Our own words, proven by the file's checksum.
      const record = object.facts.notes["record"] as SourceRecord;
      records.set(name, record);
      return record;
    },
    store(record) {
      records.set(record.name, record);
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
    mark(isConcerned, mark) {
      for (const [name, record] of records.entries()) {
        if (!isConcerned(record) || record.mark === "removed") continue;
        records.set(name, { ...record, mark });
      }
    },
    forgetOnDisk: (name) => disk.remove(recordKey(name)),
    size: () => records.size,
  };
}

export function sourceTag(name: string): string {
  return `source:${name}`;
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
