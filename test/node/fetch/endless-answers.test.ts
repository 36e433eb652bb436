/** Servers that never end what stands around a body: none keeps the asker's thread busy for long. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import { openAssetFetcher } from "../../../node/fetch/asset.ts";
import { openProbeClient } from "../../../node/fetch/http-probe.ts";

/** In a thread of its own: what it costs is not what is measured. */
async function flooding(t: TestContext, opening: string, piece: string): Promise<string> {
  const worker = new Worker(new URL("../../support/flood-server.ts", import.meta.url), {
    workerData: { opening, piece },
  });
  t.after(async () => await worker.terminate());
  const [{ port }] = (await once(worker, "message")) as [AddressInfo];
  return `http://127.0.0.1:${port}`;
}

const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const rows: [what: string, opening: string, piece: string][] = [
  ["interim responses", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"],
  ["continuing", "", "HTTP/1.1 100 Continue\r\n\r\n"],
  ["empty lines", "", "\r\n"],
  ["fields", "HTTP/1.1 200 OK\r\n", "a: b\r\n"],
  ["one field", "HTTP/1.1 200 OK\r\na: ", "a"],
  ["a reason", "HTTP/1.1 200 ", "a"],
  ["small chunks", chunked, "1\r\nx\r\n"],
  ["a chunk's extension", `${chunked}1;a=`, "a"],
  ["a chunk's size", chunked, "0"],
  ["trailers", `${chunked}0\r\n`, "a: b\r\n"],
];

/** Without a bound it is a third to a half of each probe's second, for as long as the node is there. */
const cpuMsMax = 1000;

for (const [what, opening, piece] of rows) {
  test(`endless: ${what}`, async (t) => {
    const url = await flooding(t, opening, piece);
    const probes = openProbeClient({ secrets: () => [], clock: systemClock });
    t.after(async () => await probes.close());
    const before = process.threadCpuUsage();
    for (let probe = 0; probe < 10; probe += 1) {
      assert.equal((await probes.probe({ name: "fra1", http: url }, 1000)).outcome, "failed");
    }
    const { user, system } = process.threadCpuUsage(before);
    const cpuMs = (user + system) / 1000;
    t.diagnostic(`${cpuMs.toFixed()} ms`);
    assert.ok(cpuMs < cpuMsMax, `ten probes cost ${cpuMs.toFixed()} ms`);
  });
}

interface Wanted {
  readonly target?: string;
}

/** Asks an assets origin. */
function fetching(t: TestContext, origin: string): (wanted?: Wanted) => Promise<{ body: Readable }> {
  const fetcher = openAssetFetcher({
    node: "fra1",
    privateNetworks: ["127.0.0.0/8"],
    clock: systemClock,
    random: () => 0,
  });
  t.after(async () => await fetcher.close());
  return ({ target = "/" } = {}) =>
    fetcher.fetch({
      origin,
      method: "GET",
      target,
      clientFields: {},
      extra: {},
      timeoutMs: 10_000,
      client: "192.0.2.0/24",
    });
}

test("an assets origin that sends interim responses without end is given up, too", async (t) => {
  const fetch = fetching(t, await flooding(t, "", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"));
  await assert.rejects(fetch(), /more than 16 interim responses/);
});

test("small chunks are limited per second for all responses of an origin, and arrive in few pieces", async (t) => {
  const fetch = fetching(t, await flooding(t, chunked, "1\r\nx\r\n"));
  const beganMs = performance.now();
  let bytes = 0;
  let pieces = 0;
  const bodies = await Promise.all(["/a", "/b", "/c", "/d"].map(async (target) => (await fetch({ target })).body));
  for (const body of bodies) {
    body
      .on("error", () => undefined)
      .on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        pieces += 1;
      });
  }
  await sleep(1000);
  const seconds = (performance.now() - beganMs) / 1000;
  for (const body of bodies) body.destroy();
  t.diagnostic(`${bytes} chunks, ${pieces} pieces in ${seconds.toFixed(2)} s`);
  assert.ok(bytes > 4000, "they come at all");
  assert.ok(bytes < 5000 + 41_000 * seconds, `${bytes} chunks`);
  assert.ok(pieces < 10 + 60 * seconds, `${pieces} pieces`);
});

/** An origin that sends these bytes to whoever connects. */
async function sending(t: TestContext, send: (socket: Socket) => void | Promise<void>): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).once("data", () => void send(socket));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function textOf(body: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of body as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

for (const [end, connection] of [
  ["goes on", "keep-alive"],
  ["closes the connection at once", "close"],
] as const) {
  test(`small chunks arrive whole and in order while they are paced, from an origin that ${end}`, async (t) => {
    const lines = Array.from({ length: 15_000 }, (_, index) => `${index}\n`);
    const body = lines.map((line) => `${line.length.toString(16)}\r\n${line}\r\n`).join("");
    const head = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: ${connection}\r\n\r\n`;
    const origin = await sending(t, (socket) => {
      socket.write(`${head}${body}0\r\n\r\n`);
      if (connection === "close") socket.end();
    });
    assert.equal(await textOf((await fetching(t, origin)()).body), lines.join(""));
  });
}

test("small chunks at the pace of an event stream arrive one by one; a burst after them arrives whole", async (t) => {
  const large = Buffer.alloc(64 * 1024, "l");
  const origin = await sending(t, async (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let event = 0; event < 20; event += 1) {
      socket.write("9\r\ndata: x\n\n\r\n");
      await sleep(5);
    }
    // More than may come at once, and then a large chunk in one that waits.
    socket.write("1\r\nx\r\n".repeat(6000));
    socket.write(`${large.length.toString(16)}\r\n`);
    socket.write(large);
    socket.end("\r\n0\r\n\r\n");
  });
  const { body } = await fetching(t, origin)();
  const sizes: number[] = [];
  let bytes = 0;
  for await (const piece of body as AsyncIterable<Buffer>) {
    sizes.push(piece.length);
    bytes += piece.length;
  }
  assert.ok(sizes.filter((size) => size === 9).length >= 10, sizes.slice(0, 30).join(" "));
  assert.equal(bytes, 20 * 9 + 6000 + large.length);
});

for (const rest of [" more than that", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"]) {
  test(`a response ends at its Content-Length, and so does its connection: ${rest.slice(0, 8)}…`, async (t) => {
    let connections = 0;
    const origin = await sending(t, (socket) => {
      connections += 1;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${connections}.${rest}`);
    });
    const fetch = fetching(t, origin);
    for (const expected of ["1.", "2.", "3."]) {
      assert.equal(await textOf((await fetch()).body), expected);
      await sleep(20);
    }
    assert.equal(connections, 3);
  });
}
