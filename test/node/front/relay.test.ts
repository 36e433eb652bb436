/** What passes through the front unchanged: requests with bodies, upgrades, streams, and the client's address. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { test as testOnce, type TestContext } from "node:test";
import { sharedLanes } from "../../support/shared-lanes.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { listen, type Listener } from "../../../node/http/listener.ts";
import { listenBehindFront, listenInLane } from "../http/both-forms.ts";
import { openLine, readAnswers } from "../http/raw.ts";
import { get, startFronted, test, turns } from "./fronted.ts";

/** Reports everything of a request that an application can see before its body. */
const tellAll: RequestListener = (asked, response) => {
  const { method, url, httpVersion, rawHeaders, socket } = asked;
  const { remoteAddress } = socket;
  const told = JSON.stringify({ method, url, httpVersion, rawHeaders, remoteAddress });
  response.writeHead(200, { "Content-Length": String(told.length) }).end(told);
};

async function allListeners(t: TestContext): Promise<Listener[]> {
  const all = [await listen("127.0.0.1", 0, tellAll), await listenBehindFront("127.0.0.1", 0, tellAll)];
  const lanes = await sharedLanes(t);
  if (lanes !== undefined) all.push(await listenInLane(lanes)("127.0.0.1", 0, tellAll));
  for (const one of all) t.after(() => one.close(0));
  return all;
}

const close = get("/end", "Connection: close");
const post = (fields: string, body: string): string => `POST /p HTTP/1.1\r\nHost: x\r\n${fields}\r\n\r\n${body}`;

const passed: [name: string, bytes: string][] = [
  ["an empty body", post("Content-Length: 0", "") + close],
  ["other methods", `DELETE /d HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n${close}`],
  ["absolute-form", `GET http://x/abs HTTP/1.1\r\nHost: x\r\n\r\n${close}`],
  ["Upgrade", get("/ws", "Connection: close", "Upgrade: websocket")],
  ["two Host fields", `GET /h HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n${close}`],
  ["a folded field", `GET /f HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n${close}`],
  ["obs-text", get("/o", "X: \xe4\xff") + close],
  ["an empty line first", `\r\n\r\n${get("/e")}${close}`],
  ["a long head", get("/l", `X: ${"x".repeat(50_000)}`) + close],
  ["HTTP/1.0", "GET /old HTTP/1.0\r\nHost: x\r\n\r\n"],
  ["HTTP/1.0 that is kept", `GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n${close}`],
];

testOnce(
  "Node's server gets what the front does not read unchanged, and so does the client its responses",
  async (t) => {
    const listeners = await allListeners(t);
    for (const [name, bytes] of passed) {
      const got = await Promise.all(
        listeners.map(async (listener) => {
          const line = await openLine(listener);
          line.send(Buffer.from(bytes, "latin1"));
          return (await line.rest()).replaceAll(/Date: .*\r\n|[0-9a-f]{16}(?=\r|")/g, "");
        }),
      );
      for (const one of got) assert.equal(one, got[0], name);
      assert.notEqual(got[0], "", name);
    }
  },
);

const withBody: [name: string, bytes: string, responses: number][] = [
  ["a body", post("Content-Length: 11", "hello world") + close, 1],
  ["chunks, with a trailer", post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX: y\r\n\r\n") + close, 1],
  ["a body that looks like a request", post(`Content-Length: ${close.length}`, close) + close, 1],
  ["a large body", post("Content-Length: 5000000", "b".repeat(5_000_000)) + close, 1],
  ["a large body behind a GET", get("/a") + post("Content-Length: 5000000", "b".repeat(5_000_000)) + close, 2],
  ["a body that never comes", post("Content-Length: 100000000000", "b"), 1],
  ["chunks of one byte", post("Transfer-Encoding: chunked", "1\r\nb\r\n".repeat(500_000)), 1],
  ["Expect: 100-continue", post("Expect: 100-continue\r\nContent-Length: 5", ""), 1],
  ["GET with a body", `GET /g HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello${close}`, 1],
];

async function sendBodies(t: TestContext, listenFronted: typeof listenBehindFront): Promise<void> {
  let chunks = 0;
  const fronted = await listenFronted("127.0.0.1", 0, (asked, response) => {
    asked.on("data", () => {
      chunks += 1;
    });
    tellAll(asked, response);
  });
  t.after(() => fronted.close(0));
  for (const [name, bytes, count] of withBody) {
    chunks = 0;
    const line = await openLine(fronted);
    line.send(Buffer.from(bytes, "latin1"));
    const answers = readAnswers(await line.rest());
    assert.equal(answers.length, count, name);
    assert.deepEqual(answers.at(-1)?.fields.get("connection"), ["close"], name);
    assert.ok(chunks < 1000, `${name}: ${chunks} chunks of the body were read`);
  }
}

testOnce("a request with a body is the last of its connection, and its body is not read", async (t) => {
  await sendBodies(t, listenBehindFront);
  const lanes = await sharedLanes(t);
  if (lanes !== undefined) await sendBodies(t, listenInLane(lanes));
});

test("an event stream arrives event by event, and the server learns that its client has left", async (t) => {
  const fronted = await startFronted(t);
  for (const leave of ["end", "destroy", "resetAndDestroy"] as const) {
    const line = await openLine(fronted.listener);
    line.send(get("/hit") + get("/held"));
    const { asked, response } = await fronted.held();
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (let event = 0; event < 20; event += 1) {
      response.write(`data: ${event}\n\n`);
      await line.until((text) => text.includes(`data: ${event}\n\n`));
    }
    if (leave === "end") {
      line.socket.end();
      await once(asked.socket, "end");
      response.end();
      assert.equal(readAnswers(await line.rest()).length, 2);
    } else line.socket[leave]();
    if (leave === "destroy") await turnsUntil(() => response.destroyed || !response.write("data: x\n\n"), 1);
    await turnsUntil(() => response.closed && asked.socket.destroyed);
    await fronted.nothingLeft();
  }
});

test("a client that does not read makes the server wait, and then gets everything", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.socket.pause();
  line.send(get("/held", "Connection: close"));
  const { response } = await fronted.held();
  const chunk = Buffer.alloc(64 * 1024, "c");
  let sentBytes = 0;
  while (sentBytes < 32 * 1024 * 1024) {
    sentBytes += chunk.length;
    if (!response.write(chunk)) break;
    await turns(1);
  }
  assert.ok(response.writableNeedDrain && sentBytes < 32 * 1024 * 1024, `${sentBytes} bytes without a wait`);
  line.socket.resume();
  await once(response, "drain");
  response.end();
  const [answer] = readAnswers(await line.rest());
  assert.equal(answer?.body.length, sentBytes);
  await fronted.nothingLeft();
});

test("a response that the application destroys is cut off, with or without requests after it", async (t) => {
  const fronted = await startFronted(t);
  for (const behind of ["", get("/hit")]) {
    const line = await openLine(fronted.listener);
    line.send(get("/held") + behind);
    const { response } = await fronted.held();
    response.writeHead(200, { "Content-Length": "10" }).write("abc");
    await line.until((text) => text.endsWith("abc"));
    response.destroy();
    assert.ok((await line.rest()).endsWith("\r\n\r\nabc"));
    await fronted.nothingLeft();
  }
  assert.ok(!fronted.seen.some((one) => one.startsWith("front")));
});

test("a response that closes the connection is the last one, and arrives whatever waits after it", async (t) => {
  const fronted = await startFronted(t);
  const line = await openLine(fronted.listener);
  line.send(get("/held") + get("/hit") + get("/a"));
  const { response } = await fronted.held();
  response.setHeader("Connection", "close").end("last");
  assert.equal(readAnswers(await line.rest()).length, 1);
  assert.deepEqual(fronted.seen, ["server /held"]);
  const other = await openLine(fronted.listener);
  other.send(get("/held/2", "Connection: close") + get("/hit") + get("/a"));
  (await fronted.held()).response.end("last");
  assert.equal(readAnswers(await other.rest()).length, 1);
  assert.deepEqual(fronted.seen, ["server /held", "server /held/2"]);
  await fronted.nothingLeft();
});
