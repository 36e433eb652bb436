import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import type { ErrorCode, NearcastError } from "#base/errors.ts";
import { type OriginClient, openOriginClient } from "../../../node/fetch/origin.ts";
import { answering, type Script, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { shiftedClock } from "../../support/shifted-clock.ts";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { silentLog } from "#base/log.ts";
import { tokenId } from "#secret/edge-token.ts";
import { openTokenFile } from "../../../node/fetch/token-file.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { fixedToken } from "../../support/fixed-token.ts";

const body = Buffer.from("the bytes of a picture");
const sha256 = createHash("sha256").update(body).digest("hex");
const other = "0".repeat(64);

async function open(t: TestContext, script: Script) {
  const origin = await startLoopbackOrigin(t, script);
  const clock = shiftedClock();
  const client = openOriginClient({
    url: `${origin.url}/base/`,
    token: fixedToken("secret-token-of-an-edge"),
    clock,
    random: () => 0,
  });
  t.after(() => client.close());
  return { origin, client, clock };
}

async function fails(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(work, (error: NearcastError) => {
    assert.equal(error.code, code, error.message);
    return true;
  });
}

const most = { bytesMax: 1000, timeoutMs: 20_000, client: "192.0.2.0/24" };
const source = (client: OriginClient, known: readonly string[] = [], timeoutMs = most.timeoutMs) =>
  client.source("a b/ü.jpg", known, { ...most, timeoutMs });

test("a source is asked for by its name, with the token, and comes back with its hash", async (t) => {
  const { origin, client } = await open(t, answering(200, { etag: `"${sha256}"` }, body));
  assert.deepEqual(await source(client), { outcome: "found", sha256, body });
  const [asked] = origin.asked;
  assert.equal(asked?.target, "/base/api/v1/images/a%20b/%C3%BC.jpg");
  assert.equal(asked.headers.authorization, "Bearer secret-token-of-an-edge");
  assert.equal(asked.headers["if-none-match"], undefined);
  assert.deepEqual(client.counts(), { sources: 1, sourceBodies: 1, failures: 0 });
});

test("the versions that are known are named as a list, and a 304 says which one it is", async (t) => {
  const { origin, client } = await open(t, answering(304, { etag: `"${other}"` }));
  assert.deepEqual(await source(client, [sha256, other]), { outcome: "known", sha256: other });
  assert.equal(origin.asked[0]?.headers["if-none-match"], `"${sha256}", "${other}"`);
  assert.equal(client.counts().sourceBodies, 0);
});

test("a name that means nothing is an outcome, not a failure", async (t) => {
  for (const status of [404, 410] as const) {
    const { client } = await open(t, answering(status, { "content-type": "application/problem+json" }, "{}"));
    assert.deepEqual(await source(client), { outcome: "absent", status });
    assert.equal(client.counts().failures, 0);
  }
});

test("answers that make no sense are refused", async (t) => {
  const rows: [what: string, script: Script, code: ErrorCode][] = [
    ["bytes of another hash", answering(200, { etag: `"${other}"` }, body), "ORIGIN_BAD_ANSWER"],
    ["no ETag", answering(200, {}, body), "ORIGIN_BAD_ANSWER"],
    ["a weak ETag", answering(200, { etag: `W/"${sha256}"` }, body), "ORIGIN_BAD_ANSWER"],
    ["a 304 of nothing", answering(304, {}), "ORIGIN_BAD_ANSWER"],
    ["401", answering(401, {}, "who?"), "ORIGIN_REFUSED"],
    ["500", answering(500, {}, "x".repeat(500_000)), "ORIGIN_BAD_ANSWER"],
    ["a redirect", answering(302, { location: "http://evil.test/" }), "ORIGIN_BAD_ANSWER"],
    ["too large by its own word", answering(200, { etag: `"${sha256}"` }, "x".repeat(200_000)), "BODY_TOO_LARGE"],
    [
      "too large without a word",
      (_request, response) => {
        response.writeHead(200, { etag: `"${sha256}"` });
        for (let count = 0; count < 50; count += 1) response.write("x".repeat(1000));
        response.end();
      },
      "BODY_TOO_LARGE",
    ],
    [
      "cut off in the midst",
      (_request, response) => {
        response.writeHead(200, { etag: `"${sha256}"`, "content-length": "500" });
        response.write(body, () => response.destroy());
      },
      "ORIGIN_UNREACHABLE",
    ],
    [
      "cut off in the midst, in chunks",
      (_request, response) => {
        response.writeHead(200, { etag: `"${sha256}"` });
        response.write(body, () => response.destroy());
      },
      "ORIGIN_UNREACHABLE",
    ],
    ["no HTTP", (_request, response) => void response.socket?.end("SSH-2.0-x\r\n"), "ORIGIN_BAD_ANSWER"],
    ["no answer at all", (_request, response) => void response.destroy(), "ORIGIN_UNREACHABLE"],
  ];
  for (const [what, script, code] of rows) {
    const { origin, client, clock } = await open(t, script);
    await t.test(what, () => fails(source(client), code));
    assert.equal(client.counts().failures, 1, what);
    clock.skip(1); // until then, the failure of this source is what all get
    // What was left of the body broke nothing: the next question is answered.
    origin.script(answering(200, { etag: `"${sha256}"` }, body));
    assert.equal((await source(client)).outcome, "found", what);
  }
});

test("a body past the bound is not read to its end, announced or not", async (t) => {
  for (const announced of [true, false]) {
    const gone = Promise.withResolvers<void>();
    let sentBytes = 0;
    const { client } = await open(t, (_request, response) => {
      response.on("close", gone.resolve);
      response.writeHead(200, { etag: `"${sha256}"`, ...(announced ? { "content-length": "1000000000" } : {}) });
      const send = (): void => {
        // Without end, until the other side has gone.
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) sentBytes += 65_536;
      };
      response.on("drain", send);
      send();
    });
    await fails(source(client), "BODY_TOO_LARGE");
    await gone.promise;
    assert.ok(sentBytes < 100_000_000, `${announced}: ${sentBytes} bytes`);
    assert.equal(client.counts().sourceBodies, 0);
  }
});

test("names are encoded segment by segment, so that none means another", async (t) => {
  const { origin, client } = await open(t, answering(404, {}));
  const rows: [name: string, target: string][] = [
    ["a.jpg", "a.jpg"],
    ["shop/2024/chair.jpg", "shop/2024/chair.jpg"],
    ["a b/ü.jpg", "a%20b/%C3%BC.jpg"],
    ["a?b#c", "a%3Fb%23c"],
    ["100%.jpg", "100%25.jpg"],
    ["%2e%2e/a", "%252e%252e/a"],
    ["a+b&c=d;e", "a%2Bb%26c%3Dd%3Be"],
    ["\u{1F600}", "%F0%9F%98%80"],
  ];
  for (const [name, target] of rows) {
    await client.source(name, [], most);
    assert.equal(origin.asked.at(-1)?.target, `/base/api/v1/images/${target}`, name);
  }
});

test("an origin that refuses connections is unreachable, and found again when it is back", async (t) => {
  const { origin, client } = await open(t, answering(200, { etag: `"${sha256}"` }, body));
  await origin.stop();
  await fails(source(client), "ORIGIN_UNREACHABLE");
  await fails(client.fleet(), "ORIGIN_UNREACHABLE");
  await origin.start();
  assert.equal((await source(client)).outcome, "found");
  assert.deepEqual(client.counts(), { sources: 2, sourceBodies: 1, failures: 2 });
  assert.ok(!client.isBroken());
});

test("a connection that was kept and broke costs one more try, and nobody notices", async (t) => {
  const { client, origin } = await open(t, (_request, response, number) => {
    if (number === 1) response.destroy();
    else response.writeHead(200, { etag: `"${sha256}"` }).end(body);
  });
  assert.equal((await source(client)).outcome, "found");
  assert.equal(origin.asked.length, 2);
});

test("an origin that is slow with its header or its body is given up at the deadline", async (t) => {
  const rows: Script[] = [
    () => undefined,
    (_request, response) => {
      response.writeHead(200, { etag: `"${sha256}"`, "content-length": String(body.length) });
      response.write(body.subarray(0, 5));
    },
  ];
  for (const script of rows) {
    const { client, origin } = await open(t, script);
    await fails(source(client, [], 150), "ORIGIN_TIMEOUT");
    assert.equal(origin.asked.length, 1, "no second try past the deadline");
  }
});

test("a source that fails is asked for once a second, whoever wants it, and holds up no other", async (t) => {
  const { origin, client, clock } = await open(t, answering(500, {}));
  for (let count = 0; count < 100; count += 1) await fails(source(client), "ORIGIN_BAD_ANSWER");
  assert.equal(origin.asked.length, 1);
  assert.ok(!client.isBroken(), "its origin answers");
  await fails(client.source("another", [], most), "ORIGIN_BAD_ANSWER");
  assert.equal(origin.asked.length, 2);
  origin.script(answering(200, { etag: `"${sha256}"` }, body));
  await fails(source(client), "ORIGIN_BAD_ANSWER");
  clock.skip(1);
  assert.equal((await source(client)).outcome, "found");
});

test("an origin that refuses connections is not asked for a while, and then by one probe", async (t) => {
  const { origin, client, clock } = await open(t, answering(200, { etag: `"${sha256}"` }, body));
  assert.equal((await source(client)).outcome, "found");
  await origin.stop();
  for (let count = 0; count < 5; count += 1) await fails(source(client), "ORIGIN_UNREACHABLE");
  assert(client.isBroken());
  await origin.start();
  await fails(source(client), "ORIGIN_UNREACHABLE");
  assert.equal(origin.asked.length, 1);
  clock.skip(1);
  assert.equal((await source(client)).outcome, "found");
  assert.deepEqual(
    origin.asked.map(({ method, target }) => `${method} ${target.slice(-6)}`),
    ["GET BC.jpg", "HEAD BC.jpg", "GET BC.jpg"],
    "the probe is a source that was there",
  );
});

test("the fleet document does not wait behind sources", async (t) => {
  const { origin, client } = await open(t, (request, response) => {
    if (request.target.endsWith("/fleet")) response.end(JSON.stringify({ version: 1, text: "" }));
  });
  const leaving = new AbortController();
  const { signal } = leaving;
  const waiting = Array.from({ length: 200 }, (_, index) =>
    client.source(`s${index}`, [], { ...most, client: `192.0.${index}.0/24`, signal }),
  );
  const ended = Promise.allSettled(waiting);
  assert.equal((await client.fleet()).version, 1);
  assert.ok(client.upstream().placesWaiting > 100);
  leaving.abort(new Error("gone"));
  await ended;
  assert.deepEqual([client.upstream().placesInUse, client.upstream().placesWaiting], [0, 0]);
  assert.ok(origin.asked.length <= 65);
});

test("the fleet document: its version and text, or a failure of the origin", async (t) => {
  const { origin, client } = await open(
    t,
    answering(200, {}, JSON.stringify({ version: 3, text: "zones: []", author: "x" })),
  );
  assert.deepEqual(await client.fleet(), { version: 3, text: "zones: []" });
  assert.equal(origin.asked[0]?.target, "/base/api/v1/fleet");
  for (const answer of [
    "",
    "{",
    "null",
    "[]",
    '{"version":"3","text":""}',
    '{"version":1.5,"text":""}',
    '{"version":1}',
  ]) {
    const one = await open(t, answering(200, {}, answer));
    await fails(one.client.fleet(), "ORIGIN_BAD_ANSWER");
  }
  const missing = await open(t, answering(404, {}, "{}"));
  await fails(missing.client.fleet(), "ORIGIN_BAD_ANSWER");
});

test("the feed is a stream from a position on, ended by its signal", async (t) => {
  const { origin, client } = await open(t, (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": hello\n\n");
  });
  const ending = new AbortController();
  const stream = await client.feed(7, ending.signal);
  assert.equal(origin.asked[0]?.target, "/base/api/v1/feed?since=7");
  const [chunk] = (await once(stream, "data")) as [Buffer];
  assert.equal(chunk.toString(), ": hello\n\n");
  const broken = once(stream, "error");
  ending.abort(new Error("enough"));
  assert.match(String(await broken), /enough/);
  const { client: refused } = await open(t, answering(401, {}, "no"));
  await fails(refused.feed(null, new AbortController().signal), "ORIGIN_REFUSED");
});

test("the fleet secret is taken when it has its form; an origin that has none is no failure", async (t) => {
  const secrets = { current: "A".repeat(43), previous: "b".repeat(43) };
  const { origin, client } = await open(t, answering(200, {}, JSON.stringify({ ...secrets, madeAt: "2026" })));
  assert.deepEqual(await client.secrets(), secrets);
  assert.equal(origin.asked[0]?.target, "/base/api/v1/fleet/secret");
  assert.equal(origin.asked[0].headers.authorization, "Bearer secret-token-of-an-edge");
  origin.script(answering(404, {}, "{}"));
  assert.equal(await client.secrets(), null);
  assert.equal(client.counts().failures, 0);
});

test("a fleet secret that is none is refused, and the refusal does not repeat it", async (t) => {
  const rows = ["", "null", "{}", '{"current":"short-secret"}', `{"current":"${"A".repeat(43)}","previous":"secret"}`];
  for (const text of rows) {
    const { client } = await open(t, answering(200, {}, text));
    await assert.rejects(client.secrets(), (error: NearcastError) => {
      assert.equal(error.code, "ORIGIN_BAD_ANSWER", text);
      assert.ok(!/short-secret|AAAA/.test(error.message), error.message);
      return true;
    });
  }
  const { client, origin } = await open(t, answering(403, { "www-authenticate": "Bearer" }, "{}"));
  await fails(client.secrets(), "ORIGIN_REFUSED");
  origin.script(answering(403, {}, "{}"));
  await fails(client.secrets(), "ORIGIN_BAD_ANSWER");
});

test("the roster is taken when it has its form; an origin that has none is no failure", async (t) => {
  const node = { name: "fra2", site: "fra", http: "http://10.0.0.2", addresses: ["10.0.0.2"] };
  const roster = { revision: 3, nodes: [node], draining: ["fra1"] };
  const { origin, client } = await open(t, answering(200, {}, JSON.stringify({ ...roster, madeAt: "2026" })));
  assert.deepEqual(await client.roster(), roster);
  assert.equal(origin.asked[0]?.target, "/base/api/v1/nodes");
  origin.script(answering(200, {}, JSON.stringify({ ...roster, nodes: [{ ...node, peer: { host: "10.0.0.2" } }] })));
  assert.deepEqual((await client.roster())?.nodes[0]?.peer, { host: "10.0.0.2", port: 8082 });
  origin.script(answering(404, {}, "{}"));
  assert.equal(await client.roster(), null);
  assert.equal(client.counts().failures, 0);
});

test("a roster that is none is refused whole: a half of it would take nodes out of DNS", async (t) => {
  const node = { name: "fra2", site: "fra", http: "http://10.0.0.2", addresses: ["10.0.0.2"] };
  const rows: unknown[] = [
    "",
    null,
    {},
    { revision: 1, nodes: [] },
    { revision: 1.5, nodes: [], draining: [] },
    { revision: 1, nodes: [{ ...node, addresses: ["10.0.0.2; rm -rf"] }], draining: [] },
    { revision: 1, nodes: [node, { ...node, name: "Fra3" }], draining: [] },
    { revision: 1, nodes: [{ ...node, http: "file:///etc/passwd" }], draining: [] },
    { revision: 1, nodes: [{ ...node, peer: { host: "localhost", port: 1 } }], draining: [] },
    { revision: 1, nodes: [], draining: ["../x"] },
  ];
  for (const row of rows) {
    const { client } = await open(t, answering(200, {}, row === "" ? "" : JSON.stringify(row)));
    await fails(client.roster(), "ORIGIN_BAD_ANSWER");
  }
  const { client } = await open(t, answering(200, {}, "x".repeat(6_000_000)));
  await fails(client.roster(), "BODY_TOO_LARGE");
});

test("a refused token is read again and used at once; while all are refused the breaker stays closed", async (t) => {
  const file = join(await temporaryDirectory(t), "edge.token");
  const [old, next] = ["o".repeat(43), "n".repeat(43)];
  let good = old;
  const origin = await startLoopbackOrigin(t, (request, response) => {
    const isGood = request.headers.authorization === `Bearer ${good}`;
    response.writeHead(isGood ? 200 : 401, { etag: `"${sha256}"` });
    response.end(isGood ? body : "no");
  });
  await writeFile(file, old, { mode: 0o600 });
  const clock = shiftedClock();
  const token = await openTokenFile({ path: file, mayWrite: true, clock, log: silentLog });
  t.after(token.close);
  let toldCount = 0;
  const onTokenRefused = (): void => {
    toldCount += 1;
  };
  const client = openOriginClient({ url: origin.url, token, clock, random: () => 0, onTokenRefused });
  t.after(() => client.close());
  assert.equal((await source(client)).outcome, "found");
  assert.equal(client.tokenComplaint(file), undefined);

  good = next;
  for (let count = 0; count < 20; count += 1) await fails(source(client), "ORIGIN_REFUSED");
  assert.equal(client.isBroken(), false);
  assert.equal(toldCount, 1, "its owner is told once, not with each request");
  assert.equal(client.tokenRefusal()?.id, tokenId(old));
  assert.match(client.tokenComplaint(file) ?? "", /refuses this node's token .*write the current edge token into/);
  assert.ok(!(client.tokenComplaint(file) ?? "").includes(old));

  for (const half of ["", next.slice(0, 30)]) {
    await writeFile(file, half);
    await fails(source(client), "ORIGIN_REFUSED");
  }
  await writeFile(file, `${next}\n`);
  assert.equal((await source(client)).outcome, "found");
  assert.equal(client.tokenRefusal(), null);
  assert.equal(client.tokenComplaint(file), undefined);
});
