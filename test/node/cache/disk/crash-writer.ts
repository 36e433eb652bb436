/**
 * A program that writes to a disk tier until it is killed, for crash.test.ts. For each object that was acknowledged, it
 * prints a line.
 * Arguments: directory, bound in bytes, a number to begin from.
 */
import { writeSync } from "node:fs";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../../../node/cache/disk/disk-tier.ts";
import { objectFor } from "../../../support/objects.ts";

const [directory = "", bytesMax = "0", start = "0"] = process.argv.slice(2);
const tier = await openDiskTier({ directory, bytesMax: Number(bytesMax), clock: systemClock, log: silentLog });
writeSync(1, "open\n");

const sizeOf = (version: number): number => (version % 7) * 9000;

/** Names that are written once, in batches: what was acknowledged can be counted. */
async function storeOnce(): Promise<never> {
  for (let at = Number(start); ; at += 16) {
    for (let index = at; index < at + 16; index += 1)
      tier.store(objectFor(`once${index}`, { version: index, sizeBytes: sizeOf(index) }));
    await tier.flushed();
    writeSync(1, `${at}\n`);
  }
}

/** Names that are replaced, removed, purged, revalidated and written as they arrive, all the time. */
async function changeAll(): Promise<never> {
  for (let version = Number(start); ; version += 1) {
    const object = objectFor(`n${version % 40}`, { version, sizeBytes: sizeOf(version) });
    if (version % 3 === 0) {
      const writer = tier.write(object.key, version % 2 === 0 ? object.body.length : null);
      await writer?.append(object.body);
      await writer?.commit(object.facts, object.headerBlock);
    } else {
      tier.store(object);
    }
    if (version % 5 === 0) void tier.remove(objectFor(`n${(version + 3) % 40}`).key);
    if (version % 8 === 0) await tier.flushed();
    await tier.load(objectFor(`n${(version + 7) % 40}`).key);
  }
}

await Promise.race([storeOnce(), changeAll()]);
