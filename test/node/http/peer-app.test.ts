/** What a node answers to others, asked with words that no node of ours would use. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { NearcastError } from "#base/errors.ts";
import { silentLog } from "#base/log.ts";
import type { FeedPosition } from "#fleet/feed.ts";
import { buildPeerApp } from "../../../node/http/peer-app.ts";
import type { AssetOrder, AssetServer } from "../../../node/serve/asset.ts";
import type { ImageServer } from "../../../node/serve/image.ts";
import type { Peers } from "../../../node/serve/peers.ts";
import { joinPeers } from "../../../node/serve/peers.ts";
import { objectOf, type WantedVariant } from "../../../node/serve/render.ts";
import type { SourceName } from "../../../node/serve/source.ts";
import { fleetWith } from "../../support/fleet.ts";
import { shiftedClock } from "../../support/shifted-clock.ts";

const hash = "0123456789abcdef".repeat(4);

/** The application before servers that say what they were asked; peers as on a node that stands at event 7. */
async function start(t: TestContext) {
  const clock = shiftedClock();
  const fleet = fleetWith({
    hosts: [
      { name: "img.cdn.test", kind: "images", sourcePrefix: "shop/" },
      { name: "static.cdn.test", kind: "assets", origin: "http://127.0.0.1:1" },
    ],
  });
  const asked: unknown[] = [];
  const so = {
    position: { originId: "origin-a", seq: 7 } as FeedPosition | null,
    failure: null as Error | null,
    hasFleet: true,
  };
  const peers: Peers = joinPeers({
    directory: {
      ownersBefore: () => [],
      shieldFor: () => [],
      roomElsewhere: () => [],
      site: () => [],
      isMember: () => true,
    },
    client: { request: () => Promise.reject(new Error("nobody")) },
    isBusy: () => false,
    position: () => so.position,
    gate: () => null,
    served: () => undefined,
    clock,
    log: silentLog,
  });
  const recordOf = (name: string) => ({
    name,
    meaning: { sha256: hash },
    knownHashes: [hash],
    validatedAtMs: clock.wallMs() - 5000,
    feedSeq: 6,
    mark: null,
  });
  const outcome = { word: "hit", tier: "memory", ttlSeconds: 5 } as const;
  const images: Pick<ImageServer, "serveToPeer" | "sourceToPeer"> = {
    async serveToPeer(wanted: WantedVariant, role) {
      asked.push([role, wanted.host.name, wanted.name, wanted.variant]);
      if (so.failure !== null) throw so.failure;
      const rendered = { body: Buffer.from("picture"), type: "image/png" };
      const object = objectOf(wanted, hash, rendered, { storedAtMs: 0, feedSeq: 3 });
      return { record: recordOf(wanted.name), object, outcome, ageSeconds: 5, timings: {}, status: null };
    },
    async sourceToPeer({ name }: SourceName, known) {
      asked.push(["shield", name, known]);
      if (so.failure !== null) throw so.failure;
      return { record: recordOf(name), body: known.includes(hash) ? null : Buffer.from("source"), outcome };
    },
  };
  const assets: Pick<AssetServer, "serveToPeer"> = {
    serveToPeer(order: AssetOrder, role) {
      asked.push([role, order.target, order.fields]);
      return Promise.reject(so.failure ?? new NearcastError("ORIGIN_TIMEOUT", "no answer within 5 ms"));
    },
  };
  const app = buildPeerApp({
    node: "fra1",
    images,
    assets,
    peers,
    replication: { take: async (told) => told.map((one) => one !== null) },
    fleet: () => (so.hasFleet ? fleet : null),
    clock,
    log: silentLog,
  });
  await app.ready();
  t.after(() => app.close());
  return { app, asked, so, peers };
}

const owner = { "nearcast-role": "owner" };
const image = "/v1/image?host=img.cdn.test&name=shop/a.png&variant=w%3D20%26fit%3Dclip%26q%3D75";

test("a variant is told with its hash, its age, the event that it is good for and who had it", async (t) => {
  const { app, asked } = await start(t);
  const answer = await app.inject({ url: image, headers: { ...owner, "nearcast-log": "origin-a/7" } });
  assert.deepEqual([answer.statusCode, answer.body], [200, "picture"]);
  const { headers } = answer;
  assert.equal(headers["nearcast-source"], hash);
  assert.ok(Number(headers["nearcast-age"]) >= 5000);
  assert.equal(headers["nearcast-log"], "origin-a/3", "the earlier one of record and variant");
  assert.equal(headers["nearcast-status"], "fra1; hit; ttl=5; detail=memory");
  assert.equal(headers["content-type"], "image/png");
  const variant = { widthPx: 20, fit: "clip", quality: 75, format: "source" };
  assert.deepEqual(asked, [["owner", "img.cdn.test", "shop/a.png", variant]]);

  const known = await app.inject({ url: image, headers: { ...owner, "nearcast-known": hash } });
  assert.deepEqual([known.statusCode, known.body, known.headers["nearcast-source"]], [304, "", hash]);
});

test("a source is told to those who lack it", async (t) => {
  const { app } = await start(t);
  const url = "/v1/source?host=IMG.cdn.test.&name=shop/a.png";
  const headers = { "nearcast-role": "shield" };
  assert.equal((await app.inject({ url, headers })).body, "source");
  const known = await app.inject({ url, headers: { ...headers, "nearcast-known": `${"f".repeat(64)}, ${hash}` } });
  assert.deepEqual([known.statusCode, known.body], [304, ""]);
});

test("what is no question of ours is refused before anyone is asked", async (t) => {
  const { app, asked } = await start(t);
  const variant = "variant=fit%3Dclip%26q%3D75";
  const target = { "nearcast-target": "/a" };
  const rows: [url: string, headers: Record<string, string>, status: number, code: string][] = [
    [image, {}, 400, "BAD_REQUEST"],
    [image, { "nearcast-role": "shield" }, 400, "BAD_REQUEST"],
    [image, { "nearcast-role": "owner, spill" }, 400, "BAD_REQUEST"],
    [image, { ...owner, "nearcast-known": "abc" }, 400, "BAD_REQUEST"],
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
    ["/v1/image/../source", owner, 404, "NOT_FOUND"],
    ["/%zz", owner, 400, "BAD_REQUEST"],
  ];
  for (const [url, headers, status, code] of rows) {
    const answer = await app.inject({ url, headers });
    const row = `${url} ${JSON.stringify(headers)}: ${answer.body}`;
    assert.deepEqual([answer.statusCode, (JSON.parse(answer.body) as { code: string }).code], [status, code], row);
    assert.equal(answer.headers["nearcast-age"], undefined, row);
  }
  assert.deepEqual(asked, []);
});

test("who knows purges that did not arrive here is told so, and goes elsewhere", async (t) => {
  const { app, asked, so, peers } = await start(t);
  const ask = async (log: string) => await app.inject({ url: image, headers: { ...owner, "nearcast-log": log } });
  for (const log of ["origin-a/8", "origin-b/1"]) {
    const answer = await ask(log);
    assert.deepEqual([answer.statusCode, answer.headers["nearcast-refused"]], [409, "behind"], log);
  }
  so.position = null;
  assert.equal((await ask("origin-a/7")).statusCode, 409);
  assert.deepEqual([asked.length, peers.counts().behind], [0, 3]);
  // Who follows none itself is told, but of no log: it keeps nothing.
  const told = await app.inject({ url: image, headers: owner });
  assert.deepEqual([told.statusCode, told.headers["nearcast-log"]], [200, undefined]);
});

test("a log that changes while an answer is made is not named with it", async (t) => {
  const { app, so } = await start(t);
  const begun = app.inject({ url: image, headers: { ...owner, "nearcast-log": "origin-a/7" } });
  setImmediate(() => undefined);
  const { headers } = await begun;
  assert.equal(headers["nearcast-log"], "origin-a/3");
  so.failure = null;
  Object.defineProperty(so, "position", {
    get: (() => {
      let reads = 0;
      return () => ({ originId: (reads += 1) > 2 ? "origin-b" : "origin-a", seq: 7 });
    })(),
  });
  const changed = await app.inject({ url: image, headers: { ...owner, "nearcast-log": "origin-a/7" } });
  assert.deepEqual([changed.statusCode, changed.headers["nearcast-log"]], [200, undefined]);
});

test("failures are told by their code; too much work as a refusal; nothing of the inside leaks", async (t) => {
  const { app, so, peers } = await start(t);
  const rows: [Error, number, string, string | undefined][] = [
    [new NearcastError("ORIGIN_TIMEOUT", "secret place"), 504, "ORIGIN_TIMEOUT", undefined],
    [new NearcastError("BROKEN_IMAGE", "a broken one"), 422, "BROKEN_IMAGE", undefined],
    [new NearcastError("OVERLOADED", "secret place"), 503, "OVERLOADED", "busy"],
    [new Error("secret place"), 500, "INTERNAL", undefined],
  ];
  for (const [failure, status, code, refused] of rows) {
    so.failure = failure;
    const answer = await app.inject({ url: image, headers: owner });
    const { headers, body } = answer;
    assert.deepEqual(
      [answer.statusCode, headers["nearcast-problem"], headers["nearcast-refused"]],
      [status, code, refused],
    );
    assert.doesNotMatch(body, /secret/);
  }
  assert.equal(peers.counts().busy, 1);
  so.hasFleet = false;
  const answer = await app.inject({ url: image, headers: owner });
  assert.deepEqual([answer.statusCode, answer.headers["nearcast-problem"]], [503, "NOT_READY"]);
});

test("an asset's question carries what the origin would get, and no credentials", async (t) => {
  const { app, asked } = await start(t);
  const headers = { ...owner, "nearcast-target": "/a?b=%20c", accept: "text/css", authorization: "Basic x" };
  const answer = await app.inject({ url: "/v1/asset?host=static.cdn.test", headers });
  assert.deepEqual([answer.statusCode, answer.headers["nearcast-problem"]], [504, "ORIGIN_TIMEOUT"]);
  const [[role, target, fields]] = asked as [[string, string, Record<string, string>]];
  assert.deepEqual(
    [role, target, fields["accept"], fields["authorization"]],
    ["owner", "/a?b=%20c", "text/css", undefined],
  );
});

test("a list of hot variants is bounded, and what is not for us in it does not spoil the rest", async (t) => {
  const { app } = await start(t);
  const variant = { host: "img.cdn.test", name: "shop/a.png", variant: "fit=clip&q=75" };
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
