/** Many requests at once on one connection. */
import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { test as testOnce } from "node:test";
import { listen as listenAlone } from "../../../node/http/listener.ts";
import { test } from "./both-forms.ts";
import { openLine, readAnswers } from "./raw.ts";

const requestsOf = (count: number): string =>
  Array.from({ length: count }, (_none, index) => `GET /${index} HTTP/1.1\r\nHost: x\r\n\r\n`).join("");

function echo(asked: IncomingMessage, response: ServerResponse): void {
  const body = asked.url ?? "";
  response.writeHead(200, { "Content-Length": String(body.length) }).end(body);
}

test("one request of a connection is in progress at a time, and the responses keep their order", async ({
  t,
  listen,
}) => {
  const counts = { now: 0, most: 0 };
  const listener = await listen("127.0.0.1", 0, (asked, response) => {
    counts.now += 1;
    counts.most = Math.max(counts.most, counts.now);
    response.once("finish", () => (counts.now -= 1));
    setImmediate(() => {
      echo(asked, response);
    });
  });
  t.after(() => listener.close(0));
  const line = await openLine(listener);
  line.send(requestsOf(100));
  const answers = readAnswers(await line.until((text) => text.endsWith("/99")));
  assert.deepEqual(
    answers.map(({ body }) => body.toString()),
    Array.from({ length: 100 }, (_none, index) => `/${index}`),
  );
  assert.equal(counts.most, 1);
});

testOnce("a flood of requests in one write ends with a response that closes the connection", async (t) => {
  const { promise: first, resolve: hold } = Promise.withResolvers<ServerResponse>();
  let count = 0;
  const holding = await listenAlone("127.0.0.1", 0, (asked, response) => {
    // Nothing is sent until all requests have arrived.
    count += 1;
    if (count === 1) hold(response);
    else echo(asked, response);
  });
  t.after(() => holding.close(0));
  const flood = await openLine(holding);
  flood.send(requestsOf(1500));
  const held = await first;
  await new Promise((resolve) => setTimeout(resolve, 100));
  held.writeHead(200, { "Content-Length": "2" }).end("/0");
  const answers = readAnswers(await flood.rest());
  assert.ok(answers.length > 1 && answers.length <= 100, `${answers.length} responses`);
  assert.deepEqual(answers.at(-1)?.fields.get("connection"), ["close"]);
});

test("nothing behind a response that ends its connection reaches the application", async ({ t, listen }) => {
  const seen: string[] = [];
  const listener = await listen("127.0.0.1", 0, (asked, response) => {
    seen.push(asked.url ?? "");
    setImmediate(() => {
      if (asked.url === "/304") response.writeHead(304).end();
      else echo(asked, response);
    });
  });
  t.after(() => listener.close(0));
  const ending = [
    "GET /expects HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    "GET /304 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  ];
  for (const first of ending) {
    const line = await openLine(listener);
    line.send(`${first}${requestsOf(3)}`);
    const answers = readAnswers(await line.rest());
    assert.deepEqual(
      answers.map(({ fields }) => fields.get("connection")),
      [["close"]],
    );
  }
  await new Promise((resolve) => setTimeout(resolve, 50)); // what should not happen
  assert.deepEqual(seen, ["/expects", "/304"]);
});

test("a client that leaves takes its waiting requests with it", async ({ t, listen }) => {
  let begun = 0;
  const arrived = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const listener = await listen("127.0.0.1", 0, (_asked, response) => {
    begun += 1;
    arrived.resolve();
    response.once("close", gone.resolve);
  });
  t.after(() => listener.close(0));
  const line = await openLine(listener);
  line.send(requestsOf(50));
  await arrived.promise;
  line.socket.resetAndDestroy();
  await gone.promise;
  await new Promise(setImmediate);
  assert.equal(begun, 1);
});

test("a connection that sends many requests at once gets one response in each turn of the event loop", async ({
  t,
  listen,
}) => {
  let inThisTurn = 0;
  let most = 0;
  const listener = await listen("127.0.0.1", 0, (asked, response) => {
    if (inThisTurn === 0) setImmediate(() => (inThisTurn = 0));
    inThisTurn += 1;
    most = Math.max(most, inThisTurn);
    echo(asked, response);
  });
  t.after(() => listener.close(0));
  const floods = await Promise.all(Array.from({ length: 3 }, () => openLine(listener)));
  for (const flood of floods) flood.send(requestsOf(100));
  for (const flood of floods) await flood.until((text) => text.endsWith("/99"));
  // Twice, where a response ends between this turn's look at the sockets and its immediates.
  assert.ok(most <= 2 * floods.length, `${most} responses in one turn`);
});

test("a response goes on after the time for its request, whose body is unfinished; then the connection closes", async ({
  t,
  listen,
}) => {
  const listener = await listen(
    "127.0.0.1",
    0,
    (_asked, response) => {
      response.writeHead(200, { "Content-Length": "5" });
      let sent = 0;
      const sending = setInterval(() => {
        response.write("x");
        if ((sent += 1) < 5) return;
        clearInterval(sending);
        response.end();
      }, 200);
    },
    { headers: 200, request: 200, check: 50 },
  );
  t.after(() => listener.close(0));
  for (const field of ["Content-Length: 10", "Transfer-Encoding: chunked"]) {
    const line = await openLine(listener);
    line.send(`GET / HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`);
    const answers = readAnswers(await line.rest());
    assert.deepEqual(
      answers.map(({ status, body }) => [status, body.toString()]),
      [[200, "xxxxx"]],
      field,
    );
  }
});
