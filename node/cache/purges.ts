/**
 * The purges in force: their marks (purge-marks.ts), the journal that keeps them across a restart, and the purges whose
 * objects are being counted.
 *
 * A purge is in force when add() returns, and may be acknowledged when the promise of add() resolves. Tiers and records
 * judge by the marks; the sweep (purge-sweep.ts) calls forget().
 */
import type { Log } from "#base/log.ts";
import type { ObjectFacts, Tier } from "./object.ts";
import { isPurgedBy, type Purge } from "./purge.ts";
import { openPurgeJournal, readPurgeJournal } from "./purge-journal.ts";
import {
  addPurge,
  createPurgeMarks,
  forgetMarks,
  type Mark,
  type PurgeMarks,
  purgesOf,
  resetMarks,
} from "./purge-marks.ts";

/** Told of each object that a purge concerns; `bytes` is what the object takes in its tier. */
export type Found = (tier: Tier, facts: ObjectFacts, bytes: number) => void;

export interface Purges {
  readonly marks: PurgeMarks;
  /** True: the journal could not be read, so everything that is stored must be dropped. */
  readonly isDamaged: boolean;
  readonly counting: Set<Counted>;
  add: (purge: Purge) => Promise<void>;
  /** Whether the marks of all purges that were added survive a power failure. */
  isOnDisk: () => boolean;
  /** See forgetMarks(). */
  forget: (upTo: number, softInUse: ReadonlySet<Mark> | null) => Promise<void>;
  /** Everything that was stored is gone. @param position of the feed from now on */
  reset: (position: number) => Promise<void>;
}

/** A purge whose objects are counted. */
export interface Counted {
  readonly purge: Purge;
  readonly found: Found;
}

export async function openPurges(path: string, log: Log): Promise<Purges> {
  const marks = createPurgeMarks();
  const read = await readPurgeJournal(path, log);
  for (const purge of read ?? []) addPurge(marks, purge);
  const journal = openPurgeJournal(path, log);
  const rewrite = (): Promise<void> => journal.replace(() => purgesOf(marks));
  // A line that was cut short must not be followed by others.
  if (read !== undefined && read.length > 0) await rewrite();
  return {
    marks,
    isDamaged: read === undefined,
    counting: new Set(),
    add(purge) {
      addPurge(marks, purge);
      return journal.add(purge);
    },
    isOnDisk: journal.isWhole,
    async forget(upTo, softInUse) {
      if (forgetMarks(marks, upTo, softInUse)) await rewrite();
    },
    async reset(position) {
      resetMarks(marks, position);
      await rewrite();
    },
  };
}

/** Counts an object for the purges that concern it: up to the first hard one, which removes it. */
export function tellCounting({ counting }: Pick<Purges, "counting">, ...[tier, facts, bytes]: Parameters<Found>): void {
  for (const { purge, found } of counting) {
    if (!isPurgedBy(facts, purge)) continue;
    found(tier, facts, bytes);
    if (!purge.isSoft) return;
  }
}
