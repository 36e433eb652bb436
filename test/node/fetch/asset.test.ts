import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { NearcastError } from "#base/errors.ts";
import { codingsOf, openAssetFetcher } from "../../../node/fetch/asset.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { dropBody } from "../../../node/fetch/body.ts";
import { answering, type Script, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { shiftedClock } from "../../support/shifted-clock.ts";

async function open(t: TestContext, script: Script) {
  const origin = await startLoopbackOrigin(t, script);
  const clock = shiftedClock();
  const fetcher = openAssetFetcher({ node: "fra1", privateNetworks: ["127.0.0.0/8"], clock, random: () => 0 });
  t.after(() => fetcher.close());
  const order = {
    origin: origin.url,
    method: "GET",
    target: "/a?b",
    clientFields: {},
    extra: {},
    timeoutMs: 2000,
    client: "192.0.2.0/24",
  } as const;
  return { origin, clock, fetcher, order };
}

test("fields of the allow-list travel, all others stay", async (t) => {
  const { origin, fetcher, order } = await open(t, answering(200, {}));
  const clientFields = {
    accept: "image/*",
    "accept-encoding": "gzip;q=0.5, br",
    "accept-language": "de",
    "user-agent": "test",
    cookie: "id=1",
    authorization: "Bearer x",
    "x-forwarded-host": "evil.test",
    "x-forwarded-for": "1.2.3.4",
    "x-original-url": "/admin",
    "x-http-method-override": "DELETE",
    range: "bytes=0-1",
    "if-none-match": '"x"',
    origin: "http://evil.test",
    host: "static.test",
    via: "1.1 other",
    "cdn-loop": "other",
  };
  await (await fetcher.fetch({ ...order, clientFields, extra: { "if-none-match": '"own"' } })).body.dump();
  const { host, connection, ...sent } = origin.asked[0]?.headers ?? {};
  assert.equal(host, `127.0.0.1:${origin.port}`);
  assert.equal(connection, "keep-alive");
  assert.deepEqual(sent, {
    accept: "image/*",
    "accept-encoding": "br, gzip",
    "accept-language": "de",
    "user-agent": "test",
    via: "1.1 fra1",
    "cdn-loop": "other, nearcast",
    "if-none-match": '"own"',
  });
});

test("a client that states no coding is asked for as one that takes none: the answer is shared", async (t) => {
  const { origin, fetcher, order } = await open(t, answering(200, {}));
  await (await fetcher.fetch(order)).body.dump();
  assert.equal(origin.asked[0]?.headers["accept-encoding"], "identity");
  assert.equal(origin.asked[0]?.headers["cdn-loop"], "nearcast");
});

test("Accept-Encoding is reduced to what matters, in one order", () => {
  const rows: [field: string, codings: string][] = [
    ["gzip, deflate, br, zstd", "br, gzip, zstd"],
    ["BR;q=1.0 , GZIP;q=0.8", "br, gzip"],
    ["gzip;q=0", "identity"],
    ["gzip; q=0.000, br", "br"],
    ["gzip;q=0.001", "gzip"],
    ["*", "identity"],
    ["", "identity"],
    [`${"x, ".repeat(100)}gzip`, "identity"], // past the thirty-second nobody looks
    ["xgzip, br2", "identity"],
  ];
  for (const [field, codings] of rows) assert.equal(codingsOf(field), codings, field);
});

test("an origin's base path stands before the target", async (t) => {
  const { origin, fetcher, order } = await open(t, answering(200, {}));
  for (const base of ["/base", "/base/"]) {
    await (await fetcher.fetch({ ...order, origin: origin.url + base })).body.dump();
    assert.equal(origin.asked.at(-1)?.target, "/base/a?b");
  }
});

test("a slow header is given up at the deadline, a slow body is not", async (t) => {
  const { origin, clock, fetcher, order } = await open(t, () => undefined);
  await assert.rejects(
    fetcher.fetch({ ...order, timeoutMs: 100 }),
    (error: NearcastError) => error.code === "ORIGIN_TIMEOUT",
  );
  clock.skip(1); // until then, the failure of this URL is what all get
  assert.deepEqual(fetcher.counts(), { fetches: 1, failures: 1 });
  origin.script(async (_request, response) => {
    response.writeHead(200);
    for (const letter of "abcdefgh") {
      response.write(letter);
      await pause(100);
    }
    response.end();
  });
  const answer = await fetcher.fetch({ ...order, timeoutMs: 500 });
  assert.equal(await answer.body.text(), "abcdefgh");
});

test("a request that gets no connection is given up at its deadline, or sooner as too much", async (t) => {
  // Bodies would give up their places.
  const { origin, fetcher, order } = await open(t, () => undefined);
  const taken = Array.from({ length: 22 }, () => fetcher.fetch({ ...order, timeoutMs: 10_000 }));
  const ended = Promise.allSettled(taken);
  await turnsUntil(() => origin.asked.length === 22);
  await assert.rejects(fetcher.fetch({ ...order, timeoutMs: 100 }), { code: "ORIGIN_TIMEOUT" });
  await assert.rejects(fetcher.fetch({ ...order, timeoutMs: 5000 }), { code: "ORIGIN_BUSY", status: 503 });
  assert.equal(fetcher.upstreams()[0]?.placesInUse, 22);
  await fetcher.close();
  await ended;
});

test("each origin has a breaker of its own", async (t) => {
  const { origin, fetcher, order } = await open(t, answering(200, {}));
  const dead = { ...order, origin: "http://127.0.0.1:1" };
  for (let count = 0; count < 3; count += 1) {
    await assert.rejects(fetcher.fetch(dead), (error: NearcastError) => error.code === "ORIGIN_UNREACHABLE");
  }
  await assert.rejects(fetcher.fetch(dead), /gets no requests for a few seconds/);
  await (await fetcher.fetch(order)).body.dump();
  assert.equal(origin.asked.length, 1);
});

test("a body that is given up, in whatever state, raises nothing", async (t) => {
  const faults: unknown[] = [];
  const note = (error: unknown): void => void faults.push(error);
  process.on("uncaughtException", note);
  t.after(() => process.off("uncaughtException", note));
  const { origin, fetcher, order } = await open(t, answering(200, {}, "short"));
  for (const method of ["HEAD", "GET"] as const) dropBody(await fetcher.fetch({ ...order, method }));
  origin.script((_request, response) => {
    response.writeHead(200, { "content-length": 5_000_000 });
    response.write(Buffer.alloc(200_000));
  });
  dropBody(await fetcher.fetch(order));
  const read = await fetcher.fetch(order);
  read.body.once("data", () => undefined);
  await pause(20);
  dropBody(read);
  await pause(100);
  assert.deepEqual(faults, []);
});
