/**
 * A program that fills a disk tier, or opens it, and prints what it measured as JSON.
 * Arguments: "fill" or "open", directory, number of objects, tags per object.
 */
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../node/cache/disk/disk-tier.ts";
import { keyOf } from "../../node/cache/object.ts";

const [what = "open", directory = "", objects = "0", tags = "0"] = process.argv.slice(2);
const bytesMax = 16 * 1024 ** 3;
const batch = 1000;

const residentBefore = process.memoryUsage.rss();
const startedMs = systemClock.monotonicMs();
const cpuBefore = process.cpuUsage();
const tier = await openDiskTier({ directory, bytesMax, clock: systemClock, log: silentLog });
const tookMs = systemClock.monotonicMs() - startedMs;
const { user, system } = process.cpuUsage(cpuBefore);
const cpuMs = (user + system) / 1000;
if (what === "fill") {
  const [headerBlock, body] = [Buffer.from("Content-Type: image/webp\r\n"), Buffer.alloc(100, "x")];
  for (let index = 0; index < Number(objects); index += 1) {
    const names = Array.from({ length: Number(tags) }, (_, tag) => `source:picture-${index}-${tag}.jpg`);
    const facts = { status: 200, tags: names, storedAtMs: 0, feedSeq: 1, notes: {} };
    tier.store({ key: keyOf(String(index)), facts, headerBlock, body });
    if (index % batch === 0) await tier.flushed();
  }
  await tier.flushed();
}
const { entries, indexBytes } = tier.stats();
const residentBytes = process.memoryUsage.rss() - residentBefore;
await tier.close();
process.stdout.write(JSON.stringify({ entries, tookMs, cpuMs, residentBytes, indexBytes }));
