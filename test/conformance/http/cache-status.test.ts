/** Cache-Status: RFC 9211 §2, word for word, in every situation; and the word that the metrics count beside it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, type Got, nodeName, type RunningEdge, startEdge } from "./running-edge.ts";
import { held, type Said } from "./scripted-origin.ts";

const fresh: Said = {
  fields: [
    ["Cache-Control", "max-age=60"],
    ["ETag", '"1"'],
  ],
  body: "one",
};
const lenient = (said: Said): Said => ({
  ...said,
  fields: [["Cache-Control", "max-age=60, stale-while-revalidate=10, stale-if-error=100"]],
});

/** A list whose members are tokens with parameters, as this cache writes it (RFC 9651 §3.1, §3.1.2). */
const token = "[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*";
const member = new RegExp(`^${token}(?:; [a-z*][a-z0-9_.*-]*(?:=(?:-?\\d+|${token}))?)*$`);

async function statusAfter(t: Parameters<typeof startEdge>[0], prepare: (edge: RunningEdge) => Promise<Got>) {
  const edge = await startEdge(t, { memoryBytes: 8 * 1024 });
  const got = await prepare(edge);
  const lines = got.lines["cache-status"] ?? [];
  assert.equal(lines.length, 1, "one line of our own");
  assert.match(lines[0] ?? "", member);
  return { status: lines[0]?.replace(`${nodeName}; `, ""), counted: edge.served.at(-1)?.outcome };
}

test("what happened to a request, in the words of RFC 9211 §2", async (t) => {
  const rows: [title: string, status: string, counted: string, prepare: (edge: RunningEdge) => Promise<Got>][] = [
    [
      "a miss that was stored (§2.2 uri-miss, §2.4 stored)",
      "fwd=uri-miss; stored; ttl=60; detail=fetched",
      "miss",
      async (edge) => {
        edge.origin.say("/a", fresh);
        return await edge.ask("/a");
      },
    ],
    [
      "a hit in memory (§2.1 hit, §2.5 ttl)",
      "hit; ttl=50; detail=memory",
      "hit",
      async (edge) => {
        edge.origin.say("/a", fresh);
        await edge.ask("/a");
        edge.skip(10);
        return await edge.ask("/a");
      },
    ],
    [
      "a hit on disk",
      "hit; ttl=60; detail=disk",
      "hit",
      async (edge) => {
        edge.origin.say("/a", { ...fresh, body: "x".repeat(4096) });
        await edge.ask("/a");
        return await edge.ask("/a");
      },
    ],
    [
      "an answer that came old",
      "fwd=uri-miss; stored; ttl=20; detail=fetched",
      "miss",
      async (edge) => {
        edge.origin.say("/a", {
          ...fresh,
          fields: [
            ["Cache-Control", "max-age=60"],
            ["Age", "40"],
          ],
        });
        return await edge.ask("/a");
      },
    ],
    [
      "stale, revalidated first (§2.2 stale)",
      "fwd=stale; stored; ttl=60; detail=revalidated",
      "miss",
      async (edge) => {
        edge.origin.say("/a", fresh);
        await edge.ask("/a");
        edge.skip(60);
        edge.origin.say("/a", { ...fresh, status: 304 });
        return await edge.ask("/a");
      },
    ],
    [
      "stale, fetched anew",
      "fwd=stale; stored; ttl=60; detail=fetched",
      "miss",
      async (edge) => {
        edge.origin.say("/a", fresh);
        await edge.ask("/a");
        edge.skip(60);
        return await edge.ask("/a");
      },
    ],
    [
      "stale while revalidating: not forwarded, so a hit with a ttl below 0 (§2.5)",
      "hit; ttl=-5; detail=memory-revalidating",
      "stale",
      async (edge) => {
        edge.origin.say("/a", lenient(fresh));
        await edge.ask("/a");
        edge.skip(65);
        return await edge.ask("/a");
      },
    ],
    [
      "stale because the origin failed: forwarded, so no hit (§2.1)",
      "fwd=stale; ttl=-15; detail=memory-origin-error",
      "stale",
      async (edge) => {
        edge.origin.say("/a", lenient(fresh));
        await edge.ask("/a");
        edge.skip(75);
        edge.origin.say("/a", { status: 500 });
        return await edge.ask("/a");
      },
    ],
    [
      "another variant (§2.2 vary-miss)",
      "fwd=vary-miss; stored; ttl=60; detail=fetched",
      "miss",
      async (edge) => {
        edge.origin.say("/a", {
          fields: [
            ["Cache-Control", "max-age=60"],
            ["Vary", "Accept"],
          ],
        });
        await edge.ask("/a", { fields: { accept: "a/b" } });
        return await edge.ask("/a", { fields: { accept: "c/d" } });
      },
    ],
    [
      "who joined another's fetch (§2.6 collapsed)",
      "fwd=uri-miss; stored; collapsed; ttl=60; detail=fetched",
      "miss",
      async (edge) => {
        const holding = held(fresh);
        edge.origin.say("/a", holding.script);
        const leader = edge.ask("/a");
        await holding.arrived();
        const joiner = edge.ask("/a");
        // Its request has been read once a later one on another connection was answered from start to end.
        for (let turn = 0; turn < 20; turn += 1) await edge.ask("/other", { method: "HEAD" });
        holding.release();
        await leader;
        return await joiner;
      },
    ],
    [
      "not to be stored",
      "fwd=bypass; detail=private",
      "bypass",
      async (edge) => {
        edge.origin.say("/a", { fields: [["Cache-Control", "private"]] });
        return await edge.ask("/a");
      },
    ],
    [
      "known as not to be stored",
      "fwd=bypass; detail=no-store",
      "bypass",
      async (edge) => {
        edge.origin.say("/a", { fields: [["Cache-Control", "no-store"]] });
        await edge.ask("/a");
        return await edge.ask("/a");
      },
    ],
    [
      "a failure that another request met a moment ago (§2.6)",
      "fwd=bypass; collapsed; detail=status",
      "bypass",
      async (edge) => {
        edge.origin.say("/a", { status: 503 });
        await edge.ask("/a");
        return await edge.ask("/a");
      },
    ],
    [
      "with Authorization (§2.2 bypass)",
      "fwd=bypass; detail=authorization",
      "bypass",
      async (edge) => {
        edge.origin.say("/a", fresh);
        return await edge.ask("/a", { fields: { authorization: "Basic eA==" } });
      },
    ],
    [
      "an origin that can't be reached",
      "fwd=miss; detail=ORIGIN_UNREACHABLE",
      "error",
      async (edge) => {
        await edge.origin.refuse();
        return await edge.ask("/a");
      },
    ],
    [
      "only-if-cached: nobody was asked, so no fwd (§2.2)",
      "detail=NOT_CACHED",
      "error",
      async (edge) => await edge.ask("/a", { fields: { "cache-control": "only-if-cached" } }),
    ],
  ];
  for (const [title, status, counted, prepare] of rows) {
    assert.deepEqual(await statusAfter(t, prepare), { status, counted }, title);
  }
});

test("a member of the origin's own cache stands before ours (§2)", async (t) => {
  const edge = await startEdge(t);
  const theirs = "OriginCache; hit; ttl=1100";
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=60"],
      ["Cache-Status", theirs],
    ],
  });
  for (const ours of ["fwd=uri-miss; stored; ttl=60; detail=fetched", "hit; ttl=60; detail=memory"]) {
    assert.deepEqual((await edge.ask("/a")).lines["cache-status"], [theirs, `${nodeName}; ${ours}`]);
  }
});

test("an answer says `stored` only where a later request finds it", async (t) => {
  const edge = await startEdge(t, { limits: { objectBytesMax: 1024 } });
  const rows: [said: Said, isStored: boolean][] = [
    [{ fields: [["Cache-Control", "max-age=60"]] }, true],
    [{ status: 404 }, true],
    [{ fields: [["Cache-Control", "max-age=60"]], body: "x".repeat(1025) }, false],
    [{ fields: [["Cache-Control", "no-store"]] }, false],
    [{ status: 500 }, false],
  ];
  for (const [index, [said, isStored]] of rows.entries()) {
    const target = `/stored/${index}`;
    edge.origin.say(target, said);
    const got = await edge.ask(target);
    assert.equal(/; stored\b/.test(String(got.fields["cache-status"])), isStored, target);
    const only = await edge.ask(target, { fields: { "cache-control": "only-if-cached" } });
    assert.equal(only.status === 504, !isStored, target);
  }
});

test("each request is counted once, by its word, its status and its bytes", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", fresh);
  await edge.ask("/a");
  await edge.ask("/a");
  await edge.ask("/a", { method: "HEAD" });
  await edge.ask("/a", { fields: { range: "bytes=0-1" } });
  await edge.ask("/a", { fields: { "if-none-match": '"1"' } });
  await edge.ask("/a", { fields: { "cdn-loop": "nearcast, nearcast, nearcast" } });
  await eventually("all are counted", () => edge.served.length === 6);
  assert.deepEqual(
    edge.served.map(({ kind, outcome, status, bodyBytes }) => [kind, outcome, status, bodyBytes]),
    [
      ["assets", "miss", 200, 3],
      ["assets", "hit", 200, 3],
      ["assets", "hit", 200, 0],
      ["assets", "hit", 206, 2],
      ["assets", "hit", 304, 0],
      ["assets", "error", 508, 0],
    ],
  );
});
