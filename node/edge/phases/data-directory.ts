/** The origin token's file, the lock of the data directory, and what the edge remembers on disk. */
import { mkdir } from "node:fs/promises";
import { lockDirectory } from "#base/directory-lock.ts";
import { type Damage, type FleetMemory, openFleetMemory } from "#follow/fleet-memory.ts";
import { openTokenFile, type TokenFile } from "../../fetch/token-file.ts";
import type { EdgeSetup } from "../setup.ts";

export interface DataDirectory {
  tokenFile: TokenFile;
  memory: FleetMemory;
  /** Files that could not be read at the start. */
  damaged: readonly Damage[];
}

const lockAdvice = "stop it, or give this one a data directory of its own (dataDir)";

export async function openDataDirectory({ config, process, lifecycle, clock, log }: EdgeSetup): Promise<DataDirectory> {
  // Processes of one machine share the file; the first one writes it.
  const tokenFile = await openTokenFile({ path: config.origin.tokenFile, mayWrite: process.index === 0, clock, log });
  lifecycle.defer("token file", tokenFile.close);
  await mkdir(config.dataDir, { recursive: true });
  lifecycle.defer("lock", lockDirectory(config.dataDir, `another edge is running on ${config.dataDir}: ${lockAdvice}`));
  const damaged: Damage[] = [];
  const memory = await openFleetMemory(config.dataDir, (damage) => {
    damaged.push(damage);
    log.error(damage, "a file of this edge is damaged");
  });
  return { tokenFile, memory, damaged };
}
