/**
 * A program that writes to a disk tier in a loop until it is killed, for disk.test.ts.
 * Arguments: directory, bound in bytes, a number to begin from.
 */
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../../node/cache/disk.ts";
import { objectFor } from "../../support/objects.ts";

const [directory = "", bytesMax = "0", start = "0"] = process.argv.slice(2);
const tier = await openDiskTier({ directory, bytesMax: Number(bytesMax), clock: systemClock, log: silentLog });
await tier.scanned;
process.stdout.write("writing");
for (let version = Number(start); ; version += 1) {
  tier.store(objectFor(`n${version % 40}`, { version, sizeBytes: (version % 7) * 9000 }));
  if (version % 5 === 0) void tier.remove(objectFor(`n${(version + 3) % 40}`).key);
  if (version % 8 === 0) await pause(1);
}
