/** What an HTTP/2 connection may cost: floods, slow and silent clients, too many connections. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import {
  code,
  data,
  flag,
  frame,
  get,
  headers,
  openFrames,
  openRaw,
  ping,
  post,
  preface,
  type Raw,
  reset,
  setting,
  settings,
  type,
  windowUpdate,
} from "../../conformance/http2/frames.ts";
import { sharedLanes } from "../../support/shared-lanes.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { type Started, startHttp2 } from "./started.ts";

/** The code of the GOAWAY that ends a connection; undefined: it closes without one. */
async function endOf(raw: Raw): Promise<number | undefined> {
  const goaway = await raw.next((one) => one.type === type.goaway);
  await raw.closed();
  return goaway?.payload.readUInt32BE(4);
}

/** Waits until everything that was sent has been read. */
async function settle(raw: Raw): Promise<void> {
  raw.send(ping("settled."));
  const pong = await raw.next((one) => one.type === type.ping && one.payload.toString() === "settled.");
  assert.ok(pong !== undefined, "the connection stays");
}

test("resets: a client that opens streams and resets them loses its connection", async (t) => {
  const { listener, counts } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  for (let stream = 1; stream < 1000 && !raw.isClosed(); stream += 2) {
    raw.send(headers(stream, get("/held")), reset(stream));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(await endOf(raw), code.calm);
  assert.equal(counts.floods.resets, 1);
  await turnsUntil(() => counts.open === 0 && counts.streams === 0);
});

test("resets: the connections of a client network share a limit, which others do not pay for", async (t) => {
  const { listener, counts, clock } = await startHttp2(t);
  /** Fewer than a connection may reset. Resolves when the server has seen them, or has closed the connection. */
  const leavePage = async (localAddress: string): Promise<Raw> => {
    const raw = await openFrames(t, { ...listener, localAddress });
    for (let stream = 1; stream < 2 * 150 && !raw.isClosed(); stream += 2) {
      raw.send(headers(stream, get("/held")), reset(stream));
      await new Promise((resolve) => setImmediate(resolve));
    }
    raw.send(ping("the end."));
    await raw.next((one) => one.type === type.ping || one.type === type.goaway);
    return raw;
  };
  for (let client = 0; client < 13; client += 1) await leavePage(`127.0.8.${client + 1}`);
  assert.equal(counts.floods.resets, 0, "1,950 resets of one network");
  const next = await leavePage("127.0.8.20");
  await next.closed();
  const goaway = next.frames.find((one) => one.type === type.goaway);
  assert.equal(goaway?.payload.readUInt32BE(4), code.calm);
  assert.equal(counts.floods.resets, 1);
  await settle(await leavePage("127.0.9.1"));
  clock.advance(1000);
  await settle(await leavePage("127.0.8.21"));
  assert.equal(counts.floods.resets, 1, "after a second, the network may reset 200 more");
});

test("resets: connections that close with open streams do not count", async (t) => {
  const { listener, counts } = await startHttp2(t);
  for (let client = 0; client < 30; client += 1) {
    const raw = await openFrames(t, listener);
    for (let stream = 1; stream < 200; stream += 2) raw.send(headers(stream, get("/held")));
    await settle(raw);
    raw.socket.destroy();
  }
  await turnsUntil(() => counts.open === 0 && counts.streams === 0);
  const raw = await openFrames(t, listener);
  raw.send(headers(1, get("/held")), reset(1));
  await settle(raw);
  assert.equal(counts.floods.resets, 0);
});

test("resets: all at once, they are refused before they count", async (t) => {
  const { listener, counts, seen } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  for (let stream = 1; stream < 4000; stream += 2) raw.send(headers(stream, get("/held")), reset(stream));
  await endOf(raw);
  await turnsUntil(() => counts.open === 0 && counts.streams === 0);
  assert.ok(seen.length < 10, `${seen.length} requests began`);
});

test("resets: the same for streams that the server resets because of what was sent", async (t) => {
  const { listener, counts } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  for (let stream = 1; stream < 1000; stream += 2) raw.send(headers(stream, get("/hit", "connection", "x")));
  assert.notEqual(await endOf(raw), code.none);
  await turnsUntil(() => counts.open === 0);
});

test("resets: a page that is left is no flood, and neither are complete responses that are reset", async (t) => {
  const { listener, clock } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  let stream = 1;
  for (let page = 0; page < 5; page += 1) {
    for (let count = 0; count < 90; count += 1, stream += 2) raw.send(headers(stream, get("/held")), reset(stream));
    await settle(raw);
    clock.advance(5000);
  }
  for (let count = 0; count < 300; count += 1, stream += 2) {
    raw.send(headers(stream, get("/hit")));
    await raw.next((one) => one.stream === stream && (one.flags & flag.endStream) !== 0);
    raw.send(reset(stream));
  }
  await settle(raw);
});

/** Sends the frames a hundred times a second for some seconds, as far as the server lets it. */
async function flood({ clock }: Started, raw: Raw, frames: readonly Buffer[], seconds: number): Promise<void> {
  for (let second = 0; second < seconds && !raw.isClosed(); second += 1) {
    for (let part = 0; part < 100 && !raw.isClosed(); part += 1) {
      raw.send(...frames);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await turnsUntil(() => raw.isClosed() || raw.socket.writableLength === 0);
    clock.advance(1000);
  }
}

const many = (count: number, one: Buffer): Buffer[] => Array.from({ length: count }, () => one);

const floods: readonly [what: string, frames: Buffer[], before?: Buffer[]][] = [
  ["PING", many(20, ping())],
  ["acknowledged PING", many(20, ping("pingpong", flag.ack))],
  ["SETTINGS", many(20, settings([setting.initialWindowSize, 1000]))],
  ["empty SETTINGS", many(40, settings())],
  ["PRIORITY", many(30, frame(type.priority, 0, 1, Buffer.alloc(5)))],
  ["WINDOW_UPDATE", many(30, windowUpdate(0, 1))],
  ["unknown frames", many(40, frame(0x20, 0, 0, Buffer.from("x")))],
  ["unknown frames without a payload", many(40, frame(0x20, 0, 0, Buffer.alloc(0)))],
  ["large unknown frames", many(1, frame(0x20, 0, 0, Buffer.alloc(16_000)))],
  ["empty DATA", many(40, data(1, "")), [headers(1, post(), 0)]],
  [
    "DATA of a byte with padding",
    many(4, frame(type.data, flag.padded, 1, Buffer.alloc(200, "\xc6", "latin1"))),
    [headers(1, post(), 0)],
  ],
  ["RST_STREAM of a closed stream", many(40, reset(1)), [headers(1, get())]],
  ["WINDOW_UPDATE of a closed stream", many(40, windowUpdate(1, 1)), [headers(1, get())]],
];

for (const [what, frames, before = []] of floods) {
  test(`a flood of ${what} ends the connection`, async (t) => {
    const started = await startHttp2(t);
    const raw = await openFrames(t, started.listener);
    raw.send(...before);
    await flood(started, raw, frames, 10);
    await raw.closed();
    await turnsUntil(() => started.counts.open === 0);
    assert.ok(
      raw.frames.some((one) => one.type === type.goaway),
      "the client is told",
    );
  });
}

test("a client that takes a response byte by byte is ended", async (t) => {
  const started = await startHttp2(t);
  const { listener, clock, counts } = started;
  const raw = await openFrames(t, listener, [setting.initialWindowSize, 0]);
  raw.send(headers(1, get("/large/60000")));
  for (let second = 0; second < 20 && !raw.isClosed(); second += 1) {
    for (let count = 0; count < 1500 && !raw.isClosed(); count += 1) {
      raw.send(windowUpdate(1, 1));
      if (count % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await turnsUntil(() => raw.isClosed() || raw.socket.writableLength === 0);
    clock.advance(1000);
  }
  assert.equal(await endOf(raw), code.calm);
  assert.equal(counts.floods.frames, 1);
});

test("a download with many small WINDOW_UPDATEs is no flood", async (t) => {
  const { listener, clock } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  raw.send(headers(1, get("/large/20000000")));
  let length = 0;
  let announced = 0;
  while (length < 20_000_000) {
    const part = await raw.next((one) => one.type === type.data && one.stream === 1);
    assert.ok(part !== undefined, `closed after ${length} bytes`);
    length += part.payload.length;
    for (; announced + 4096 <= length; announced += 4096) raw.send(windowUpdate(0, 4096), windowUpdate(1, 4096));
    if (length % 20 === 0) clock.advance(100);
  }
  clock.advance(2000);
  await settle(raw);
});

test("a stream whose window stays closed is cut by the rule for slow clients, and the connection stays", async (t) => {
  const { listener, clock, transfers } = await startHttp2(t);
  const raw = await openFrames(t, listener, [setting.initialWindowSize, 1]);
  for (let stream = 1; stream < 200; stream += 2) raw.send(headers(stream, get("/large/60000")));
  await turnsUntil(() => transfers.budget.counts().heldBytes === 60_000 * 100);
  await settle(raw);
  clock.advance(100_000);
  const cut = await raw.next((one) => one.type === type.reset && one.stream === 1);
  assert.equal(cut?.payload.readUInt32BE(0), code.internal);
  await turnsUntil(() => transfers.budget.counts().heldBytes === 0);
  assert.equal(transfers.counts.tooSlow, 100);
});

test("a client that never reads its socket holds no more than the budget, and is cut", async (t) => {
  const { listener, clock, transfers, counts } = await startHttp2(t, { inFlightBytes: 8 * 1024 * 1024 });
  const raw = await openFrames(t, listener, [setting.initialWindowSize, 0x7fff_ffff]);
  raw.send(windowUpdate(0, 0x7000_0000));
  await settle(raw);
  raw.socket.pause();
  raw.socket.setTimeout(0); // it reads nothing, and waits for the server
  for (let stream = 1; stream < 200; stream += 2) raw.send(headers(stream, get("/large/1000000")));
  await turnsUntil(() => transfers.budget.counts().waiting > 0);
  assert.ok(transfers.budget.counts().heldBytes <= 8 * 1024 * 1024);
  await turnsUntil(() => {
    clock.advance(20_000);
    return transfers.budget.counts().heldBytes === 0 && counts.open === 0;
  }, 5);
  assert.equal(counts.streams, 0);
});

test("a connection without a request is closed: a new one soon, one that was used when it has been idle", async (t) => {
  const { listener, clock, counts } = await startHttp2(t);
  const [fresh, used] = [await openFrames(t, listener), await openFrames(t, listener)];
  used.send(headers(1, get()));
  await used.next((one) => one.stream === 1 && (one.flags & flag.endStream) !== 0);
  await settle(used);
  clock.advance(15_000);
  assert.equal(await endOf(fresh), code.none);
  await settle(used); // PING is no request
  clock.advance(40_000);
  await settle(used);
  clock.advance(15_000);
  assert.equal(await endOf(used), code.none);
  await turnsUntil(() => counts.open === 0);
});

test("a preface or a head that does not become complete is not waited for", async (t) => {
  const { listener, clock, counts } = await startHttp2(t);
  const silent = await openRaw(t, listener);
  const partial = await openRaw(t, listener);
  partial.send(preface.slice(0, 10));
  const headless = await openRaw(t, listener);
  headless.send(preface, settings(), frame(type.headers, flag.endStream, 1, Buffer.from([0])));
  await turnsUntil(() => counts.open === 3);
  clock.advance(15_000);
  clock.advance(5000);
  await Promise.all([silent.closed(), partial.closed(), headless.closed()]);
  await turnsUntil(() => counts.open === 0);
});

test("a stream without end is no idle connection", async (t) => {
  const { listener, clock, held } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  raw.send(headers(1, get("/held")));
  const { response } = await held();
  response.writeHead(200).write("x");
  for (let second = 0; second < 100; second += 1) {
    clock.advance(1000);
    response.write("x");
    await new Promise((resolve) => setImmediate(resolve));
  }
  response.end("end");
  const last = await raw.next((one) => one.type === type.data && (one.flags & flag.endStream) !== 0);
  assert.ok(last !== undefined);
});

test("an application that is silent for too long is left, as over HTTP/1.1", async (t) => {
  const { listener, clock, held } = await startHttp2(t);
  const raw = await openFrames(t, listener);
  raw.send(headers(1, get("/held")));
  const { response } = await held();
  clock.advance(130_000);
  const end = await raw.next((one) => one.type === type.reset);
  assert.equal(end?.payload.readUInt32BE(0), code.internal);
  assert.ok(response.destroyed || response.closed);
});

async function openMany(t: TestContext, { listener }: Started, count: number): Promise<Raw[]> {
  const opened: Raw[] = [];
  for (let index = 0; index < count; index += 1) opened.push(await openFrames(t, listener));
  return opened;
}

test("idle connections make room for new ones, and those with a request stay", async (t) => {
  const started = await startHttp2(t, { connectionsMax: 32 });
  const [busy] = await openMany(t, started, 1);
  busy?.send(headers(1, get("/held")));
  await started.held();
  const others = await openMany(t, started, 60);
  assert.ok(started.counts.open <= 32);
  assert.equal(busy?.isClosed(), false);
  assert.ok(others.filter((one) => one.isClosed()).length >= 28);
});

for (const where of ["in the main thread", "in a lane"]) {
  test(`connections that do not read their responses make room for other networks, ${where}`, async (t) => {
    const lanes = where === "in a lane" ? await sharedLanes(t) : undefined;
    if (where === "in a lane" && lanes === undefined) return;
    const { listener } = await startHttp2(t, { connectionsMax: 32, lanes });
    const asking = async (localAddress: string, target: string): Promise<Raw> => {
      const raw = await openFrames(t, { ...listener, localAddress });
      raw.send(headers(1, get(target)));
      return raw;
    };
    const calm = await asking("127.0.7.1", "/large/200000");
    await settle(calm);
    const crowd: Raw[] = [];
    for (let count = 0; count < 40; count += 1) {
      const raw = await asking(`127.0.8.${2 + count}`, "/large/200000");
      crowd.push(raw);
      // Until the windows are used up, or the connection is closed.
      if (count < 30) await settle(raw);
    }
    for (let count = 0; count < 10; count += 1) {
      const visitor = await asking(`127.1.${count}.1`, `/hit/${count}`);
      const last = await visitor.next((one) => one.type === type.data);
      assert.ok(last?.payload.includes(`/hit/${count}`) === true, "the visitor is answered");
    }
    assert.ok(crowd.some((one) => one.isClosed()));
    await settle(calm);
  });
}
