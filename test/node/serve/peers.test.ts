import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { startPictureOrigin } from "../../support/picture-origin.ts";
import { quickRenderer, startNodes } from "./fleet-of-nodes.ts";

test("three nodes, 300 names in three variants each, asked at random nodes: one fetch each, one rendering each", async (t) => {
  const origin = await startPictureOrigin(t);
  const names = Array.from({ length: 300 }, (_, index) => `shop/${index}.png`);
  for (const name of names) origin.names.set(name, Buffer.from(`the bytes of ${name}`));
  const renderer = quickRenderer();
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer });
  const random = seededRandom(7);
  const anyNode = () => world.nodes[Math.floor(random() * 3)] as (typeof world.nodes)[number];
  const asked = names.flatMap((name) => [10, 20, 30].flatMap((widthPx) => [1, 2, 3].map(() => ({ name, widthPx }))));
  for (let index = asked.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [asked[index], asked[other]] = [asked[other] as (typeof asked)[number], asked[index] as (typeof asked)[number]];
  }
  const etags = new Map<string, Set<string | null>>();
  for (let index = 0; index < asked.length; index += 50) {
    await Promise.all(
      asked.slice(index, index + 50).map(async ({ name, widthPx }) => {
        const { status, etag } = await anyNode().get(name, { widthPx });
        assert.equal(status, 200);
        const seen = etags.get(`${name} ${widthPx}`) ?? new Set();
        etags.set(`${name} ${widthPx}`, seen.add(etag));
      }),
    );
  }
  assert.deepEqual(origin.counts(), { questions: 300, bodies: 300 });
  assert.equal(renderer.renders().length, 900);
  assert.equal(new Set(renderer.renders()).size, 900);
  assert.equal(etags.size, 900);
  assert.ok([...etags.values()].every((seen) => seen.size === 1));
  assert.ok(world.nodes.every((node) => node.peerCounts().relayed > 0 && node.counts().renders > 200));
});
