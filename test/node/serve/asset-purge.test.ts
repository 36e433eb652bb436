/** Purges that come while the body of an asset is on its way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { wholeBodyOf } from "../../support/whole-body.ts";
import { startNodes } from "./fleet-of-nodes.ts";

test("who asks after a purge joins a body that is on its way, unless the purge concerns it", async (t) => {
  for (const soft of [false, true]) {
    const ends: (() => void)[] = [];
    const origin = await startLoopbackOrigin(t, (_request, response, number) => {
      const body = `body ${number}`;
      const length = String(body.length);
      response.writeHead(200, { "cache-control": "max-age=100", "cache-tag": "blue", "content-length": length });
      response.write(body.slice(0, 1));
      ends.push(() => response.end(body.slice(1)));
    });
    const { nodes } = await startNodes(t, origin.url, { sites: { fra: 1 }, assetsOrigin: origin.url });
    const node = nodes[0] ?? assert.fail();
    const asked = [await node.asset("/a")];
    await node.event({ reason: "purge", tags: ["red"], soft });
    asked.push(await node.asset("/a"));
    assert.equal(origin.asked.length, 1, "it is joined");
    await node.event({ reason: "purge", tags: ["blue"], soft });
    asked.push(await node.asset("/a"));
    assert.equal(origin.asked.length, 2, "it may be of before the purge");
    for (const end of ends) end();
    const bodies = await Promise.all(asked.map(async ({ body }) => (await wholeBodyOf(body)).toString()));
    assert.deepEqual(bodies, ["body 1", "body 1", "body 2"]);
  }
});
