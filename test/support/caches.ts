/** The caches of an edge, joined as edge/phases/caches.ts joins them, in a directory of the test's own. */
import { join } from "node:path";
import type { Clock } from "#base/clock.ts";
import { type Log, silentLog } from "#base/log.ts";
import { type DiskTier, openDiskTier } from "../../node/cache/disk/disk-tier.ts";
import { type MemoryTier, openMemoryTier } from "../../node/cache/memory.ts";
import type { Purge } from "../../node/cache/purge.ts";
import { addPurge, createPurgeMarks } from "../../node/cache/purge-marks.ts";
import { openPurges, type Purges } from "../../node/cache/purges.ts";
import { openPurgeSweep, type PurgeSweep } from "../../node/cache/purge-sweep.ts";
import { openRecords, type Records } from "../../node/cache/records.ts";
import { createSweepJudge } from "../../node/cache/sweep-judge.ts";
import { joinTiers, type Tiers } from "../../node/cache/tiers.ts";

/** What a walk of the sweep does on disk after one purge. Returns the number of objects that it removes. */
export async function sweepDisk(tier: DiskTier, purge: Purge): Promise<number> {
  const marks = createPurgeMarks();
  addPurge(marks, purge);
  const judge = createSweepJudge({ marks, counting: new Set() }, 0);
  await tier.walk({ ...judge, visit: (facts, bytes) => judge.visit("disk", facts, bytes) });
  return judge.removed();
}

export interface Caches {
  memory: MemoryTier;
  disk: DiskTier;
  purges: Purges;
  tiers: Tiers;
  records: Records;
  sweep: PurgeSweep;
  close: () => Promise<void>;
}

export async function openCaches(options: {
  directory: string;
  clock: Clock;
  log?: Log;
  memoryBytes?: number;
  diskBytes?: number;
  /** Called with what is replaced or removed. */
  changed?: (key: string) => void;
}): Promise<Caches> {
  const { directory, clock, log = silentLog, memoryBytes = 16_000_000, diskBytes = 64_000_000 } = options;
  const { changed = () => undefined } = options;
  const memory = openMemoryTier(memoryBytes);
  const disk = await openDiskTier({ directory, bytesMax: diskBytes, clock, log });
  const purges = await openPurges(join(directory, "purge-marks"), log);
  const tiers = joinTiers(memory, disk, purges, changed);
  const records = openRecords(disk, purges, changed);
  const swept = [{ tier: "disk", walk: disk.walk }, { tier: "memory", walk: memory.walk }, records.swept] as const;
  const sweep = openPurgeSweep({ purges, swept, sync: disk.sync, clock, log });
  return {
    memory,
    disk,
    purges,
    tiers,
    records,
    sweep,
    async close() {
      await sweep.close();
      await disk.close();
    },
  };
}
