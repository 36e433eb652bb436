/** Bodies that are not in memory, over real connections, with a clock that the test moves. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Body, BodyReader } from "#base/body.ts";
import { deliver, type Sent } from "../../../node/deliver/deliver.ts";
import type { Delivery } from "../../../node/deliver/outcome.ts";
import { http1Sink } from "../../../node/http/http1-sink.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { openTransfers } from "../../support/transfers.ts";
import { turnsUntil } from "../../support/turns-until.ts";

const chunkBytes = 65_536;
/** 30 s to pause, and what a chunk takes at 1 KiB/s. */
const chunkMsMax = 30_000 + 64_000;

/** A body that the test can watch: a fast one of `chunks` chunks, then `after`. */
interface WatchedBody {
  readonly body: Body;
  /** Chunks that were read, by all readers. */
  readonly reads: () => number;
  readonly open: () => number;
}

function watchedBody(chunks: number, after: "end" | "hang" | Error = "end"): WatchedBody {
  let reads = 0;
  let open = 0;
  const openReader = (): BodyReader => {
    open += 1;
    let given = 0;
    let isClosed = false;
    const closed = Promise.withResolvers<void>();
    return {
      ready: () => (given < chunks || after !== "hang" || isClosed ? true : closed.promise),
      next() {
        if (given < chunks) {
          given += 1;
          reads += 1;
          return Buffer.alloc(chunkBytes, given);
        }
        if (after instanceof Error) throw after;
        if (isClosed) throw new Error("the reader was closed");
        return null;
      },
      close() {
        if (!isClosed) open -= 1;
        isClosed = true;
        closed.resolve();
      },
    };
  };
  return { body: { kind: "ranges", open: openReader }, reads: () => reads, open: () => open };
}

function deliveryOf(body: Body): Delivery {
  return {
    outcome: { word: "hit", tier: "disk", ttlSeconds: 1 },
    status: 200,
    headerBlock: Buffer.alloc(0),
    headers: [],
    body,
    lengthBytes: null,
    etag: null,
    lastModified: null,
    ageSeconds: null,
    timings: {},
  };
}

interface Server {
  readonly clock: FakeClock;
  readonly rules: ReturnType<typeof openTransfers>;
  /** How each request ended, in their order. */
  readonly sent: Promise<Sent>[];
  readonly responses: ServerResponse[];
  /** Connects and asks; the client reads nothing until it is resumed. Its share is the request's path. */
  readonly ask: (path: string) => Promise<Socket>;
}

async function startServer(t: TestContext, bodyOf: (path: string) => Body, bytesMax?: number): Promise<Server> {
  const clock = fakeClock();
  const rules = openTransfers(clock, bytesMax === undefined ? {} : { bytesMax });
  const sent: Promise<Sent>[] = [];
  const responses: ServerResponse[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    const context = { node: "fra1", startedMs: 0, nowMs: 0, rules, share: () => path };
    const ended = Promise.resolve(deliver(request, deliveryOf(bodyOf(path)), http1Sink(response), context));
    ended.catch(() => undefined);
    sent.push(ended);
    responses.push(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    clock,
    rules,
    sent,
    responses,
    async ask(path) {
      const requests = sent.length;
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      t.after(() => socket.destroy());
      await once(socket, "connect");
      socket.pause();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await turnsUntil(() => sent.length > requests);
      return socket;
    },
  };
}

/** Waits until the sockets' buffers are full, so that nothing moves any more. */
async function stalled(reads: () => number): Promise<void> {
  for (let before = -1; before !== reads(); await pause(100)) before = reads();
}

test("a reader that never reads is cut after its time, and holds no more than one chunk until then", async (t) => {
  const { body, reads, open } = watchedBody(Infinity);
  const { clock, rules, sent, ask } = await startServer(t, () => body);
  const socket = await ask("/");
  await stalled(reads);
  assert.equal(rules.budget.counts().heldBytes, chunkBytes);
  clock.advance(chunkMsMax - 1);
  await stalled(reads);
  assert.equal(open(), 1);
  clock.advance(1);
  const ended = await sent[0];
  assert.equal(ended?.end, "too-slow");
  assert.deepEqual(rules.counts, { refused: 0, tooSlow: 1, noRoom: 0 });
  assert.deepEqual(rules.budget.counts(), { heldBytes: 0, waiting: 0, refused: 0, shares: 0 });
  assert.equal(open(), 0);
  socket.resume();
  await once(socket, "close");
});

test("one that reads slowly, but above the minimum, gets everything", async (t) => {
  const { body, reads } = watchedBody(400);
  const { clock, rules, sent, ask } = await startServer(t, () => body);
  const socket = await ask("/");
  await stalled(reads);
  for (let pauses = 0; pauses < 4 && reads() < 400; pauses += 1) {
    clock.advance(chunkMsMax - 1);
    const before = reads();
    socket.resume();
    await turnsUntil(() => reads() > before);
    socket.pause();
    await stalled(reads);
  }
  assert(reads() < 400, "it was slow");
  socket.resume();
  const ended = await sent[0];
  assert.deepEqual([ended?.end, ended?.bodyBytes], ["complete", 400 * chunkBytes]);
  assert.equal(rules.budget.counts().heldBytes, 0);
});

test("a client that leaves while the body's source hangs frees everything at once", async (t) => {
  for (const chunks of [0, 1]) {
    const { body, reads, open } = watchedBody(chunks, "hang");
    const { rules, sent, ask } = await startServer(t, () => body);
    const socket = await ask("/");
    if (chunks > 0) socket.resume();
    await turnsUntil(() => reads() === chunks && open() === 1);
    socket.destroy();
    const ended = await sent[0];
    assert.equal(ended?.end, "gone", String(chunks));
    assert.deepEqual(rules.budget.counts(), { heldBytes: 0, waiting: 0, refused: 0, shares: 0 });
    assert.equal(open(), 0);
  }
});

test("a client that leaves in the middle of a chunk, or waits for room, frees everything at once", async (t) => {
  const { body, reads, open } = watchedBody(Infinity);
  const { rules, sent, ask } = await startServer(t, () => body, chunkBytes);
  const first = await ask("/first");
  await stalled(reads);
  const second = await ask("/second");
  assert.equal(rules.budget.counts().waiting, 1);
  second.destroy();
  assert.equal((await sent[1])?.end, "gone");
  assert.equal(rules.budget.counts().waiting, 0);
  assert.equal(open(), 1);
  first.destroy();
  assert.equal((await sent[0])?.end, "gone");
  assert.deepEqual(rules.budget.counts(), { heldBytes: 0, waiting: 0, refused: 0, shares: 0 });
  assert.equal(open(), 0);
});

test("without room for a first chunk, the request fails with 503 before its head", async (t) => {
  const { body, reads, open } = watchedBody(Infinity);
  const { clock, rules, sent, responses, ask } = await startServer(t, () => body, chunkBytes);
  await ask("/first");
  await stalled(reads);
  await ask("/second");
  assert.equal(open(), 2);
  clock.advance(4999);
  assert.equal(rules.budget.counts().waiting, 1);
  clock.advance(1);
  await assert.rejects(sent[1] ?? assert.fail(), { code: "OVERLOADED", status: 503 });
  assert.equal(responses[1]?.headersSent, false);
  assert.deepEqual([open(), rules.budget.counts().waiting, rules.budget.counts().refused], [1, 0, 1]);
  assert.deepEqual(rules.counts, { refused: 1, tooSlow: 0, noRoom: 0 });
});

test("whoever reads slowly queues again after each chunk: others get their turn in between", async (t) => {
  const { body, reads } = watchedBody(Infinity);
  const { rules, ask } = await startServer(t, () => body, chunkBytes);
  const first = await ask("/first");
  await stalled(reads);
  const second = await ask("/second");
  assert.equal(rules.budget.counts().waiting, 1);
  let bytes = 0;
  second.on("data", (chunk: Buffer) => (bytes += chunk.length));
  second.resume();
  first.resume();
  await turnsUntil(() => bytes > 4 * chunkBytes);
  assert(rules.budget.counts().heldBytes <= chunkBytes);
});

test("a response that has begun is cut when no room comes for its next chunk", async (t) => {
  const { body, reads, open } = watchedBody(Infinity);
  const { clock, rules, sent, ask } = await startServer(t, () => body, chunkBytes);
  const first = await ask("/first");
  await stalled(reads);
  const taken = rules.budget.take(chunkBytes, "/other", 1_000_000); // next in turn, and never frees
  first.resume();
  await turnsUntil(() => rules.budget.counts().waiting === 1 && rules.budget.counts().heldBytes === chunkBytes);
  assert.equal(await taken, true);
  clock.advance(30_000);
  assert.equal((await sent[0])?.end, "no-room");
  assert.deepEqual(rules.counts, { refused: 0, tooSlow: 0, noRoom: 1 });
  assert.equal(open(), 0);
  rules.budget.free(chunkBytes, "/other");
  assert.deepEqual(rules.budget.counts(), { heldBytes: 0, waiting: 0, refused: 1, shares: 0 });
});

test("nobody holds room while the body's source is slow", async (t) => {
  for (const chunks of [0, 3]) {
    const { body, reads, open } = watchedBody(chunks, "hang");
    const { rules, ask } = await startServer(t, () => body);
    const socket = await ask("/");
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.resume();
    await turnsUntil(() => reads() === chunks && text.includes("\r\n\r\n"));
    await turnsUntil(() => rules.budget.counts().heldBytes === 0);
    assert.equal(open(), 1);
  }
});

test("a body that fails midway cuts its connection, and says why", async (t) => {
  const failure = new Error("the origin is gone");
  const { body, open } = watchedBody(3, failure);
  const { rules, sent, ask } = await startServer(t, () => body);
  const socket = await ask("/");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.resume();
  await once(socket, "close");
  assert(!text.endsWith("0\r\n\r\n"), "not ended as if it were whole");
  const ended = await sent[0];
  assert.deepEqual([ended?.end, ended?.error, ended?.bodyBytes], ["failed", failure, 3 * chunkBytes]);
  assert.deepEqual(rules.budget.counts(), { heldBytes: 0, waiting: 0, refused: 0, shares: 0 });
  assert.equal(open(), 0);
});

test("a response in one write has its time too, by what its receiver has not taken", async (t) => {
  const bytes = Buffer.alloc(40 * 1024 * 1024);
  const { clock, rules, sent, responses, ask } = await startServer(t, () => ({ kind: "bytes", bytes }));
  await ask("/");
  const pendingBytes = (): number => responses[0]?.writableLength ?? 0;
  await stalled(pendingBytes);
  // Nothing of the one write counts as taken before the last byte of it.
  assert(pendingBytes() >= bytes.length);
  clock.advance(30_000 + (pendingBytes() / 1024) * 1000 - 1);
  await stalled(pendingBytes);
  assert.equal(responses[0]?.destroyed, false);
  clock.advance(2);
  assert.equal((await sent[0])?.end, "too-slow");
  assert.equal(rules.counts.tooSlow, 1);
});

test("a client that leaves before it has the last byte did not get everything", async (t) => {
  const bytes = Buffer.alloc(40 * 1024 * 1024);
  for (const how of ["reset", "end"] as const) {
    const { sent, responses, ask } = await startServer(t, () => ({ kind: "bytes", bytes }));
    const socket = await ask("/");
    await stalled(() => responses[0]?.writableLength ?? 0);
    if (how === "reset") socket.resetAndDestroy();
    else socket.destroy();
    assert.equal((await sent[0])?.end, "gone", how);
  }
});

test("bodies in memory that slow receivers have not taken count once each, and new ones wait for room", async (t) => {
  const bodies = Array.from({ length: 4 }, () => Buffer.alloc(8 * 1024 * 1024));
  const { clock, rules, sent, responses, ask } = await startServer(
    t,
    (path) => ({ kind: "bytes", bytes: bodies[Number(path.slice(1, 2))] ?? assert.fail() }),
    24 * 1024 * 1024,
  );
  for (const path of ["/0", "/0a", "/1", "/2"]) await ask(path);
  await stalled(() => responses.reduce((sum, { writableLength }) => sum + writableLength, 0));
  assert.equal(rules.budget.counts().heldBytes, 24 * 1024 * 1024);
  const waiting = await ask("/3");
  assert.equal(rules.budget.counts().waiting, 1);
  waiting.destroy();
  assert.equal((await sent[4])?.end, "gone");
  assert.equal(rules.budget.counts().waiting, 0);
  await ask("/3");
  clock.advance(5000);
  await assert.rejects(sent[5] ?? assert.fail(), { code: "OVERLOADED" });
  assert.deepEqual(rules.counts, { refused: 1, tooSlow: 0, noRoom: 0 });
  for (const response of responses) response.destroy();
  assert.deepEqual(new Set((await Promise.all(sent.slice(0, 5))).map(({ end }) => end)), new Set(["gone"]));
  assert.deepEqual(rules.budget.counts(), { heldBytes: 0, waiting: 0, refused: 1, shares: 0 });
});
