/**
 * Backs up into a disk that is fuller each time, and restores what was there before (backup.test.ts starts this in a
 * mount namespace with a small disk).
 *
 *   node backup-on-full-disk.ts WORK LATER      WORK/early: an origin; LATER: the same one later; WORK/disk: the disk
 */
import { rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base/clock.ts";
import { backUp } from "../../origin/backup/back-up.ts";
import { restore } from "../../origin/backup/restore.ts";
import { wideLimits } from "./tester.ts";

const [work = "", later = ""] = process.argv.slice(2);
const disk = join(work, "disk");
const folder = join(disk, "backup");
const quiet = { onProgress: () => undefined };
const stepBytes = 8192;
let isDone = false;

for (let spareBytes = 0; !isDone; spareBytes += stepBytes) {
  await rm(folder, { recursive: true, force: true });
  await rm(join(disk, "filler"), { force: true });
  const early = await backUp(join(work, "early"), folder, { nowMs: 0, isChecked: false, ...quiet });
  const { bavail, bsize } = await statfs(disk);
  await writeFile(join(disk, "filler"), Buffer.alloc(bavail * bsize - spareBytes));
  const said = await backUp(later, folder, { nowMs: Date.now(), isChecked: false, ...quiet }).then(
    () => "done",
    (error: unknown) => (error as Error).message,
  );
  isDone = said === "done";
  await rm(join(disk, "filler"));
  const target = join(work, `restored-${spareBytes}`);
  const options = { clock: systemClock, keep: wideLimits, author: "test", isForced: false, ...quiet };
  const { manifest } = await restore(folder, target, options);
  const isEarlierWhole = manifest.createdAt === early.manifest.createdAt;
  await rm(target, { recursive: true });
  process.stdout.write(`${JSON.stringify({ spareBytes, said, isEarlierWhole })}\n`);
}
