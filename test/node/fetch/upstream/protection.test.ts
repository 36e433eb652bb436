/** Origins that hang, fail, stall, cut and flood, and clients that leave: who else notices. All over real sockets. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { createServer as createSecureServer } from "node:https";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { NearcastError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { type AssetFetcher, type AssetRequest, openAssetFetcher } from "../../../../node/fetch/asset.ts";
import { answering, type LoopbackOrigin, type Script, startLoopbackOrigin } from "../../../support/loopback-origin.ts";
import { localhostCertificate, localhostKey } from "../../../support/localhost-certificate.ts";
import { type ShiftedClock, shiftedClock } from "../../../support/shifted-clock.ts";
import { startHangingListener } from "../../../support/hanging-listener.ts";

const networkOf = (index: number): string => `10.${Math.floor(index / 256)}.${index % 256}.0/24`;

interface Bench {
  origin: LoopbackOrigin;
  clock: ShiftedClock;
  fetcher: AssetFetcher;
  order: AssetRequest;
}

async function open(t: TestContext, script: Script): Promise<Bench> {
  const origin = await startLoopbackOrigin(t, script);
  const { fetcher, clock } = openFetcher(t);
  return { origin, clock, fetcher, order: orderFor(origin.url) };
}

function openFetcher(t: TestContext, privateNetworks = ["127.0.0.0/8", "::1/128"]) {
  const clock = shiftedClock();
  const fetcher = openAssetFetcher({ node: "fra1", privateNetworks, clock, random: seededRandom(1) });
  t.after(() => fetcher.close());
  // The clock's timers do not keep the process alive.
  const alive = setInterval(() => undefined, 1000);
  t.after(() => {
    clearInterval(alive);
  });
  return { fetcher, clock };
}

function orderFor(origin: string): AssetRequest {
  return { origin, method: "GET", target: "/", clientFields: {}, extra: {}, timeoutMs: 5000, client: networkOf(1) };
}

/** Fetches the whole body. @returns status and duration; or the code of the failure */
async function get(fetcher: AssetFetcher, order: AssetRequest): Promise<{ status: number | string; tookMs: number }> {
  const startMs = performance.now();
  try {
    const { statusCode, body } = await fetcher.fetch(order);
    await body.dump();
    return { status: statusCode, tookMs: performance.now() - startMs };
  } catch (error) {
    const status = error instanceof NearcastError ? error.code : String(error);
    return { status, tookMs: performance.now() - startMs };
  }
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
}

/** Misses of ordinary URLs, ten at a time, for some networks. */
async function ordinary(
  { fetcher, order }: Bench,
  count: number,
): Promise<{ status: number | string; tookMs: number }[]> {
  const results: { status: number | string; tookMs: number }[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      results.push(await get(fetcher, { ...order, target: `/good/${index}`, client: networkOf(200 + (index % 5)) }));
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  return results;
}

/** Nobody else notices: none fails, and the slow ones are no slower than a generous ceiling. */
async function othersAreServed(bench: Bench, what: string): Promise<void> {
  const results = await ordinary(bench, 300);
  assert.deepEqual([...new Set(results.map(({ status }) => status))], [200], what);
  const p99Ms = quantile(
    results.map(({ tookMs }) => tookMs),
    0.99,
  );
  assert.ok(p99Ms < 500, `${what}: p99 is ${p99Ms.toFixed()} ms`);
}

const goodOrHangs: Script = ({ target }, response) => {
  if (target.startsWith("/good")) setTimeout(() => response.end("good"), 2);
};

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

test("connections are used again: 99 requests of 100 need no new one", async (t) => {
  const bench = await open(t, (_request, response) => void response.end("good"));
  await ordinary({ ...bench, order: { ...bench.order, isHedged: false } }, 2000);
  const { connectionsOpened = 0, requests = 0 } = bench.fetcher.upstreams()[0] ?? {};
  assert.equal(requests, 2000);
  assert.ok(connectionsOpened <= 20, `${connectionsOpened} connections`);
});

test("an origin that closes every connection, or answers in the old way, is served all the same", async (t) => {
  const close = await open(t, answering(200, { connection: "close" }, "good"));
  assert.deepEqual([...new Set((await ordinary(close, 100)).map(({ status }) => status))], [200]);
  const old = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nuntil the end"));
  });
  old.listen(0, "127.0.0.1");
  await once(old, "listening");
  t.after(() => void old.close());
  const { fetcher } = openFetcher(t);
  const order = orderFor(`http://127.0.0.1:${(old.address() as AddressInfo).port}`);
  for (let count = 0; count < 5; count += 1) {
    const { body } = await fetcher.fetch(order);
    assert.equal(await body.text(), "until the end");
    await pause(1);
  }
  assert.equal(fetcher.upstreams()[0]?.placesInUse, 0);
});

test("a connection that the origin closed while it was idle costs no failure", async (t) => {
  const bench = await open(t, (_request, response) => void response.end("good"));
  const { origin, fetcher, order } = bench;
  await ordinary(bench, 20);
  await origin.stop();
  await origin.start();
  for (let count = 0; count < 5; count += 1) assert.equal((await get(fetcher, order)).status, 200);
});

test("a body that stalls, is too short or is cut fails, and frees its place", async (t) => {
  const rows: Script[] = [
    (_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("begun", () => response.destroy());
    },
    (_request, response) => {
      response.writeHead(200);
      response.write("begun");
    },
  ];
  for (const script of rows) {
    const { fetcher, order } = await open(t, script);
    const { body } = await fetcher.fetch({ ...order, timeoutMs: 300 });
    await assert.rejects(body.text());
    for (let tries = 0; tries < 100 && fetcher.upstreams()[0]?.placesInUse !== 0; tries += 1) await pause(10);
    assert.equal(fetcher.upstreams()[0]?.placesInUse, 0);
  }
});

test("Range and If-Range pass; a redirect is the client's to follow", async (t) => {
  const { origin, fetcher, order } = await open(t, (request, response) => {
    if (request.target === "/moved") response.writeHead(302, { location: "/elsewhere" }).end();
    else response.writeHead(206, { "content-range": "bytes 0-1/500" }).end("ab");
  });
  const { statusCode, body } = await fetcher.fetch({ ...order, extra: { range: "bytes=0-1", "if-range": '"v"' } });
  assert.deepEqual([statusCode, await body.text()], [206, "ab"]);
  assert.equal(origin.asked[0]?.headers.range, "bytes=0-1");
  assert.equal(origin.asked[0].headers["if-range"], '"v"');
  assert.equal((await get(fetcher, { ...order, target: "/moved" })).status, 302);
  assert.equal(origin.asked.length, 2);
});

test("an origin with an address that is not public is refused, with its address and the setting", async (t) => {
  const origin = await startLoopbackOrigin(t, answering(200, {}));
  const { fetcher } = openFetcher(t, ["10.0.0.0/8"]);
  const rows: [host: string, said: RegExp][] = [
    ["127.0.0.1", /^127\.0\.0\.1 is in a private or special network; .*assets\.privateNetworks/],
    ["localhost", /^localhost has the address (?:127\.0\.0\.1|::1), which is in a private/],
    ["[::ffff:127.0.0.1]", /^::ffff:7f00:1 is in a private/],
    ["[::1]", /^::1 is in a private/],
    ["2130706433", /^127\.0\.0\.1 is in a private/],
    ["169.254.169.254", /^169\.254\.169\.254 is in a private/],
    ["[64:ff9b::a9fe:a9fe]", /^64:ff9b::a9fe:a9fe is in a private/],
  ];
  for (const [host, said] of rows) {
    await assert.rejects(fetcher.fetch(orderFor(`http://${host}:${origin.port}`)), (error: NearcastError) => {
      assert.equal(error.code, "ORIGIN_NOT_ALLOWED", host);
      assert.match(error.message, said);
      return true;
    });
  }
  assert.equal(origin.asked.length, 0);
  const allowing = openFetcher(t, ["127.0.0.0/8"]).fetcher;
  assert.equal((await get(allowing, orderFor(`http://[::ffff:127.0.0.1]:${origin.port}`))).status, 200);
});

test("a TLS handshake that fails speaks for the origin", async (t) => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("not TLS"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { fetcher } = openFetcher(t);
  const order = orderFor(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
  for (let count = 0; count < 5; count += 1) {
    assert.equal((await get(fetcher, { ...order, target: `/${count}` })).status, "ORIGIN_UNREACHABLE");
  }
  assert.equal(fetcher.upstreams()[0]?.breaker, "open");
});

test("an origin over TLS is asked at the address that was checked; sessions and connections are kept", async (t) => {
  const trusted = getCACertificates();
  setDefaultCACertificates([...trusted, localhostCertificate]);
  t.after(() => {
    setDefaultCACertificates(trusted);
  });
  const server = createSecureServer({ key: localhostKey, cert: localhostCertificate }, (request, response) => {
    response.end(request.headers.host);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const { fetcher } = openFetcher(t);
  for (let count = 0; count < 3; count += 1) {
    const { body } = await fetcher.fetch(orderFor(`https://localhost:${port}`));
    assert.equal(await body.text(), `localhost:${port}`);
    await pause(5);
  }
  assert.equal(fetcher.upstreams()[0]?.connectionsOpened, 1);
});

test("hedging reuses connections: those of the slower requests, too", async (t) => {
  const random = seededRandom(11);
  const bench = await open(t, (_request, response) => {
    setTimeout(() => response.end("good"), random() < 0.02 ? 250 : 3 + random() * 5);
  });
  await ordinary(bench, 200);
  const opened = bench.fetcher.upstreams()[0]?.connectionsOpened ?? 0;
  await ordinary(bench, 3000);
  const { connectionsOpened = Infinity, hedges = 0 } = bench.fetcher.upstreams()[0] ?? {};
  const more = connectionsOpened - opened;
  t.diagnostic(`${more} connections for 3000 requests, ${hedges} hedges`);
  assert.ok(hedges >= 20, `${hedges} hedges`);
  assert.ok(more <= 30, `${more} connections`);
});
