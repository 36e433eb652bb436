/**
 * Counts what a purge finds on this node, for the report to whoever requested it: all objects that the purge covers and
 * that the sweep or a lookup finds.
 *
 * Entries are objects in a tier: pictures in one size, sources, files of assets. An object in memory and on disk counts
 * in both. Records of pictures are on disk among the objects; they are counted separately, once per name.
 */
import type { PurgeReport } from "#follow/channel/messages.ts";
import type { PurgeTargets } from "#purge/purge-event.ts";
import { heldOf } from "#purge/purge-report.ts";
import type { Purge } from "../cache/purge.ts";
import type { Found } from "../cache/purges.ts";

export interface PurgeTally {
  found: Found;
  /** @param isComplete whether everything that is stored could be read */
  report: (seq: number, isComplete: boolean) => PurgeReport;
}

export function createPurgeTally(purge: Purge, targets: PurgeTargets): PurgeTally {
  const tiers = { memory: { entries: 0, bytes: 0 }, disk: { entries: 0, bytes: 0 } };
  const records = new Set<string>();
  /** The purge's tags and prefixes for which something was found. */
  const heldTags = new Set<string>();
  const heldPrefixes = new Set<string>();

  function hold(tag: string): void {
    if (purge.tags.has(tag)) heldTags.add(tag);
    for (const prefix of purge.tagPrefixes) {
      if (!heldPrefixes.has(prefix) && tag.startsWith(prefix)) heldPrefixes.add(prefix);
    }
  }

  return {
    found(tier, facts, bytes) {
      for (const tag of facts.tags) hold(tag);
      if (facts.notes["record"] !== undefined) {
        for (const tag of facts.tags) records.add(tag);
        return;
      }
      tiers[tier].entries += 1;
      tiers[tier].bytes += bytes;
    },
    report: (seq, isComplete) => ({
      seq,
      ...tiers,
      records: records.size,
      isComplete,
      held: heldOf(
        targets,
        ({ tags, tagPrefixes }) =>
          tags.some((tag) => heldTags.has(tag)) || tagPrefixes.some((prefix) => heldPrefixes.has(prefix)),
      ),
    }),
  };
}
