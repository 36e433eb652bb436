import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { type ErrorCode, NearcastError } from "../../../node/base/errors.ts";
import type { Renderer } from "../../../node/serve/render.ts";
import { startPictureOrigin } from "../../support/picture-origin.ts";
import { pngLike } from "../../support/pictures.ts";
import { quickRenderer, startNodes } from "./fleet-of-nodes.ts";

/** A node alone, whose decoder fails with this code until it is told otherwise. */
async function startFailing(t: TestContext, code: ErrorCode) {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", pngLike("a"));
  origin.names.set("b.png", pngLike("b"));
  const quick = quickRenderer();
  const so = { fails: true };
  const renderer: Renderer = {
    measure: quick.measure,
    render: (...order) =>
      so.fails && order[0].equals(pngLike("a"))
        ? Promise.reject(new NearcastError(code, "it is gone"))
        : quick.render(...order),
  };
  const world = await startNodes(t, origin.url, { sites: { fra: 1 }, rendererOf: () => renderer });
  const [node] = world.nodes;
  assert(node !== undefined);
  return { node, origin, so };
}

test("a source whose decoder fails twice is not rendered for a while, and other sources are", async (t) => {
  const { node, origin, so } = await startFailing(t, "DECODER_CRASHED");
  so.fails = false;
  await node.get("a.png", { widthPx: 9 });
  so.fails = true;
  for (const widthPx of [1, 2]) await assert.rejects(node.get("a.png", { widthPx }), { code: "DECODER_CRASHED" });
  so.fails = false;
  await assert.rejects(node.get("a.png", { widthPx: 3 }), {
    code: "SOURCE_QUARANTINED",
    message: "a.png failed 2 times, last with DECODER_CRASHED: it is not rendered for 30 s",
  });
  const { quarantined, quarantineRefusals, renderFailures } = node.counts();
  assert.deepEqual(
    { quarantined, quarantineRefusals, renderFailures },
    { quarantined: 1, quarantineRefusals: 1, renderFailures: 2 },
  );
  assert.equal((await node.get("a.png", { widthPx: 9 })).outcome.word, "hit", "what is stored is delivered");
  assert.equal((await node.get("b.png", { widthPx: 3 })).status, 200);
  origin.names.set("c.png", pngLike("a, repaired"));
  assert.equal((await node.get("c.png", { widthPx: 3 })).status, 200);
});

test("a failure that says something of the picture, and not of its decoder, puts no source aside", async (t) => {
  const { node } = await startFailing(t, "TOO_MANY_PIXELS");
  for (const widthPx of [1, 2, 3, 4]) await assert.rejects(node.get("a.png", { widthPx }), { code: "TOO_MANY_PIXELS" });
  assert.equal(node.counts().quarantined, 0);
});
