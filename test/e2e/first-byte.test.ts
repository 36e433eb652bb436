/**
 * Bodies are sent as they come: the first byte of a slow response, the events of a stream. And of what is stored, no
 * more is read from disk than a response needs.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { get, type Wanted } from "../support/edge-client.ts";
import { type LoopbackOrigin, startLoopbackOrigin } from "../support/loopback-origin.ts";
import { needs } from "../support/needs.ts";
import { bytesRead, canMeasureMemory } from "../support/process-memory.ts";
import { startWorld, until, type WorldEdge } from "../support/world.ts";

const firstByteMsMax = 200;
const eventMsMax = 500;
const largeBytes = 60_000_000;
const verifiedBlockBytes = 256 * 1024;
/** What the process reads besides, in the time of a request: the request itself, feed and probes. */
const otherBytesMax = 64 * 1024;
const host = "static.cdn.test";

async function startEdge(t: TestContext): Promise<{ edge: WorldEdge; origin: LoopbackOrigin }> {
  const origin = await startLoopbackOrigin(t, (_request, response) => {
    response.writeHead(404).end();
  });
  const world = await startWorld(t, ["fra"], {
    hosts: [{ name: host, kind: "assets", origin: origin.url }],
    edge: { decoders: { processes: 1 }, assets: { privateNetworks: ["127.0.0.0/8"] } },
  });
  return { edge: world.edge("fra"), origin };
}

test("bodies that come slowly", async (t) => {
  const { edge, origin } = await startEdge(t);

  await t.test("the first byte of a response that takes 5 s reaches leader and joiner at once", async (subtest) => {
    const parts = 50;
    const part = Buffer.alloc(400_000, "nearcast");
    const began = Promise.withResolvers<number>();
    origin.script(async (_request, response) => {
      response.writeHead(200, { "content-length": parts * part.length, "cache-control": "max-age=60", etag: '"slow"' });
      for (let count = 0; count < parts; count += 1) {
        response.write(part);
        if (count === 0) began.resolve(performance.now());
        await pause(100);
      }
      response.end();
    });
    const firstAtMs: number[] = [];
    const ask = async (): ReturnType<typeof get> => {
      let isFirst = true;
      return await get({
        url: edge.url,
        host,
        path: "/slow",
        onChunk() {
          if (isFirst) firstAtMs.push(performance.now());
          isFirst = false;
        },
      });
    };
    const leader = ask();
    const sentAtMs = await began.promise;
    await pause(1000);
    const joinedAtMs = performance.now();
    const joiner = ask();
    const got = await Promise.all([leader, joiner]);
    const leaderMs = (firstAtMs[0] ?? Infinity) - sentAtMs;
    const joinerMs = (firstAtMs[1] ?? Infinity) - joinedAtMs;
    subtest.diagnostic(
      `first byte: leader ${leaderMs.toFixed(1)} ms after the origin's, joiner ${joinerMs.toFixed(1)} ms`,
    );
    for (const { status, lengthBytes } of got) assert.deepEqual([status, lengthBytes], [200, parts * part.length]);
    assert.equal(origin.asked.filter(({ target }) => target === "/slow").length, 1);
    assert.ok((got[0]?.endMs ?? 0) > 4000, "the response was to take 5 s");
    assert.ok(leaderMs <= firstByteMsMax, `the leader waited ${leaderMs} ms`);
    assert.ok(joinerMs <= firstByteMsMax, `the joiner waited ${joinerMs} ms`);
  });

  await t.test("events of a stream arrive as they are sent, and its end frees the connection", async (subtest) => {
    const sentAtMs: number[] = [];
    origin.script(async (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
      for (let count = 0; count < 10 && !response.destroyed; count += 1) {
        sentAtMs.push(performance.now());
        response.write(`data: ${count}\n\n`);
        await pause(200);
      }
      response.end();
    });
    const lateMs: number[] = [];
    const { status } = await get({
      url: edge.url,
      host,
      path: "/events",
      onChunk(chunk) {
        for (const [, number] of chunk.toString().matchAll(/data: (\d+)/g)) {
          lateMs.push(performance.now() - (sentAtMs[Number(number)] ?? 0));
        }
      },
    });
    const [firstMs = Infinity, ...furtherMs] = lateMs;
    subtest.diagnostic(
      `events: first after ${firstMs.toFixed(1)} ms, slowest of the others ${Math.max(...furtherMs).toFixed(1)} ms`,
    );
    assert.equal(status, 200);
    assert.equal(lateMs.length, 10);
    assert.ok(Math.max(...lateMs) <= eventMsMax, `events were late: ${lateMs.join()}`);
    await until("no request to the origin is active", async () => (await activeRequests(edge)) === 0, undefined, 5000);
  });

  await t.test("a client that leaves a stream frees the connection to the origin", async (subtest) => {
    const left = Promise.withResolvers<number>();
    origin.script(async (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
      // With an event now and then, as streams have: a client that has left is noticed when something is sent to it.
      const events = setInterval(() => response.write("data: 0\n\n"), 200);
      await once(response, "close");
      clearInterval(events);
      left.resolve(performance.now());
    });
    const leaving = new AbortController();
    const asked = get({
      url: edge.url,
      host,
      path: "/endless",
      signal: leaving.signal,
      onChunk() {
        leaving.abort();
      },
    });
    await assert.rejects(asked);
    const leftAtMs = performance.now();
    const freedMs = (await left.promise) - leftAtMs;
    subtest.diagnostic(`freed after ${freedMs.toFixed(0)} ms`);
    assert.ok(freedMs <= 5000, `the connection was held for ${freedMs} ms`);
    await until("no request to the origin is active", async () => (await activeRequests(edge)) === 0, undefined, 5000);
  });
});

async function activeRequests(edge: WorldEdge): Promise<number> {
  const metrics = [...(await edge.metrics())].filter(([name]) => name.startsWith("nearcast_upstream_requests_active"));
  assert.ok(metrics.length > 0, "there is no such metric");
  return metrics.reduce((sum, [, value]) => sum + value, 0);
}

test("what is read of 60 MB on disk", async (t) => {
  if (!needs(t, canMeasureMemory(), "/proc/PID/io is not there")) return;
  const { edge, origin } = await startEdge(t);
  origin.script((_request, response) => {
    response
      .writeHead(200, { "content-length": largeBytes, "cache-control": "max-age=3600", etag: '"large"' })
      .end(Buffer.alloc(largeBytes, "nearcast"));
  });
  const wanted: Wanted = { url: edge.url, host, path: "/large" };
  assert.equal((await get(wanted)).lengthBytes, largeBytes);
  await until("it is stored", async () => {
    const { headers } = await get({ ...wanted, method: "HEAD" });
    return /; hit;/.test(String(headers["cache-status"]));
  });
  // Started anew, the process has verified nothing yet.
  await edge.program().kill("SIGTERM");
  await edge.start();
  const { pid } = edge.program();
  assert.equal((await get({ ...wanted, method: "HEAD" })).status, 200);
  const readBy = async (more: Partial<Wanted>, status: number): Promise<number> => {
    const before = await bytesRead(pid);
    const got = await get({ ...wanted, ...more });
    assert.equal(got.status, status);
    assert.match(String(got.headers["cache-status"]), /; hit;/);
    return (await bytesRead(pid)) - before;
  };
  const range = { headers: { range: "bytes=30000000-30000001" } };
  const read = {
    head: await readBy({ method: "HEAD" }, 200),
    notModified: await readBy({ headers: { "if-none-match": '"large"' } }, 304),
    firstRange: await readBy(range, 206),
    secondRange: await readBy(range, 206),
  };
  t.diagnostic(`bytes read: ${JSON.stringify(read)}`);
  assert.ok(read.head <= otherBytesMax, `HEAD read ${read.head} bytes`);
  assert.ok(read.notModified <= otherBytesMax, `a 304 read ${read.notModified} bytes`);
  assert.ok(read.firstRange <= verifiedBlockBytes + otherBytesMax, `a range of 2 bytes read ${read.firstRange}`);
  assert.ok(read.secondRange <= otherBytesMax, `a range of a verified block read ${read.secondRange}`);
});
