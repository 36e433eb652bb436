/** Bytes that changed on disk: misses, never wrong answers, and no object that was removed. */
import assert from "node:assert/strict";
import { readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { seededRandom } from "#base/random.ts";
import { openTier } from "../../../support/disk-tier.ts";
import { keptLog } from "../../../support/kept-log.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { bodyFor, keyFor, objectFor } from "../../../support/objects.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";

const names = Array.from({ length: 12 }, (_, index) => `o${index}`);
const sizeOf = (name: string): number => (name === "o3" ? 400_000 : Number(name.slice(1)) * 3000);

/** A tier with twelve objects, of which one was removed, and closed. */
async function filled(t: TestContext): Promise<string> {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  for (const name of names) tier.store(objectFor(name, { sizeBytes: sizeOf(name) }));
  await tier.flushed();
  await tier.remove(keyFor("o5"));
  await tier.close();
  return directory;
}

async function filesOf(directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ["index", "heads", "segments", "bodies"]) {
    for (const name of await readdir(join(directory, folder))) found.push(join(directory, folder, name));
  }
  return found;
}

/** Returns how many objects are found; what is found is right. */
async function checkAll(
  t: TestContext,
  directory: string,
  message: string,
  isRemovalKnown = true,
): Promise<{ found: number; corrupt: number }> {
  const tier = await openTier(t, directory);
  let found = 0;
  for (const name of names) {
    const object = await tier.load(keyFor(name));
    if (object === undefined) continue;
    assert(name !== "o5" || !isRemovalKnown, `${message}: it was removed`);
    assert(object.body.equals(bodyFor(name, 1, sizeOf(name))), `${message}: ${name}`);
    assert.deepEqual(object.facts, objectFor(name).facts, message);
    found += 1;
  }
  const { corrupt } = tier.stats();
  await tier.close();
  return { found, corrupt };
}

test("a wrong bit in any file is a miss at most, and a cut file too", async (t) => {
  const seed = seedOr(23);
  const random = seededRandom(seed);
  for (let round = 0; round < rounds(40, 1000); round += 1) {
    const directory = await filled(t);
    const files = await filesOf(directory);
    const path = files[Math.floor(random() * files.length)] ?? "";
    const bytes = await readFile(path);
    const at = Math.floor(random() * bytes.length);
    const message = `SEED=${seed}, round ${round}: byte ${at} of ${path.slice(directory.length)}`;
    const isCut = random() < 0.3;
    if (isCut) {
      await truncate(path, at);
    } else {
      bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      await writeFile(path, bytes);
    }
    // A journal that is cut says no more than one that a kill cut: the removal is not in it.
    const { found } = await checkAll(t, directory, message, !(isCut && path.includes("journal-")));
    if (!path.includes("/index/") && !path.includes("/heads/")) assert(found >= 1, message);
  }
});

test("damage of a body and of a head is counted, and the object is dropped", async (t) => {
  for (const folder of ["segments", "heads"]) {
    const directory = await filled(t);
    const [name = ""] = await readdir(join(directory, folder));
    const path = join(directory, folder, name);
    const bytes = await readFile(path);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const { found, corrupt } = await checkAll(t, directory, folder);
    assert.deepEqual([found, corrupt], [10, 1], folder);
    assert.equal((await checkAll(t, directory, folder)).corrupt, 0, "it is gone");
  }
});

test("a journal that was damaged may have lost removals: everything goes", async (t) => {
  const directory = await filled(t);
  const journal = (await filesOf(directory)).find((path) => path.includes("journal-")) ?? "";
  const bytes = await readFile(journal);
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await writeFile(journal, bytes);
  const { log, lines } = keptLog();
  const tier = await openTier(t, directory, { log });
  assert.equal(tier.stats().entries, 0);
  assert.equal(lines.filter(({ message }) => message.includes("is damaged")).length, 1);
  assert(tier.store(objectFor("o1")));
  await tier.close();
  assert.equal((await checkAll(t, directory, "afterwards")).found, 0);
  assert((await stat(directory)).isDirectory());
});
