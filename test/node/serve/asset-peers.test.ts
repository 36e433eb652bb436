/** Nodes as HTTP caches in front of each other. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { answering, type LoopbackOrigin, type Script, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { startNodes, type TestNode, type World } from "./fleet-of-nodes.ts";
import type { Body } from "#base/body.ts";
import { wholeBodyOf } from "../../support/whole-body.ts";
import { turnsUntil } from "../../support/turns-until.ts";

const host = "static.cdn.test";

async function startWorld(
  t: TestContext,
  script: Script,
  settings: Partial<Parameters<typeof startNodes>[2]> = {},
): Promise<{ origin: LoopbackOrigin; world: World; owner: TestNode; other: TestNode }> {
  const origin = await startLoopbackOrigin(t, script);
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, assetsOrigin: origin.url, ...settings });
  return { origin, world, owner: world.ownerOf("fra", `${host}/a`), other: world.otherOf("fra", `${host}/a`) };
}

async function textOf(body: Body): Promise<string> {
  return (await wholeBodyOf(body)).toString();
}

test("an asker is a cache in front of the owner: Age counts on, memory alone keeps it, 304 renews it", async (t) => {
  const fields = { "cache-control": "max-age=100", etag: '"v1"', "x-own": "kept" };
  const { origin, world, owner, other } = await startWorld(t, (request, response, number) => {
    if (request.headers["if-none-match"] === '"v1"') response.writeHead(304, { ...fields, "x-own": "renewed" }).end();
    else
      response.writeHead(200, { ...fields, "nearcast-log": "origin-a/1", "nearcast-refused": "busy" }).end(`${number}`);
  });
  await owner.asset("/a");
  world.skip(40);
  const first = await other.asset("/a");
  assert.equal(
    other.statusOf(first),
    `${owner.name}; hit; ttl=60; detail=memory, ${other.name}; fwd=uri-miss; stored; ttl=60; detail=owner`,
  );
  assert.equal(first.ageSeconds, 40);
  const block = first.headerBlock.toString();
  assert.match(block, /x-own: kept/i);
  assert.doesNotMatch(block, /nearcast-|^age:/im, "what nodes say to each other, and an Age of then, is not kept");
  const again = await other.asset("/a");
  assert.deepEqual([again.outcome.word, again.ageSeconds], ["hit", 40]);
  await other.flushed();
  assert.equal(other.diskEntries(), 0);
  world.skip(1000);
  const renewed = await other.asset("/a");
  assert.match(other.statusOf(renewed), /^fra\d; fwd=stale; .*detail=revalidated, fra\d; fwd=stale; .*detail=owner$/);
  assert.match(renewed.headerBlock.toString(), /x-own: renewed/i);
  assert.equal(await textOf(renewed.body), "1");
  assert.equal(origin.asked.length, 2);
});

test("a body that drips is given up by the asker and the owner as soon as its last reader leaves", async (t) => {
  let gone = 0;
  const { origin, other } = await startWorld(t, (_, response) => {
    response.once("close", () => (gone += 1));
    response.writeHead(200, { "cache-control": "max-age=100", etag: '"v1"', "content-length": "100000" }).write("a");
  });
  const { body } = await other.assetUnread("/a");
  assert(body.kind === "ranges");
  const reader = body.open(0, null);
  await reader.ready();
  reader.close();
  const leftMs = performance.now();
  await turnsUntil(() => gone === 1, 5);
  const tookMs = performance.now() - leftMs;
  assert(tookMs < 700, `${tookMs} ms`);
  assert.equal(origin.asked.length, 1);
});

test("variants by Vary are the owner's variants; what the origin sees is what the client said", async (t) => {
  const { origin, world } = await startWorld(t, (request, response) => {
    const language = request.headers["accept-language"] ?? "none";
    response.writeHead(200, { "cache-control": "max-age=100", vary: "Accept-Language" }).end(language);
  });
  for (const language of ["de", "fr", "de"]) {
    for (const node of world.nodes) {
      const answer = await node.asset("/a", { "accept-language": language });
      assert.equal(await textOf(answer.body), language);
    }
  }
  assert.deepEqual(
    origin.asked.map(({ headers }) => headers["accept-language"]),
    ["de", "fr"],
  );
});

test("what may not be stored is nobody else's, and once known goes straight to the origin", async (t) => {
  const { origin, owner, other } = await startWorld(t, (_request, response, number) => {
    response.writeHead(200, { "cache-control": "private" }).end(`for ${number}`);
  });
  const answers = await Promise.all([other.asset("/a"), other.asset("/a"), owner.asset("/a")]);
  const texts = await Promise.all(answers.map(async ({ body }) => await textOf(body)));
  assert.equal(new Set(texts).size, 3);
  const relayed = other.peerCounts().relayed;
  assert.equal(await textOf((await other.asset("/a")).body), "for 4");
  assert.equal(other.peerCounts().relayed, relayed);
  await other.asset("/b", { authorization: "Basic x" });
  assert.equal(origin.asked.at(-1)?.headers.authorization, "Basic x");
  assert.equal(other.peerCounts().relayed, relayed);
});

test("a purge by address or tag reaches what an owner gave, and none of before it comes back", async (t) => {
  const { world, owner, other } = await startWorld(t, (_request, response, number) => {
    response.writeHead(200, { "cache-control": "max-age=100", "cache-tag": "chairs" }).end(`${number}`);
  });
  for (const node of world.nodes) assert.equal(await textOf((await node.asset("/a")).body), "1");
  for (const tags of [[`url:${host}/a`], ["chairs"]]) {
    const purge = { tags, reason: "purge" };
    await other.event(purge);
    const asked = other.asset("/a");
    await turnsUntil(() => owner.peerCounts().waiting > 0, 5);
    await owner.event(purge);
    const fresh = await textOf((await asked).body);
    assert.equal(await textOf((await owner.asset("/a")).body), fresh);
    assert.equal(fresh, tags[0] === "chairs" ? "3" : "2");
  }
});

test("a soft purge is passed on with the answer, so that no node takes the old for fresh", async (t) => {
  const { origin, world, owner, other } = await startWorld(t, (_request, response, number) => {
    response.writeHead(200, { "cache-control": "max-age=100" }).end(`${number}`);
  });
  await owner.asset("/a");
  for (const node of world.nodes) await node.event({ tags: [`url:${host}/a`], reason: "purge", soft: true });
  assert.equal(await textOf((await other.asset("/a")).body), "1");
  await turnsUntil(async () => (await textOf((await other.asset("/a")).body)) === "2", 5);
  assert.equal(origin.asked.length, 2);
});

test("an owner that dies in the middle of a body, or before, costs nothing; the origin's failure shows", async (t) => {
  const { origin, world, owner, other } = await startWorld(
    t,
    answering(200, { "cache-control": "max-age=100" }, "body"),
  );
  await other.asset("/a");
  origin.script(answering(500, {}, "broken"));
  world.skip(150);
  // The asker has it within its window; the owner's copy is as old.
  assert.equal(await textOf((await other.asset("/a?1")).body), "broken");
  const { status, body } = await other.asset("/a");
  assert.deepEqual([status, await textOf(body)], [200, "body"]);
  origin.script(answering(200, { "cache-control": "max-age=100" }, "again"));
  await owner.kill();
  const answer = await other.asset("/c");
  assert.equal(await textOf(answer.body), "again");
  assert.match(other.statusOf(answer), /^fra\d; fwd=uri-miss; stored; .*detail=fetched$/);
});

/** Reads the first chunk, then waits, then reads to the end. */
async function readSlowly(body: Body, wait: Promise<unknown>): Promise<Buffer> {
  assert(body.kind === "ranges", body.kind);
  const reader = body.open(0, null);
  const chunks: Buffer[] = [];
  for (;;) {
    const ready = reader.ready();
    if (ready !== true) await ready;
    const chunk = await reader.next(65_536);
    if (chunk === null) return Buffer.concat(chunks);
    if (chunk.length > 0 && chunks.push(Buffer.from(chunk)) === 1) await wait;
  }
}

test("who falls behind a body from the owner gets the rest from there, or else from the origin", async (t) => {
  const large = randomBytes(8_000_000);
  const fields = { "cache-control": "max-age=100", etag: '"large"' };
  let isAway = false;
  const { origin, owner, other } = await startWorld(t, ({ headers }, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
    if (isAway) response.writeHead(503).end();
    else if (headers.range === undefined) response.writeHead(200, fields).end(large);
    else {
      const range = `bytes ${from}-${large.length - 1}/${large.length}`;
      response.writeHead(206, { ...fields, "content-range": range }).end(large.subarray(from));
    }
  });
  await wholeBodyOf((await owner.asset("/a")).body);
  await owner.flushed();
  isAway = true;
  const readBoth = async (afterFirst: () => Promise<void>): Promise<void> => {
    const [slow, fast] = [await other.assetUnread("/a"), await other.assetUnread("/a")];
    const first = wholeBodyOf(fast.body).then(async (bytes) => {
      await afterFirst();
      return bytes;
    });
    const [late, early] = await Promise.all([readSlowly(slow.body, first), first]);
    assert(early.equals(large) && late.equals(large));
  };
  await readBoth(() => Promise.resolve());
  assert.equal(origin.asked.length, 1, "the owner has it");
  isAway = false;
  await readBoth(() => owner.kill());
  assert.match(origin.asked.at(-1)?.headers.range ?? "", /^bytes=\d+-$/);
});

test("a body whose rest nobody could give is read by one request alone; others ask the owner for it", async (t) => {
  const large = randomBytes(4_000_000);
  const fields = { "cache-control": "max-age=100" };
  const { origin, owner, other } = await startWorld(t, answering(200, fields, large));
  await wholeBodyOf((await owner.asset("/a")).body);
  await owner.flushed();
  const asked = Array.from({ length: 5 }, async () => {
    const { body } = await other.assetUnread("/a");
    return await wholeBodyOf(body);
  });
  const first = asked[0] as Promise<Buffer>;
  const late = (await other.assetUnread("/a")).body;
  for (const bytes of await Promise.all([...asked, readSlowly(late, first)])) assert(bytes.equals(large));
  assert.equal(origin.asked.length, 1);
});

test("the shield asks the origin once for all sites; a full site's misses are fetched elsewhere", async (t) => {
  const script = answering(200, { "cache-control": "max-age=100" }, "body");
  const sites = { fra: 2, nyc: 2, ams: 1 };
  const { origin, world } = await startWorld(t, script, { sites, shield: "ams" });
  await Promise.all(world.nodes.map((node) => node.asset("/a")));
  assert.equal(origin.asked.length, 1);
  const owner = world.ownerOf("fra", `${host}/b`);
  const fetched = await owner.asset("/b");
  assert.equal(
    owner.statusOf(fetched),
    [
      "ams1; fwd=uri-miss; stored; ttl=100; detail=fetched",
      `${owner.name}; fwd=uri-miss; stored; ttl=100; detail=shield-fetched`,
    ].join(", "),
  );
  await owner.flushed();
  assert.ok(owner.diskEntries() > 0);
  world.setFull("fra", ["nyc"]);
  const full = world.ownerOf("fra", `${host}/c`);
  assert.match(
    full.statusOf(await full.asset("/c")),
    /^ams1; .*, nyc\d; .*detail=shield-fetched, fra\d; .*detail=spill-nyc$/,
  );
});

test("a request with more fields than a node takes goes straight to the origin, and is stored too", async (t) => {
  const { other } = await startWorld(t, answering(200, { "cache-control": "max-age=100" }, "body"));
  const fields = { accept: "text/html, ".repeat(500), "user-agent": "y".repeat(8000) };
  const answer = await other.asset("/a", fields);
  assert.match(other.statusOf(answer), /^fra\d; fwd=uri-miss; stored; ttl=100; detail=fetched$/);
  assert.equal(other.peerCounts().relayed + other.peerCounts().failed, 0);
});
