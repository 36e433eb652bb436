/** Origins and URLs that fail, and origins that return: what is still requested, and who pays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { answering } from "../../../support/loopback-origin.ts";
import { networkOf, open, openFetcher, orderFor, get, quantile, ordinary } from "./protection-bench.ts";

test("one URL that always fails is asked for once a second, and no other request fails", async (t) => {
  const bench = await open(t, ({ target }, response) => {
    if (target === "/fails") response.destroy();
    else response.end("good");
  });
  const { origin, fetcher, order } = bench;
  const startMs = performance.now();
  const others = ordinary(bench, 500);
  for (let count = 0; count < 200; count += 1) {
    const { status } = await get(fetcher, { ...order, target: "/fails", isHedged: false, client: networkOf(count) });
    assert.equal(status, "ORIGIN_UNREACHABLE");
  }
  assert.deepEqual([...new Set((await others).map(({ status }) => status))], [200]);
  const asked = origin.asked.filter(({ target }) => target === "/fails").length;
  const seconds = Math.ceil((performance.now() - startMs) / 1000);
  assert.ok(asked <= 2 * seconds, `${asked} requests in ${seconds} s: more than one a second, and its retry`);
  assert.ok(fetcher.counts().fetches <= 500 + seconds, "what is remembered is no fetch");
  assert.equal(fetcher.upstreams()[0]?.breaker, "closed");
});

test("a thousand misses of a URL whose origin never answers are one request a second", async (t) => {
  const { origin, fetcher, order, clock } = await open(t, () => undefined);
  assert.equal((await get(fetcher, { ...order, timeoutMs: 100 })).status, "ORIGIN_TIMEOUT");
  const again = await Promise.all(Array.from({ length: 1000 }, () => get(fetcher, { ...order, timeoutMs: 100 })));
  assert.deepEqual([...new Set(again.map(({ status }) => status))], ["ORIGIN_TIMEOUT"]);
  assert.equal(origin.asked.length, 1);
  clock.skip(1);
  assert.equal((await get(fetcher, { ...order, timeoutMs: 1000 })).status, "ORIGIN_TIMEOUT");
  assert.equal(origin.asked.length, 2);
});

test("a client's own fields, and a status of any kind, do not count against an origin", async (t) => {
  for (const status of [431, 404, 500, 503]) {
    const { origin, fetcher, order: plain } = await open(t, answering(status, {}));
    const order = { ...plain, isHedged: false };
    for (let count = 0; count < 100; count += 1) {
      assert.equal((await get(fetcher, { ...order, target: `/${count}` })).status, status);
    }
    assert.equal(origin.asked.length, 100);
    assert.equal(fetcher.upstreams()[0]?.breaker, "closed");
  }
});

test("URLs that fail one after the other open the breaker only if a URL that worked fails too", async (t) => {
  for (const isOriginBroken of [false, true]) {
    const { origin, fetcher, order, clock } = await open(t, (_request, response) => void response.end("good"));
    assert.equal((await get(fetcher, { ...order, target: "/known" })).status, 200);
    origin.script(({ target }, response) => {
      if (target === "/known" && !isOriginBroken) response.end("good");
      else response.destroy();
    });
    for (let count = 0; count < 8; count += 1) await get(fetcher, { ...order, target: `/bad/${count}` });
    for (let tries = 0; tries < 100 && fetcher.upstreams()[0]?.probes === 0; tries += 1) await pause(10);
    await pause(50);
    assert.equal(origin.asked.at(-1)?.target, "/known");
    assert.equal(origin.asked.at(-1)?.method, "HEAD");
    assert.equal(fetcher.upstreams()[0]?.breaker, isOriginBroken ? "open" : "closed");
    if (!isOriginBroken) continue;
    const asked = origin.asked.length;
    assert.equal((await get(fetcher, { ...order, target: "/known" })).status, "ORIGIN_UNREACHABLE");
    assert.equal(origin.asked.length, asked, "refused at once");
    origin.script((_request, response) => void response.end("good"));
    clock.skip(1);
    assert.equal((await get(fetcher, { ...order, target: "/new" })).status, 200, "it waits for the probe");
    assert.equal(fetcher.upstreams()[0]?.breaker, "recovering");
  }
});

test("an origin that returns gets few requests at first, however many wait", async (t) => {
  let running = 0;
  let runningMax = 0;
  const { origin, fetcher, order, clock } = await open(t, (_request, response) => {
    running += 1;
    runningMax = Math.max(runningMax, running);
    setTimeout(() => {
      running -= 1;
      response.end("good");
    }, 20);
  });
  assert.equal((await get(fetcher, order)).status, 200);
  await origin.stop();
  for (let count = 0; count < 5; count += 1) await get(fetcher, { ...order, target: `/${count}` });
  assert.equal(fetcher.upstreams()[0]?.breaker, "open");
  await origin.start();
  clock.skip(1);
  runningMax = 0;
  const startMs = performance.now();
  const all = await Promise.all(
    Array.from({ length: 500 }, (_, index) =>
      get(fetcher, { ...order, target: `/w/${index}`, client: networkOf(index) }),
    ),
  );
  const served = all.filter(({ status }) => status === 200).length;
  const seconds = (performance.now() - startMs) / 1000;
  // 32 a second at the least; its rate before was lower.
  assert.ok(served <= 2 * 32 * seconds + 3, `${served} in ${seconds.toFixed(1)} s`);
  assert.ok(served >= 32, `${served} in ${seconds.toFixed(1)} s`);
  assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([200, "ORIGIN_BUSY"]));
  assert.ok(runningMax <= 8, `${runningMax} at one time`);
});

test("an origin that returns gets its usual rate soon, never twice as much, and shares it fairly", async (t) => {
  const rate = 60;
  const starts: number[] = [];
  const { origin, fetcher, order, clock } = await open(t, (_request, response) => {
    starts.push(performance.now());
    setTimeout(() => response.end("good"), 20);
  });
  // Twenty seconds at this rate, in a moment.
  for (let count = 0; count < 20 * rate; count += 6) {
    await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        get(fetcher, { ...order, target: `/${count + index}`, client: networkOf(index) }),
      ),
    );
    clock.skip(6 / rate);
  }
  await origin.stop();
  for (let count = 0; count < 5; count += 1) await get(fetcher, { ...order, target: `/${count}` });
  assert.equal(fetcher.upstreams()[0]?.breaker, "open");
  await origin.start();
  clock.skip(1);
  starts.length = 0;
  // One network wants far more than before; another one wants 20 a second.
  const greedy = Array.from({ length: 600 }, (_, index) =>
    get(fetcher, { ...order, target: `/greedy/${index}`, client: networkOf(1) }),
  );
  const modest: ReturnType<typeof get>[] = [];
  for (let index = 0; index < 60; index += 1) {
    modest.push(get(fetcher, { ...order, target: `/modest/${index}`, client: networkOf(2) }));
    await pause(50);
  }
  const results = await Promise.all(modest);
  await Promise.all(greedy);
  const perSecond = starts.map((ms) => starts.filter((other) => other >= ms && other < ms + 1000).length);
  const waits = results.map(({ tookMs }) => tookMs);
  t.diagnostic(
    `modest: p50 ${quantile(waits, 0.5).toFixed()} ms, max ${Math.max(...waits).toFixed()} ms; ` +
      `starts: ${perSecond[0]} in the first second, at most ${Math.max(...perSecond)}`,
  );
  assert.deepEqual([...new Set(results.map(({ status }) => status))], [200]);
  assert.ok(quantile(waits, 0.5) < 300, `p50 ${quantile(waits, 0.5).toFixed()} ms`);
  assert.ok(Math.max(...perSecond) <= 2 * rate, `${Math.max(...perSecond)} in a second`);
});

test("an origin that returns, but hangs, costs its clients half a second, and only the first of them", async (t) => {
  const { origin, fetcher, order, clock } = await open(t, (_request, response) => void response.end("good"));
  assert.equal((await get(fetcher, order)).status, 200);
  await origin.stop();
  for (let count = 0; count < 5; count += 1) await get(fetcher, { ...order, target: `/${count}` });
  origin.script(() => undefined);
  await origin.start();
  clock.skip(1);
  const first = await get(fetcher, order);
  assert.equal(first.status, "ORIGIN_UNREACHABLE");
  assert.ok(first.tookMs > 450 && first.tookMs < 1900, `${first.tookMs.toFixed()} ms`);
  const second = await get(fetcher, order);
  assert.equal(second.status, "ORIGIN_UNREACHABLE");
  assert.ok(second.tookMs < 400, `${second.tookMs.toFixed()} ms`);
  assert.equal(origin.asked.length, 2, "the probe alone");
});

test("a dead origin costs nobody any time once it is known", async (t) => {
  const { fetcher } = openFetcher(t);
  const order = orderFor("http://127.0.0.1:1");
  for (let count = 0; count < 5; count += 1) await get(fetcher, { ...order, target: `/${count}` });
  const results = await Promise.all(Array.from({ length: 1000 }, () => get(fetcher, order)));
  assert.deepEqual([...new Set(results.map(({ status }) => status))], ["ORIGIN_UNREACHABLE"]);
  assert.ok(Math.max(...results.map(({ tookMs }) => tookMs)) < 1000);
  await assert.rejects(fetcher.fetch(order), /127\.0\.0\.1:1 failed repeatedly/);
});

test("retries stay within their budget", async (t) => {
  const { origin, fetcher, order } = await open(t, (_request, response) => void response.destroy());
  for (let count = 0; count < 100; count += 1) {
    await get(fetcher, { ...order, target: `/${count}`, failureMs: 0 });
    // A sign of life in between keeps the breaker out of it.
    if (count % 4 === 3) {
      origin.script((_request, response) => void response.end("good"));
      assert.equal((await get(fetcher, { ...order, target: `/good/${count}` })).status, 200);
      origin.script((_request, response) => void response.destroy());
    }
  }
  const { retries = 0, requests = 0 } = fetcher.upstreams()[0] ?? {};
  assert.ok(retries >= 5 && retries <= 3 + 0.1 * requests + 3, `${retries} of ${requests}`);
});
