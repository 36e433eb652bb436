import assert from "node:assert/strict";
import { test } from "node:test";
import { openTier } from "../../../support/disk-tier.ts";
import { rounds } from "../../../support/long.ts";
import { keyFor, objectFor } from "../../../support/objects.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";

const bytesMax = 16 * 1024 ** 3;

test("a tier of many objects is ready soon after a start, with at most 100 bytes of index for each", async (t) => {
  const count = rounds(50_000, 1_000_000);
  const directory = await temporaryDirectory(t);
  const first = await openTier(t, directory, { bytesMax });
  for (let index = 0; index < count; index += 1) {
    first.store(objectFor(`o${index}`, { sizeBytes: 100, tags: ["source:a.jpg", "host:img.example", `tag:${index}`] }));
    if (index % 1000 === 0) await first.flushed();
  }
  await first.close();
  const startedMs = performance.now();
  const second = await openTier(t, directory, { bytesMax });
  const tookMs = performance.now() - startedMs;
  const { entries, indexBytes } = second.stats();
  assert.equal(entries, count);
  assert(indexBytes / count <= 100, `${indexBytes / count} bytes an object`);
  // The aim is 2 s for a million; other tests run meanwhile.
  assert(tookMs < 20_000, `${tookMs} ms`);
  for (let index = 0; index < count; index += Math.floor(count / 100)) {
    const object = await second.load(keyFor(`o${index}`));
    assert.deepEqual(object?.body, objectFor(`o${index}`, { sizeBytes: 100 }).body);
  }
});
