/** What a purge reports, counted over real tiers: by tier, by selector, records apart, hard and soft alike. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { silentLog } from "#base/log.ts";
import { check } from "#base/schema.ts";
import { purgeReportSchema } from "#follow/channel/messages.ts";
import type { Host } from "#document/schema/hosts.ts";
import { type PurgeEvent, targetsOf } from "#purge/purge-event.ts";
import { openDiskTier } from "../../../node/cache/disk/disk-tier.ts";
import { openMemoryTier } from "../../../node/cache/memory.ts";
import { memoryBytesOf } from "../../../node/cache/object.ts";
import { joinTiers, type Tiers } from "../../../node/cache/tiers.ts";
import { createPurgeTally } from "../../../node/serve/purge-tally.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { objectFor, purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const small = objectFor("small", { tags: ["source:shop/chair.jpg"], sizeBytes: 1000 });
const large = objectFor("large", { tags: ["source:shop/chair.jpg"], sizeBytes: 5000 });
const source = objectFor("source", { tags: ["source:shop/chair.jpg"], sizeBytes: 20_000 });
const record = objectFor("record", { tags: ["source:shop/chair.jpg"], notes: { record: {} }, sizeBytes: 0 });
const asset = objectFor("asset", { tags: ["host:static.test", "tag:red"], sizeBytes: 300 });
const later = objectFor("later", { tags: ["tag:red"], feedSeq: 9 });

async function filledTiers(t: TestContext): Promise<Tiers> {
  const directory = await temporaryDirectory(t);
  const disk = await openDiskTier({ directory, bytesMax: 16_000_000, clock: fakeClock(), log: silentLog });
  t.after(() => disk.close());
  const tiers = joinTiers(openMemoryTier(1_000_000), disk);
  for (const object of [small, large, asset, later]) tiers.store(object);
  for (const object of [source, record]) tiers.storeOnDisk(object);
  await disk.flushed();
  return tiers;
}

const event = (parts: Partial<PurgeEvent>): PurgeEvent => ({
  reason: "purge",
  names: [],
  hosts: [],
  tags: [],
  all: false,
  soft: false,
  ...parts,
});

const imagesHost = (name: string, sourcePrefix: string): Host => ({
  name,
  kind: "images",
  sourcePrefix,
  freshSeconds: 3600,
  staleWhileRevalidateSeconds: 0,
  staleIfErrorSeconds: 0,
  negativeSeconds: 10,
  enlargementMax: 1,
  outputPixelsMax: 33_554_432,
  cacheControl: "no-cache",
});

for (const isSoft of [false, true]) {
  test(`${isSoft ? "a soft" : "a hard"} purge counts entries and bytes by tier, and selectors with any`, async (t) => {
    const tiers = await filledTiers(t);
    const wanted = event({
      names: ["none.jpg", "shop/chair.jpg"],
      hosts: ["static.test", "none.test"],
      tags: ["red", "blue"],
    });
    const hostTags = ["host:static.test", "host:none.test"];
    const tags = ["source:none.jpg", "source:shop/chair.jpg", ...hostTags, "tag:red", "tag:blue"];
    const purge = purgeFor({ seq: 5, tags, isSoft });
    const tally = createPurgeTally(purge, targetsOf(wanted, []));
    tally.foundRecords(["shop/chair.jpg"]);
    if (isSoft) await tiers.keysOf(purge, tally.found);
    else await tiers.purge(purge, tally.found);
    const report = tally.report(5);
    assert.equal(check(purgeReportSchema, report).ok, true);
    const { disk, ...rest } = report;
    assert.deepEqual(rest, {
      seq: 5,
      memory: { entries: 3, bytes: [small, large, asset].reduce((sum, one) => sum + memoryBytesOf(one), 0) },
      records: 1,
      isComplete: true,
      held: { names: [1], hosts: [0], tags: [0], prefix: false },
    });
    // Heads count too; what was stored after the purge is not counted.
    assert.equal(disk.entries, 4);
    assert.ok(disk.bytes > 26_300 && disk.bytes < 28_300, String(disk.bytes));
  });
}

test("a host of pictures and a prefix are held when a source below them is", async (t) => {
  const tiers = await filledTiers(t);
  const wanted = event({ hosts: ["img.test", "old.test"], prefix: "garden/" });
  const hosts = [imagesHost("img.test", "shop/"), imagesHost("old.test", "attic/")];
  const hostTags = ["host:img.test", "host:old.test"];
  const purge = purgeFor({ seq: 5, tags: hostTags, sourcePrefixes: ["shop/", "attic/", "garden/"] });
  const tally = createPurgeTally(purge, targetsOf(wanted, hosts));
  await tiers.purge(purge, tally.found);
  const { held, memory, disk } = tally.report(5);
  assert.deepEqual(held, { names: [], hosts: [0], tags: [], prefix: false });
  assert.deepEqual([memory.entries, disk.entries], [2, 3]);
});

test("a purge that was carried out finds nothing the second time", async (t) => {
  const tiers = await filledTiers(t);
  const purge = purgeFor({ seq: 5, isAll: true });
  await tiers.purge(purge);
  const tally = createPurgeTally(purge, targetsOf(event({ all: true }), []));
  await tiers.purge(purge, tally.found);
  const { memory, disk, records } = tally.report(5);
  assert.deepEqual([memory, disk, records], [{ entries: 0, bytes: 0 }, { entries: 0, bytes: 0 }, 0]);
});
