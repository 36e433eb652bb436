/** The decoders, and the cache in memory and on disk. */
import { join } from "node:path";
import { type DecoderPool, openDecoderPool } from "#image/pool.ts";
import { requireSandbox } from "#image/require-sandbox.ts";
import { type DiskTier, openDiskTier } from "../../cache/disk/disk-tier.ts";
import { type MemoryTier, openMemoryTier } from "../../cache/memory.ts";
import { openPurges, type Purges } from "../../cache/purges.ts";
import { openPurgeSweep, type PurgeSweep } from "../../cache/purge-sweep.ts";
import { openRecords, type Records } from "../../cache/records.ts";
import { joinTiers, type Tiers } from "../../cache/tiers.ts";
import type { EdgeSetup } from "../setup.ts";

export interface Caches {
  decoders: DecoderPool;
  memoryTier: MemoryTier;
  diskTier: DiskTier;
  tiers: Tiers;
  records: Records;
  purges: Purges;
  sweep: PurgeSweep;
}

/** @throws NearcastError when the decoders have no sandbox but the configuration requires one */
export async function openCaches({ config, lifecycle, parts, clock, log }: EdgeSetup): Promise<Caches> {
  const decoders = openDecoderPool({
    size: config.decoders.processes,
    clock,
    log,
    limits: { memoryBytesMax: config.decoders.memoryBytes },
    sandbox: config.decoders.sandbox,
  });
  lifecycle.defer("decoders", decoders.close);
  await requireSandbox(config.decoders.sandbox, decoders);
  const directory = join(config.dataDir, "cache");
  const memoryTier = openMemoryTier(config.cache.memoryBytes);
  const diskTier = await openDiskTier({
    directory,
    bytesMax: config.cache.diskBytes,
    clock,
    log,
  });
  lifecycle.defer("disk cache", diskTier.close);
  const purges = await openPurges(join(directory, "purge-marks"), log);
  const changed = (key: string): void => parts.ready?.forget(key);
  const tiers = joinTiers(memoryTier, diskTier, purges, changed);
  const records = openRecords(diskTier, purges, changed);
  if (purges.isDamaged) {
    await tiers.clear();
    await purges.reset(0);
  }
  const swept = [
    { tier: "disk", walk: diskTier.walk },
    { tier: "memory", walk: memoryTier.walk },
    records.swept,
  ] as const;
  const sweep = openPurgeSweep({ purges, swept, sync: diskTier.sync, clock, log });
  lifecycle.defer("purge sweep", sweep.close);
  return { decoders, memoryTier, diskTier, tiers, records, purges, sweep };
}
