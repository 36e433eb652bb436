/** The origin's HTTP/1.1 (RFC 9110, RFC 9112), byte by byte over sockets: what no client library sends. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { exchange, openLine, readAnswer, readAnswers } from "../node/http/raw.ts";
import { filePool, fleetExample, jpeg, startTestOrigin, type TestOrigin } from "./running-origin.ts";

interface At {
  address: string;
  port: number;
}

/** An origin whose uploads wait for their inspection until `release` is called. */
async function start(t: TestContext): Promise<{ origin: TestOrigin; at: At; release: () => void }> {
  const gate = Promise.withResolvers<void>();
  const pool = filePool();
  const inspector: typeof pool = {
    async inspect(source, options) {
      await gate.promise;
      return await pool.inspect(source, options);
    },
  };
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { inspector });
  return { origin, at: { address: "127.0.0.1", port: origin.port }, release: gate.resolve };
}

/** A header section with the writer's token. */
function head({ tokens }: TestOrigin, requestLine: string, ...lines: readonly string[]): string {
  return [`${requestLine} HTTP/1.1`, "Host: x", `Authorization: Bearer ${tokens.writer}`, ...lines, "", ""].join(
    "\r\n",
  );
}

const statuses = (text: string): number[] => readAnswers(text).map(({ status }) => status);
/** Long enough for a wrong response to come, which has nothing to wait for. */
const aMoment = async (): Promise<void> => {
  await new Promise((resolve) => setTimeout(resolve, 100));
};

const wrongInput: readonly [name: string, bytes: string, status: number][] = [
  ["a word", "hello\r\n\r\n", 400],
  ["NUL", "\0", 400],
  ["another version", "GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n", 505],
  ["CONNECT", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501],
  ["a header section that is too large", `GET /healthz HTTP/1.1\r\nX: ${"y".repeat(100_000)}`, 431],
];

for (const [name, bytes, status] of wrongInput) {
  test(`a running request is answered before what comes behind it: ${name}`, async (t) => {
    const { origin, at, release } = await start(t);
    const picture = await jpeg(1);
    const line = await openLine(at);
    line.send(head(origin, "PUT /api/v1/images/a.jpg", `Content-Length: ${picture.length}`));
    line.send(Buffer.concat([picture, Buffer.from(head(origin, "GET /healthz"))]));
    line.send(bytes);
    await aMoment();
    line.send("more of it\r\n\r\n");
    await aMoment();
    assert.equal(await line.until(() => true), "", "nothing is sent in place of the response");
    release();
    assert.deepEqual(statuses(await line.rest()), [201, 200, status]);
    assert.equal((await origin.call("GET", "/images/a.jpg")).status, 200);
  });
}

test("what follows a request for the feed is not mixed into the feed", async (t) => {
  const { origin, at } = await start(t);
  const line = await openLine(at);
  line.send(head(origin, "GET /api/v1/feed"));
  await line.until((text) => text.includes("event: hello"));
  line.send("hello\r\n\r\n");
  await origin.json(202, "POST", "/purges", {
    body: '{"names":["a.jpg"]}',
    headers: { "content-type": "application/json" },
  });
  const text = await line.until((so) => so.includes("event: purge"));
  assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1, text);
  line.socket.destroy();
});

test("a body that can't be read is answered once: in place of its request's response, or not at all", async (t) => {
  const { origin, at } = await start(t);
  const chunked = head(origin, "PUT /api/v1/images/a.jpg", "Transfer-Encoding: chunked");
  assert.deepEqual(statuses(await exchange(at, `${chunked}zz\r\n`)), [400]);
  // The method is refused before the body breaks off.
  const refused = await openLine(at);
  refused.send(`${head(origin, "POST /api/v1/images/a.jpg", "Content-Length: 5")}he`);
  await refused.until((text) => text.includes("405"));
  refused.socket.end();
  assert.deepEqual(statuses(await refused.rest()), [405]);
});

test("a 100 comes only before a response to a body that is read (RFC 9110 §10.1.1)", async (t) => {
  const { origin, at, release } = await start(t);
  release();
  const picture = await jpeg(1);
  const expecting = (requestLine: string, ...lines: readonly string[]): string =>
    head(origin, requestLine, "Expect: 100-continue", `Content-Length: ${picture.length}`, ...lines);
  const rows: [name: string, bytes: string, status: number][] = [
    ["a method that is not allowed", expecting("POST /api/v1/images/a.jpg"), 405],
    ["a method that no path has", expecting("PATCH /healthz"), 405],
    ["a path that is not there", expecting("PUT /api/v1/none"), 404],
    [
      "no token",
      "PUT /api/v1/images/a.jpg HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
      401,
    ],
    ["two Host fields", expecting("PUT /api/v1/images/a.jpg", "Host: y"), 400],
    [
      "a coding that is not known",
      head(origin, "PUT /api/v1/images/a.jpg", "Expect: 100-continue", "Transfer-Encoding: x, chunked"),
      501,
    ],
    [
      "a body that is too large",
      head(origin, "PUT /api/v1/images/a.jpg", "Expect: 100-continue", "Content-Length: 99999999999"),
      413,
    ],
    ["a body that nobody reads", expecting("GET /api/openapi.json"), 200],
    ["CONNECT", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", 501],
  ];
  for (const [name, bytes, status] of rows) assert.deepEqual(statuses(await exchange(at, bytes)), [status], name);
  const line = await openLine(at);
  line.send(expecting("PUT /api/v1/images/a.jpg", "Connection: close"));
  await line.until((text) => text === "HTTP/1.1 100 Continue\r\n\r\n");
  line.send(picture);
  assert.deepEqual(statuses(await line.rest()), [100, 201]);
});

test("two Host fields are refused, and absolute-form is accepted on every path (RFC 9112 §3.2)", async (t) => {
  const { origin, at, release } = await start(t);
  release();
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  const close = "Connection: close";
  const paths = ["/healthz", "/metrics", "/api/openapi.json", "/api/v1/images/a.jpg", "/api/v1/images?limit=1"];
  for (const path of paths) {
    const ask = async (target: string, ...lines: readonly string[]): Promise<number> =>
      readAnswer(await exchange(at, head(origin, `GET ${target}`, close, ...lines))).status;
    assert.equal(await ask(path), 200, path);
    assert.equal(await ask(`http://origin.test:7070${path}`), 200, `${path}, absolute`);
    assert.equal(await ask(path, "Host: x"), 400, `${path}, two Host fields`);
    assert.equal(await ask(`http://u@origin.test${path}`), 400, `${path}, user information`);
  }
  const put = head(origin, "PUT http://x/api/v1/images/b.jpg", close, `Content-Length: ${(await jpeg(2)).length}`);
  assert.equal(readAnswer(await exchange(at, Buffer.concat([Buffer.from(put), await jpeg(2)]))).status, 201);
  assert.equal((await origin.call("GET", "/images/b.jpg")).status, 200);
});

test("If-Match of a read is judged strongly, and before If-None-Match (RFC 9110 §13.1.1, §13.2.2)", async (t) => {
  const { origin, at, release } = await start(t);
  release();
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  await origin.json(201, "PUT", "/fleet", { body: fleetExample() });
  for (const path of ["/images/a.jpg", "/fleet"]) {
    const etag = (await origin.call("GET", path)).headers.get("etag") ?? "";
    const rows: [lines: string[], status: number][] = [
      [[`If-Match: ${etag}`], 200],
      [["If-Match: *"], 200],
      [[`If-Match: "x", ${etag}`], 200],
      [['If-Match: "x"'], 412],
      [[`If-Match: W/${etag}`], 412],
      [["If-Match: x"], 412],
      [['If-Match: "x"', `If-None-Match: ${etag}`], 412],
      [[`If-Match: ${etag}`, `If-None-Match: ${etag}`], 304],
      [['If-Match: "x"', "Range: bytes=0-0"], 412],
    ];
    for (const method of ["GET", "HEAD"]) {
      for (const [lines, status] of rows) {
        const bytes = head(origin, `${method} /api/v1${path}`, "Connection: close", ...lines);
        const answer = readAnswer(await exchange(at, bytes), { isHead: method === "HEAD" });
        assert.equal(answer.status, status, `${method} ${path} ${lines.join()}`);
      }
    }
  }
});

test("HEAD works wherever GET does (RFC 9110 §9.1)", async (t) => {
  const { origin, at } = await start(t);
  await origin.json(201, "PUT", "/fleet", { body: fleetExample() });
  const document = await origin.json<{ paths: Record<string, Record<string, unknown>> }>(
    200,
    "GET",
    `${origin.url}/api/openapi.json`,
  );
  const paths = Object.entries(document.paths).filter(([, methods]) => "get" in methods);
  assert.ok(paths.length > 10, `${paths.length} paths`);
  for (const [pattern] of paths) {
    const path = pattern.replaceAll(/\{[^}]*\}|\*/g, "1");
    const ask = async (method: string): Promise<(string | number | undefined)[]> => {
      const line = await openLine(at);
      line.send(head(origin, `${method} ${path}`, "Connection: close"));
      const isFeed = method === "GET" && path.endsWith("/feed");
      const text = await (isFeed ? line.until((so) => so.includes("event: hello")) : line.rest());
      line.socket.destroy();
      if (isFeed) return [200, "text/event-stream; charset=utf-8", undefined];
      const { status, fields } = readAnswer(text, { isHead: method === "HEAD" });
      return [status, fields.get("content-type")?.join(), fields.get("etag")?.join()];
    };
    assert.deepEqual(await ask("HEAD"), await ask("GET"), path);
  }
});
