/** The corpus at an edge, in a lane, with its front and without, in one piece and byte by byte. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { lanesWithReady, type SharedLanes } from "../../support/shared-lanes.ts";
import { type RunningEdge, startEdge } from "../http/running-edge.ts";
import { corpus, deviations } from "./corpus.ts";
import { runAll } from "./run-all.ts";
import { tellOrigin } from "./tell-origin.ts";

/** Node's parser, where it stands alone, skips spaces. */
const withoutFront: ReadonlyMap<string, string> = new Map([
  ...deviations,
  ["two spaces before the target", "200"],
  ["two spaces before the version", "200"],
  ["two spaces behind another method", "405"],
  ["two spaces behind POST", "405"],
]);

async function start(t: TestContext, lanes?: SharedLanes): Promise<RunningEdge> {
  const edge = await startEdge(t, { lanes });
  tellOrigin(edge.origin);
  // What is stored is served by the front itself, and the rest by Node's server.
  assert.equal((await edge.ask("/a")).status, 200);
  return edge;
}

test("raw requests are answered as the RFCs say, with a front and without", async (t) => {
  const edge = await start(t);
  const { fronted, alone } = edge.listeners();
  assert.ok(corpus.length >= 150, `${corpus.length} cases`);
  assert.deepEqual(await runAll({ "behind the front": fronted }, corpus, { deviations }), []);
  assert.deepEqual(await runAll({ "without a front": alone }, corpus, { deviations: withoutFront }), []);
  assert.equal(edge.origin.asked("/hidden").length, 0, "no body was read as a request");
});

test("so they are in a lane", async (t) => {
  const lanes = await lanesWithReady(t);
  if (lanes === undefined) return;
  const edge = await start(t, lanes);
  assert.deepEqual(await runAll({ "in a lane": edge.listeners().fronted }, corpus, { deviations }), []);
  assert.ok(lanes.lanes.counts().answered > 0, "the lane answers some");
  assert.equal(lanes.lanes.restarts(), 0);
  assert.equal(edge.origin.asked("/hidden").length, 0, "no body was read as a request");
});
