/**
 * A program that uses a disk tier on a tmpfs of 8 MiB, in a mount namespace of its own, for small-disk.test.ts. It
 * prints what it has passed, and fails with an assertion.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../../../node/cache/disk/disk-tier.ts";
import { mebibyte } from "../../../support/disk-tier.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { keyFor, objectFor } from "../../../support/objects.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

const [disk = ""] = process.argv.slice(2);
const directory = join(disk, "cache");
const clock = fakeClock();
const open = () => openDiskTier({ directory, bytesMax: 64 * mebibyte, clock, log: silentLog });
const tier = await open();
const sizeBytes = 20_000;

async function isTaken(name: string): Promise<boolean> {
  tier.store(objectFor(name, { sizeBytes }));
  await tier.flushed();
  return tier.contains(keyFor(name));
}

async function readsGoOn(name = "first"): Promise<void> {
  const object = await tier.load(keyFor(name));
  assert(object?.body.equals(objectFor(name, { sizeBytes }).body));
}

async function takesAgain(name: string): Promise<void> {
  await turnsUntil(async () => {
    clock.advance(120_000);
    return await isTaken(name);
  });
}

const filler = join(disk, "filler");
assert(await isTaken("first"));
assert.throws(() => {
  writeFileSync(filler, Buffer.alloc(8 * mebibyte));
});
let stored = 0;
while (stored < 1000 && (await isTaken(`o${stored}`))) stored += 1;
assert(stored < 1000 && !tier.stats().canWrite);
await readsGoOn();
assert.equal(tier.write(keyFor("streamed"), null), undefined);
process.stdout.write("full\n");

rmSync(filler);
await takesAgain("again");
await readsGoOn();
assert.equal(tier.stats().limitBytes, tier.stats().bytesMax, "something else had filled the disk");
process.stdout.write("room again\n");

// Three times what the disk holds, of a tier that may take eight times as much.
let taken = 0;
for (let index = 0; index < 1200; index += 1) {
  if (await isTaken(`own${index}`)) taken += 1;
  else clock.advance(2000);
}
assert(taken > 1100, `${taken} of 1200`);
let found = 0;
for (let index = 0; index < 1200; index += 1) {
  const object = await tier.load(keyFor(`own${index}`));
  if (object === undefined) continue;
  assert(object.body.equals(objectFor(`own${index}`, { sizeBytes }).body));
  found += 1;
}
const { limitBytes, canWrite } = tier.stats();
assert(found > 150 && canWrite && limitBytes < 8 * mebibyte, `${found} found, limit ${limitBytes}`);
process.stdout.write("full of its own objects, and makes room\n");

execFileSync("mount", ["--bind", directory, directory]);
execFileSync("mount", ["-o", "remount,bind,ro", directory]);
// Files that are open can still be written; new ones can't be made.
for (let index = 0; index < 200 && tier.stats().canWrite; index += 1) await isTaken(`r${index}`);
await readsGoOn("own1199");
process.stdout.write("read-only\n");

execFileSync("umount", [directory]);
await takesAgain("writable");
process.stdout.write("writable again\n");
await tier.close();
const second = await open();
assert((await second.load(keyFor("writable"))) !== undefined);
await second.close();
process.stdout.write("after a restart\n");
