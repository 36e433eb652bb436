/** The feed over HTTP: what a subscriber sees, from wherever it stands. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createEventStreamReader, type ServerSentEvent } from "#follow/event-stream.ts";
import { fleetExample, jpeg, raw, startTestOrigin, statusOf, type Scope, type TestOrigin } from "./running-origin.ts";

interface Follower {
  /** The next event, however long it takes. */
  readonly next: () => Promise<ServerSentEvent & { json: Record<string, unknown> }>;
  /** The bytes of heartbeats seen so far. */
  readonly comments: () => number;
  /** Resolves when the origin has ended the stream. */
  readonly ended: Promise<void>;
}

async function follow(
  origin: TestOrigin,
  t: TestContext,
  query = "",
  headers: Record<string, string> = {},
): Promise<Follower> {
  const leaving = new AbortController();
  t.after(() => leaving.abort());
  const answer = await fetch(`${origin.url}/api/v1/feed${query}`, {
    headers: { authorization: `Bearer ${origin.tokens.edge}`, ...headers },
    signal: leaving.signal,
  });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type") ?? "", /^text\/event-stream/);
  const waiting: ServerSentEvent[] = [];
  let comments = 0;
  let wake = Promise.withResolvers<void>();
  const reading = (async () => {
    const read = createEventStreamReader();
    for await (const bytes of answer.body ?? []) {
      if (Buffer.from(bytes).toString().startsWith(":")) comments += 1;
      waiting.push(...read(Buffer.from(bytes)));
      wake.resolve();
      wake = Promise.withResolvers();
    }
  })();
  return {
    comments: () => comments,
    ended: reading.catch(() => undefined),
    next: async () => {
      for (let event = waiting.shift(); ; event = waiting.shift()) {
        if (event !== undefined) return { ...event, json: JSON.parse(event.data) as Record<string, unknown> };
        await Promise.race([wake.promise, reading]);
      }
    },
  };
}

const scopeOf = (t: TestContext): Scope => ({ after: (cleanUp) => t.after(cleanUp) });
const json = { "content-type": "application/json" };

test("every change of a name, every purge and every fleet version is one event, in order", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const live = await follow(origin, t);
  const hello = await live.next();
  assert.deepEqual([hello.event, hello.id], ["hello", ""]);
  const { channel, ...bounds } = hello.json;
  assert.deepEqual(bounds, { originId: origin.originId, latestSeq: 0, oldestSeq: 1 });
  assert.match(String(channel), /^[A-Za-z0-9_-]{22}$/);

  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await origin.json(200, "PUT", "/images/a.jpg", { body: await jpeg(2) });
  await origin.json(200, "PUT", "/images/a.jpg", { body: await jpeg(2) });
  await origin.json(200, "POST", "/rollbacks", { body: `{"name":"a.jpg"}`, headers: json });
  await origin.json(200, "DELETE", "/images/a.jpg");
  const purge = { names: ["x/ü.jpg"], prefix: "shop/", hosts: ["IMG.cdn.test."], tags: ["t1"], all: true, soft: true };
  const { seq } = await origin.json(202, "POST", "/purges", { body: JSON.stringify(purge), headers: json });
  assert.equal(seq, 5);
  await origin.json(201, "PUT", "/fleet", { body: fleetExample() });

  const expected = [
    ["purge", { reason: "put", names: ["a.jpg"], version: 1 }],
    ["purge", { reason: "put", names: ["a.jpg"], version: 2 }],
    ["purge", { reason: "rollback", names: ["a.jpg"], version: 3 }],
    ["purge", { reason: "delete", names: ["a.jpg"], version: 4 }],
    ["purge", { reason: "purge", ...purge, hosts: ["img.cdn.test"] }],
    ["fleet", { version: 1 }],
  ];
  const replay = await follow(origin, t, "?since=0");
  const { channel: another, ...later } = (await replay.next()).json;
  assert.deepEqual(later, { originId: origin.originId, latestSeq: 6, oldestSeq: 1 });
  assert.notEqual(another, channel);
  for (const follower of [live, replay]) {
    for (const [index, [kind, payload]] of expected.entries()) {
      const event = await follower.next();
      assert.deepEqual([event.id, event.event, event.json], [String(index + 1), kind, payload]);
    }
  }
});

test("a subscriber that comes back gets what it missed, once, and then goes on live", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const purge = async (name: string): Promise<void> => {
    await origin.json(202, "POST", "/purges", { body: JSON.stringify({ names: [name] }), headers: json });
  };
  // More than one batch of the log, and more events while the replay runs.
  await Promise.all(Array.from({ length: 250 }, async (_, index) => await purge(`early/${index}`)));
  const followers = await Promise.all([
    follow(origin, t, "?since=7"),
    follow(origin, t, "", { "last-event-id": "7" }),
    follow(origin, t, "?since=249"),
  ]);
  await Promise.all(Array.from({ length: 20 }, async (_, index) => await purge(`late/${index}`)));
  for (const [follower, since] of [
    [followers[0], 7],
    [followers[1], 7],
    [followers[2], 249],
  ] as const) {
    assert.equal((await follower.next()).event, "hello");
    for (let seq = since + 1; seq <= 270; seq += 1) assert.equal((await follower.next()).id, String(seq));
  }
});

test("who asks for what is not kept, or never was, is told to start over and then goes on live", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { keep: { events: 10 } } });
  const purge = async (): Promise<void> => {
    await origin.json(202, "POST", "/purges", { body: `{"all":true}`, headers: json });
  };
  for (let count = 0; count < 25; count += 1) await purge();
  const table: [string, "pruned" | "ahead" | null][] = [
    ["?since=14", "pruned"],
    ["?since=0", "pruned"],
    ["?since=26", "ahead"],
    ["?since=999999", "ahead"],
    ["?since=15", null],
    ["?since=25", null],
    ["", null],
  ];
  for (const [query, reason] of table) {
    const follower = await follow(origin, t, query);
    const hello = await follower.next();
    const latestSeq = Number(hello.json["latestSeq"]);
    assert.equal(hello.json["oldestSeq"], latestSeq - 9, query);
    if (reason !== null) {
      const reset = await follower.next();
      assert.deepEqual([reset.event, reset.id], ["reset", String(latestSeq)], query);
      assert.deepEqual(reset.json, { originId: origin.originId, latestSeq, reason }, query);
    }
    if (query === "?since=15")
      for (let seq = 16; seq <= 25; seq += 1) assert.equal((await follower.next()).id, String(seq));
  }
  const live = await follow(origin, t, "?since=3");
  await live.next();
  await live.next();
  await purge();
  assert.equal((await live.next()).id, "26");
});

test("numbers go on after a restart, and the origin is still the same one", async (t) => {
  const first = await startTestOrigin(scopeOf(t));
  await first.json(202, "POST", "/purges", { body: `{"all":true}`, headers: json });
  await first.close();
  const second = await startTestOrigin(scopeOf(t), { dataDir: first.dataDir });
  assert.equal(second.originId, first.originId);
  await second.json(202, "POST", "/purges", { body: `{"all":true}`, headers: json });
  const follower = await follow(second, t, "?since=0");
  await follower.next();
  assert.deepEqual([(await follower.next()).id, (await follower.next()).id], ["1", "2"]);
});

test("heartbeats come while nothing happens", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { feed: { heartbeatMs: 10 } } });
  const answer = await raw(
    origin.port,
    `GET /api/v1/feed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${origin.tokens.edge}\r\n\r\n`,
    (text) => text.split("\n:\n\n").length > 3,
  );
  assert.equal(statusOf(answer), 200);
});

test("past the last seat the oldest subscriber that proved nothing gives way to the newest", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { limits: { subscribersMax: 3 } } });
  const oldest = await openFeed(origin);
  const rest = [await openFeed(origin), await openFeed(origin), await openFeed(origin)];
  t.after(() => rest.map(({ leave }) => leave()));
  await oldest.ended;
  assert.deepEqual(
    rest.map(({ isOpen }) => isOpen()),
    [true, true, true],
  );
});

test("positions that are no numbers are refused", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  for (const query of ["?since=-1", "?since=x", "?since=1.5", "?since=", "?since=1&since=2", "?from=1"]) {
    assert.equal((await origin.json(400, "GET", `/feed${query}`))["code"], "BAD_PARAMETER", query);
  }
  const problem = await origin.json(400, "GET", "/feed", { headers: { "last-event-id": "x" } });
  assert.equal(problem["code"], "BAD_PARAMETER");
});

test("closing the origin ends the feed in order", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const follower = await follow(origin, t);
  await follower.next();
  await origin.close();
  await follower.ended;
});

/** A connection to the feed whose end can be waited for. */
async function openFeed(
  origin: TestOrigin,
): Promise<{ ended: Promise<void>; isOpen: () => boolean; leave: () => void }> {
  const leaving = new AbortController();
  const headers = { authorization: `Bearer ${origin.tokens.edge}` };
  const answer = await fetch(`${origin.url}/api/v1/feed`, { headers, signal: leaving.signal });
  assert.equal(answer.status, 200);
  let isOpen = true;
  const ended = (async () => {
    await answer.arrayBuffer();
  })()
    .catch(() => undefined) // cut, by the origin or by the test
    .finally(() => {
      isOpen = false;
    });
  return { ended, isOpen: () => isOpen, leave: () => leaving.abort() };
}
