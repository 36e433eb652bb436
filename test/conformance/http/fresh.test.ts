/** Answers from the cache while they are fresh: RFC 9111 §4, §4.2, §5.1; RFC 9110 for what an answer is made of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheStatus, eventually, startEdge } from "./running-edge.ts";
import { held } from "./scripted-origin.ts";

test("a fresh answer is served without asking, with its Age (RFC 9111 §4, §5.1)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body: "one" });
  const first = await edge.ask("/a");
  assert.deepEqual([first.status, first.body, first.word], [200, "one", "miss"]);
  assert.equal(first.fields.age, undefined, "an answer of the origin itself has no Age");
  for (const seconds of [0, 7, 52]) {
    edge.skip(seconds);
    const got = await edge.ask("/a");
    assert.deepEqual([got.status, got.body, got.word], [200, "one", "hit"]);
    assert.equal(got.fields.date, first.fields.date, "Date is the origin's");
  }
  assert.equal((await edge.ask("/a")).fields.age, "59");
  assert.equal(edge.origin.asked("/a").length, 1);
  edge.skip(1);
  assert.equal((await edge.ask("/a")).word, "miss", "at its lifetime it is stale (§4.2)");
  assert.equal(edge.origin.asked("/a").length, 2);
});

test("an Age of the origin counts on (RFC 9111 §4.2.3)", async (t) => {
  const edge = await startEdge(t);
  const fields = [
    ["Cache-Control", "max-age=60"],
    ["Age", "40"],
  ] as const;
  edge.origin.say("/a", { fields });
  assert.equal((await edge.ask("/a")).fields.age, "40");
  edge.skip(19);
  const got = await edge.ask("/a");
  assert.deepEqual([got.word, got.lines["age"]], ["hit", ["59"]]);
  edge.skip(1);
  assert.equal((await edge.ask("/a")).word, "miss");
});

test("the lifetime comes from the first that states it (RFC 9111 §4.2.1, RFC 9213 §2.1)", async (t) => {
  const edge = await startEdge(t, { host: { freshSeconds: 5 } });
  const inSeconds = (seconds: number): string => new Date(edge.now() + seconds * 1000).toUTCString();
  const rows: [title: string, fields: (readonly [string, string])[], lifetimeSeconds: number][] = [
    ["s-maxage before max-age", [["Cache-Control", "max-age=10, s-maxage=30"]], 30],
    [
      "max-age before Expires",
      [
        ["Cache-Control", "max-age=10"],
        ["Expires", inSeconds(90)],
      ],
      10,
    ],
    ["Expires", [["Expires", inSeconds(20)]], 20],
    [
      "CDN-Cache-Control before all",
      [
        ["CDN-Cache-Control", "max-age=40"],
        ["Cache-Control", "no-store"],
      ],
      40,
    ],
    [
      "two Cache-Control lines are one list",
      [
        ["Cache-Control", "public"],
        ["Cache-Control", "max-age=15"],
      ],
      15,
    ],
    ["the host's default", [], 5],
  ];
  for (const [index, [title, fields, lifetimeSeconds]] of rows.entries()) {
    const target = `/lifetime/${index}`;
    edge.origin.say(target, { fields });
    assert.equal(cacheStatus(await edge.ask(target)).get("ttl"), String(lifetimeSeconds), title);
    const hit = await edge.ask(target);
    assert.deepEqual([hit.word, cacheStatus(hit).get("ttl")], ["hit", String(lifetimeSeconds)], title);
    assert.equal(edge.origin.asked(target).length, 1, title);
  }
});

test("a request's max-age and no-cache do not reach past the cache (RFC 9111 §5.2.1: advice)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]] });
  await edge.ask("/a");
  for (const advice of ["no-cache", "max-age=0", "no-store"]) {
    assert.equal((await edge.ask("/a", { fields: { "cache-control": advice } })).word, "hit", advice);
  }
  assert.equal(edge.origin.asked("/a").length, 1);
});

test("the query is part of the key as it stands (RFC 9111 §2)", async (t) => {
  const edge = await startEdge(t);
  for (const target of ["/a", "/a?", "/a?x=1", "/a?x=2", "/A"]) {
    edge.origin.say(target, { fields: [["Cache-Control", "max-age=60"]], body: target });
  }
  for (const target of ["/a", "/a?x=1", "/a?x=2", "/A"]) {
    assert.equal((await edge.ask(target)).body, target);
    assert.deepEqual([(await edge.ask(target)).word, (await edge.ask(target)).body], ["hit", target], target);
  }
});

test("hosts share no answer", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (asked) => ({
    fields: [["Cache-Control", "max-age=60"]],
    body: String(asked.fields["x-forwarded-host"]),
  }));
  assert.equal((await edge.ask("/a")).body, "assets.cdn.test");
  assert.equal((await edge.ask("/a", { host: "other.cdn.test" })).body, "other.cdn.test");
  assert.equal((await edge.ask("/a", { host: "ASSETS.cdn.test.:80" })).word, "hit", "a name in another spelling");
});

test("HEAD is answered from what GET stored (RFC 9111 §4)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=60"],
      ["ETag", '"1"'],
    ],
    body: "12345",
  });
  const got = await edge.ask("/a");
  edge.skip(3);
  const head = await edge.ask("/a", { method: "HEAD" });
  assert.deepEqual([head.status, head.body, head.word], [200, "", "hit"]);
  assert.deepEqual([head.fields["content-length"], head.fields.etag, head.fields.age], ["5", got.fields.etag, "3"]);
  assert.equal(edge.origin.asked("/a").length, 1);
});

test("HEAD of an object that is not stored fills the cache like GET (RFC 9110 §9.3.2)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body: "12345" });
  const holding = held({ fields: [["Cache-Control", "max-age=60"]], body: "12345" });
  edge.origin.say("/b", holding.script);
  for (const word of ["miss", "hit"]) {
    const head = await edge.ask("/a", { method: "HEAD" });
    assert.deepEqual([head.status, head.body, head.fields["content-length"], head.word], [200, "", "5", word]);
    if (word === "miss") await eventually("it is stored", async () => (await edge.ask("/a")).word === "hit");
  }
  // HEAD and GET wait for one request.
  const asked = (["HEAD", "GET", "HEAD"] as const).map((method) => edge.ask("/b", { method }));
  await holding.arrived();
  holding.release();
  assert.deepEqual(
    (await Promise.all(asked)).map(({ body }) => body),
    ["", "12345", ""],
  );
  for (const target of ["/a", "/b"]) {
    assert.deepEqual(
      edge.origin.asked(target).map(({ method }) => method),
      ["GET"],
    );
  }
});

test("HEAD of a large object drops the body, and is sent as HEAD from then on; GET is still stored", async (t) => {
  const edge = await startEdge(t);
  const body = Buffer.alloc(8 * 1024 * 1024 + 1, "x");
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body });
  for (let turn = 0; turn < 3; turn += 1) {
    const head = await edge.ask("/a", { method: "HEAD" });
    assert.deepEqual([head.status, head.body, head.fields["content-length"]], [200, "", String(body.length)]);
    assert.equal(cacheStatus(head).get("detail"), "head");
    await eventually("nothing is on its way", () => edge.stats().upstream?.placesInUse === 0);
  }
  assert.deepEqual(
    edge.origin.asked("/a").map(({ method }) => method),
    ["GET", "HEAD", "HEAD"],
  );
  assert.equal((await edge.ask("/a")).body.length, body.length);
  await eventually("it is stored", async () => (await edge.ask("/a", { method: "HEAD" })).word === "hit");
});

test("HEAD requests reuse connections: for stored objects, and for small responses that are not stored", async (t) => {
  const edge = await startEdge(t, { host: { hedging: false } });
  for (let index = 0; index < 200; index += 1) {
    edge.origin.say(`/${index}`, {
      fields: [["Cache-Control", index % 2 === 0 ? "max-age=60" : "no-store"]],
      body: "x".repeat(1000),
    });
    const head = await edge.ask(`/${index}`, { method: "HEAD" });
    assert.deepEqual([head.status, head.body, head.fields["content-length"]], [200, "", "1000"]);
    await eventually("its body has been read", () => edge.stats().upstream?.placesInUse === 0);
  }
  const { connectionsOpened = 0, requests } = edge.stats().upstream ?? {};
  assert.equal(requests, 200);
  assert.ok(connectionsOpened <= 2, `${connectionsOpened} connections`);
});

test("HEAD of what is stale is revalidated by a GET that all may use", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", (_asked, turn) => ({ fields: [["Cache-Control", "max-age=60"]], body: `turn ${turn}` }));
  await edge.ask("/a");
  edge.skip(60);
  const head = await edge.ask("/a", { method: "HEAD" });
  assert.deepEqual([head.word, head.body, head.fields["content-length"]], ["miss", "", "6"]);
  const got = await edge.ask("/a");
  assert.deepEqual([got.word, got.body], ["hit", "turn 1"]);
  assert.deepEqual(
    edge.origin.asked("/a").map(({ method }) => method),
    ["GET", "GET"],
  );
});

test("a 204 has no body and no length, stored or not (RFC 9110 §8.6)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/stored", { status: 204, fields: [["Cache-Control", "max-age=60"]] });
  edge.origin.say("/passed", { status: 204, fields: [["Cache-Control", "no-store"]] });
  for (const [target, words] of [
    ["/stored", ["miss", "hit"]],
    ["/passed", ["bypass", "bypass"]],
  ] as const) {
    for (const word of words) {
      const got = await edge.ask(target);
      assert.deepEqual([got.status, got.body, got.isWhole, got.word], [204, "", true, word], target);
      assert.equal(got.fields["content-length"], undefined, target);
      assert.equal(got.fields["transfer-encoding"], undefined, target);
    }
  }
});

test("field lines that come several times stay several, on miss and hit (RFC 9110 §5.3)", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=60"],
      ["Link", "</1>; rel=next"],
      ["X-Other", "x"],
      ["Link", "</2>; rel=prev"],
    ],
  });
  for (const word of ["miss", "hit"]) {
    const got = await edge.ask("/a");
    assert.equal(got.word, word);
    assert.deepEqual(got.lines["link"], ["</1>; rel=next", "</2>; rel=prev"], word);
    assert.deepEqual(got.lines["x-other"], ["x"], word);
  }
});

test("only-if-cached is answered 504 where nothing usable is stored (RFC 9111 §5.2.1.7)", async (t) => {
  const edge = await startEdge(t);
  const only = { fields: { "cache-control": "only-if-cached" } };
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60, stale-if-error=600"]] });
  const missing = await edge.ask("/a", only);
  assert.deepEqual([missing.status, missing.fields["cache-control"]], [504, "no-store"]);
  assert.match(missing.body, /NOT_CACHED/);
  assert.equal(edge.origin.asked("/a").length, 0);
  await edge.ask("/a");
  assert.deepEqual([(await edge.ask("/a", only)).status, (await edge.ask("/a", only)).word], [200, "hit"]);
  edge.skip(60);
  assert.equal((await edge.ask("/a", only)).status, 504, "what is stale would have to be asked for");
  const authorized = { fields: { ...only.fields, authorization: "Basic eA==" } };
  assert.equal((await edge.ask("/b", authorized)).status, 504, "Authorization does not lead past it");
  assert.deepEqual([edge.origin.asked("/a").length, edge.origin.asked("/b").length], [1, 0]);
});

test("an answer is the same from memory, from disk, and after a restart", async (t) => {
  const edge = await startEdge(t, { memoryBytes: 4096 });
  const body = "x".repeat(2000); // more than an eighth of the memory tier: the disk alone takes it
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=60"],
      ["X-Kept", "yes"],
    ],
    body,
  });
  await edge.ask("/a");
  await edge.flushed();
  edge.skip(10);
  for (const restarts of [false, true]) {
    if (restarts) await edge.restart();
    const got = await edge.ask("/a");
    assert.deepEqual([got.word, got.body, got.fields.age, got.fields["x-kept"]], ["hit", body, "10", "yes"]);
    assert.equal(cacheStatus(got).get("detail"), "disk");
  }
  assert.equal(edge.origin.asked("/a").length, 1);
});
