/** What a purge reports, counted over real tiers: by tier, by selector, records apart, hard and soft alike. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { check } from "#base/schema.ts";
import { type PurgeReport, purgeReportSchema } from "#follow/channel/messages.ts";
import type { Host } from "#document/schema/hosts.ts";
import { type PurgeEvent, type PurgeTargets, targetsOf } from "#purge/purge-event.ts";
import { memoryBytesOf } from "../../../node/cache/object.ts";
import type { Purge } from "../../../node/cache/purge.ts";
import type { SourceRecord } from "../../../node/cache/records.ts";
import { createPurgeTally } from "../../../node/serve/purge-tally.ts";
import { type Caches, openCaches } from "../../support/caches.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { objectFor, purgeFor } from "../../support/objects.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const small = objectFor("small", { tags: ["source:shop/chair.jpg"], sizeBytes: 1000 });
const large = objectFor("large", { tags: ["source:shop/chair.jpg"], sizeBytes: 5000 });
const source = objectFor("source", { tags: ["source:shop/chair.jpg"], sizeBytes: 20_000 });
const record: SourceRecord = {
  name: "shop/chair.jpg",
  meaning: { sha256: "ab" },
  knownHashes: ["ab"],
  validatedAtMs: 5,
  feedSeq: 1,
  mark: null,
};
const asset = objectFor("asset", { tags: ["host:static.test", "tag:red"], sizeBytes: 300 });
const later = objectFor("later", { tags: ["tag:red"], feedSeq: 9 });

async function filledCaches(t: TestContext): Promise<Caches> {
  const directory = await temporaryDirectory(t);
  const caches = await openCaches({ directory, clock: fakeClock() });
  t.after(caches.close);
  const { tiers, records, disk } = caches;
  for (const object of [small, large, asset, later]) tiers.store(object);
  tiers.storeOnDisk(source);
  records.store(record);
  await disk.flushed();
  return caches;
}

/** As the purger does it. */
async function purgeAndCount({ purges, sweep }: Caches, purge: Purge, targets: PurgeTargets): Promise<PurgeReport> {
  const tally = createPurgeTally(purge, targets);
  void purges.add(purge);
  assert(await sweep.count({ purge, found: tally.found }));
  return tally.report(purge.seq, true);
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
  staleWaitMs: 1000,
  negativeSeconds: 10,
  enlargementMax: 1,
  outputPixelsMax: 33_554_432,
  cacheControl: "no-cache",
});

for (const isSoft of [false, true]) {
  test(`${isSoft ? "a soft" : "a hard"} purge counts entries and bytes by tier, and selectors with any`, async (t) => {
    const caches = await filledCaches(t);
    const wanted = event({
      names: ["none.jpg", "shop/chair.jpg"],
      hosts: ["static.test", "none.test"],
      tags: ["red", "blue"],
    });
    const hostTags = ["host:static.test", "host:none.test"];
    const tags = ["source:none.jpg", "source:shop/chair.jpg", ...hostTags, "tag:red", "tag:blue"];
    const purge = purgeFor({ seq: 5, tags, isSoft });
    const report = await purgeAndCount(caches, purge, targetsOf(wanted, []));
    assert.equal(check(purgeReportSchema, report).ok, true);
    const { disk, ...rest } = report;
    assert.deepEqual(rest, {
      seq: 5,
      memory: { entries: 3, bytes: [small, large, asset].reduce((sum, one) => sum + memoryBytesOf(one), 0) },
      records: 1,
      isComplete: true,
      held: { names: [1], hosts: [0], tags: [0], prefix: false },
    });
    // The files have facts and a checksum in front of the bodies; what was stored after the purge is not counted.
    assert.equal(disk.entries, 4);
    assert.ok(disk.bytes > 26_300 && disk.bytes < 28_300, String(disk.bytes));
  });
}

test("a host of pictures and a prefix are held when a source below them is", async (t) => {
  const caches = await filledCaches(t);
  const wanted = event({ hosts: ["img.test", "old.test"], prefix: "garden/" });
  const hosts = [imagesHost("img.test", "shop/"), imagesHost("old.test", "attic/")];
  const hostTags = ["host:img.test", "host:old.test"];
  const purge = purgeFor({ seq: 5, tags: hostTags, tagPrefixes: ["source:shop/", "source:attic/", "source:garden/"] });
  const { held, memory, disk } = await purgeAndCount(caches, purge, targetsOf(wanted, hosts));
  assert.deepEqual(held, { names: [], hosts: [0], tags: [], prefix: false });
  assert.deepEqual([memory.entries, disk.entries], [2, 3]);
});

test("a purge that was carried out finds nothing the second time", async (t) => {
  const caches = await filledCaches(t);
  const targets = targetsOf(event({ all: true }), []);
  const first = await purgeAndCount(caches, purgeFor({ seq: 5, isAll: true }), targets);
  assert.deepEqual([first.memory.entries, first.disk.entries, first.records], [3, 4, 1]);
  const second = await purgeAndCount(caches, purgeFor({ seq: 6, isAll: true }), targets);
  assert.deepEqual([second.memory.entries, second.disk.entries, second.records], [0, 0, 0]);
});

test("of two purges of the same objects at once, the first one finds them", async (t) => {
  const caches = await filledCaches(t);
  const targets = targetsOf(event({ tags: ["red"] }), []);
  const [first, second] = await Promise.all([
    purgeAndCount(caches, purgeFor({ seq: 5, tags: ["tag:red"] }), targets),
    purgeAndCount(caches, purgeFor({ seq: 6, tags: ["tag:red"] }), targets),
  ]);
  assert.deepEqual([first.memory.entries, second.memory.entries], [1, 0]);
  assert.deepEqual([first.disk.entries, second.disk.entries], [1, 0]);
});

test("what a request finds purged before the walk comes there is counted once", async (t) => {
  const caches = await filledCaches(t);
  const counting = purgeAndCount(
    caches,
    purgeFor({ seq: 5, tags: ["tag:red"] }),
    targetsOf(event({ tags: ["red"] }), []),
  );
  assert.equal(await caches.tiers.find(asset.key, true), undefined);
  caches.tiers.store(objectFor("asset", { tags: ["host:static.test", "tag:red"], feedSeq: 5 }));
  const { memory, held } = await counting;
  assert.deepEqual([memory.entries, held.tags], [1, [0]]);
});
