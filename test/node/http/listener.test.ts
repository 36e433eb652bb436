import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { test as testOnce, type TestContext } from "node:test";
import { listen as listenAlone, type Listener, type ListenOptions } from "../../../node/http/listener.ts";
import { needs } from "../../support/needs.ts";
import { test } from "./both-forms.ts";
import { exchange, openLine, problemOf, readAnswer, readAnswers, request } from "./raw.ts";
import { turnsUntil } from "../../support/turns-until.ts";

async function startListener(
  listen: typeof listenAlone,
  t: TestContext,
  application: RequestListener = echo,
  limits: ListenOptions = {},
): Promise<Listener> {
  const listener = await listen("127.0.0.1", 0, application, limits);
  t.after(() => listener.close(0));
  return listener;
}

/** Answers with method and target. */
const echo: RequestListener = (asked, response) => {
  const body = `${asked.method} ${asked.url}`;
  response.writeHead(200, { "Content-Length": String(Buffer.byteLength(body)) }).end(body);
};

interface Exchange {
  asked: IncomingMessage;
  response: ServerResponse;
}

/** An application whose requests a test answers by hand, in the order in which they came. */
function byHand(): { application: RequestListener; next: () => Promise<Exchange> } {
  const came: Exchange[] = [];
  return {
    application(asked, response) {
      came.push({ asked, response });
    },
    async next() {
      await turnsUntil(() => came.length > 0);
      const [first] = came.splice(0, 1);
      assert(first !== undefined);
      return first;
    },
  };
}

test("bytes that are not HTTP/1.1, or can be read in two ways, get one problem, and the connection ends", async ({
  t,
  listen,
}) => {
  let requests = 0;
  const listener = await startListener(listen, t, (asked, response) => {
    requests += 1;
    echo(asked, response);
  });
  const codes: Record<number, string> = { 400: "BAD_REQUEST", 501: "NOT_IMPLEMENTED", 505: "VERSION_NOT_SUPPORTED" };
  const rows: [name: string, bytes: string, status?: number][] = [
    ["a word", "hello\r\n\r\n"],
    ["a TLS client hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["NUL bytes", "\0".repeat(64)],
    ["HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
    ["an unknown version", "GET / HTTP/3.7\r\nHost: x\r\n\r\n", 505],
    ["an unknown method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501],
    ["CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501],
    ["a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a space before the colon (RFC 9112 §5.1)", "GET / HTTP/1.1\r\nHost : x\r\n\r\n"],
    ["a field without colon", "GET / HTTP/1.1\r\nHost x\r\n\r\n"],
    ["NUL in a field (RFC 9110 §5.5)", "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n"],
    ["a bare CR in a field", "GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n"],
    [
      "both lengths (RFC 9112 §6.1)",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["two lengths", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    ["a negative length", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"],
    ["an unknown coding as the last", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"],
  ];
  for (const [name, bytes, status = 400] of rows) {
    const answer = readAnswer(await exchange(listener, Buffer.from(bytes, "latin1")));
    const problem = problemOf(answer);
    assert.deepEqual([answer.status, problem["code"]], [status, codes[status]], name);
    assert.deepEqual(answer.fields.get("connection"), ["close"], name);
    assert.deepEqual(answer.fields.get("cache-control"), ["no-store"], name);
    assert.deepEqual(answer.fields.get("x-request-id"), [problem["requestId"]], name);
  }
  assert.equal(requests, 0);
});

test("names and values of a request are read up to 96 KB; longer ones get a 431 that says so", async ({
  t,
  listen,
}) => {
  const listener = await startListener(listen, t);
  const boundBytes = 96 * 1024;
  // Counted: the target (1), `Host` (4), `x` (1), `X` (1) and the field's value. Each of the two that pass the bound
  // ends with the byte that does, so that the server has read all of it, and its answer meets no reset.
  const rest = "\r\nConnection: close\r\n\r\n".length;
  const fields = (valueBytes: number): string => `GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(valueBytes)}`;
  const rows: [name: string, bytes: string, status: number][] = [
    ["a field below the bound", `${fields(boundBytes - 7 - rest)}\r\nConnection: close\r\n\r\n`, 200],
    ["a field at the bound", fields(boundBytes - 7), 431],
    ["a target below the bound", `GET /${"a".repeat(boundBytes - 50)} HTTP/1.1\r\nConnection: close\r\n\r\n`, 200],
    ["a target at the bound", `GET /${"a".repeat(boundBytes - 1)}`, 431],
  ];
  for (const [name, bytes, status] of rows) {
    const answer = readAnswer(await exchange(listener, bytes));
    assert.equal(answer.status, status, name);
    if (status === 431) assert.equal(problemOf(answer)["code"], "HEADERS_TOO_LARGE", name);
  }
});

test("a request without Host reaches the application, which has its own error for it", async ({ t, listen }) => {
  const listener = await startListener(listen, t);
  assert.equal((await request(listener, "GET /a")).body.toString(), "GET /a");
});

test("headers that don't arrive in time get a 408, and the connection ends", async ({ t, listen }) => {
  const listener = await startListener(listen, t, echo, { headers: 40, request: 80, check: 10 });
  for (const start of ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX: a"]) {
    const answer = readAnswer(await exchange(listener, start));
    assert.deepEqual([answer.status, problemOf(answer)["code"]], [408, "REQUEST_TIMEOUT"], JSON.stringify(start));
  }
});

test("a body that is late ends the connection after the response, and nothing is mixed into it", async ({
  t,
  listen,
}) => {
  const { application, next } = byHand();
  const listener = await startListener(listen, t, application, { headers: 200, request: 200, check: 10 });
  const line = await openLine(listener);
  line.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  const { response } = await next();
  response.writeHead(200, { "Content-Length": "5" });
  response.write("ab");
  await pause(500);
  response.end("cde");
  const text = await line.rest();
  assert.ok(text.endsWith("\r\n\r\nabcde"), JSON.stringify(text));
});

testOnce("bytes that are not a request get a 400 behind the responses to the requests before them", async (t) => {
  const { application, next } = byHand();
  const listener = await startListener(listenAlone, t, application);
  const line = await openLine(listener);
  line.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  const { response } = await next();
  response.writeHead(200, { "Content-Length": "5" });
  response.write("ab");
  await line.until((text) => text.endsWith("ab"));
  line.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\ngarbage\r\n\r\n");
  line.send("GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
  response.end("cde");
  const waiting = await next();
  waiting.response.end(waiting.asked.url);
  assert.deepEqual(
    readAnswers(await line.rest()).map(({ status, body }) => (status === 200 ? body.toString() : status)),
    ["abcde", "/b", 400],
  );

  const second = await openLine(await startListener(listenAlone, t));
  second.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  await second.until((text) => text.endsWith("GET /a"));
  second.send("garbage\r\n\r\n");
  assert.deepEqual(
    readAnswers(await second.rest()).map(({ status }) => status),
    [200, 400],
  );
});

test("a connection is kept, and requests sent at once are answered in order (RFC 9112 §9.3.2)", async ({
  t,
  listen,
}) => {
  const { application, next } = byHand();
  const listener = await startListener(listen, t, application);
  const line = await openLine(listener);
  line.send(["/1", "/2", "/3"].map((target) => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`).join(""));
  for (let count = 0; count < 3; count += 1) {
    const { asked, response } = await next();
    response.writeHead(200, { "Content-Length": "2" }).end(asked.url);
  }
  const text = await line.until((so) => so.endsWith("/3"));
  assert.deepEqual(
    readAnswers(text).map(({ body }) => body.toString()),
    ["/1", "/2", "/3"],
  );
  line.send("GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const last = await next();
  last.response.writeHead(200, { "Content-Length": "2" }).end(last.asked.url);
  const answers = readAnswers(await line.rest());
  assert.equal(answers.length, 4);
  assert.deepEqual(answers[0]?.fields.get("connection"), ["keep-alive"]);
  assert.deepEqual(answers[3]?.fields.get("connection"), ["close"]);
});

test("a client that half-closes after its request gets its response, then the end (RFC 9112 §9.6)", async ({
  t,
  listen,
}) => {
  const listener = await startListener(listen, t, (asked, response) => {
    // The FIN is here before the answer is.
    asked.resume().once("end", () => setTimeout(() => echo(asked, response), 50));
  });
  const rows = [
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET /a HTTP/1.0\r\n\r\n",
  ];
  for (const bytes of rows) {
    const line = await openLine(listener);
    line.socket.end(bytes);
    assert.match(await line.rest(), /^HTTP\/1\.1 200 OK\r\n/, bytes);
  }
  const two = await openLine(listener);
  two.socket.end(`${rows[0]}${rows[0]?.replace("/a", "/b")}`);
  assert.deepEqual(
    readAnswers(await two.rest()).map(({ body }) => body.toString()),
    ["GET /a", "GET /b"],
  );
  const idle = await openLine(listener);
  idle.socket.end();
  assert.equal(await idle.rest(), "");
  const cut = await openLine(listener);
  cut.socket.end("GET /a HTTP/1.1\r\nHos");
  assert.match(await cut.rest(), /^HTTP\/1\.1 400 /);
});

test("a client of HTTP/1.0 or 0.9 is answered, and its connection ends", async ({ t, listen }) => {
  const listener = await startListener(listen, t);
  for (const requestLine of ["GET /old HTTP/1.0", "GET /old"]) {
    const answer = readAnswer(await exchange(listener, `${requestLine}\r\n\r\n`));
    assert.deepEqual([answer.status, answer.body.toString()], [200, "GET /old"], requestLine);
  }
});

test("an IPv6 listener answers there, and leaves the IPv4 address of the same port to others", async ({
  t,
  listen,
}) => {
  const isThere = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));
  if (!needs(t, isThere, "this machine has no ::1")) return;
  const listener = await listen("::1", 0, echo);
  t.after(() => listener.close(0));
  assert.equal((await request(listener, "GET /six", ["Host: [::1]"])).body.toString(), "GET /six");
  const every = await listen("::", 0, echo);
  t.after(() => every.close(0));
  const four = await listen("127.0.0.1", every.port, (_asked, response) => response.end("four"));
  t.after(() => four.close(0));
  assert.equal((await request(four, "GET /", ["Host: x"])).body.toString(), "four");
});

test("an address that is in use, or not this machine's, gives the system's error", async ({ t, listen }) => {
  const listener = await startListener(listen, t);
  await assert.rejects(listen("127.0.0.1", listener.port, echo), { code: "EADDRINUSE" });
  await assert.rejects(listen("192.0.2.1", 0, echo), { code: "EADDRNOTAVAIL" });
});

test("close() closes idle connections at once, accepts no new ones, and lets running responses end", async ({
  t,
  listen,
}) => {
  const { application, next } = byHand();
  const listener = await startListener(listen, t, application);
  const idle = await openLine(listener);
  idle.send("GET /idle HTTP/1.1\r\nHost: x\r\n\r\n");
  (await next()).response.writeHead(200, { "Content-Length": "1" }).end("i");
  await idle.until((text) => text.endsWith("i"));
  const busy = await openLine(listener);
  busy.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  const { response } = await next();
  const closed = listener.close(60_000);
  await idle.rest();
  const refused = connect(listener.port, listener.address);
  const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
  response.end("whole");
  assert.equal(readAnswer(await busy.rest()).body.toString(), "whole");
  await closed;
});

test("close() cuts off what still runs after the grace time", async ({ t, listen }) => {
  const { application, next } = byHand();
  const listener = await startListener(listen, t, application);
  const hanging = await openLine(listener);
  hanging.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  await next();
  await listener.close(1);
  assert.equal(await hanging.rest(), "");
});

test("close() lets a slow client read the rest of a response that is already written", async ({ t, listen }) => {
  const { application, next } = byHand();
  const listener = await startListener(listen, t, application);
  const slow = await openLine(listener);
  slow.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  const { response } = await next();
  slow.socket.pause();
  const body = Buffer.alloc(16 * 1024 * 1024, "a"); // more than the sockets' buffers hold
  response.writeHead(200, { "Content-Length": String(body.length) }).end(body);
  const closed = listener.close(60_000);
  slow.socket.resume();
  assert.equal(readAnswer(await slow.rest()).body.length, body.length);
  await closed;
});

test("a second close() is harmless, and the request in progress on a kept connection is its last", async ({
  t,
  listen,
}) => {
  const { application, next } = byHand();
  const listener = await startListener(listen, t, application);
  const kept = await openLine(listener);
  kept.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  const first = await next();
  const closed = listener.close(60_000);
  first.response.writeHead(200, { "Content-Length": "1" }).end("1");
  const second = await next();
  second.response.writeHead(200, { "Content-Length": "1" }).end("2");
  const answers = readAnswers(await kept.rest());
  assert.deepEqual(
    answers.map(({ body }) => body.toString()),
    ["1", "2"],
  );
  await closed;
  await listener.close(60_000);
});

test("listeners share a port when both say so: clients are spread, and one that closes leaves no gap", async ({
  t,
  listen,
}) => {
  const host = `127.${1 + Math.floor(Math.random() * 250)}.${process.pid % 256}.1`;
  const port = 8080;
  const named =
    (name: string): RequestListener =>
    (_, response) => {
      response.writeHead(200, { "Content-Length": String(name.length), Connection: "close" }).end(name);
    };
  const open = async (name: string): Promise<Listener> => {
    const listener = await listen(host, port, named(name), { reusePort: true });
    t.after(() => listener.close(0));
    return listener;
  };
  const [one, two] = [await open("1"), await open("2")];
  const names = async (): Promise<string> => {
    const bodies: string[] = [];
    // Each connection has a port of its own: that one of two gets none of 64 has a chance of 2^-63.
    for (let client = 0; client < 64; client++) bodies.push(await (await fetch(`http://${host}:${port}/`)).text());
    return [...new Set(bodies)].toSorted().join("");
  };
  assert.equal(await names(), "12");
  await one.close(0);
  assert.equal(await names(), "2");
  await open("3");
  assert.equal(await names(), "23");
  await assert.rejects(listen(host, port, echo), { code: "EADDRINUSE" }, "who does not share can't have it");
  await two.close(0);
});
