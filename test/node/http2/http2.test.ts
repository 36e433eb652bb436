/** HTTP/2 connections: hits, relayed requests, and how both end. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { constants } from "node:http2";
import { test } from "node:test";
import { turnsUntil } from "../../support/turns-until.ts";
import { ask, get, openSession, responseOf, startRequest } from "./ask.ts";
import { startHttp2 } from "./started.ts";

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

test("a hit is answered without Node's server", async (t) => {
  const { listener, seen } = await startHttp2(t);
  const session = await openSession(t, listener);
  const { status, fields, body, code } = await ask(session, get("/hit/1"));
  assert.deepEqual([status, body.toString(), code], [200, "/hit/1", NGHTTP2_NO_ERROR]);
  assert.deepEqual(fields.get("x-by"), ["hit"]);
  assert.deepEqual(fields.get("content-length"), ["6"]);
  assert.match(String(fields.get("date")), /GMT$/);
  assert.deepEqual(seen, ["hit /hit/1"]);
});

test("HEAD gets the fields alone, from a hit and from the application", async (t) => {
  const { listener } = await startHttp2(t);
  const session = await openSession(t, listener);
  for (const [target, length] of [
    ["/hit/1", "6"],
    ["/other", "11"],
  ] as const) {
    const { status, fields, body, code } = await ask(session, get(target).with(1, "HEAD"));
    assert.deepEqual([status, body.length, code], [200, 0, NGHTTP2_NO_ERROR]);
    assert.deepEqual(fields.get("content-length"), [length]);
  }
});

test("other requests are relayed, and their response has no field about a connection", async (t) => {
  const { listener, seen, virtuals } = await startHttp2(t, {
    application: (request, response) => {
      response.writeHead(200, { "X-Fields": JSON.stringify(request.headers), "Keep-Alive": "x", "X-A": ["1", "2"] });
      response.end("body");
    },
  });
  const session = await openSession(t, listener);
  const { status, fields, body } = await ask(session, get("/other", "cookie", "a=b", "te", "trailers"));
  assert.deepEqual([status, body.toString()], [200, "body"]);
  assert.deepEqual(JSON.parse(String(fields.get("x-fields"))), { host: "x", cookie: "a=b", connection: "close" });
  assert.deepEqual(fields.get("x-a"), ["1", "2"]);
  assert.deepEqual([...fields.keys()].toSorted(), ["date", "x-a", "x-fields"]);
  assert.deepEqual(seen, ["server /other"]);
  await turnsUntil(() => virtuals() === 0);
});

test("a relayed response streams, and waits for a client that does not read", async (t) => {
  const { listener, held } = await startHttp2(t);
  const session = await openSession(t, listener);
  const stream = startRequest(session, get("/held"));
  const { response } = await held();
  response.write("first");
  const [chunk] = (await once(stream, "data")) as [Buffer];
  assert.equal(chunk.toString(), "first");
  stream.pause();
  let written = 0;
  const piece = Buffer.alloc(64 * 1024, "x");
  for (let idle = 0; idle < 200;) {
    if (!response.writableNeedDrain) {
      response.write(piece);
      written += piece.length;
      idle = 0;
    }
    idle += 1;
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(written < 4 * 1024 * 1024, "a client that does not read is not written to");
  }
  const rest = responseOf(stream);
  stream.resume();
  response.end("last");
  const { body, code } = await rest;
  assert.equal(code, NGHTTP2_NO_ERROR);
  assert.equal(body.length, written + 4);
});

test("the application notices that a client has reset its stream, or has left", async (t) => {
  const { listener, held, virtuals } = await startHttp2(t);
  const session = await openSession(t, listener);
  const [one, other] = [startRequest(session, get("/held/1")), startRequest(session, get("/held/2"))];
  const [first, second] = [await held(), await held()];
  first.response.write("begun");
  await once(one, "data");
  one.close(NGHTTP2_CANCEL);
  await once(first.response, "close");
  assert.equal(first.response.writableFinished, false);
  assert.equal(second.response.closed, false);
  other.on("close", () => undefined);
  session.destroy();
  await once(second.response, "close");
  await turnsUntil(() => virtuals() === 0);
});

test("a response that is cut is reset, so that it does not look complete", async (t) => {
  const { listener, held } = await startHttp2(t);
  const session = await openSession(t, listener);
  for (const begin of ["", "some"]) {
    const answered = responseOf(startRequest(session, get("/held")));
    const { response } = await held();
    if (begin !== "") response.write(begin);
    await new Promise((resolve) => setTimeout(resolve, 20));
    response.destroy();
    const { code, body } = await answered;
    assert.deepEqual([code, body.toString()], [NGHTTP2_INTERNAL_ERROR, begin]);
  }
  assert.equal((await ask(session, get("/hit/after"))).status, 200);
});

test("a response that can't be sent over HTTP/2 is reset, and the connection stays", async (t) => {
  const { listener } = await startHttp2(t, {
    application: (_request, response) => {
      response.writeHead(600, { "Content-Length": "1" }).end("x");
    },
  });
  const session = await openSession(t, listener);
  assert.equal((await ask(session, get("/other"))).code, NGHTTP2_INTERNAL_ERROR);
  assert.equal((await ask(session, get("/hit/after"))).status, 200);
});

test("an interim response arrives before the final one", async (t) => {
  const { listener, held } = await startHttp2(t);
  const session = await openSession(t, listener);
  const stream = startRequest(session, get("/held"));
  const hints: unknown[] = [];
  stream.on("headers", (fields: object) => hints.push({ ...fields }));
  const answered = responseOf(stream);
  const { response } = await held();
  response.writeEarlyHints({ link: "</a>; rel=preload" });
  await turnsUntil(() => hints.length > 0);
  response.end("x");
  assert.equal((await answered).body.toString(), "x");
  assert.equal((hints[0] as { link: string }).link, "</a>; rel=preload");
});

test("the body of a request is not read, and does not keep the response", async (t) => {
  const { listener } = await startHttp2(t);
  const session = await openSession(t, listener);
  const stream = startRequest(session, get("/post").with(1, "POST"), true);
  const answered = responseOf(stream);
  stream.write(Buffer.alloc(1024 * 1024));
  const { status, body, code } = await answered;
  assert.deepEqual([status, body.toString(), code], [200, "POST /post", NGHTTP2_NO_ERROR]);
  assert.equal((await ask(session, get("/hit/after"))).status, 200);
});

test("a response of fields alone ends a request whose body is still under way (RFC 9113 §8.1)", async (t) => {
  const application = (_: unknown, response: ServerResponse): void => void response.writeHead(304).end();
  const { listener } = await startHttp2(t, { application });
  const session = await openSession(t, listener);
  for (const [method, target] of [
    ["HEAD", "/hit/1"],
    ["HEAD", "/large/100000"],
    ["HEAD", "/other"],
    ["POST", "/other"],
  ] as const) {
    for (const bodyBytes of [0, 5000]) {
      const stream = startRequest(session, get(target).with(1, method), true);
      const answered = responseOf(stream);
      if (bodyBytes > 0) stream.write(Buffer.alloc(bodyBytes));
      const { body, code } = await answered;
      assert.deepEqual([body.length, code], [0, NGHTTP2_NO_ERROR], `${method} ${target}`);
    }
  }
});

test("a connection starts one request per turn, so that others are served in between", async (t) => {
  const { listener, seen } = await startHttp2(t);
  const [busy, other] = [await openSession(t, listener), await openSession(t, listener)];
  await Promise.all([ask(busy, get("/hit/first")), ask(other, get("/hit/first"))]);
  seen.length = 0;
  const many = Array.from({ length: 60 }, (_, index) => ask(busy, get(`/hit/busy/${index}`)));
  await turnsUntil(() => seen.length > 0);
  await Promise.all([...many, ask(other, get("/hit/other"))]);
  const place = seen.indexOf("hit /hit/other");
  assert.ok(place < 40, `the other's request is number ${place}`);
  const order = seen.filter((line) => line.includes("busy"));
  assert.deepEqual(
    order,
    Array.from({ length: 60 }, (_, index) => `hit /hit/busy/${index}`),
  );
});

test("a request that its client resets while it waits is not served", async (t) => {
  const { listener, seen } = await startHttp2(t);
  const session = await openSession(t, listener);
  await ask(session, get("/hit/first"));
  seen.length = 0;
  const streams = Array.from({ length: 50 }, (_, index) => startRequest(session, get(`/hit/${index}`)));
  for (const stream of streams) stream.close(NGHTTP2_CANCEL);
  await turnsUntil(() => streams.every(({ destroyed }) => destroyed));
  assert.equal((await ask(session, get("/hit/last"))).status, 200);
  assert.ok(seen.length < 50, `${seen.length} were served`);
});

test("a drained connection completes its streams and takes no more", async (t) => {
  const { listener, held } = await startHttp2(t);
  const [busy, idle] = [await openSession(t, listener), await openSession(t, listener)];
  await ask(idle, get("/hit/1"));
  const answered = responseOf(startRequest(busy, get("/held")));
  const { response } = await held();
  const goaway = once(busy, "goaway");
  const isGone = once(idle, "close");
  const closed = listener.close(10_000);
  const [code] = (await goaway) as [number];
  assert.equal(code, NGHTTP2_NO_ERROR);
  await isGone;
  response.end("the end");
  assert.equal((await answered).body.toString(), "the end");
  await closed;
});

test("before a shutdown, a client is told with its response to go elsewhere", async (t) => {
  const { listener, held, leaving } = await startHttp2(t);
  const session = await openSession(t, listener);
  const goaway = once(session, "goaway");
  const slow = responseOf(startRequest(session, get("/held")));
  const { response } = await held();
  leaving.isSo = true;
  assert.equal((await ask(session, get("/hit/1"))).status, 200);
  const [why] = (await goaway) as [number];
  assert.equal(why, NGHTTP2_NO_ERROR);
  response.end("slow");
  assert.equal((await slow).body.toString(), "slow");
  await turnsUntil(() => session.destroyed);
});

test("CONNECT gets a status, and the connection stays", async (t) => {
  const { listener } = await startHttp2(t);
  const session = await openSession(t, listener);
  const { status } = await ask(session, [":method", "CONNECT", ":authority", "a.test:443"]);
  assert.equal(status, 501);
  assert.equal((await ask(session, get("/hit/after"))).status, 200);
});
