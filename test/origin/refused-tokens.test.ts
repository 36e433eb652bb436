/**
 * Refusals that leave before the request's body has come: every kind of sender gets the answer, and the connection is
 * either ready for the next request or closed. And connections without a valid token, which hold none for long.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { before, test } from "node:test";
import { Agent, request as undiciRequest } from "undici";
import { needsProgram } from "../support/needs.ts";
import {
  fleetExample,
  jpeg,
  startTestOrigin,
  statusOf,
  temporaryDirectory,
  type TestOrigin,
  wholeFile,
} from "./running-origin.ts";

const sourceBytesMax = 20 * 1024 * 1024;
const origin = await startTestOrigin(wholeFile, { config: { limits: { unauthenticatedPerNetworkMax: 512 } } });
const { port } = origin;
const writer = `Authorization: Bearer ${origin.tokens.writer}\r\n`;
const edge = `Authorization: Bearer ${origin.tokens.edge}\r\n`;
const strange = `Authorization: Bearer ${"x".repeat(43)}\r\n`;
let picture: Buffer;

before(async () => {
  picture = await jpeg(1);
  await origin.json(201, "PUT", "/images/good.jpg", { body: picture });
  const body = fleetExample(["fra"], `limits: { sourceBytesMax: ${sourceBytesMax} }`);
  await origin.json(201, "PUT", "/fleet", { body });
});

/** Connections without a valid token that were closed, by reason, as the metrics count them. */
async function closedStrangers(of: TestOrigin): Promise<Record<string, number>> {
  const text = await (await of.call("GET", `${of.url}/metrics`)).text();
  const name = "nearcast_origin_unauthenticated_connections_closed_total";
  const lines = text.matchAll(new RegExp(`^${name}\\{reason="([a-z]+)"\\} (\\d+)$`, "gm"));
  return Object.fromEntries([...lines].map(([, reason = "", count]) => [reason, Number(count)]));
}

interface Refusal {
  name: string;
  line: string;
  headers: string;
  status: number;
  /** What the body begins with; zeros follow. */
  begin?: Buffer;
}

const put = "PUT /api/v1/images/refused.jpg";
const refusals: readonly Refusal[] = [
  { name: "no token", line: put, headers: "", status: 401 },
  { name: "an unknown token", line: put, headers: strange, status: 401 },
  { name: "the edge's token", line: put, headers: edge, status: 403 },
  { name: "no such route", line: "PUT /api/v1/nothing", headers: writer, status: 404 },
  { name: "no such route, no token", line: "PUT /api/v1/nothing", headers: "", status: 404 },
  { name: "a wrong method", line: "PATCH /api/v1/images/refused.jpg", headers: writer, status: 405 },
  { name: "a bad name", line: "PUT /api/v1/images/a/../b.jpg", headers: writer, status: 400 },
  { name: "a range of a picture", line: put, headers: `${writer}Content-Range: bytes 0-9/99\r\n`, status: 400 },
  { name: "a broken precondition", line: put, headers: `${writer}If-Match: x\r\n`, status: 400 },
  { name: "a target too long", line: `PUT /api/v1/images/${"a".repeat(9000)}`, headers: writer, status: 414 },
  { name: "an encoded body", line: put, headers: `${writer}Content-Encoding: gzip\r\n`, status: 415 },
  { name: "no picture", line: put, headers: writer, status: 415 },
  { name: "headers too large", line: put, headers: `X: ${"y".repeat(200_000)}\r\n`, status: 431 },
  { name: "another version", line: "PUT /api/v1/images/a.jpg HTTP/9.9 and more", headers: "", status: 505 },
  {
    name: "a JSON body too large",
    line: "POST /api/v1/purges",
    headers: `${writer}Content-Type: application/json\r\n`,
    status: 413,
    begin: Buffer.alloc(300_000),
  },
  { name: "a JSON body without a token", line: "POST /api/v1/purges", headers: "", status: 401 },
  { name: "a body that nobody wants", line: "GET /healthz", headers: "", status: 200 },
];

/** For one conversation; the server's own deadlines for what is refused are longer. */
const deadlineMs = 20_000;

interface Talk {
  /** All that came back. */
  text: string;
  /** Why the connection broke; undefined when it ended in order. */
  broken: string | undefined;
}

/** Resolves when the socket is closed, broken or not (`once` would reject); past the deadline it is broken as LATE. */
async function closeOf(socket: Socket): Promise<void> {
  const timer = setTimeout(() => socket.destroy(Object.assign(new Error("late"), { code: "LATE" })), deadlineMs);
  await new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
  });
  clearTimeout(timer);
}

/** Writes all of `pieces` before it reads a byte, as simple senders do; then reads to the end of the connection. */
async function writeThenRead(toPort: number, pieces: readonly (string | Buffer)[]): Promise<Talk & { socket: Socket }> {
  const socket = connect({ port: toPort, host: "127.0.0.1", allowHalfOpen: true });
  const talk: Talk = { text: "", broken: undefined };
  socket.on("error", (error: NodeJS.ErrnoException) => {
    talk.broken = error.code;
  });
  const closed = closeOf(socket);
  socket.pause();
  for (const piece of pieces.slice(0, -1)) socket.write(piece);
  await new Promise<void>((resolve) => {
    socket.write(pieces.at(-1) ?? "", () => resolve());
  });
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    talk.text += chunk;
  });
  socket.once("end", () => socket.end());
  socket.resume();
  await closed;
  return { ...talk, socket };
}

/** Bodies may speak of HTTP/1.1, too. */
function answersIn(text: string): number {
  return text.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0;
}

const healthCheck = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

for (const sizeBytes of [200_000, 12 * 1024 * 1024]) {
  test(`refusals reach a sender that writes ${sizeBytes} bytes first; what follows is answered or closed`, async () => {
    for (const { name, line, headers, status, begin = Buffer.alloc(0) } of refusals) {
      const body = Buffer.concat([begin, Buffer.alloc(sizeBytes)]);
      const head = `${line} HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
      const { text, broken } = await writeThenRead(port, [head, body, healthCheck]);
      const row = `${name}: ${text.slice(0, 200)}`;
      assert.equal(broken, undefined, row);
      assert.equal(statusOf(text), status, row);
      const saysClose = /^connection: close\r$/im.test(text.slice(0, text.indexOf("\r\n\r\n") + 2));
      const answers = answersIn(text);
      // Either it said that it closes and answered nothing more, or the next request was answered.
      assert.equal(answers, saysClose ? 1 : 2, row);
      // A refusal of a known sender within bounds costs it no new connection.
      if (headers.startsWith(writer) && !line.startsWith("POST") && sizeBytes < 1024 * 1024)
        assert.equal(saysClose, false, row);
    }
  });
}

test("the same in chunks: the length of the body is not known beforehand", async () => {
  const chunk = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(0x10000), Buffer.from("\r\n")]);
  for (const { name, line, headers, status } of refusals) {
    const head = `${line} HTTP/1.1\r\nHost: x\r\n${headers}Transfer-Encoding: chunked\r\n\r\n`;
    const { text, broken } = await writeThenRead(port, [head, ...Array.from({ length: 50 }, () => chunk), "0\r\n\r\n"]);
    const row = `${name}: ${broken} ${text.slice(0, 200)}`;
    assert.deepEqual([broken, statusOf(text)], [undefined, status], row);
  }
});

test("a picture over the limit, announced and not, is refused with 413 whatever the sender does first", async () => {
  const body = Buffer.concat([picture, Buffer.alloc(sourceBytesMax)]);
  const head = `${put} HTTP/1.1\r\nHost: x\r\n${writer}`;
  const announced = await writeThenRead(port, [`${head}Content-Length: ${body.length}\r\n\r\n`, body, healthCheck]);
  assert.deepEqual([announced.broken, statusOf(announced.text)], [undefined, 413], announced.text);
  const chunked = [
    `${head}Transfer-Encoding: chunked\r\n\r\n`,
    `${body.length.toString(16)}\r\n`,
    body,
    "\r\n0\r\n\r\n",
    healthCheck,
  ];
  const unannounced = await writeThenRead(port, chunked);
  assert.deepEqual([unannounced.broken, statusOf(unannounced.text)], [undefined, 413], unannounced.text);
});

test("refusals that are known only once the body is being read reach their senders, too", async () => {
  const rows: [string, string, Buffer, number][] = [
    ["a picture that breaks off", "", picture.subarray(0, 200), 422],
    ["a state that is another", `If-Match: "${"0".repeat(64)}"\r\n`, picture, 412],
  ];
  for (const [name, headers, begin, status] of rows) {
    const head = `${put} HTTP/1.1\r\nHost: x\r\n${writer}${headers}Content-Length: ${begin.length}\r\n\r\n`;
    const { text, broken } = await writeThenRead(port, [head, begin, healthCheck]);
    assert.deepEqual([broken, statusOf(text)], [undefined, status], `${name}: ${text.slice(0, 200)}`);
    assert.equal(answersIn(text), 2, name);
  }
});

test("503 for one upload too many reaches a sender that writes all first", async (t) => {
  const busy = await startTestOrigin(
    { after: (cleanUp) => t.after(cleanUp) },
    { config: { limits: { uploadsMax: 1 }, drainMs: 0 } },
  );
  const head = `${put} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${busy.tokens.writer}\r\n`;
  const first = connect(busy.port, "127.0.0.1");
  first.on("error", () => undefined);
  first.write(`${head}Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n`);
  await once(first, "data");
  const body = Buffer.alloc(4 * 1024 * 1024);
  const second = await writeThenRead(busy.port, [`${head}Content-Length: ${body.length}\r\n\r\n`, body, healthCheck]);
  assert.deepEqual([second.broken, statusOf(second.text)], [undefined, 503]);
  first.destroy();
});

test("undici and Node's own client get the refusal and go on, on the same connection pool", async () => {
  const agent = new Agent({ connections: 1, pipelining: 1 });
  for (const [token, status] of [
    [origin.tokens.writer, 415],
    [origin.tokens.edge, 403],
    ["x", 401],
  ] as const) {
    for (let round = 0; round < 3; round += 1) {
      const beganMs = performance.now();
      const answer = await undiciRequest(`${origin.url}/api/v1/images/x.jpg`, {
        method: "PUT",
        headers: { authorization: `Bearer ${token}` },
        body: Buffer.alloc(3 * 1024 * 1024),
        dispatcher: agent,
      });
      await answer.body.dump();
      assert.equal(answer.statusCode, status);
      assert.ok(performance.now() - beganMs < 4000, "nothing waits for a deadline");
    }
    const sent = httpRequest(`${origin.url}/api/v1/images/x.jpg`, {
      method: "PUT",
      headers: { authorization: `Bearer ${token}` },
    });
    sent.end(Buffer.alloc(3 * 1024 * 1024));
    const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream & { statusCode: number }];
    answer.resume();
    assert.equal(answer.statusCode, status);
  }
  await agent.close();
});

test("curl gets each refusal, with and without Expect: 100-continue", async (t) => {
  if (!needsProgram(t, "curl")) return;
  const folder = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const file = join(folder, "zeros");
  await writeFile(file, Buffer.alloc(12 * 1024 * 1024));
  for (const expect of ["Expect:", "Expect: 100-continue"]) {
    for (const [token, status] of [
      [origin.tokens.writer, "415"],
      [origin.tokens.edge, "403"],
      ["x", "401"],
    ] as const) {
      const words = ["-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-T", file];
      const url = `${origin.url}/api/v1/images/x.jpg`;
      const said = await new Promise<string>((resolve) => {
        execFile(
          "curl",
          [...words, "-H", expect, "-H", `Authorization: Bearer ${token}`, url],
          (error, out, errors) => {
            resolve(error === null ? out : errors);
          },
        );
      });
      assert.equal(said.split(" ", 1)[0], status, `${expect} ${said}`);
      // Refused by the head alone: no byte of the body travels.
      if (status !== "415" && expect !== "Expect:") assert.equal(said, `${status} 0`);
    }
  }
});

test("a request that follows one whose answer closes the connection changes nothing", async () => {
  const body = Buffer.alloc(100_000);
  const { text } = await writeThenRead(port, [
    `${put} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`,
    body,
    `DELETE /api/v1/images/good.jpg HTTP/1.1\r\nHost: x\r\n${writer}\r\n`,
  ]);
  assert.equal(statusOf(text), 401);
  assert.equal((await origin.call("HEAD", "/images/good.jpg")).status, 200);
});

test("a client that half-closes after its request gets its answer, and no connection stays", async () => {
  const sent = await jpeg(77);
  const auth = `Authorization: Bearer ${origin.tokens.writer}`;
  const putOf = (body: Buffer): Buffer =>
    Buffer.concat([
      Buffer.from(
        `PUT /api/v1/images/half.jpg HTTP/1.1\r\nHost: a\r\n${auth}\r\nContent-Length: ${body.length}\r\n\r\n`,
      ),
      body,
    ]);
  const getOf = (path: string): Buffer => Buffer.from(`GET /api/v1${path} HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`);
  const rows: [what: string, bytes: Buffer, status: number][] = [
    ["PUT of 0 bytes", putOf(Buffer.alloc(0)), 415],
    ["PUT of a picture", putOf(sent), 201],
    ["PUT of half a picture", putOf(sent).subarray(0, -100), 400],
    ["GET", getOf("/images"), 200],
    ["GET without a token", Buffer.from("GET /api/v1/images HTTP/1.1\r\nHost: a\r\n\r\n"), 401],
  ];
  for (const [what, bytes, status] of rows) {
    let received = "";
    let broken: string | undefined;
    const socket = connect(origin.port, "127.0.0.1").end(bytes).setEncoding("latin1");
    socket.on("data", (text: string) => (received += text));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => (broken = code));
    await closeOf(socket);
    assert.equal(statusOf(received), status, what);
    assert.notEqual(broken, "LATE", what);
  }
  // A feed has no end: who half-closes has left.
  const follower = connect(origin.port, "127.0.0.1").end(getOf("/feed"));
  let broken: string | undefined;
  follower.resume().on("error", ({ code }: NodeJS.ErrnoException) => (broken = code));
  await closeOf(follower);
  assert.notEqual(broken, "LATE", "the feed of one that has left is held");
});

test("without a valid token a connection is held for a bounded time, whatever it sends", async (t) => {
  const unauthenticatedTimeoutMs = 700;
  const strict = await startTestOrigin(
    { after: (cleanUp) => t.after(cleanUp) },
    { config: { limits: { unauthenticatedTimeoutMs } } },
  );
  const rows: [string, string, number][] = [
    ["nothing", "", 0],
    ["half a head", `${put} HTTP/1.1\r\nHost: x\r\n`, 408],
    ["a refused upload, and no body", `${put} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nx`, 401],
    ["a body for a route that anybody may read", `GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx`, 200],
    ["a whole request, and then silence", `GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n`, 200],
  ];
  for (const [name, bytes, status] of rows) {
    const socket = connect({ port: strict.port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => undefined);
    socket.setEncoding("latin1");
    let text = "";
    socket.on("data", (chunk: string) => {
      text += chunk;
    });
    const beganMs = performance.now();
    const closed = closeOf(socket);
    if (bytes === "") socket.once("end", () => socket.end());
    // A client that never ends by itself, and sends a byte now and then.
    const trickle = setInterval(() => socket.write("x", () => undefined), 100);
    if (bytes === "") clearInterval(trickle);
    t.after(() => {
      clearInterval(trickle);
    });
    socket.write(bytes);
    await closed;
    clearInterval(trickle);
    assert.equal(statusOf(text), status, `${name}: ${text}`);
    const heldMs = performance.now() - beganMs;
    assert.ok(heldMs < 2 * unauthenticatedTimeoutMs + 4000, `${name}: held for ${heldMs} ms`);
  }
  // Those that had no answer yet; the others were closed after theirs.
  assert.deepEqual(await closedStrangers(strict), { deadline: 2, network: 0, all: 0 });
});

test("a writer gets in while 4,000 connections without a token are attempted", async (t) => {
  const crowded = await startTestOrigin(
    { after: (cleanUp) => t.after(cleanUp) },
    { config: { limits: { unauthenticatedTimeoutMs: 60_000 } } },
  );
  const open = new Set<Socket>();
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
  let attempted = 0;
  const attempt = (): void => {
    attempted += 1;
    const socket = connect(crowded.port, "127.0.0.1");
    open.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
    socket.resume();
    // A body that never comes: this is what held 4,058 of 4,096 for four minutes.
    socket.write(`${put} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nx`);
  };
  let stored = 0;
  for (let wave = 0; wave < 40; wave += 1) {
    for (let each = 0; each < 100; each += 1) attempt();
    const agent = new Agent({ connections: 1 });
    const answer = await undiciRequest(`${crowded.url}/api/v1/images/good.jpg`, {
      method: "PUT",
      headers: { authorization: `Bearer ${crowded.tokens.writer}` },
      body: picture,
      dispatcher: agent,
    });
    await answer.body.dump();
    await agent.close();
    if (answer.statusCode < 300) stored += 1;
  }
  assert.deepEqual([attempted, stored], [4000, 40]);
  // Two turns after the last one was accepted, no more than the bound are left.
  for (let left = open.size; left > 64; left = open.size) {
    await (await crowded.call("GET", `${crowded.url}/healthz`)).arrayBuffer();
  }
});

test("the metrics tell how many connections without a token were too many, of a network and in all", async (t) => {
  const rows = [
    { limits: { unauthenticatedPerNetworkMax: 4 }, closed: { deadline: 0, network: 96, all: 0 } },
    { limits: { connectionsMax: 64, unauthenticatedPerNetworkMax: 64 }, closed: { deadline: 0, network: 0, all: 68 } },
  ];
  for (const { limits, closed } of rows) {
    const crowded = await startTestOrigin(
      { after: (cleanUp) => t.after(cleanUp) },
      { config: { limits: { unauthenticatedTimeoutMs: 60_000, ...limits } } },
    );
    const open = new Set<Socket>();
    t.after(() => {
      for (const socket of open) socket.destroy();
    });
    for (let count = 0; count < 100; count += 1) {
      const socket = connect(crowded.port, "127.0.0.1");
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => open.delete(socket));
      await once(socket, "connect");
    }
    const left = 100 - closed.network - closed.all;
    for (let held = open.size; held > left; held = open.size) {
      await (await crowded.call("GET", `${crowded.url}/healthz`)).arrayBuffer();
    }
    assert.deepEqual(await closedStrangers(crowded), closed);
  }
});

test("who holds connections with the edge token gives them back: writers and other edges get in", async (t) => {
  const crowded = await startTestOrigin(
    { after: (cleanUp) => t.after(cleanUp) },
    { config: { limits: { connectionsMax: 160 } } },
  );
  await crowded.json(201, "PUT", "/fleet", { body: fleetExample(["fra"]) });
  const open = new Set<Socket>();
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
  const request = (line: string): string =>
    `${line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${crowded.tokens.edge}\r\n`;
  const hold = async (localAddress: string, text: string): Promise<Socket> => {
    const socket = connect({ port: crowded.port, host: "127.0.0.1", localAddress });
    open.add(socket);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.write(text);
    return socket;
  };
  const honest = await hold("127.0.0.9", `${request("GET /api/v1/fleet")}\r\n`);
  await once(honest, "data");
  honest.resume();
  let stored = 0;
  for (let wave = 0; wave < 20; wave += 1) {
    // Half are answered and kept; of half the body never comes.
    for (let each = 0; each < 10; each += 1) {
      await hold("127.0.0.1", `${request("GET /api/v1/fleet")}\r\n`);
      await hold(
        "127.0.0.1",
        `${request("POST /api/v1/nodes")}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{`,
      );
    }
    const agent = new Agent({ connections: 1, connect: { localAddress: "127.0.0.7" } });
    const answer = await undiciRequest(`${crowded.url}/api/v1/images/good.jpg`, {
      method: "PUT",
      headers: { authorization: `Bearer ${crowded.tokens.writer}` },
      body: picture,
      dispatcher: agent,
    });
    await answer.body.dump();
    await agent.close();
    if (answer.statusCode < 300) stored += 1;
  }
  assert.equal(stored, 20);
  assert.equal(honest.closed, false, "the connection of another network stays");
});
