/**
 * URLs of an assets host that hang, fail, or are given up, and misses that come all at once: the host's other URLs
 * neither fail nor wait, and the origin gets no more requests than it must.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { get, type Got, startBystander, type Wanted } from "../support/edge-client.ts";
import { type LoopbackOrigin, type Script, startLoopbackOrigin } from "../support/loopback-origin.ts";
import { startWorld, type WorldEdge } from "../support/world.ts";

const host = "static.cdn.test";
const othersMsMax = 5000;
const drillMs = 5000;
const leftMsMax = 4000;

interface Place {
  edge: WorldEdge;
  origin: LoopbackOrigin;
  /** What the origin answers under a path that begins so. All other paths are small, storable and healthy. */
  script: (prefix: string, script: Script) => void;
  askedFor: (prefix: string) => number;
}

/** Without hedging, which sends a few late requests twice: here requests are counted. */
async function startPlace(t: TestContext): Promise<Place> {
  const scripts = new Map<string, Script>();
  const origin = await startLoopbackOrigin(t, (request, response, number) => {
    const [, script] = [...scripts].find(([prefix]) => request.target.startsWith(prefix)) ?? [];
    if (script !== undefined) return script(request, response, number);
    response.writeHead(200, { "cache-control": "max-age=60", "content-length": 2 }).end("ok");
  });
  const world = await startWorld(t, ["fra"], {
    hosts: [{ name: host, kind: "assets", origin: origin.url, hedging: false }],
    edge: { decoders: { processes: 1 }, assets: { privateNetworks: ["127.0.0.0/8"] } },
  });
  return {
    edge: world.edge("fra"),
    origin,
    script: (prefix, script) => scripts.set(prefix, script),
    askedFor: (prefix) => origin.asked.filter(({ target }) => target.startsWith(prefix)).length,
  };
}

/** Client number `index` of a crowd, eight to a network. */
const addressOf = (index: number): string => `127.10.${Math.floor(index / 8)}.${1 + (index % 8)}`;

let misses = 0;

/** Runs a drill while another client requests other URLs of the host, all of them misses. */
async function runDrill(t: TestContext, { edge }: Place, drill: () => Promise<void>): Promise<void> {
  const others = startBystander(
    () => ({ url: edge.url, host, path: `/other/${(misses += 1)}`, from: "127.9.9.9" }),
    20,
  );
  let met;
  try {
    await drill();
  } finally {
    met = await others.stop();
  }
  t.diagnostic(
    `${met.count} others, ${met.failures.length} failed: p50 ${met.p50Ms.toFixed(1)}, p99 ${met.p99Ms.toFixed(1)}, ` +
      `slowest ${met.slowestMs.toFixed(1)} ms`,
  );
  assert.deepEqual(met.failures, [], "another URL of the host failed");
  assert.ok(met.count >= 10, "the other client sent too little to prove anything");
  assert.ok(met.slowestMs <= othersMsMax, `another URL of the host took ${met.slowestMs} ms`);
}

function countsOf(got: readonly (Got | undefined)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of got) {
    const status = String(one?.status ?? "cut");
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

test("hostile URLs", async (t) => {
  const place = await startPlace(t);
  const { edge } = place;
  const ask = async (path: string, index: number, more: Partial<Wanted> = {}): Promise<Got | undefined> =>
    await get({ url: edge.url, host, path, from: addressOf(index), ...more }).catch(() => undefined);

  await t.test("70 clients on one hanging URL", async (subtest) => {
    place.script("/hanging", () => undefined);
    const crowd = async (more: Partial<Wanted>): Promise<void> => {
      const signal = AbortSignal.timeout(drillMs);
      await Promise.all(Array.from({ length: 70 }, (_, index) => ask("/hanging", index, { ...more, signal })));
    };
    await runDrill(subtest, place, () => crowd({}));
    const shared = place.askedFor("/hanging");
    // Requests with Authorization are never shared: each wants a connection of its own.
    await runDrill(subtest, place, () => crowd({ headers: { authorization: "Bearer a" } }));
    subtest.diagnostic(
      `${shared} shared requests and ${place.askedFor("/hanging") - shared} others reached the origin`,
    );
    assert.ok(shared <= 2, `${shared} requests reached the origin for one URL`);
  });

  await t.test("66 clients of one network that request something slow and leave", async (subtest) => {
    let open = 0;
    place.script("/slow", (_request, response) => {
      open += 1;
      response.once("close", () => {
        open -= 1;
      });
    });
    await runDrill(subtest, place, async () => {
      await Promise.all(
        Array.from({ length: 66 }, (_, index) =>
          ask(`/slow/${index}`, index, { from: `127.10.1.${index + 1}`, signal: AbortSignal.timeout(500) }),
        ),
      );
      // A client that has closed its connection may still wait for its response, so the edge gives it two seconds.
      await pause(leftMsMax);
      assert.equal(open, 0, "connections to the origin are still held for clients that have left");
    });
  });

  await t.test("one failing URL at 20 requests a second", async (subtest) => {
    place.script("/failing", (_request, response) => {
      response.destroy();
    });
    await runDrill(subtest, place, async () => {
      const asked: Promise<unknown>[] = [];
      for (let count = 0; count < (drillMs / 1000) * 20; count += 1) {
        asked.push(ask("/failing", count));
        await pause(50);
      }
      await Promise.all(asked);
    });
    const requests = place.askedFor("/failing");
    subtest.diagnostic(`${requests} requests reached the origin in ${drillMs} ms`);
    // A request that fails on a connection is repeated once.
    assert.ok(requests <= 2 * (drillMs / 1000 + 2), `${requests} requests reached the origin`);
  });

  await t.test("1,000 simultaneous misses of a URL for which the origin answers 503", async (subtest) => {
    const atMs: number[] = [];
    place.script("/unavailable", async (_request, response) => {
      atMs.push(performance.now());
      await pause(100);
      response.writeHead(503).end("sorry");
    });
    await runDrill(subtest, place, async () => {
      const got = await Promise.all(Array.from({ length: 1000 }, (_, index) => ask("/unavailable", index)));
      assert.deepEqual(countsOf(got), { 503: 1000 });
      // And on, at 200 a second, to see that the origin gets one a second.
      const asked: Promise<Got | undefined>[] = [];
      for (const endMs = performance.now() + drillMs; performance.now() < endMs; await pause(50)) {
        for (let count = 0; count < 10; count += 1) asked.push(ask("/unavailable", asked.length));
      }
      assert.deepEqual(Object.keys(countsOf(await Promise.all(asked))), ["503"]);
    });
    const gapsMs = atMs.slice(1).map((at, index) => at - (atMs[index] ?? 0));
    subtest.diagnostic(
      `${atMs.length} requests reached the origin, ${gapsMs.map((ms) => ms.toFixed(0)).join()} ms apart`,
    );
    assert.ok(atMs.length >= 3, "the origin was hardly asked again");
    assert.ok(
      gapsMs.every((ms) => ms >= 990),
      "more than one request reached the origin in a second",
    );
  });

  await t.test("1,000 concurrent misses of one storable URL: one fetch", async (subtest) => {
    place.script("/storable", async (_request, response) => {
      await pause(500);
      response.writeHead(200, { "cache-control": "max-age=60", "content-length": 20_000 }).end(Buffer.alloc(20_000));
    });
    await runDrill(subtest, place, async () => {
      const got = await Promise.all(Array.from({ length: 1000 }, (_, index) => ask("/storable", index)));
      assert.deepEqual(countsOf(got), { 200: 1000 });
      assert.ok(got.every((one) => one?.lengthBytes === 20_000));
    });
    assert.equal(place.askedFor("/storable"), 1);
  });
});
