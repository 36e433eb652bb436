import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { BodyWriter } from "../../../../node/cache/disk/body-writer.ts";
import { assertSame, bytesBelow, mebibyte, openTier } from "../../../support/disk-tier.ts";
import { bodyFor, keyFor, objectFor } from "../../../support/objects.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

async function appendAll(writer: BodyWriter, body: Buffer, chunkBytes = 50_000): Promise<void> {
  for (let at = 0; at < body.length; at += chunkBytes) assert(await writer.append(body.subarray(at, at + chunkBytes)));
}

test("a body is read back while it arrives, and is found when it is committed, after a restart too", async (t) => {
  const directory = await temporaryDirectory(t);
  const bytesMax = 64 * mebibyte;
  const tier = await openTier(t, directory, { bytesMax });
  for (const sizeBytes of [0, 1, 20_000, 300_000, 3 * mebibyte]) {
    for (const isKnown of [true, false]) {
      const object = objectFor(`${sizeBytes}/${isKnown}`, { sizeBytes });
      const { key, facts, headerBlock, body } = object;
      const writer = tier.write(key, isKnown ? sizeBytes : null);
      assert(writer !== undefined);
      for (let at = 0; at < sizeBytes; at += 7919) {
        assert(await writer.append(body.subarray(at, at + 7919)));
        const end = Math.min(sizeBytes, at + 7919);
        assert((await writer.read(Math.max(0, at - 100), end)).equals(body.subarray(Math.max(0, at - 100), end)));
      }
      assert(!tier.contains(key), "not before it is committed");
      const release = writer.hold();
      assert(await writer.commit(facts, headerBlock), `${sizeBytes}, ${isKnown}`);
      assert((await writer.read(0, sizeBytes)).equals(body), "after it was committed");
      release();
      assertSame(await tier.load(key), object);
    }
  }
  await tier.close();
  const second = await openTier(t, directory, { bytesMax });
  for (const sizeBytes of [0, 1, 20_000, 300_000, 3 * mebibyte]) {
    for (const isKnown of [true, false]) {
      const object = objectFor(`${sizeBytes}/${isKnown}`, { sizeBytes });
      assertSame(await second.load(object.key), object);
    }
  }
  assert.equal((await readdir(join(directory, "bodies"))).length, 4, "those of more than an eighth of a segment");
});

test("a body that is too short or too long is not committed", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory);
  const { key, facts, headerBlock } = objectFor("o");
  const short = tier.write(key, 10);
  assert(short !== undefined && (await short.append(Buffer.alloc(9))));
  assert(!(await short.commit(facts, headerBlock)));
  const long = tier.write(key, 10);
  assert(long !== undefined && !(await long.append(Buffer.alloc(11))));
  assert(!(await long.commit(facts, headerBlock)));
  assert(!tier.contains(key));
});

test("an aborted body frees its space when its last reader has closed", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory, { bytesMax: 64 * mebibyte });
  const before = tier.stats().bytes;
  const body = bodyFor("o", 1, 2 * mebibyte);
  const writer = tier.write(keyFor("o"), null);
  assert(writer !== undefined);
  await appendAll(writer, body);
  const release = writer.hold();
  writer.abort();
  assert(!(await writer.append(Buffer.alloc(1))));
  await turnsUntil(async () => (await readdir(join(directory, "bodies"))).length === 0);
  assert((await writer.read(1_500_000, 1_600_000)).equals(body.subarray(1_500_000, 1_600_000)), "its reader goes on");
  assert(tier.stats().bytes >= before + 2 * mebibyte, "its bytes are still on disk");
  release();
  // The system frees them when it has closed the file.
  await turnsUntil(() => tier.stats().bytes < before + 100_000);
});

test("readers that have a body open keep its bytes while it is evicted, and the bound holds", async (t) => {
  const directory = await temporaryDirectory(t);
  const bytesMax = 8 * mebibyte;
  const tier = await openTier(t, directory, { bytesMax });
  const names = ["small", "large"].flatMap((kind) => Array.from({ length: 5 }, (_, index) => `${kind}${index}`));
  const sizeOf = (name: string): number => (name.startsWith("small") ? 10_000 : 200_000);
  for (const name of names) tier.store(objectFor(name, { sizeBytes: sizeOf(name) }));
  await tier.flushed();
  const open = await Promise.all(
    names.map(async (name) => {
      const object = await tier.find(keyFor(name));
      assert(object !== undefined);
      const body = object.open();
      await body.read(0, 100);
      return { name, body };
    }),
  );
  for (let index = 0; index < 400; index += 1) {
    tier.store(objectFor(`other${index}`, { sizeBytes: 50_000 }));
    if (index % 20 === 0) await tier.flushed();
    if (index > 200) await tier.load(keyFor(`other${index - 10}`));
    assert(tier.stats().bytes <= bytesMax && (await bytesBelow(directory)) <= bytesMax);
  }
  await tier.flushed();
  for (const name of names) await tier.remove(keyFor(name));
  for (const { name, body } of open) {
    assert((await body.read(0, sizeOf(name))).equals(bodyFor(name, 1, sizeOf(name))), name);
    body.close();
    body.close(); // twice does no harm
  }
});

test("more open bodies than descriptors: the next ones can't be read, and those that are open can", async (t) => {
  const directory = await temporaryDirectory(t);
  const tier = await openTier(t, directory, { bytesMax: 256 * mebibyte, descriptorsMax: 8 });
  for (let index = 0; index < 12; index += 1) {
    tier.store(objectFor(`o${index}`, { sizeBytes: 9 * mebibyte }));
    await tier.flushed();
  }
  assert(tier.stats().openFiles <= 8);
  const bodies = [];
  let refused = 0;
  for (let index = 0; index < 12; index += 1) {
    const object = await tier.find(keyFor(`o${index}`));
    const body = object?.open();
    if (body === undefined) continue;
    bodies.push(body);
    try {
      assert((await body.read(0, 1000)).equals(bodyFor(`o${index}`, 1, 1000)));
    } catch {
      refused += 1;
    }
  }
  assert(refused > 0 && refused <= 8 && tier.stats().openFiles <= 8, `${refused} refused`);
  for (const body of bodies) body.close();
  for (let index = 0; index < 12; index += 1) {
    const object = objectFor(`o${index}`, { sizeBytes: 9 * mebibyte });
    assertSame(await tier.load(object.key), object);
  }
});
