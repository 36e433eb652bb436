/** Connections to origins: reuse, TLS, addresses, bodies that break off. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { createServer as createSecureServer } from "node:https";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { NearcastError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { answering, type Script, startLoopbackOrigin } from "../../../support/loopback-origin.ts";
import { localhostCertificate, localhostKey } from "../../../support/localhost-certificate.ts";
import { open, openFetcher, orderFor, get, ordinary } from "./protection-bench.ts";

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
