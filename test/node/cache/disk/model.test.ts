import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { keyWords, readKey } from "../../../../node/cache/disk/key.ts";
import { createDiskModel, request } from "../../../../node/cache/disk/model.ts";
import { mebibyte, openTier } from "../../../support/disk-tier.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { memoryFiles } from "../../../support/memory-files.ts";
import { keyFor, objectFor } from "../../../support/objects.ts";

const seed = seedOr(12);

test("the model answers a trace like the tier itself, whose heads and index take some room", async (t) => {
  const random = seededRandom(seed);
  const objects = 1500;
  const sizes = Array.from({ length: objects }, () => Math.floor(2000 * 40 ** random()));
  const bytesMax = 8 * mebibyte;
  const tier = await openTier(t, "/tier", { bytesMax, files: memoryFiles() });
  const model = createDiskModel(bytesMax);
  const hits = { tier: 0, model: 0, both: 0 };
  const requests = rounds(4000, 40_000);
  for (let count = 0; count < requests; count += 1) {
    const number = Math.floor(objects ** random()) - 1;
    const [name, sizeBytes] = [`o${number}`, sizes[number] ?? 0];
    const inModel = request(model, readKey(keyFor(name), new Uint32Array(keyWords)), sizeBytes);
    const inTier = (await tier.load(keyFor(name))) !== undefined;
    if (!inTier) {
      tier.store(objectFor(name, { sizeBytes }));
      await tier.flushed();
    }
    hits.tier += Number(inTier);
    hits.model += Number(inModel);
    hits.both += Number(inTier && inModel);
  }
  const message = `SEED=${seed}: ${JSON.stringify(hits)} of ${requests}`;
  assert(tier.stats().evictions > 100, message);
  assert(Math.abs(hits.tier - hits.model) < 0.02 * requests, message);
  assert(hits.both > 0.95 * hits.model, message);
});
