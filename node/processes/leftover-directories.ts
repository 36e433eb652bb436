/**
 * Directories of processes that no longer exist. Their files would add to the whole of cache.diskBytes, which the
 * remaining processes have divided among them; deleting them only loses cached objects.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "#base/log.ts";
import { processDirectory, processesMax } from "./process-share.ts";

/**
 * Removes dataDir/process-i for every i from `count` on. Call this once the addresses are bound: then no other edge
 * runs.
 */
export async function removeLeftovers(dataDir: string, count: number, log: Log): Promise<void> {
  const all = Array.from({ length: processesMax }, (_, index) => processDirectory(index));
  const gone = new Set(all.slice(count));
  try {
    for (const name of await readdir(dataDir)) {
      if (!gone.has(name)) continue;
      const directory = join(dataDir, name);
      log.info({ directory }, "removing the cache directory of a process that is no longer configured");
      await rm(directory, { recursive: true, force: true });
    }
  } catch (error) {
    log.warn({ err: error }, "the cache directory of a process that is no longer configured could not be removed");
  }
}
