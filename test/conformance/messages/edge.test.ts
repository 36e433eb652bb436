/** The corpus at an edge, with its front and without, in one piece and byte by byte. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startEdge } from "../http/running-edge.ts";
import { corpus, deviations } from "./corpus.ts";
import { runAll } from "./run-all.ts";
import { tellOrigin } from "./tell-origin.ts";

test("raw requests are answered as the RFCs say, with a front and without", async (t) => {
  const edge = await startEdge(t);
  tellOrigin(edge.origin);
  // What is stored is served by the front itself, and the rest by Node's server.
  assert.equal((await edge.ask("/a")).status, 200);
  const { fronted, alone } = edge.listeners();
  assert.ok(corpus.length >= 150, `${corpus.length} cases`);
  const wrong = await runAll({ "behind the front": fronted, "without a front": alone }, corpus, { deviations });
  assert.deepEqual(wrong, []);
  assert.equal(edge.origin.asked("/hidden").length, 0, "no body was read as a request");
});
