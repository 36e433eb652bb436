/**
 * What the feed's purges mean for the caches.
 *
 *   put, rollback   the name means other bytes: ask before the next answer; variants of the old bytes stay, for a
 *                   rollback finds them again by their hash
 *   delete, purge   what is named goes, from both tiers, and is never served again unless the origin says so
 *   soft purge      what is named is asked for behind the next answer
 *
 * apply() resolves when the purge is in force, in memory and on disk: only then may the feed's position move on. It
 * tells what a purge that somebody ordered has found; of the others, which every change of a picture makes, nothing is
 * told.
 */
import type { Fleet } from "#document/document.ts";
import type { PurgeReport } from "#follow/channel/messages.ts";
import { type PurgeEvent, type PurgeTargets, targetsOf } from "#purge/purge-event.ts";
import type { Purge } from "../cache/purge.ts";
import type { Records } from "../cache/records.ts";
import type { Tiers } from "../cache/tiers.ts";
import type { AssetServer } from "./asset.ts";
import type { ImageServer } from "./image.ts";
import { createPurgeTally } from "./purge-tally.ts";

export interface Purger {
  /** Undefined: nobody ordered this purge. */
  apply: (seq: number, event: PurgeEvent) => Promise<PurgeReport | undefined>;
  /** Drops everything: what is cached can't be trusted any more. */
  dropAll: () => Promise<void>;
}

export function createPurger(parts: {
  images: ImageServer;
  assets: AssetServer;
  tiers: Tiers;
  records: Records;
  /** Null while no fleet document is known. */
  fleet: () => Fleet | null;
}): Purger {
  const { images, assets, tiers, records, fleet } = parts;
  return {
    async apply(seq, event) {
      const targets = targetsOf(event, fleet()?.hosts ?? []);
      const purge = purgeOf(seq, event, targets);
      if (event.reason === "put" || event.reason === "rollback") {
        images.purge(purge, "replaced");
        await records.forgetOnDisk(purge);
        return undefined;
      }
      const tally = createPurgeTally(purge, targets);
      tally.foundRecords(images.purge(purge, purge.isSoft ? "soft" : "removed"));
      assets.purge(purge);
      if (purge.isSoft) {
        assets.markStale(await tiers.keysOf(purge, tally.found));
        await records.forgetOnDisk(purge);
      } else {
        await tiers.purge(purge, tally.found);
      }
      return event.reason === "purge" ? tally.report(seq) : undefined;
    },
    async dropAll() {
      const purge: Purge = { seq: 0, tags: new Set(), sourcePrefixes: [], isAll: true, isSoft: false };
      images.purge(purge, "removed");
      assets.purge(purge);
      await tiers.purge(purge);
    },
  };
}

function purgeOf(seq: number, { soft }: PurgeEvent, targets: PurgeTargets): Purge {
  const all = [...targets.values()].flat();
  return {
    seq,
    tags: new Set(all.flatMap(({ tags }) => tags)),
    sourcePrefixes: all.flatMap(({ sourcePrefixes }) => sourcePrefixes),
    isAll: all.some(({ isAll }) => isAll),
    isSoft: soft,
  };
}
