/**
 * What the feed's purges mean for the caches.
 *
 *   put, rollback   the name means other bytes: ask before the next answer; variants of the old bytes stay, for a
 *                   rollback finds them again by their hash
 *   delete, purge   what is named goes, from both tiers, and is never served again unless the origin says so
 *   soft purge      what is named is asked for behind the next answer
 *
 * apply() resolves when the purge is in force, after a restart too: only then may the feed's position move on. The
 * space of what was purged is freed later (cache/purge-sweep.ts). Of a purge that somebody ordered, a report tells what
 * it has found; of the others, which every change of a picture makes, nothing is told.
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
  /** The report comes when all that was purged was met; null: nobody ordered this purge, or this node closes. */
  apply: (seq: number, event: PurgeEvent) => Promise<{ report: Promise<PurgeReport | null> }>;
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
  /** Null while no fleet document is known. */
  fleet: () => Fleet | null;
}): Purger {
  const { images, assets, tiers, records, purges, sweep, fleet } = parts;
  return {
    async apply(seq, event) {
      const targets = targetsOf(event, fleet()?.hosts ?? []);
      const purge = purgeOf(seq, event, targets);
      if (event.reason === "put" || event.reason === "rollback") {
        const written = records.replaced(event.names, seq);
        images.purge(purge);
        await written;
        return noReport;
      }
      const written = purges.add(purge);
      images.purge(purge);
      assets.purge(purge);
      if (event.reason !== "purge") {
        sweep.request();
        await written;
        return noReport;
      }
      const tally = createPurgeTally(purge, targets);
      const counted = sweep.count({ purge, found: tally.found });
      await written;
      return { report: counted.then((isWhole) => (isWhole ? tally.report(seq) : null)) };
    },
    async dropAll(position) {
      const everything: Purge = { seq: position, tags: new Set(), tagPrefixes: [], isAll: true, isSoft: false };
      images.purge(everything);
      assets.purge(everything);
      records.clear();
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
