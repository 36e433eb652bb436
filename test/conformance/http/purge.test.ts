/** Purges of assets, by what they can name, and against the fetches that run while they come. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, eventually, hostName, otherHostName, startEdge } from "./running-edge.ts";
import { held } from "./scripted-origin.ts";

/** The purge events that name `/a` of the main host, whose answers carry the tag `red`. */
const naming: [title: string, event: object][] = [
  ["by tag", { tags: ["red"] }],
  ["by URL", { tags: [`url:${hostName}/a`] }],
  ["by host", { hosts: [hostName] }],
  ["all", { all: true }],
];

const tagged = (body: string) => ({
  fields: [
    ["Cache-Control", "max-age=60"],
    ["Cache-Tag", "red, round"],
  ] as const,
  body,
});

test("what a purge names is fetched again, and nothing else", async (t) => {
  const rows: [title: string, event: object, purged: string[]][] = [
    ["Cache-Tag", { tags: ["red"] }, ["/a", "/a?q=1"]],
    ["Surrogate-Key", { tags: ["blue"] }, ["/b"]],
    ["one field beside the other", { tags: ["oval"] }, ["/b"]],
    ["several", { tags: ["red", "blue"] }, ["/a", "/a?q=1", "/b"]],
    ["a part of a tag is no tag", { tags: ["re", "red, round"] }, []],
    ["URL, with every query", { tags: [`url:${hostName}/a`] }, ["/a", "/a?q=1"]],
    ["an URL of another host", { tags: [`url:${otherHostName}/b`] }, []],
    ["host", { hosts: [hostName.toUpperCase()] }, ["/a", "/a?q=1", "/b", "/c"]],
    ["another host", { hosts: [otherHostName] }, ["other"]],
    ["all", { all: true }, ["/a", "/a?q=1", "/b", "/c", "other"]],
    ["a picture's name", { names: ["a"] }, []],
    ["names of pictures by their beginning", { prefix: "" }, []],
  ];
  for (const [title, event, purged] of rows) {
    const edge = await startEdge(t);
    const targets = ["/a", "/a?q=1", "/b", "/c"];
    edge.origin.say("/a", tagged("a"));
    edge.origin.say("/a?q=1", tagged("a with a query"));
    edge.origin.say("/b", {
      fields: [
        ["Cache-Control", "max-age=60"],
        ["Surrogate-Key", "blue square"],
        ["Cache-Tag", "oval"],
      ],
    });
    edge.origin.say("/c", { fields: [["Cache-Control", "max-age=60"]] });
    const ask = (name: string) => (name === "other" ? edge.ask("/c", { host: otherHostName }) : edge.ask(name));
    for (const name of [...targets, "other"]) await ask(name);
    await edge.purge(event);
    const gone: string[] = [];
    for (const name of [...targets, "other"]) if ((await ask(name)).word === "miss") gone.push(name);
    assert.deepEqual(gone, purged, title);
  }
});

test("a purge reaches both tiers: after a restart it is still in force", async (t) => {
  for (const [title, event] of naming) {
    const edge = await startEdge(t);
    edge.origin.say("/a", tagged("before"));
    await edge.ask("/a");
    await edge.flushed();
    await edge.purge(event);
    await edge.restart();
    edge.origin.say("/a", tagged("after"));
    const got = await edge.ask("/a");
    assert.deepEqual([got.body, got.word], ["after", "miss"], title);
  }
});

test("a purge by URL takes every variant", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=60"],
      ["Vary", "Accept-Language"],
    ],
  });
  const languages = ["de", "fr", "it"];
  const words = async (): Promise<(string | undefined)[]> => {
    const answers = [];
    for (const language of languages) answers.push(await edge.ask("/a", { fields: { "accept-language": language } }));
    return answers.map((got) => got.word);
  };
  await words();
  assert.deepEqual(await words(), ["hit", "hit", "hit"]);
  await edge.purge({ tags: [`url:${hostName}/a`] });
  assert.deepEqual(await words(), ["miss", "miss", "miss"]);
});

test("a fetch that began before a purge is not stored after it, and who asks later does not join it", async (t) => {
  for (const [title, event] of naming) {
    for (const soft of [false, true]) {
      const edge = await startEdge(t);
      const holding = held(tagged("before"));
      edge.origin.say("/a", holding.script);
      const early = edge.ask("/a");
      await holding.arrived();
      await edge.purge({ ...event, soft });
      edge.origin.say("/a", tagged("after"));
      const late = await edge.ask("/a");
      assert.deepEqual([late.body, late.word], ["after", "miss"], title);
      holding.release();
      const got = await early;
      assert.equal(got.body, "before", `${title}: who asked before may have what was then`);
      assert.equal(cacheStatus(got).get("stored"), undefined, title);
      const hit = await edge.ask("/a");
      assert.deepEqual([hit.body, hit.word], ["after", "hit"], title);
      await edge.restart();
      assert.equal((await edge.ask("/a")).body, "after", `${title}: nor lies the old one on disk`);
      assert.equal(edge.origin.asked("/a").length, 2, title);
    }
  }
});

test("a purge of something else does not keep a running fetch from being stored", async (t) => {
  const edge = await startEdge(t);
  const holding = held(tagged("a"));
  edge.origin.say("/a", holding.script);
  const early = edge.ask("/a");
  await holding.arrived();
  await edge.purge({ tags: ["blue"], hosts: [otherHostName] });
  holding.release();
  await early;
  assert.equal((await edge.ask("/a")).word, "hit");
  assert.equal(edge.origin.asked("/a").length, 1);
});

test("who asks after a purge joins a body that is on its way, unless the purge concerns it", async (t) => {
  for (const soft of [false, true]) {
    const edge = await startEdge(t);
    const gate = Promise.withResolvers<void>();
    edge.origin.say("/a", (_asked, turn) => ({ ...tagged(`body ${turn}`), restAfter: gate.promise }));
    const begun = async (): Promise<{ whole: Promise<string> }> => {
      const head = Promise.withResolvers<void>();
      const asking = edge.ask("/a", { onHead: head.resolve });
      await head.promise;
      return { whole: asking.then(({ body }) => body) };
    };
    const asked = [await begun()];
    await edge.purge({ tags: ["blue"], hosts: [otherHostName], soft });
    asked.push(await begun());
    assert.equal(edge.origin.asked("/a").length, 1, "it is joined");
    await edge.purge({ tags: ["red"], soft });
    asked.push(await begun());
    assert.equal(edge.origin.asked("/a").length, 2, "it may be of before the purge");
    gate.resolve();
    const bodies = await Promise.all(asked.map(({ whole }) => whole));
    assert.deepEqual(bodies, ["body 0", "body 0", "body 1"]);
  }
});

test("a revalidation that began before a purge does not bring back what was purged", async (t) => {
  const edge = await startEdge(t);
  const fields = [...tagged("").fields, ["ETag", '"1"']] as const;
  edge.origin.say("/a", { fields, body: "before" });
  await edge.ask("/a");
  edge.skip(60);
  const holding = held({ status: 304, fields });
  edge.origin.say("/a", holding.script);
  const early = edge.ask("/a");
  await holding.arrived();
  await edge.purge({ tags: ["red"] });
  holding.release();
  assert.equal((await early).body, "before");
  edge.origin.say("/a", tagged("after"));
  const got = await edge.ask("/a");
  assert.deepEqual([got.body, got.word], ["after", "miss"]);
  assert.equal(edge.origin.asked("/a")[2]?.fields["if-none-match"], undefined);
});

test("softly purged, an answer is served once more while it is revalidated", async (t) => {
  for (const [title, event] of naming) {
    const edge = await startEdge(t);
    edge.origin.say("/a", tagged("before"));
    await edge.ask("/a");
    edge.skip(10);
    await edge.purge({ ...event, soft: true });
    const holding = held(tagged("after"));
    edge.origin.say("/a", holding.script);
    for (let turn = 0; turn < 3; turn += 1) {
      const got = await edge.ask("/a");
      assert.deepEqual([got.body, got.word, got.fields.age], ["before", "stale", "10"], title);
      assert.equal(cacheStatus(got).get("ttl"), "0", title);
    }
    await holding.arrived();
    holding.release();
    await eventually(`${title}: the new one is stored`, async () => (await edge.ask("/a")).body === "after");
    assert.equal((await edge.ask("/a")).word, "hit", title);
    assert.equal(edge.origin.asked("/a").length, 2, title);
  }
});

test("softly purged, an answer serves on while the origin is away", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", tagged("before"));
  await edge.ask("/a");
  await edge.purge({ tags: ["red"], soft: true });
  await edge.origin.refuse();
  for (let turn = 0; turn < 3; turn += 1) {
    const got = await edge.ask("/a");
    assert.deepEqual([got.status, got.body, got.word], [200, "before", "stale"]);
  }
});

test("a purge takes what may only be used stale, too", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=60, stale-while-revalidate=600, stale-if-error=600"],
      ["Cache-Tag", "red"],
    ],
    body: "before",
  });
  await edge.ask("/a");
  edge.skip(100);
  await edge.purge({ tags: ["red"] });
  await edge.origin.refuse();
  assert.equal((await edge.ask("/a")).status, 502);
});
