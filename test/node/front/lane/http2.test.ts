/** HTTP/2 in a lane, without TLS: streams that the main thread answers, and connections that end. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { RequestListener } from "node:http";
import type { CountName } from "../../../../node/front/lane/counts.ts";
import type { Lanes } from "../../../../node/front/lane/lanes.ts";
import { type Listener, listen } from "../../../../node/http/listener.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { sharedLanes } from "../../../support/shared-lanes.ts";
import {
  code,
  flag,
  frame,
  get as fields,
  headers,
  openFrames,
  ping,
  type Raw,
  reset,
  setting,
  type,
  windowUpdate,
} from "../../../conformance/http2/frames.ts";
import { ask, get, openSession, responseOf, startRequest } from "../../http2/ask.ts";

interface Scene {
  readonly listener: Listener;
  readonly count: (name: CountName) => number;
  /** Connections of the main thread's server. */
  readonly open: Set<object>;
}

const hashOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const largeBody = Buffer.alloc(5_000_000, "0123456789abcdefghijklmnopqrstuvw");

async function openScene(
  t: TestContext,
  options: { headers?: number; connectionsMax?: number; application?: RequestListener } = {},
): Promise<Scene | undefined> {
  const lanes: Lanes | undefined = await sharedLanes(t);
  if (lanes === undefined) return undefined;
  const open = new Set<object>();
  const { application, ...more } = options;
  const listener = await listen(
    "127.0.0.1",
    0,
    (request, response) => {
      open.add(request.socket);
      request.socket.once("close", () => open.delete(request.socket));
      if (application !== undefined) application(request, response);
      else if (request.url === "/held") response.writeHead(200).flushHeaders();
      else if (request.url === "/large") response.end(largeBody);
      else if (request.url === "/chunked") {
        response.write("first ");
        response.end("second");
      } else if (request.url === "/cut") {
        response.writeHead(200, { "content-length": 100 }).write("part", () => response.destroy());
      } else response.end(request.url);
    },
    { front: { answer: () => "relay", clock: fakeClock(), isAlwaysHttp2: true }, lanes, check: 100, ...more },
  );
  t.after(() => listener.close(0));
  const before = lanes.counts();
  return { listener, open, count: (name) => lanes.counts()[name] - before[name] };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (isSo()) return;
    await setTimeout(10);
  }
  assert.fail(what);
}

test("responses of all framings arrive whole, and one that is cut is reset", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const session = await openSession(t, scene.listener);
  assert.equal((await ask(session, get("/a"))).body.toString(), "/a");
  assert.equal((await ask(session, get("/chunked"))).body.toString(), "first second");
  const head = await ask(session, get("/large").with(1, "HEAD"));
  assert.deepEqual([head.status, head.body.length, head.code], [200, 0, 0]);
  const cut = await ask(session, get("/cut"));
  assert.deepEqual([cut.status, cut.code], [200, code.internal]);
  assert.equal((await ask(session, get("/b"))).body.toString(), "/b");
  session.close();
  await once(session, "close");
  await until("streams are over", () => scene.count("http2Streams") === 0 && scene.count("http2Open") === 0);
});

test("twenty large bodies on one connection, with small windows and a slow reader, have their bytes", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const session = await openSession(t, scene.listener, { settings: { initialWindowSize: 20_000 } });
  const wanted = hashOf(largeBody);
  const started = Array.from({ length: 20 }, async (_, index) => {
    const stream = startRequest(session, get("/large"));
    if (index % 3 === 0) {
      stream.pause();
      await setTimeout(300);
      stream.resume();
    }
    return await responseOf(stream);
  });
  for (let count = 0; count < 20; count += 1) {
    assert.equal((await ask(session, get("/small"))).body.toString(), "/small");
  }
  for (const { body, code: end } of await Promise.all(started)) {
    assert.equal(end, 0);
    assert.equal(hashOf(body), wanted);
  }
  assert.equal(scene.count("http2Streams"), 0);
});

test("while clients read nothing of 300 large bodies, another one loads a page of 100 objects", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  for (let connections = 0; connections < 5; connections += 1) {
    const raw = await openFrames(t, scene.listener, [setting.initialWindowSize, 2 ** 31 - 1]);
    raw.socket.pause();
    raw.send(windowUpdate(0, 2 ** 30));
    for (let id = 1; id < 120; id += 2) raw.send(headers(id, fields("/large")));
  }
  await until("all have asked", () => scene.count("http2Streams") === 300);
  const session = await openSession(t, scene.listener);
  const signal = AbortSignal.timeout(5000);
  const page = Promise.all(Array.from({ length: 100 }, async (_, index) => await ask(session, get(`/${index}`))));
  const late = once(signal, "abort").then(() => assert.fail("the page is not there after 5 s"));
  const responses = await Promise.race([page, late]);
  for (const [index, { body }] of responses.entries()) assert.equal(body.toString(), `/${index}`);
  assert.equal(scene.count("refused"), 0);
});

test("a client that resets a stream, or leaves, ends the session of the main thread", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const raw = await openFrames(t, scene.listener);
  for (const id of [1, 3, 5]) raw.send(headers(id, fields("/held")));
  await until("three requests are here", () => scene.open.size === 3);
  raw.send(reset(3));
  await until("one is gone", () => scene.open.size === 2);
  raw.socket.destroy();
  await until("all are gone", () => scene.open.size === 0);
  await until("nothing is in progress", () => scene.count("http2Streams") === 0 && scene.count("http2Open") === 0);
});

test("draining: streams in progress and on their way are answered, between two GOAWAYs (RFC 9113 §6.8)", async (t) => {
  const held: (() => void)[] = [];
  const scene = await openScene(t, {
    application(request, response) {
      if (request.url === "/held") held.push(() => response.end("released"));
      else response.end(request.url);
    },
  });
  if (scene === undefined) return;
  const raw = await openFrames(t, scene.listener);
  raw.send(headers(1, fields("/held")));
  const idle = await openFrames(t, scene.listener);
  idle.send(ping());
  await idle.next((one) => one.type === type.ping);
  await until("the request is here", () => held.length === 1);
  const closed = scene.listener.close(60_000);
  const nextGoaway = async (): Promise<(number | undefined)[]> => {
    const goaway = await raw.next((one) => one.type === type.goaway);
    return [goaway?.payload.readUInt32BE(0), goaway?.payload.readUInt32BE(4)];
  };
  assert.deepEqual(await nextGoaway(), [2 ** 31 - 1, code.none]);
  const asked = await raw.next((one) => one.type === type.ping);
  // It was sent before the client knew.
  raw.send(headers(3, fields("/late")));
  const late = await raw.next((one) => one.stream === 3 && one.type === type.data && one.payload.length > 0);
  assert.equal(late?.payload.toString(), "/late");
  raw.send(frame(type.ping, flag.ack, 0, asked?.payload ?? Buffer.alloc(8)));
  assert.deepEqual(await nextGoaway(), [3, code.none]);
  raw.send(headers(5, fields("/too-late")));
  // The other client does not acknowledge it.
  await idle.closed();
  held[0]?.();
  const data = await raw.next((one) => one.type === type.data && one.payload.length > 0);
  assert.equal(data?.payload.toString(), "released");
  await raw.closed();
  raw.socket.destroy();
  idle.socket.destroy();
  await closed;
});

test("no request fails during a drain, whatever clients send before they have read GOAWAY", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const clients = await Promise.all(
    Array.from({ length: 20 }, async () => ({ raw: await openFrames(t, scene.listener), sent: 0 })),
  );
  const knows = (raw: Raw): boolean => raw.frames.some((one) => one.type === type.goaway);
  const whole = (raw: Raw): number =>
    raw.frames.filter((one) => one.type === type.data && (one.flags & flag.endStream) !== 0).length;
  const sendMore = (): void => {
    for (const client of clients) {
      // A client may have 100 in progress.
      if (knows(client.raw) || client.sent - whole(client.raw) >= 90) continue;
      client.raw.send(headers(client.sent * 2 + 1, fields("/during")));
      client.sent += 1;
    }
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  for (let count = 0; count < 20; count += 1) {
    sendMore();
    await turn();
  }
  const closed = scene.listener.close(60_000);
  while (!clients.every(({ raw }) => knows(raw))) {
    sendMore();
    await turn();
  }
  for (const { raw } of clients) raw.send(ping("\0".repeat(8), flag.ack));
  await Promise.all(clients.map(async ({ raw }) => await raw.closed()));
  const sent = clients.reduce((sum, client) => sum + client.sent, 0);
  t.diagnostic(`${sent} requests`);
  for (const client of clients) {
    assert.equal(whole(client.raw), client.sent, "whole responses");
    const last = client.raw.frames.findLast((one) => one.type === type.goaway);
    assert.equal(last?.payload.readUInt32BE(0), client.sent * 2 - 1);
    client.raw.socket.destroy();
  }
  await closed;
});

test("a silent connection gets GOAWAY and is closed", async (t) => {
  const scene = await openScene(t, { headers: 300 });
  if (scene === undefined) return;
  const raw = await openFrames(t, scene.listener);
  const goaway = await raw.next((one) => one.type === type.goaway);
  assert.equal(goaway?.payload.readUInt32BE(4), code.none);
  await raw.closed();
});

test("idle connections make room for others, and busy ones stay", async (t) => {
  const scene = await openScene(t, { connectionsMax: 3 });
  if (scene === undefined) return;
  const busy = await openFrames(t, scene.listener);
  busy.send(headers(1, fields("/held")));
  await until("it is busy", () => scene.open.size === 1);
  for (let count = 0; count < 10; count += 1) {
    const raw = await openFrames(t, scene.listener);
    raw.send(headers(1, fields("/a")));
    assert.ok((await raw.next((one) => one.type === type.data)) !== undefined, `connection ${count}`);
  }
  assert.equal(busy.isClosed(), false);
  assert.ok(scene.count("refused") >= 7);
});

test("floods end the connection, and are counted", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const pings = await openFrames(t, scene.listener);
  const pinging = Array.from({ length: 6000 }, () => ping());
  pings.send(...pinging);
  const goaway = await pings.next((one) => one.type === type.goaway);
  assert.equal(goaway?.payload.readUInt32BE(4), code.calm);
  const resets = await openFrames(t, scene.listener);
  for (let id = 1; id < 2000; id += 2) resets.send(headers(id, fields("/held")), reset(id));
  const calm = await resets.next((one) => one.type === type.goaway);
  assert.equal(calm?.payload.readUInt32BE(4), code.calm);
  assert.deepEqual([scene.count("http2FrameFloods"), scene.count("http2ResetFloods")], [1, 1]);
  await until("no session is left", () => scene.open.size === 0);
});

test("a client that reads nothing holds little, and others are served", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const slow = await openFrames(t, scene.listener, [4, 2 ** 31 - 1]);
  slow.socket.pause();
  for (let id = 1; id < 60; id += 2) slow.send(headers(id, fields("/large")));
  await until("its requests have arrived", () => scene.count("http2Streams") > 0);
  const session = await openSession(t, scene.listener);
  for (let count = 0; count < 20; count += 1) assert.equal((await ask(session, get("/a"))).status, 200);
  slow.socket.destroy();
  await until("its streams are over", () => scene.count("http2Streams") === 0);
});
