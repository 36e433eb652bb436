/**
 * An owner that is frozen, as by SIGSTOP, keeps its connections and sends nothing: those who read from it get the rest
 * from the origin soon. An owner that only waits for a slow origin is waited for.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { rankOwners } from "../../node/peer/owners.ts";
import { get } from "../support/edge-client.ts";
import { type LoopbackOrigin, type Script, startLoopbackOrigin } from "../support/loopback-origin.ts";
import { startWorld, until, type WorldEdge } from "../support/world.ts";

const host = "static.cdn.test";
const pieceBytes = 64 * 1024;
const pieces = 100;
/** The limit is 3 s, on a machine that does nothing else. */
const gapMsMax = 4500;

interface Site {
  readonly origin: LoopbackOrigin;
  readonly owner: WorldEdge;
  readonly other: WorldEdge;
}

/** @param pauseMs of the origin before each piece of the body */
function body(pauseMs: (piece: number) => number): Script {
  return async ({ headers }, response) => {
    const from = /^bytes=(\d+)-$/.exec(headers.range ?? "");
    const first = from === null ? 0 : Number(from[1]);
    const lengthBytes = pieces * pieceBytes;
    response.writeHead(from === null ? 200 : 206, {
      etag: '"1"',
      "cache-control": "max-age=60",
      "content-length": lengthBytes - first,
      ...(from === null ? {} : { "content-range": `bytes ${first}-${lengthBytes - 1}/${lengthBytes}` }),
    });
    response.flushHeaders();
    for (let at = first; at < lengthBytes; at += pieceBytes) {
      await pause(pauseMs(Math.floor(at / pieceBytes)));
      response.write(Buffer.alloc(Math.min(pieceBytes, lengthBytes - at), Math.floor(at / pieceBytes)));
    }
    response.end();
  };
}

async function startSite(t: TestContext, script: Script): Promise<Site> {
  const origin = await startLoopbackOrigin(t, (_request, response) => {
    response.writeHead(200, { "cache-control": "max-age=60" }).end("ready");
  });
  const world = await startWorld(t, ["fra"], {
    nodesPerSite: 2,
    hosts: [{ name: host, kind: "assets", origin: origin.url }],
    edge: { decoders: { processes: 1 }, assets: { privateNetworks: ["127.0.0.0/8"] } },
  });
  const [owner, other] = rankOwners(`${host}/a`, world.edges);
  assert(owner !== undefined && other !== undefined);
  let asked = 0;
  await until("the other asks the owner", async () => {
    do asked += 1;
    while (rankOwners(`${host}/${asked}`, world.edges)[0] !== owner);
    const { headers } = await get({ url: other.url, host, path: `/${asked}` });
    return String(headers["cache-status"]).includes("detail=owner");
  });
  origin.asked.length = 0;
  origin.script(script);
  return { origin, owner, other };
}

test("an owner that is frozen in the middle of a body", async (t) => {
  const { origin, owner, other } = await startSite(
    t,
    body(() => 20),
  );
  let lastMs = 0;
  let gapMs = 0;
  let arrivedBytes = 0;
  const got = await get({
    url: other.url,
    host,
    path: "/a",
    onChunk(chunk, sinceMs) {
      if (arrivedBytes > 0) gapMs = Math.max(gapMs, sinceMs - lastMs);
      lastMs = sinceMs;
      const wasBefore = arrivedBytes < 20 * pieceBytes;
      arrivedBytes += chunk.length;
      if (wasBefore && arrivedBytes >= 20 * pieceBytes) process.kill(owner.program().pid, "SIGSTOP");
    },
  });
  t.diagnostic(`longest gap: ${gapMs.toFixed()} ms`);
  assert.deepEqual([got.status, got.lengthBytes], [200, pieces * pieceBytes]);
  assert.match(String(got.headers["cache-status"]), /detail=owner/);
  assert.deepEqual(
    origin.asked.map(({ headers }) => [headers.via, headers.range !== undefined]),
    [
      [`1.1 ${owner.name}`, false],
      [`1.1 ${other.name}`, true],
    ],
  );
  assert.ok(gapMs < gapMsMax, `the reader waited ${gapMs.toFixed()} ms`);
});

test("an owner that waits for a slow origin", async (t) => {
  const { origin, owner, other } = await startSite(
    t,
    body((piece) => (piece === 50 ? 6000 : 0)),
  );
  const got = await get({ url: other.url, host, path: "/a" });
  assert.deepEqual([got.status, got.lengthBytes], [200, pieces * pieceBytes]);
  assert.ok(got.endMs > 6000);
  assert.deepEqual(
    origin.asked.map(({ headers }) => headers.via),
    [`1.1 ${owner.name}`],
  );
});

test("an owner that is frozen before the head", async (t) => {
  const { origin, owner, other } = await startSite(
    t,
    body(() => 0),
  );
  process.kill(owner.program().pid, "SIGSTOP");
  const got = await get({ url: other.url, host, path: "/a" });
  t.diagnostic(`first byte: ${got.firstByteMs.toFixed()} ms`);
  assert.deepEqual([got.status, got.lengthBytes], [200, pieces * pieceBytes]);
  assert.deepEqual(
    origin.asked.map(({ headers }) => headers.via),
    [`1.1 ${other.name}`],
  );
  assert.ok(got.firstByteMs < gapMsMax);
});
