/** Bodies that the origin refuses, and bodies in tiny chunks: clients get their response, and others notice nothing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { jpeg, raw, startTestOrigin, statusOf, type TestOrigin, wholeFile } from "./running-origin.ts";

const origin = await startTestOrigin(wholeFile);
const { port } = origin;
const crumb = "1\r\na\r\n";
/** Of CPU while 15 requests of others are answered, a few a second: without a bound it is 3 to 16 s for ten floods. */
const cpuMsMax = 2500;

function flood(t: TestContext, opening: string, to: TestOrigin): void {
  const worker = new Worker(new URL("../support/flood-client.ts", import.meta.url), {
    workerData: { port: to.port, connections: 10, opening, piece: crumb },
  });
  t.after(async () => await worker.terminate());
}

/** The slowest but one of some requests, in milliseconds. */
async function othersMs(of: TestOrigin): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < 15; count += 1) {
    const beganMs = performance.now();
    assert.equal((await of.call("GET", "/images")).status, 200);
    times.push(performance.now() - beganMs);
    await sleep(50);
  }
  return times.toSorted((a, b) => a - b).at(-2) ?? 0;
}

const put = "PUT /api/v1/images/x.jpg HTTP/1.1\r\nHost: x\r\n";
const chunked = "Transfer-Encoding: chunked\r\n\r\n";
const floods: [what: string, opening: (to: TestOrigin) => string][] = [
  ["refused for want of a token", () => `${put}${chunked}`],
  ["refused for their method", () => `PATCH /healthz HTTP/1.1\r\nHost: x\r\n${chunked}`],
  ["of a request that has no use for one", () => `GET /healthz HTTP/1.1\r\nHost: x\r\n${chunked}`],
  ["refused with a token", ({ tokens }) => `${put}Authorization: Bearer ${tokens.edge}\r\n${chunked}`],
  ["of uploads", ({ tokens }) => `${put}Authorization: Bearer ${tokens.writer}\r\n${chunked}`],
];

for (const [what, opening] of floods) {
  test(`endless bodies in chunks of a byte leave the origin responsive to others: ${what}`, async (t) => {
    const flooded = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
    flood(t, opening(flooded), flooded);
    await sleep(200);
    const before = process.threadCpuUsage();
    const slowMs = await othersMs(flooded);
    const { user, system } = process.threadCpuUsage(before);
    const cpuMs = (user + system) / 1000;
    t.diagnostic(`slowest but one ${slowMs.toFixed()} ms, ${cpuMs.toFixed()} ms of CPU`);
    assert.ok(cpuMs < cpuMsMax, `the floods cost ${cpuMs.toFixed()} ms of CPU`);
  });
}

/** A client that sends all of a large body, however early it is refused, and reads only then. */
async function sendAllThenRead(head: string, bytes: number): Promise<string> {
  const socket = connect(port, "127.0.0.1").pause();
  socket.on("error", () => undefined);
  socket.write(head);
  const block = Buffer.alloc(1024 * 1024);
  for (let sent = 0; sent < bytes; sent += block.length) if (!socket.write(block)) await once(socket, "drain");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.resume();
  await once(socket, "end");
  socket.destroy();
  return text;
}

const twenty = 20 * 1024 * 1024;

test("a client that sends 20 MB with a wrong token and reads only then gets its 401", async () => {
  const wrong = `${put}Authorization: Bearer ${"x".repeat(43)}\r\nContent-Length: ${twenty}\r\n\r\n`;
  const answer = await sendAllThenRead(wrong, twenty);
  assert.equal(statusOf(answer), 401);
  assert.match(answer, /connection: close/i);
});

for (const expect of [true, false]) {
  test(`a client that sends 20 MB with a wrong token gets its 401, ${expect ? "with" : "without"} Expect`, async () => {
    const headers = {
      authorization: `Bearer ${"x".repeat(43)}`,
      "content-length": twenty,
      ...(expect ? { expect: "100-continue" } : {}),
    };
    const request = httpRequest({ port, host: "127.0.0.1", method: "PUT", path: "/api/v1/images/x.jpg", headers });
    request.on("error", () => undefined); // the rest of the body, after the response
    if (expect) request.flushHeaders();
    else request.end(Buffer.alloc(twenty));
    const [response] = (await once(request, "response")) as [{ statusCode: number; resume: () => void }];
    response.resume();
    request.destroy();
    assert.equal(response.statusCode, 401);
  });
}

test("a connection with a token survives the refusal of a short body", async () => {
  const body = "a".repeat(1000);
  const authorization = `Authorization: Bearer ${origin.tokens.edge}\r\n`;
  const first = `${put}${authorization}Content-Length: ${body.length}\r\n\r\n${body}`;
  const second = `GET /healthz HTTP/1.1\r\nHost: x\r\n${authorization}Connection: close\r\n\r\n`;
  const answers = await raw(port, first + second);
  assert.deepEqual(
    [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ["403", "200"],
  );
});

test("an upload in chunks of a byte arrives whole, at its pace", async () => {
  const body = await jpeg(3, 200, 150);
  const chunks = Array.from(body, (byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]));
  const head = `PUT /api/v1/images/crumbs.jpg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`;
  const authorization = `Authorization: Bearer ${origin.tokens.writer}\r\n`;
  const upload = Buffer.concat([Buffer.from(head + authorization + chunked), ...chunks, Buffer.from("0\r\n\r\n")]);
  assert.equal(statusOf(await raw(port, upload)), 201, `${body.length} bytes`);
  const stored = await origin.call("GET", "/images/crumbs.jpg");
  assert.deepEqual(Buffer.from(await stored.arrayBuffer()), body);
});
