/**
 * Loaded into an edge by `node --import`, so that the product needs no door for it: SIGUSR2 blocks the main thread for
 * 2.5 s, as a loop without end or a stuck file system would.
 */
import { machineMs } from "./machine-clock.ts";

export const blockedMs = 2500;

process.on("SIGUSR2", () => {
  const endMs = machineMs() + blockedMs;
  while (machineMs() < endMs);
});
