/**
 * Removes blobs that no version refers to: those whose last version was pruned, and those that a kill left between the
 * store and the catalogue. One step checks one shard (a 256th of the blobs), so a step is short however many there are;
 * with the default interval the whole store is checked every four hours. holds.ts explains the interaction with
 * uploads.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { shardCount, type BlobStore } from "./blob-store.ts";
import type { Holds } from "./holds.ts";

/** @returns how many blobs of the shard were removed */
export async function sweepShard(shard: number, store: BlobStore, catalogue: Catalogue, holds: Holds): Promise<number> {
  let removed = 0;
  for await (const sha256 of store.keys(shard)) {
    await holds.seize(sha256, async () => {
      if (!(await catalogue.forgetBlob(sha256))) return;
      await store.remove(sha256);
      removed += 1;
    });
  }
  return removed;
}

export interface Sweep {
  readonly close: () => Promise<void>;
}

/** Sweeps one shard every `intervalMs`, in rotation. A failed step is logged, and repeated in the next rotation. */
export function startSweep(deps: {
  store: BlobStore;
  catalogue: Catalogue;
  holds: Holds;
  clock: Clock;
  log: Log;
  intervalMs: number;
  onRemoved: (count: number) => void;
}): Sweep {
  let shard = 0;
  let running: Promise<void> | undefined;
  const step = async (): Promise<void> => {
    try {
      const removed = await sweepShard(shard, deps.store, deps.catalogue, deps.holds);
      deps.onRemoved(removed);
    } catch (error) {
      deps.log.error({ error, shard }, "could not remove unused blobs; trying again later");
    }
    shard = (shard + 1) % shardCount;
    running = undefined;
  };
  const cancel = deps.clock.every(deps.intervalMs, () => {
    running ??= step();
  });
  return {
    close: async () => {
      cancel();
      await running;
    },
  };
}
