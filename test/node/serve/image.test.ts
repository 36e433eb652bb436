import assert from "node:assert/strict";
import { after, type TestContext, test } from "node:test";
import sharp from "sharp";
import { systemClock } from "#base/clock.ts";
import type { NearcastError } from "#base/errors.ts";
import { silentLog } from "#base/log.ts";
import { readPurgeEvent } from "#purge/purge-event.ts";
import { openDecoderPool } from "#image/pool.ts";
import { keyOf } from "../../../node/cache/object.ts";
import { openAssetFetcher } from "../../../node/fetch/asset.ts";
import { openOriginClient } from "../../../node/fetch/origin.ts";
import { createAssetServer } from "../../../node/serve/asset.ts";
import { openColdTurns } from "../../../node/serve/cold-turns.ts";
import { createImageServer, type ImageServer } from "../../../node/serve/image.ts";
import type { ImageOrder } from "../../../node/serve/order.ts";
import type { Delivery } from "../../../node/deliver/outcome.ts";
import { createPurger } from "../../../node/serve/purger.ts";
import type { Variant } from "../../../node/variant/variant.ts";
import { openCaches } from "../../support/caches.ts";
import { fleetWith } from "../../support/fleet.ts";
import { type PictureOrigin, sha256Of, startPictureOrigin } from "../../support/picture-origin.ts";
import { shiftedClock } from "../../support/shifted-clock.ts";
import { testContext } from "../../support/request-context.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { until } from "../../support/world.ts";
import { wholeBodyOf } from "../../support/whole-body.ts";
import { fixedToken } from "../../support/fixed-token.ts";

// One pool of real decoders for the whole file: starting one takes longer than most tests.
const decoders = openDecoderPool({ size: 1, clock: systemClock, log: silentLog });
after(() => decoders.close());

/** A plain picture of this grey, so that its renderings can be told apart. */
function grey(level: number): Promise<Buffer> {
  return sharp({ create: { width: 60, height: 40, channels: 3, background: { r: level, g: level, b: level } } })
    .png()
    .toBuffer();
}
const [black, white] = await Promise.all([grey(10), grey(240)]);

async function greyOf(delivery: Delivery): Promise<"black" | "white"> {
  const { channels } = await sharp(await wholeBodyOf(delivery.body)).stats();
  return (channels[0]?.mean ?? 0) > 128 ? "white" : "black";
}

interface Edge {
  get: (name: string, variant?: Partial<Variant>) => Promise<Delivery>;
  /** As the feed brings it, and in force when it resolves. */
  event: (data: object) => Promise<void>;
  skip: (seconds: number) => void;
  counts: () => ReturnType<ImageServer["counts"]>;
  forgetSource: (bytes: Buffer) => Promise<void>;
  forgetVariants: () => void;
  restart: () => Promise<void>;
  /** From now on, no request that has to be fetched begins. */
  holdTurns: () => void;
  /** Requests of the same client network wait to be fetched, as many as may. */
  fillTurns: () => void;
}

async function startEdge(t: TestContext, origin: PictureOrigin, host: object = {}, limits: object = {}): Promise<Edge> {
  const directory = await temporaryDirectory(t);
  const clock = shiftedClock();
  const fleet = fleetWith({
    limits,
    hosts: [
      {
        name: "img.cdn.test",
        kind: "images",
        freshSeconds: 100,
        staleWhileRevalidateSeconds: 100,
        staleIfErrorSeconds: 1000,
        negativeSeconds: 10,
        ...host,
      },
    ],
  });
  const [imagesHost] = fleet.hosts;
  assert(imagesHost?.kind === "images");
  let seq = 1;
  let isHeld = false;
  const coldTurns = openColdTurns(clock, (run) => {
    if (!isHeld) setImmediate(run);
  });
  const start = async () => {
    const client = openOriginClient({ url: origin.url, token: fixedToken("x".repeat(20)), clock, random: () => 0 });
    const fetcher = openAssetFetcher({ node: "n", privateNetworks: ["127.0.0.0/8"], clock, random: () => 0 });
    const caches = await openCaches({ directory, clock });
    const { disk, memory, tiers, records } = caches;
    const shared = {
      tiers,
      coldTurns,
      fleet: () => fleet,
      feedSeq: () => seq,
      clock,
      log: silentLog,
    };
    const images = createImageServer({ ...shared, records, origin: client, renderer: decoders, decoders: 1 });
    const assets = createAssetServer({ ...shared, fetcher });
    const purger = createPurger({ ...caches, images, assets, outdate: () => undefined, fleet: () => fleet });
    const stop = async (): Promise<void> => {
      await caches.close();
      await client.close();
      await fetcher.close();
    };
    return { disk, memory, images, purger, stop };
  };
  let now = await start();
  t.after(() => now.stop());
  return {
    get(name, variant = {}) {
      const whole: Variant = { widthPx: 20, fit: "clip", quality: 75, format: "png", ...variant };
      const order: ImageOrder = { host: imagesHost, name, variant: whole, varies: false };
      return now.images.serve(order, testContext());
    },
    async event(data) {
      await now.purger.apply(seq + 1, readPurgeEvent(data));
      seq += 1;
    },
    skip: clock.skip,
    counts: () => now.images.counts(),
    async forgetSource(bytes) {
      await now.disk.flushed();
      await now.disk.remove(keyOf("source", sha256Of(bytes)));
    },
    forgetVariants() {
      now.memory.clear();
    },
    restart: async () => {
      await now.stop();
      now = await start();
    },
    holdTurns() {
      isHeld = true;
      // What may still begin now is taken.
      for (let turn: unknown = true; turn === true;) turn = coldTurns.take(testContext(), "the last one");
    },
    fillTurns() {
      for (let isFull = false, number = 0; !isFull; number += 1) {
        const turn = coldTurns.take(testContext(), `other ${number}`);
        if (turn === true) continue;
        turn.catch(() => undefined);
        isFull = coldTurns.counts().waiting === number;
      }
    },
  };
}

test("two hundred concurrent first requests are one question, one fetch and one rendering", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  const deliveries = await Promise.all(Array.from({ length: 200 }, () => edge.get("a.png")));
  assert.deepEqual(origin.counts(), { questions: 1, bodies: 1 });
  const { renders, renderFailures, revalidations, turns } = edge.counts();
  assert.deepEqual(
    { renders, renderFailures, revalidations, waiting: turns.waiting },
    { renders: 1, renderFailures: 0, revalidations: 0, waiting: 0 },
  );
  const bodies = await Promise.all(deliveries.map(async ({ body }) => (await wholeBodyOf(body)).toString("base64")));
  assert.equal(new Set(bodies).size, 1);
  assert.deepEqual(new Set(deliveries.map(({ etag }) => etag)).size, 1);
  const collapsed = deliveries.filter(({ outcome }) => outcome.word === "miss" && outcome.isCollapsed);
  assert.equal(collapsed.length, 199);
  const again = await edge.get("a.png");
  assert(again.outcome.word === "hit" && again.outcome.tier === "memory");
  // Of 100 s, on a machine that may be busy with other tests.
  assert.ok(again.outcome.ttlSeconds > 60 && again.outcome.ttlSeconds <= 100, `${again.outcome.ttlSeconds} s`);
});

test("another size of a known picture asks nobody: its source is on disk", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  const other = await edge.get("a.png", { widthPx: 30 });
  assert(other.outcome.word === "miss" && other.outcome.detail === "rendered");
  assert.deepEqual(origin.counts(), { questions: 1, bodies: 1 });
  assert.equal(edge.counts().renders, 2);
});

test("past its lifetime a picture is answered at once, and the origin asked once behind", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  edge.skip(150);
  origin.names.set("a.png", white);
  const held = Promise.withResolvers<void>();
  origin.delay(() => held.promise);
  for (const delivery of await Promise.all(Array.from({ length: 20 }, () => edge.get("a.png")))) {
    assert.deepEqual(delivery.outcome, { word: "stale", tier: "memory", reason: "revalidating", ttlSeconds: -50 });
    assert.equal(await greyOf(delivery), "black");
  }
  held.resolve();
  await until("the new one is there", async () => (await greyOf(await edge.get("a.png"))) === "white");
  assert.equal(origin.counts().questions, 2);
  assert.equal(edge.counts().revalidations, 1);
});

test("a picture that did not change is young again after one question without bytes, in all its sizes", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.get("a.png", { widthPx: 30 });
  edge.skip(250);
  const validated = await edge.get("a.png");
  assert(validated.outcome.word === "miss" && validated.outcome.detail === "memory-validated");
  assert.equal((await edge.get("a.png", { widthPx: 30 })).outcome.word, "hit");
  assert.deepEqual(origin.counts(), { questions: 2, bodies: 1 });
  assert.equal(edge.counts().renders, 2);
});

test("while the origin fails the old picture is served within its window, and after it the failure", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  edge.skip(300);
  origin.fail(500);
  const stale = await edge.get("a.png");
  assert(stale.outcome.word === "stale" && stale.outcome.reason === "origin-error");
  await origin.loopback.stop();
  assert.equal((await edge.get("a.png")).outcome.word, "stale");
  assert.equal(
    (await edge.get("a.png", { widthPx: 30 })).outcome.word,
    "stale",
    "another size too: its source is here",
  );
  edge.skip(1000);
  await assert.rejects(edge.get("a.png"), (error: NearcastError) => error.source === "origin");
});

test("a request with too many others ahead of it gets the old picture within its window", async (t) => {
  const origin = await startPictureOrigin(t);
  const edge = await startEdge(t, origin, { staleWaitMs: 100 });
  for (const name of ["a.png", "b.png"]) origin.names.set(name, black);
  for (const name of ["a.png", "b.png"]) await edge.get(name);
  edge.skip(300);
  edge.holdTurns();
  const late = await edge.get("a.png");
  assert(late.outcome.word === "stale" && late.outcome.reason === "origin-slow", "its turn does not come");
  edge.fillTurns();
  await assert.rejects(edge.get("c.png"), (error: NearcastError) => error.code === "OVERLOADED");
  const refused = await edge.get("b.png");
  assert.deepEqual(refused.outcome, { word: "stale", tier: "memory", reason: "overloaded", ttlSeconds: -200 });
  assert.equal(await greyOf(refused), "black");
  assert.equal(origin.counts().questions, 2);
});

test("while the origin is silent, the old picture is served within its window; one question continues", async (t) => {
  const origin = await startPictureOrigin(t);
  const edge = await startEdge(t, origin, { staleWaitMs: 100 });
  origin.names.set("a.png", black);
  await edge.get("a.png");
  edge.skip(300);
  origin.names.set("a.png", white);
  const silence = Promise.withResolvers<void>();
  origin.delay(() => silence.promise);
  for (let turn = 0; turn < 3; turn += 1) {
    const got = await edge.get("a.png");
    assert.deepEqual(got.outcome, { word: "stale", tier: "memory", reason: "origin-slow", ttlSeconds: -200 });
    assert.equal(await greyOf(got), "black");
  }
  assert.equal(origin.counts().questions, 2);
  const { renders } = edge.counts();
  silence.resolve();
  await until("the new one is there", async () => (await greyOf(await edge.get("a.png"))) === "white");
  assert.equal(origin.counts().questions, 2);
  assert.equal(edge.counts().renders, renders + 1, "for the one who asked again, not for those who had left");
});

test("after a put the next answer is new in every size, and a rollback renders nothing again", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.get("a.png", { widthPx: 30 });
  origin.names.set("a.png", white);
  await edge.event({ reason: "put", names: ["a.png"] });
  assert.equal(await greyOf(await edge.get("a.png")), "white");
  assert.equal(await greyOf(await edge.get("a.png", { widthPx: 30 })), "white");
  assert.deepEqual([origin.counts(), edge.counts().renders], [{ questions: 2, bodies: 2 }, 4]);
  origin.names.set("a.png", black);
  await edge.event({ reason: "rollback", names: ["a.png"] });
  assert.equal(await greyOf(await edge.get("a.png")), "black");
  assert.equal(await greyOf(await edge.get("a.png", { widthPx: 30 })), "black");
  assert.deepEqual([origin.counts(), edge.counts().renders], [{ questions: 3, bodies: 2 }, 4], "known by its hash");
});

test("a put that came before a restart holds after it", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  origin.names.set("a.png", white);
  await edge.event({ reason: "put", names: ["a.png"] });
  await edge.restart();
  assert.equal(await greyOf(await edge.get("a.png")), "white");
});

test("after a restart what was known is served without asking", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.restart();
  await origin.loopback.stop();
  const delivery = await edge.get("a.png");
  assert(delivery.outcome.word === "hit" && delivery.outcome.tier === "disk");
  assert.equal(edge.counts().renders, 0);
});

test("after a put, while the origin is away, the old picture stands in", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.event({ reason: "put", names: ["a.png"] });
  origin.fail(503);
  const delivery = await edge.get("a.png");
  assert(delivery.outcome.word === "stale" && delivery.outcome.reason === "origin-error");
});

test("after a put, requests wait for the new picture while the origin is silent", async (t) => {
  const origin = await startPictureOrigin(t);
  const edge = await startEdge(t, origin, { staleWaitMs: 0 });
  origin.names.set("a.png", black);
  await edge.get("a.png");
  await edge.event({ names: ["a.png"], reason: "put" });
  origin.names.set("a.png", white);
  const silence = Promise.withResolvers<void>();
  origin.delay(() => silence.promise);
  const asked = edge.get("a.png");
  await until("the origin is asked", () => Promise.resolve(origin.counts().questions === 2));
  silence.resolve();
  assert.equal(await greyOf(await asked), "white");
});

test("after a delete or a purge the old picture is never served again, whatever the origin does", async (t) => {
  const events = [
    { reason: "delete", names: ["a.png"] },
    { reason: "purge", names: ["a.png"] },
    { reason: "purge", prefix: "a" },
    { reason: "purge", hosts: ["img.cdn.test"] },
    { reason: "purge", all: true },
  ];
  for (const event of events) {
    const origin = await startPictureOrigin(t);
    origin.names.set("a.png", black);
    const edge = await startEdge(t, origin);
    await edge.get("a.png");
    await edge.event(event);
    origin.fail(500);
    await assert.rejects(edge.get("a.png"), (error: NearcastError) => error.source === "origin", JSON.stringify(event));
    await edge.restart();
    await assert.rejects(edge.get("a.png"), (error: NearcastError) => error.source === "origin", "after a restart");
    origin.fail(null);
    origin.names.delete("a.png");
    edge.skip(30); // past the breaker's wait
    assert.equal((await edge.get("a.png")).status, 404);
  }
});

test("after a soft purge the old picture is served once more while the origin is asked behind", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  origin.names.set("a.png", white);
  await edge.event({ reason: "purge", names: ["a.png"], soft: true });
  const soft = await edge.get("a.png");
  assert.deepEqual(soft.outcome, { word: "stale", tier: "memory", reason: "revalidating", ttlSeconds: 0 });
  await until("the new one is there", async () => (await greyOf(await edge.get("a.png"))) === "white");
});

test("a soft purge takes nothing back of a put, and gives no leave past the stale window", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  origin.names.set("a.png", white);
  await edge.event({ reason: "put", names: ["a.png"] });
  await edge.event({ reason: "purge", names: ["a.png"], soft: true });
  assert.equal(await greyOf(await edge.get("a.png")), "white");
  edge.skip(250);
  origin.names.set("a.png", black);
  await edge.event({ reason: "purge", names: ["a.png"], soft: true });
  assert.equal(await greyOf(await edge.get("a.png")), "black", "asked first");
});

test("a soft purge that came while nothing was in memory holds too", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.restart();
  origin.names.set("a.png", white);
  await edge.event({ reason: "purge", prefix: "a", soft: true });
  await until("the new one is there", async () => (await greyOf(await edge.get("a.png"))) === "white");
});

test("an answer of the origin that a put overtakes is not kept", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  const held = Promise.withResolvers<void>();
  origin.delay(() => held.promise);
  const early = edge.get("a.png");
  await until("asked", async () => origin.counts().questions === 1);
  origin.names.set("a.png", white);
  await edge.event({ reason: "put", names: ["a.png"] });
  origin.delay(null);
  assert.equal(await greyOf(await edge.get("a.png")), "white", "who asks now does not join the question from before");
  held.resolve();
  assert.equal(await greyOf(await early), "black");
  assert.equal(await greyOf(await edge.get("a.png")), "white");
});

test("a source that was evicted from disk is fetched again for a size that is not there yet", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.forgetSource(black);
  const many = await Promise.all([30, 31, 32].map((widthPx) => edge.get("a.png", { widthPx })));
  for (const delivery of many) assert.equal(await greyOf(delivery), "black");
  assert.deepEqual(origin.counts(), { questions: 2, bodies: 2 }, "one fetch for the three");
});

test("a source that was evicted and replaced meanwhile: the new one is served, in each state", async (t) => {
  for (const ageSeconds of [0, 150, 300]) {
    const origin = await startPictureOrigin(t);
    origin.names.set("a.png", black);
    const edge = await startEdge(t, origin);
    await edge.get("a.png");
    await edge.forgetSource(black);
    origin.names.set("a.png", white);
    edge.skip(ageSeconds);
    assert.equal(await greyOf(await edge.get("a.png", { widthPx: 30 })), "white", `${ageSeconds} s old`);
  }
});

test("a source that was evicted and deleted meanwhile is a 404", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  await edge.get("a.png");
  await edge.forgetSource(black);
  origin.names.delete("a.png");
  assert.equal((await edge.get("a.png", { widthPx: 30 })).status, 404);
});

test("a name that means nothing is remembered for a while, and a put ends that", async (t) => {
  const origin = await startPictureOrigin(t);
  const edge = await startEdge(t, origin);
  for (const status of [404, 410]) {
    origin.names.set("none.png", status);
    const before = origin.counts().questions;
    const first = await edge.get("none.png");
    assert.equal(first.status, 404);
    const second = await edge.get("none.png");
    assert(second.outcome.word === "hit" && second.ageSeconds === 0);
    assert.equal(origin.counts().questions, before + 1);
    edge.skip(11);
    await edge.get("none.png");
    assert.equal(origin.counts().questions, before + 2);
    edge.skip(11);
  }
  origin.names.set("none.png", black);
  await edge.get("none.png");
  origin.names.delete("none.png");
  await edge.event({ reason: "delete", names: ["none.png"] });
  assert.equal((await edge.get("none.png")).status, 404);
  origin.names.set("none.png", white);
  await edge.event({ reason: "put", names: ["none.png"] });
  assert.equal(await greyOf(await edge.get("none.png")), "white");
});

test("a picture that can't be rendered fails for all who wait, costs one try, and is tried again later", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("bad.png", white.subarray(0, white.length - 40));
  const edge = await startEdge(t, origin);
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => edge.get("bad.png")));
  for (const result of results) {
    assert(result.status === "rejected" && (result.reason as NearcastError).code === "BROKEN_IMAGE");
  }
  await assert.rejects(edge.get("bad.png"), { code: "BROKEN_IMAGE" });
  const { renders, renderFailures } = edge.counts();
  assert.deepEqual({ renders, renderFailures }, { renders: 1, renderFailures: 1 });
  assert.equal(origin.counts().bodies, 1);
  edge.skip(31);
  await assert.rejects(edge.get("bad.png"), { code: "BROKEN_IMAGE" });
  assert.equal(edge.counts().renderFailures, 2);
  // A good version under the same name is another picture.
  origin.names.set("bad.png", white);
  await edge.event({ reason: "put", names: ["bad.png"] });
  assert.equal(await greyOf(await edge.get("bad.png")), "white");
});

test("a failure of the origin reaches all who wait, and all who ask within a second", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin);
  origin.fail(500);
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => edge.get("a.png")));
  for (const { status } of results) assert.equal(status, "rejected");
  assert.equal(origin.counts().questions, 1);
  origin.fail(null);
  await assert.rejects(edge.get("a.png"), { code: "ORIGIN_BAD_ANSWER" });
  edge.skip(1);
  assert.equal(await greyOf(await edge.get("a.png")), "black");
});

test("past the bound of those who wait for a decoder the next is refused, and nothing is kept of it", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  const edge = await startEdge(t, origin, {}, { renderQueueMax: 1 });
  await edge.get("a.png");
  const widths = Array.from({ length: 20 }, (_, index) => 21 + index);
  const results = await Promise.allSettled(widths.map((widthPx) => edge.get("a.png", { widthPx })));
  const refused = results.filter((result) => result.status === "rejected");
  // Two at one time and one that waits are let in at once; how many more, the decoders' speed decides.
  assert.ok(refused.length > 0 && refused.length <= 17, String(refused.length));
  for (const { reason } of refused) assert.equal((reason as NearcastError).code, "NETWORK_OVERLOADED");
  assert.equal(edge.counts().renders, 1 + widths.length - refused.length);
  assert.equal(edge.counts().turns.waiting, 0);
  for (const widthPx of widths) assert.equal((await edge.get("a.png", { widthPx })).status, 200);
  assert.deepEqual(origin.counts(), { questions: 1, bodies: 1 });
});

test("a picture that is requested in many sizes keeps those that are used, and a bounded number", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", black);
  origin.names.set("b.png", white);
  const edge = await startEdge(t, origin, {}, { variantsPerSourceMax: 4 });
  for (const name of ["a.png", "b.png"]) for (const widthPx of [1, 1, 2, 2]) await edge.get(name, { widthPx });
  for (let widthPx = 3; widthPx < 20; widthPx += 1) await edge.get("a.png", { widthPx });
  for (const [name, widthPx] of [
    ["a.png", 1],
    ["a.png", 2],
    ["a.png", 19],
    ["b.png", 1],
  ] as const) {
    assert.equal((await edge.get(name, { widthPx })).outcome.word, "hit", `${name} ${widthPx}`);
  }
  assert.equal((await edge.get("a.png", { widthPx: 3 })).outcome.word, "miss");
});
