/** What a node answers to others, asked with words that no node of ours would use. */
import assert from "node:assert/strict";
import { get } from "node:http";
import { test, type TestContext } from "node:test";
import { answering, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { sha256Of, startPictureOrigin } from "../../support/picture-origin.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { quickRenderer, startNodes } from "../serve/fleet-of-nodes.ts";

const bytes = Buffer.from("the bytes of a.png");
const hash = sha256Of(bytes);

/** One node that stands at event 7, before an origin that has one picture. */
async function start(t: TestContext) {
  const origin = await startPictureOrigin(t);
  origin.names.set("shop/a.png", bytes);
  const assetsOrigin = await startLoopbackOrigin(t, answering(200, { "cache-control": "max-age=60" }, "asset"));
  const renderer = quickRenderer();
  const world = await startNodes(t, origin.url, {
    sites: { fra: 1 },
    imagesHost: { sourcePrefix: "shop/" },
    assetsOrigin: assetsOrigin.url,
    renderer,
  });
  const node = world.node("fra1");
  node.position = { originId: "origin-a", seq: 7 };
  return { app: node.peerApp, node, world, origin, assetsOrigin, renderer };
}

const owner = { "nearcast-role": "owner" };
const image = "/v1/image?host=img.cdn.test&name=shop/a.png&variant=w%3D20%26fit%3Dclip%26q%3D75";

test("a variant is sent with its hash, its age, the event that it is good for and who had it", async (t) => {
  const { app, node, world, renderer } = await start(t);
  await app.inject({ url: image, headers: owner });
  node.position = { originId: "origin-a", seq: 9 };
  world.skip(5);
  const answer = await app.inject({ url: image, headers: { ...owner, "nearcast-log": "origin-a/8" } });
  assert.equal(answer.statusCode, 200);
  assert.match(answer.body, /\nrendered /, "behind the signature of a picture");
  const { headers } = answer;
  assert.equal(headers["nearcast-source"], hash);
  assert.ok(Number(headers["nearcast-age"]) >= 5000);
  assert.equal(headers["nearcast-log"], "origin-a/9", "a hit has passed every purge in force");
  assert.equal(headers["nearcast-status"], "fra1; hit; ttl=95; detail=memory");
  assert.equal(headers["content-type"], "image/png");
  assert.deepEqual(renderer.renders().length, 1);

  const known = await app.inject({ url: image, headers: { ...owner, "nearcast-known": hash } });
  assert.deepEqual([known.statusCode, known.body, known.headers["nearcast-source"]], [304, "", hash]);
});

test("a source is told to those who lack it", async (t) => {
  const { app } = await start(t);
  const url = "/v1/source?host=IMG.cdn.test.&name=shop/a.png";
  const headers = { "nearcast-role": "shield" };
  assert.equal((await app.inject({ url, headers })).body, bytes.toString());
  const known = await app.inject({ url, headers: { ...headers, "nearcast-known": `${"f".repeat(64)}, ${hash}` } });
  assert.deepEqual([known.statusCode, known.body], [304, ""]);
  const absent = await app.inject({ url: "/v1/source?host=img.cdn.test&name=shop/b.png", headers });
  assert.deepEqual([absent.statusCode, absent.headers["nearcast-source"]], [404, undefined]);
  assert.ok(absent.headers["nearcast-age"] !== undefined);
});

test("what is no question of ours is refused before anyone is asked", async (t) => {
  const { app, origin, assetsOrigin } = await start(t);
  const variant = "variant=fit%3Dclip%26q%3D75";
  const target = { "nearcast-target": "/a" };
  const rows: [url: string, headers: Record<string, string>, status: number, code: string][] = [
    [image, {}, 400, "BAD_REQUEST"],
    [image, { "nearcast-role": "shield" }, 400, "BAD_REQUEST"],
    [image, { "nearcast-role": "owner, spill" }, 400, "BAD_REQUEST"],
    [image, { ...owner, "nearcast-known": "abc" }, 400, "BAD_REQUEST"],
    [image, { ...owner, "nearcast-network": "192.0.2.1/24" }, 400, "BAD_REQUEST"],
    [`${image}&w=1`, owner, 400, "BAD_REQUEST"],
    [`${image}&name=shop/b.png`, owner, 400, "BAD_REQUEST"],
    ["/v1/image?host=img.cdn.test&name=shop/a.png", owner, 400, "BAD_REQUEST"],
    ["/v1/image?host=img.cdn.test&name=shop/a.png&variant=w%3D9999", owner, 400, "BAD_PARAMETER"],
    [`/v1/image?host=img.cdn.test&name=other/a.png&${variant}`, owner, 400, "BAD_PATH"],
    [`/v1/image?host=img.cdn.test&name=shop/../a.png&${variant}`, owner, 400, "BAD_PATH"],
    [`/v1/image?host=img.cdn.test&name=shop/a%00.png&${variant}`, owner, 400, "BAD_PATH"],
    [`/v1/image?host=img.cdn.test&name=shop/e%CC%81.png&${variant}`, owner, 400, "BAD_PATH"],
    [`/v1/image?host=img.cdn.test&name=${"x".repeat(1001)}&${variant}`, owner, 400, "BAD_REQUEST"],
    [`/v1/image?host=static.cdn.test&name=shop/a.png&${variant}`, owner, 421, "UNKNOWN_HOST"],
    [`/v1/image?host=elsewhere.test&name=shop/a.png&${variant}`, owner, 421, "UNKNOWN_HOST"],
    ["/v1/source?host=img.cdn.test&name=shop/a.png", owner, 400, "BAD_REQUEST"],
    ["/v1/asset?host=static.cdn.test", owner, 400, "BAD_REQUEST"],
    ["/v1/asset?host=img.cdn.test", { ...owner, ...target }, 421, "UNKNOWN_HOST"],
    ["/v1/asset?host=static.cdn.test", { ...owner, "nearcast-target": "/../a" }, 400, "BAD_PATH"],
    ["/v1/asset?host=static.cdn.test", { ...owner, "nearcast-target": "http://other/a" }, 400, "BAD_REQUEST"],
    ["/v1/asset?host=static.cdn.test", { ...owner, "nearcast-target": `/${"a".repeat(9000)}` }, 414, "URI_TOO_LONG"],
    ["/v1/hot", owner, 404, "NOT_FOUND"],
    ["/", owner, 404, "NOT_FOUND"],
    ["/%zz", owner, 400, "BAD_REQUEST"],
  ];
  for (const [url, headers, status, code] of rows) {
    const answer = await app.inject({ url, headers });
    const row = `${url} ${JSON.stringify(headers)}: ${answer.body}`;
    assert.deepEqual([answer.statusCode, (JSON.parse(answer.body) as { code: string }).code], [status, code], row);
    assert.equal(answer.headers["nearcast-age"], undefined, row);
  }
  assert.deepEqual([origin.counts().questions, assetsOrigin.asked.length], [0, 0]);
});

test("who knows purges that did not arrive here is told so, and goes elsewhere", async (t) => {
  const { app, node, origin } = await start(t);
  const ask = async (log: string) => await app.inject({ url: image, headers: { ...owner, "nearcast-log": log } });
  for (const log of ["origin-a/8", "origin-b/1"]) {
    const answer = await ask(log);
    assert.deepEqual([answer.statusCode, answer.headers["nearcast-refused"]], [409, "behind"], log);
  }
  node.position = null;
  assert.equal((await ask("origin-a/7")).statusCode, 409);
  assert.deepEqual([origin.counts().questions, node.peerCounts().behind], [0, 3]);
  // Who follows none itself is told, but of no log: it keeps nothing.
  const told = await app.inject({ url: image, headers: owner });
  assert.deepEqual([told.statusCode, told.headers["nearcast-log"]], [200, undefined]);
});

test("a log that is left while an answer is made is not named with it", async (t) => {
  const { app, node, origin } = await start(t);
  origin.delay(() => {
    node.position = { originId: "origin-b", seq: 7 };
    return Promise.resolve();
  });
  const answer = await app.inject({ url: image, headers: { ...owner, "nearcast-log": "origin-a/7" } });
  assert.deepEqual([answer.statusCode, answer.headers["nearcast-log"]], [200, undefined]);
});

test("failures are reported by their code, too much work as a refusal, and nothing of the inside leaks", async (t) => {
  const { app, node, world, origin, renderer } = await start(t);
  const ask = async () => {
    const { statusCode, headers, body } = await app.inject({ url: image, headers: owner });
    assert.doesNotMatch(body, /secret/);
    return [statusCode, headers["nearcast-problem"], headers["nearcast-refused"]];
  };
  origin.fail(500);
  assert.deepEqual(await ask(), [502, "ORIGIN_BAD_ANSWER", undefined]);
  origin.fail(null);
  world.skip(1); // until then, the failure of this source is what all get
  node.setBusy(true);
  assert.deepEqual(await ask(), [503, "OVERLOADED", "busy"]);
  assert.equal(node.peerCounts().busy, 1);
  node.setBusy(false);
  renderer.hold(Promise.reject(new Error("a secret place")));
  assert.deepEqual(await ask(), [500, "INTERNAL", undefined]);
});

test("an asset's question carries what the origin would get, and no credentials", async (t) => {
  const { app, assetsOrigin } = await start(t);
  const headers = { ...owner, "nearcast-target": "/a?b=%20c", accept: "text/css", authorization: "Basic x" };
  const answer = await app.inject({ url: "/v1/asset?host=static.cdn.test", headers });
  assert.deepEqual([answer.statusCode, answer.body, answer.headers["age"]], [200, "asset", "0"]);
  const [{ target, headers: fields } = { target: "", headers: {} }] = assetsOrigin.asked;
  assert.deepEqual([target, fields.accept, fields.authorization], ["/a?b=%20c", "text/css", undefined]);
  assert.deepEqual(
    Object.keys(fields).filter((name) => name.startsWith("nearcast-")),
    [],
  );
});

test("a list of hot variants is bounded, and what is not for us in it does not spoil the rest", async (t) => {
  const { app } = await start(t);
  await app.inject({ url: image, headers: owner });
  const variant = { host: "img.cdn.test", name: "shop/a.png", variant: "w=20&fit=clip&q=75" };
  const tell = async (payload: unknown) =>
    await app.inject({
      method: "POST",
      url: "/v1/hot",
      headers: { "content-type": "application/json" },
      payload: JSON.stringify(payload),
    });
  const mixed = await tell({ variants: [variant, { ...variant, host: "new.test" }, { ...variant, variant: "w=1" }] });
  assert.deepEqual(mixed.json(), { held: [true, false, false] });
  const rows: [unknown, number][] = [
    [{ variants: Array.from({ length: 100 }, () => variant) }, 200],
    [{ variants: Array.from({ length: 101 }, () => variant) }, 400],
    [{ variants: [{ ...variant, more: 1 }] }, 400],
    [{ variants: [{ ...variant, name: 5 }] }, 400],
    [{}, 400],
    [[], 400],
    [{ variants: [], padding: "x".repeat(300_000) }, 413],
  ];
  for (const [payload, status] of rows) assert.equal((await tell(payload)).statusCode, status);
});

test("a peer that leaves before its answer is counted, and is no failure of this node", async (t) => {
  const { app, node, assetsOrigin } = await start(t);
  assetsOrigin.script(() => undefined);
  const url = new URL("/v1/asset?host=static.cdn.test", await app.listen({ host: "127.0.0.1", port: 0 }));
  const asking = get(url, { headers: { ...owner, "nearcast-target": "/a" } }).on("error", () => undefined);
  await turnsUntil(() => assetsOrigin.asked.length === 1, 5);
  asking.socket?.resetAndDestroy();
  await turnsUntil(() => node.peerCounts().left === 1, 5);
});

test("HEAD works wherever GET does; other transfer codings are refused", async (t) => {
  const { app } = await start(t);
  const rows: [url: string, headers: Record<string, string>][] = [
    [image, owner],
    ["/v1/source?host=img.cdn.test&name=shop/a.png", { "nearcast-role": "shield" }],
    ["/v1/asset?host=static.cdn.test", { ...owner, "nearcast-target": "/a" }],
    ["/v1/asset?host=static.cdn.test", owner],
  ];
  for (const [url, headers] of rows) {
    await app.inject({ url, headers }); // what is stored has a length
    const got = await app.inject({ url, headers });
    const head = await app.inject({ method: "HEAD", url, headers });
    assert.deepEqual([head.statusCode, head.body], [got.statusCode, ""], url);
    for (const name of ["content-type", "content-length", "nearcast-source"])
      assert.equal(head.headers[name], got.headers[name], `${url}: ${name}`);
  }
  const coded = await app.inject({ url: image, headers: { ...owner, "transfer-encoding": "gzip, chunked" } });
  assert.equal(coded.statusCode, 501);
});
