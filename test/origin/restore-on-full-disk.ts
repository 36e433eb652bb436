/**
 * Restores onto a disk that has a little more room each time, until it succeeds (backup.test.ts starts this in a mount
 * namespace with a small disk).
 *
 *   node restore-on-full-disk.ts WORK      WORK/backup: a backup; WORK/disk: the disk
 */
import { mkdir, readdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base/clock.ts";
import { restore } from "../../origin/backup/restore.ts";
import { wideLimits } from "./tester.ts";

const [work = ""] = process.argv.slice(2);
const disk = join(work, "disk");
const filler = join(disk, "filler");
const target = join(disk, "data", "origin");
const stepBytes = 16_384;
const options = { clock: systemClock, keep: wideLimits, author: "test", onProgress: () => undefined };

/** What is in the data directory before: nothing at all, an empty folder, or an older origin's files. */
const starts: Record<string, () => Promise<unknown>> = {
  absent: async () => await Promise.resolve(),
  empty: async () => await mkdir(target, { recursive: true }),
  used: async () => {
    await mkdir(join(target, "blobs", "aa"), { recursive: true });
    await mkdir(join(target, "secrets"));
    for (const name of ["catalogue.sqlite", "lock.sqlite", "blobs/aa/aa11", "secrets/edge.token"])
      await writeFile(join(target, name), name === "lock.sqlite" ? "" : `old ${name}`);
  },
};

/** Paths and contents of all that is on the disk. */
async function stateOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const lines = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    return entry.isFile() && path !== filler ? `${path}: ${await readFile(path, "utf8")}` : path;
  });
  return (await Promise.all(lines)).toSorted();
}

for (const [start, prepare] of Object.entries(starts)) {
  let isDone = false;
  for (let spareBytes = 0; !isDone; spareBytes += stepBytes) {
    await rm(filler, { force: true });
    await rm(join(disk, "data"), { recursive: true, force: true });
    await prepare();
    const { bavail, bsize } = await statfs(disk);
    await writeFile(filler, Buffer.alloc(bavail * bsize - spareBytes));
    const before = await stateOf(disk);
    const said = await restore(join(work, "backup"), target, { ...options, isForced: start === "used" }).then(
      () => "done",
      (error: unknown) => (error as Error).message,
    );
    isDone = said === "done";
    const isAsBefore = JSON.stringify(await stateOf(disk)) === JSON.stringify(before);
    process.stdout.write(`${JSON.stringify({ start, spareBytes, said, isAsBefore })}\n`);
  }
}
