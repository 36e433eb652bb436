/**
 * Applies the purges of the feed to the caches.
 *
 *   put, rollback   the name stands for other bytes: ask the origin before the next response. Variants of the old bytes
 *                   stay, because a rollback finds them again by their hash
 *   delete, purge   what is named is gone from both tiers, and is never served again unless the origin says so
 *   soft purge      what is named is revalidated in the background of the next response
 *
 * apply() resolves when the purge is in force, and would be after a kill. The position in the feed is saved when sync()
 * says that it survives a power failure too: marks by their own journal, and what put and rollback removed by that of
 * the disk tier. The space of purged objects is freed later (cache/purge-sweep.ts). A purge that somebody requested
 * gets a report of what it found; a purge caused by a change of a picture gets none.
 */
import type { Fleet } from "#document/document.ts";
import type { PurgeReport } from "#follow/channel/messages.ts";
import { type PurgeEvent, type PurgeTargets, targetsOf } from "#purge/purge-event.ts";
import type { PurgeTarget } from "#purge/purge-kind.ts";
import type { Purge } from "../cache/purge.ts";
import type { PurgeSweep } from "../cache/purge-sweep.ts";
import type { Purges } from "../cache/purges.ts";
import type { Records } from "../cache/records.ts";
import type { Tiers } from "../cache/tiers.ts";
import type { AssetServer } from "./asset.ts";
import type { ImageServer } from "./image.ts";
import { createPurgeTally } from "./purge-tally.ts";

export interface Purger {
  /**
   * The report, when the sweep has met everything that was purged; null: nobody requested this purge, or this node is
   * stopping.
   */
  apply: (seq: number, event: PurgeEvent) => Promise<{ report: Promise<PurgeReport | null> }>;
  /**
   * Makes everything that was applied survive a power failure. Resolves to false if the disk refuses: then the saved
   * position in the feed must not advance, so that the next start applies it again. Never rejects.
   */
  sync: () => Promise<boolean>;
  /** Drops everything: what is cached can't be trusted any more. @param position of the feed from now on */
  dropAll: (position: number) => Promise<void>;
}

const noReport = { report: Promise.resolve(null) };

export function createPurger(parts: {
  images: ImageServer;
  assets: AssetServer;
  tiers: Tiers;
  records: Records;
  purges: Purges;
  sweep: PurgeSweep;
  /** What was decided before, by anyone, holds no longer. */
  outdate: () => void;
  /** Null while no fleet document is known. */
  fleet: () => Fleet | null;
}): Purger {
  const { images, assets, tiers, records, purges, sweep, outdate, fleet } = parts;
  return {
    async apply(seq, event) {
      const targets = targetsOf(event, fleet()?.hosts ?? []);
      const purge = purgeOf(seq, event, targets);
      if (event.reason === "put" || event.reason === "rollback") {
        const written = records.replaced(event.names, seq);
        outdate();
        images.purge(purge);
        await written;
        return noReport;
      }
      const written = purges.add(purge);
      outdate();
      images.purge(purge);
      assets.purge(purge);
      if (event.reason !== "purge") {
        sweep.request();
        await written;
        return noReport;
      }
      const tally = createPurgeTally(purge, targets);
      const before = tiers.diskFailures();
      const counted = sweep.count({ purge, found: tally.found });
      await written;
      // Heads that could not be read were not counted.
      const report = (isWhole: boolean): PurgeReport | null =>
        isWhole ? tally.report(seq, tiers.canReadDisk() && tiers.diskFailures() === before) : null;
      return { report: counted.then(report) };
    },
    sync: async () => purges.isOnDisk() && (await tiers.sync()),
    async dropAll(position) {
      const everything: Purge = { seq: position, tags: new Set(), tagPrefixes: [], isAll: true, isSoft: false };
      images.purge(everything);
      assets.purge(everything);
      records.clear();
      outdate();
      await tiers.clear();
      await purges.reset(position);
    },
  };
}

function purgeOf(seq: number, { soft }: PurgeEvent, targets: PurgeTargets): Purge {
  const all: readonly PurgeTarget[] = [...targets.values()].flat();
  return {
    seq,
    tags: new Set(all.flatMap(({ tags }) => tags)),
    tagPrefixes: all.flatMap(({ tagPrefixes }) => tagPrefixes),
    isAll: all.some(({ isAll }) => isAll),
    isSoft: soft,
  };
}
