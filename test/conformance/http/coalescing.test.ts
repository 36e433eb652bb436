/** One fetch for however many ask (RFC 9211 §2.5 calls them collapsed), and who must not be served by another's. */
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { test } from "node:test";
import { cacheStatus, eventually, hostName, startEdge } from "./running-edge.ts";
import { held, type Said } from "./scripted-origin.ts";

const crowd = 100;

test("a hundred requests for one thing are one fetch, and have equal bodies", async (t) => {
  const edge = await startEdge(t);
  const body = "0123456789".repeat(1000);
  const holding = held({ fields: [["Cache-Control", "max-age=60"]], body });
  edge.origin.say("/a", holding.script);
  const asking = Array.from({ length: crowd }, () => edge.ask("/a"));
  await holding.arrived();
  holding.release();
  const answers = await Promise.all(asking);
  for (const got of answers) assert.deepEqual([got.status, got.body, got.isWhole], [200, body, true]);
  assert.equal(edge.origin.asked("/a").length, 1);
  assert.equal(edge.stats().fetches, 1);
  const leaders = answers.filter((got) => got.word === "miss" && cacheStatus(got).get("collapsed") === undefined);
  assert.equal(leaders.length, 1, "all others waited for it, or came when it was stored");
  assert.equal(edge.served.length, crowd);
});

test("a hundred requests for what is out of date are one revalidation", async (t) => {
  const edge = await startEdge(t);
  const fields = [
    ["Cache-Control", "max-age=60"],
    ["ETag", '"1"'],
  ] as const;
  edge.origin.say("/a", { fields, body: "one" });
  await edge.ask("/a");
  edge.skip(60);
  const holding = held({ status: 304, fields });
  edge.origin.say("/a", holding.script);
  const asking = Array.from({ length: crowd }, () => edge.ask("/a"));
  await holding.arrived();
  holding.release();
  for (const got of await Promise.all(asking)) assert.deepEqual([got.status, got.body], [200, "one"]);
  assert.equal(edge.origin.asked("/a").length, 2);
});

test("a body that breaks off is cut for all who read it, and is forgotten with them", async (t) => {
  const edge = await startEdge(t);
  const holding = held({ body: "never whole", breaksOffAfterBytes: 4 });
  edge.origin.say("/a", holding.script);
  const asking = Array.from({ length: crowd }, () => edge.ask("/a").catch(() => null));
  await holding.arrived();
  holding.release(); // who comes only now meets the same failure anew
  for (const got of await Promise.all(asking)) assert.ok(got === null || !got.isWhole);
  edge.origin.say("/a", { fields: [["Cache-Control", "max-age=60"]], body: "well" });
  assert.deepEqual([(await edge.ask("/a")).body, (await edge.ask("/a")).word], ["well", "hit"]);
});

test("who waited for an answer that may not be shared asks for itself, all at the same time", async (t) => {
  for (const control of ["private", "no-store"]) {
    const edge = await startEdge(t);
    const first = held((_asked, turn) => ({ fields: [["Cache-Control", control]], body: `turn ${turn}` }));
    edge.origin.say("/a", first.script);
    const asking = Array.from({ length: 10 }, () => edge.ask("/a"));
    await first.arrived();
    first.release();
    const bodies = (await Promise.all(asking)).map((got) => got.body);
    assert.equal(new Set(bodies).size, 10, `${control}: no answer went to two`);
    assert.equal(edge.origin.asked("/a").length, 10);

    // From now on nobody waits for anybody: ten requests stand before the origin side by side.
    const second = held({ fields: [["Cache-Control", control]], body: "again" });
    edge.origin.say("/a", second.script);
    const again = Array.from({ length: 10 }, () => edge.ask("/a"));
    await second.arrived(10);
    second.release();
    for (const got of await Promise.all(again)) assert.deepEqual([got.body, got.word], ["again", "bypass"], control);
  }
});

const storable = [["Cache-Control", "max-age=60"]] as const;
const odd: [what: string, said: Said][] = [
  ["no-store", { fields: [["Cache-Control", "no-store"]] }],
  ["a redirect without a lifetime", { status: 302, fields: [["Location", "/blocked"]] }],
  ["a cookie", { fields: [...storable, ["Set-Cookie", "a=1"]] }],
  ["Vary: *", { fields: [...storable, ["Vary", "*"]] }],
  ["events", { fields: [["Content-Type", "text/event-stream"]] }],
];

for (const [what, said] of odd) {
  test(`one response that can't be stored does not keep storable ones out of the cache: ${what}`, async (t) => {
    const edge = await startEdge(t);
    edge.origin.say("/a", said);
    assert.equal((await edge.ask("/a")).word, "bypass");
    assert.equal((await edge.ask("/a")).word, "bypass");
    edge.origin.say("/a", { fields: storable, body: "storable" });
    const words = [];
    for (let count = 0; count < 3; count += 1) words.push((await edge.ask("/a")).word);
    assert.deepEqual(words, ["miss", "hit", "hit"]);
    assert.equal(edge.origin.asked("/a").length, 3);
  });
}

test("of many storable responses for an uncacheable key, one is stored; every client gets its own", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "no-store"]] });
  await edge.ask("/a");
  const holding = held((_asked, turn) => ({ fields: storable, body: `turn ${turn}` }));
  edge.origin.say("/a", holding.script);
  const asking = Array.from({ length: 20 }, () => edge.ask("/a"));
  await holding.arrived(20);
  holding.release();
  const answers = await Promise.all(asking);
  assert.equal(new Set(answers.map(({ body }) => body)).size, 20);
  const stored = answers.filter((got) => cacheStatus(got).get("stored") !== undefined);
  assert.equal(stored.length, 1);
  const later = await edge.ask("/a");
  assert.deepEqual([later.word, later.body], ["hit", stored[0]?.body]);
});

test("a range, a HEAD, a failure or a purge does not cause an uncacheable key to be stored", async (t) => {
  const edge = await startEdge(t);
  edge.origin.say("/a", { fields: [["Cache-Control", "no-store"]], body: "0123456789" });
  await edge.ask("/a");
  edge.origin.say("/a", { fields: storable, body: "0123456789" });
  assert.equal((await edge.ask("/a", { fields: { Range: "bytes=0-3" } })).word, "bypass");
  assert.equal((await edge.ask("/a", { method: "HEAD" })).word, "bypass");
  assert.equal((await edge.ask("/a", { fields: { Authorization: "Basic eDp5" } })).word, "bypass");
  edge.origin.say("/a", { status: 503, fields: storable });
  assert.equal((await edge.ask("/a")).word, "bypass");

  const holding = held({ fields: storable, body: "before the purge" });
  edge.origin.say("/a", holding.script);
  const asking = edge.ask("/a");
  await holding.arrived();
  await edge.purge({ tags: [`url:${hostName}/a`] });
  holding.release();
  assert.equal((await asking).body, "before the purge");
  edge.origin.say("/a", { fields: storable, body: "after the purge" });
  assert.equal((await edge.ask("/a")).body, "after the purge");
});

test("a client that goes away takes nothing from those who wait with it", async (t) => {
  const edge = await startEdge(t);
  const holding = held({ fields: [["Cache-Control", "max-age=60"]], body: "one" });
  edge.origin.say("/a", holding.script);
  const leaving = new AbortController();
  const gone = edge.ask("/a", { signal: leaving.signal });
  await holding.arrived();
  const others = Array.from({ length: 5 }, () => edge.ask("/a"));
  leaving.abort();
  await assert.rejects(gone);
  holding.release();
  for (const got of await Promise.all(others)) assert.deepEqual([got.status, got.body], [200, "one"]);
  assert.equal(edge.origin.asked("/a").length, 1);
  await eventually("it is stored", async () => (await edge.ask("/a")).word === "hit");
});

test("different things do not wait for each other", async (t) => {
  const edge = await startEdge(t);
  const holding = held({ fields: [["Cache-Control", "max-age=60"]], body: "slow" });
  edge.origin.say("/slow", holding.script);
  const slow = edge.ask("/slow");
  await holding.arrived();
  edge.origin.say("/quick", { fields: [["Cache-Control", "max-age=60"]], body: "quick" });
  assert.equal((await edge.ask("/quick")).body, "quick");
  holding.release();
  assert.equal((await slow).body, "slow");
});

test("a body that drips is given up when nobody waits for it, and one that comes is fetched to its end", async (t) => {
  const edge = await startEdge(t);
  const fields = [["Cache-Control", "max-age=60"]] as const;
  for (const [target, isDripping] of [
    ["/drip", true],
    ["/quick", false],
  ] as const) {
    const rest = Promise.withResolvers<undefined>();
    const body = Buffer.alloc(1000, "drip ");
    edge.origin.say(target, (_asked, turn) => ({ fields, body, ...(turn === 0 ? { restAfter: rest.promise } : {}) }));
    const leaving = new AbortController();
    const left = edge.ask(target, {
      signal: leaving.signal,
      onHead: () => {
        leaving.abort();
      },
    });
    await left.catch(() => undefined);
    // A byte in all this time: the rest would take hours.
    if (isDripping) edge.skip(60);
    await setTimeout(1200);
    if (!isDripping) rest.resolve(undefined);
    assert.equal((await edge.ask(target)).body, body.toString(), target);
    assert.equal(edge.origin.asked(target).length, isDripping ? 2 : 1, target);
    rest.resolve(undefined);
  }
});
