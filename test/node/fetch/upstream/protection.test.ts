/** Origins that hang, fail, stall, cut and flood, and clients that leave: who else notices. All over real sockets. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "#base/random.ts";
import { startHangingListener } from "../../../support/hanging-listener.ts";
import {
  networkOf,
  open,
  openFetcher,
  get,
  quantile,
  ordinary,
  othersAreServed,
  goodOrHangs,
  orderFor,
} from "./protection-bench.ts";

test("70 clients of 70 networks on one URL that hangs take nothing from the others", async (t) => {
  const bench = await open(t, goodOrHangs);
  const leaving = new AbortController();
  const hanging = Array.from({ length: 70 }, (_, index) =>
    get(bench.fetcher, { ...bench.order, target: "/hangs", client: networkOf(index), signal: leaving.signal }),
  );
  await pause(50);
  await othersAreServed(bench, "while one URL hangs");
  assert.ok((bench.fetcher.upstreams()[0]?.placesInUse ?? 0) <= 22);
  leaving.abort(new Error("gone"));
  await Promise.all(hanging);
});

test("70 URLs that hang, asked for by nine networks, take little from others, of the same networks too", async (t) => {
  const bench = await open(t, goodOrHangs);
  await othersAreServed(bench, "while nothing hangs");
  const leaving = new AbortController();
  const hanging = Array.from({ length: 70 }, (_, index) =>
    get(bench.fetcher, {
      ...bench.order,
      target: `/hangs/${index}`,
      client: networkOf(200 + (index % 9)),
      signal: leaving.signal,
    }),
  );
  await pause(50);
  const results = await ordinary(bench, 300);
  assert.deepEqual([...new Set(results.map(({ status }) => status))], [200]);
  const longestMs = Math.max(...results.map(({ tookMs }) => tookMs));
  assert.ok(longestMs < 1900, `the slowest took ${longestMs.toFixed()} ms, almost as long as a refusal`);
  assert.ok((bench.fetcher.upstreams()[0]?.gaveWay ?? 0) > 0);
  leaving.abort(new Error("gone"));
  await Promise.all(hanging);
});

test("an origin that is slow as a whole loses no request to those who wait", async (t) => {
  const bench = await open(t, (_request, response) => {
    setTimeout(() => response.end("slow"), 300);
  });
  const results = await Promise.all(
    Array.from({ length: 160 }, (_, index) =>
      get(bench.fetcher, { ...bench.order, target: `/${index}`, client: networkOf(index % 20) }),
    ),
  );
  assert.deepEqual([...new Set(results.map(({ status }) => status))], [200]);
  assert.equal(bench.fetcher.upstreams()[0]?.gaveWay, 0);
});

test("hanging URLs of 60 networks, 50 a second, take turns from each other alone", async (t) => {
  const bench = await open(t, goodOrHangs);
  await othersAreServed(bench, "while nothing hangs");
  const leaving = new AbortController();
  const hanging: Promise<unknown>[] = [];
  const statuses: unknown[] = [];
  for (let round = 0; round < 200; round += 1) {
    const order = { ...bench.order, signal: leaving.signal, client: networkOf(100 + (round % 60)) };
    hanging.push(get(bench.fetcher, { ...order, target: `/hangs/${round}` }));
    if (round >= 80 && round % 5 === 0) {
      const good = await get(bench.fetcher, { ...bench.order, target: `/good/${round}`, client: networkOf(1) });
      statuses.push(good.status);
    } else await pause(20);
  }
  assert.deepEqual([...new Set(statuses)], [200]);
  leaving.abort(new Error("gone"));
  await Promise.all(hanging);
});

test("1,500 requests at once cost no more than their turns", async (t) => {
  const bench = await open(t, (_request, response) => {
    setTimeout(() => response.end("good"), 50);
  });
  const startedMs = performance.now();
  const results = await Promise.all(
    Array.from({ length: 1500 }, (_, index) =>
      get(bench.fetcher, { ...bench.order, target: `/${index}`, client: networkOf(index % 9) }),
    ),
  );
  const tookMs = performance.now() - startedMs;
  const good = results.filter(({ status }) => status === 200).length;
  t.diagnostic(`${good} of 1,500 got a response, all together in ${tookMs.toFixed()} ms`);
  assert.ok(tookMs < 10_000, `${tookMs.toFixed()} ms`);
  assert.ok(good >= 200, `${good} got a response`);
});

test("one network that asks for 300 URLs that hang takes nothing from the others", async (t) => {
  const bench = await open(t, goodOrHangs);
  const leaving = new AbortController();
  const hanging = Array.from({ length: 300 }, (_, index) =>
    get(bench.fetcher, { ...bench.order, target: `/hangs/${index}`, signal: leaving.signal }),
  );
  await pause(50);
  await othersAreServed(bench, "while a network hangs");
  leaving.abort(new Error("gone"));
  await Promise.all(hanging);
});

test("66 clients that ask for something slow and leave free their places and connections at once", async (t) => {
  const bench = await open(t, goodOrHangs);
  const { origin, fetcher, order } = bench;
  const closed: Promise<unknown>[] = [];
  origin.script((request, response) => {
    if (!request.target.startsWith("/slow")) response.end("good");
    else closed.push(once(response, "close"));
  });
  const leaving = new AbortController();
  const slow = Array.from({ length: 66 }, (_, index) =>
    get(fetcher, { ...order, target: `/slow/${index}`, client: networkOf(index), signal: leaving.signal }),
  );
  await pause(50);
  assert.ok((fetcher.upstreams()[0]?.placesInUse ?? 0) > 40);
  leaving.abort(new Error("gone"));
  for (const { status } of await Promise.all(slow)) assert.equal(status, "Error: gone");
  const { placesInUse, placesWaiting } = fetcher.upstreams()[0] ?? {};
  assert.deepEqual([placesInUse, placesWaiting], [0, 0]);
  await Promise.all(closed);
  await othersAreServed(bench, "after they left");
  assert.equal(fetcher.upstreams()[0]?.breaker, "closed", "leaving is no failure of the origin");
});

test("a client that leaves in the middle of a body frees its place at once", async (t) => {
  const { origin, fetcher, order } = await open(t, (_request, response) => {
    response.writeHead(200);
    response.write("begun");
  });
  const leaving = new AbortController();
  const { body } = await fetcher.fetch({ ...order, signal: leaving.signal });
  const failed = once(body, "error");
  leaving.abort(new Error("gone"));
  assert.match(String(await failed), /gone/);
  assert.equal(fetcher.upstreams()[0]?.placesInUse, 0);
  assert.equal(origin.asked.length, 1);
});

test("a client that leaves while its connection is being opened frees its place at once", async (t) => {
  const { fetcher } = openFetcher(t);
  const { url } = await startHangingListener(t);
  const leaving = new AbortController();
  const gone = get(fetcher, { ...orderFor(url), signal: leaving.signal });
  await pause(20);
  leaving.abort(new Error("gone"));
  assert.equal((await gone).status, "Error: gone");
  assert.equal(fetcher.upstreams()[0]?.placesInUse, 0);
});

test("with 2 % of the responses late, hedging cuts the p99 by 60 % for at most 5 % more requests", async (t) => {
  const lateMs = 1200;
  const run = async (isHedged: boolean) => {
    const random = seededRandom(7);
    const bench = await open(t, (_request, response) => {
      setTimeout(() => response.end("good"), random() < 0.02 ? lateMs : 3 + random() * 10);
    });
    const order = { ...bench.order, isHedged };
    await ordinary({ ...bench, order }, 200);
    const before = bench.origin.asked.length;
    const results = await ordinary({ ...bench, order }, 1500);
    assert.deepEqual([...new Set(results.map(({ status }) => status))], [200]);
    const p99Ms = quantile(
      results.map(({ tookMs }) => tookMs),
      0.99,
    );
    const extra = (bench.origin.asked.length - before) / 1500 - 1;
    return { p99Ms, extra, stats: bench.fetcher.upstreams()[0] };
  };
  const plain = await run(false);
  const hedged = await run(true);
  t.diagnostic(
    `p99 ${plain.p99Ms.toFixed()} → ${hedged.p99Ms.toFixed()} ms, ${(hedged.extra * 100).toFixed(1)} % more, ` +
      `${hedged.stats?.connectionsOpened} connections for ${hedged.stats?.requests} requests`,
  );
  assert.ok(plain.p99Ms >= lateMs * 0.9);
  assert.ok(hedged.p99Ms <= plain.p99Ms * 0.4, `${plain.p99Ms.toFixed()} → ${hedged.p99Ms.toFixed()} ms`);
  assert.ok(hedged.extra <= 0.05, `${(hedged.extra * 100).toFixed(1)} %`);
  assert.equal(plain.extra, 0);
});
