/** Clients that read slowly, and streams of events: what they leave of an origin to others. Over real sockets. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Dispatcher } from "undici";
import { seededRandom } from "#base/random.ts";
import { type AssetFetcher, openAssetFetcher } from "../../../../node/fetch/asset.ts";
import { heldBodiesMax } from "../../../../node/fetch/upstream/held-bodies.ts";
import { type LoopbackOrigin, startLoopbackOrigin } from "../../../support/loopback-origin.ts";
import { type FakeClock, fakeClock } from "../../../support/fake-clock.ts";
import { turnsUntil } from "../../../support/turns-until.ts";

interface Bench {
  readonly origin: LoopbackOrigin;
  readonly clock: FakeClock;
  readonly fetcher: AssetFetcher;
  readonly get: (target: string, network: string) => Promise<Dispatcher.ResponseData>;
  readonly stats: () => ReturnType<AssetFetcher["upstreams"]>[number];
  readonly open: () => number;
}

/** `/large/…` never ends, `/events/…` says one thing and is silent, anything else is small. */
async function start(t: TestContext): Promise<Bench> {
  const block = Buffer.alloc(65_536);
  let open = 0;
  const origin = await startLoopbackOrigin(t, ({ target }, response) => {
    open += 1;
    response.once("close", () => (open -= 1));
    if (target.startsWith("/events/")) {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    } else if (target.startsWith("/silent/")) {
      response.writeHead(200, { "content-type": "text/plain" }).write("data");
    } else if (target.startsWith("/large/")) {
      const more = (): void => {
        while (!response.destroyed && response.write(block)) continue;
      };
      response.writeHead(200, { "content-length": 60_000_000_000 }).on("drain", more);
      more();
    } else response.end("small");
  });
  const clock = fakeClock();
  const fetcher = openAssetFetcher({ node: "fra1", privateNetworks: ["127.0.0.0/8"], clock, random: seededRandom(1) });
  t.after(() => fetcher.close());
  const get: Bench["get"] = async (target, client) => {
    const answer = await fetcher.fetch({
      origin: origin.url,
      method: "GET",
      target,
      clientFields: {},
      extra: {},
      timeoutMs: 5000,
      client,
      isHedged: false,
    });
    answer.body.on("error", () => undefined);
    return answer;
  };
  const stats: Bench["stats"] = () => fetcher.upstreams()[0] ?? assert.fail("nothing was requested");
  return { origin, clock, fetcher, get, stats, open: () => open };
}

const turns = async (count = 30): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
};

/** Bodies of which nothing is read, each for a network of its own or one of nine. */
async function slow({ clock, get }: Bench, count: number, networkOf: (index: number) => string) {
  const answers: Dispatcher.ResponseData[] = [];
  for (let index = 0; index < count; index += 1) {
    answers.push(await get(`/large/${networkOf(index)}/${index}`, networkOf(index)));
    if (index % 8 !== 7 && index < count - 1) continue;
    // Their buffers fill up, and three looks find them so.
    for (let looks = 0; looks < 4; looks += 1) {
      await turns();
      clock.advance(1000);
    }
  }
  return answers;
}

test("64 clients of nine networks that read slowly leave the origin to others", async (t) => {
  const bench = await start(t);
  const answers = await slow(bench, 64, (index) => `10.0.${index % 9}.0/24`);
  assert.deepEqual([bench.stats().placesInUse, bench.stats().bodiesHeld], [0, 64]);
  for (let index = 0; index < 20; index += 1) {
    const answer = await bench.get(`/small/${index}`, "10.1.0.0/24");
    assert.equal(await answer.body.text(), "small");
  }
  assert.equal(bench.stats().refused, 0);
  for (const { body } of answers) body.destroy();
  await turnsUntil(() => bench.open() === 0 && bench.stats().bodiesHeld === 0);
});

test("past the limit, one of the network that holds most is cut, once others wait", async (t) => {
  const bench = await start(t);
  const many = await slow(bench, heldBodiesMax - 10, () => "10.0.0.0/24");
  const few = await slow(bench, 10, (index) => `10.0.${index + 1}.0/24`);
  assert.deepEqual([bench.stats().placesInUse, bench.stats().bodiesHeld], [0, heldBodiesMax]);
  const placed = await slow(bench, 64, (index) => `10.2.${index}.0/24`);
  assert.deepEqual([bench.stats().placesInUse, bench.stats().bodiesHeld], [64, heldBodiesMax]);
  const cutOf = (answers: readonly Dispatcher.ResponseData[]): number =>
    answers.filter(({ body }) => body.destroyed).length;
  assert.equal(cutOf(many), 0, "nobody waits");
  const waiting = bench.get("/small/1", "10.3.0.0/24");
  await turns();
  assert.equal(bench.stats().placesWaiting, 1);
  for (let looks = 0; looks < 3; looks += 1) {
    bench.clock.advance(600);
    await turns();
  }
  assert.equal(await (await waiting).body.text(), "small");
  assert(cutOf(many) >= 1 && cutOf(many) <= 64, String(cutOf(many)));
  assert.deepEqual([cutOf(few), cutOf(placed)], [0, 0]);
  for (const { body } of [...many, ...few, ...placed]) body.destroy();
  await turnsUntil(() => bench.open() === 0);
});

test("a stream of events may be silent for an hour, and holds no place; others have the host's time", async (t) => {
  const bench = await start(t);
  const events = await bench.get("/events/1", "10.0.0.0/24");
  assert.deepEqual([bench.stats().placesInUse, bench.stats().bodiesHeld], [0, 1]);
  const silent = await bench.get("/silent/1", "10.0.0.0/24");
  const failure = Promise.withResolvers<Error>();
  silent.body.on("error", failure.resolve).resume();
  events.body.resume();
  bench.clock.advance(4999);
  assert(!silent.body.destroyed);
  bench.clock.advance(1);
  assert.equal(((await failure.promise) as { code?: string }).code, "UND_ERR_BODY_TIMEOUT");
  bench.clock.advance(3_600_000 - 5001);
  assert(!events.body.destroyed);
  events.body.destroy();
  await turnsUntil(() => bench.open() === 0);
});
