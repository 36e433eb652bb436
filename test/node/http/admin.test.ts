import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { NearcastError } from "#base/errors.ts";
import { type AdminParts, buildAdminApp } from "../../../node/http/admin.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import { exchange, fieldOf, problemOf, readAnswer, request } from "./raw.ts";

async function startAdmin(t: TestContext, parts: Partial<AdminParts> = {}): Promise<Listener> {
  const app = buildAdminApp({
    hosts: [],
    unready: () => [],
    warnings: () => [],
    status: () => ({ node: "fra1", pid: 7 }),
    metrics: { render: () => Promise.resolve("requests_total 3\n"), contentType: "text/plain; version=0.0.4" },
    explainUrl: (url, accept) => Promise.resolve({ url: url.href, accept: accept ?? null }),
    explainName: (question) => question,
    ...parts,
  });
  await app.ready();
  t.after(() => app.close());
  const listener = await listen("127.0.0.1", 0, (asked, response) => {
    app.routing(asked, response);
  });
  t.after(() => listener.close(0));
  return listener;
}

const host = ["Host: 127.0.0.1"];

test("each path gives what it is for", async (t) => {
  const listener = await startAdmin(t);
  const rows: [target: string, wanted: unknown][] = [
    ["/healthz", { state: "alive" }],
    ["/readyz", { ready: true, reasons: [], warnings: [] }],
    ["/status", { node: "fra1", pid: 7 }],
    ["/explain?url=http://img.cdn.test/a.jpg%3Fw=200", { url: "http://img.cdn.test/a.jpg?w=200", accept: null }],
    [
      "/explain?url=http://img.cdn.test/&accept=image/webp,*/*",
      { url: "http://img.cdn.test/", accept: "image/webp,*/*" },
    ],
    ["/explain/dns?name=img.cdn.test", { name: "img.cdn.test", type: "A", ip: "127.0.0.1" }],
    ["/explain/dns?name=x&type=aaaa&ip=2001:db8::1", { name: "x", type: "AAAA", ip: "2001:db8::1" }],
  ];
  for (const [target, wanted] of rows) {
    const answer = await request(listener, `GET ${target}`, host);
    assert.equal(answer.status, 200, `${target}: ${answer.body.toString()}`);
    assert.deepEqual(JSON.parse(answer.body.toString()), wanted, target);
  }
  const metrics = await request(listener, "GET /metrics", host);
  assert.equal(metrics.body.toString(), "requests_total 3\n");
  assert.match(fieldOf(metrics, "content-type") ?? "", /^text\/plain; version=0\.0\.4/);
});

test("a node that is not ready says why, with 503, and lives all the same", async (t) => {
  const listener = await startAdmin(t, { unready: () => ["no fleet document", "draining"] });
  const answer = await request(listener, "GET /readyz", host);
  assert.equal(answer.status, 503);
  const reasons = ["no fleet document", "draining"];
  assert.deepEqual(JSON.parse(answer.body.toString()), { ready: false, reasons, warnings: [] });
  assert.equal((await request(listener, "GET /healthz", host)).status, 200);
});

test("a warning is reported and takes no node out of service", async (t) => {
  const listener = await startAdmin(t, { warnings: () => ["the origin is silent"] });
  const answer = await request(listener, "GET /readyz", host);
  assert.equal(answer.status, 200);
  assert.deepEqual(JSON.parse(answer.body.toString()), {
    ready: true,
    reasons: [],
    warnings: ["the origin is silent"],
  });
});

test("an unknown path, or a method that changes something, is a 404 that names what there is", async (t) => {
  const listener = await startAdmin(t);
  for (const asked of ["GET /", "GET /health", "GET /explain/", "GET /explain/dns/x", "POST /status", "PUT /healthz"]) {
    const answer = await request(listener, asked, host);
    const problem = problemOf(answer);
    assert.deepEqual([answer.status, problem["code"]], [404, "NOT_FOUND"], asked);
    for (const path of ["/healthz", "/readyz", "/status", "/metrics", "/explain?url=", "/explain/dns?name="]) {
      assert.ok(String(problem["detail"]).includes(path), `${asked}: ${path}`);
    }
  }
});

test("a bad query is a 400 that names the parameter", async (t) => {
  const listener = await startAdmin(t);
  const rows: [target: string, detail: RegExp][] = [
    ["/explain", /url/],
    ["/explain?url=", /url must be an absolute URL/],
    ["/explain?url=img.cdn.test/a.jpg", /url must be an absolute URL/],
    ["/explain?url=/a.jpg", /url must be an absolute URL/],
    ["/explain?url=http://", /url must be an absolute URL/],
    [`/explain?url=http://x/${"a".repeat(8192)}`, /url/],
    [`/explain?url=http://x/&accept=${"a".repeat(2049)}`, /accept/],
    ["/explain?url=http://a/&url=http://b/", /url/],
    ["/explain?url=http://x/a.jpg?w=200&q=50", /q: there is no such parameter/], // its & should be %26
    ["/explain/dns?name=x&from=192.0.2.1", /from: there is no such parameter/],
    ["/explain/dns", /name/],
    ["/explain/dns?name=", /name/],
    [`/explain/dns?name=${"a".repeat(1025)}`, /name/],
    ["/explain/dns?name=x&type=A.B", /type/],
    ["/explain/dns?name=x&type=", /type/],
    [`/explain/dns?name=x&ip=${"1".repeat(65)}`, /ip/],
  ];
  for (const [target, detail] of rows) {
    const answer = await request(listener, `GET ${target}`, host);
    const problem = problemOf(answer);
    const row = `${target.slice(0, 60)}: ${answer.body.toString()}`;
    assert.deepEqual([answer.status, problem["code"]], [400, "BAD_PARAMETER"], row);
    assert.match(String(problem["detail"]), detail, row);
  }
});

test("what explaining refuses is reported as it is; a failure inside says nothing of itself", async (t) => {
  const rows: [thrown: Error, status: number, code: string, detail: string | undefined][] = [
    [
      new NearcastError("UNKNOWN_HOST", 'the host "x" is not served here'),
      421,
      "UNKNOWN_HOST",
      'the host "x" is not served here',
    ],
    [new NearcastError("NOT_READY", "no fleet document at /var/lib"), 503, "NOT_READY", undefined],
    [new Error("ENOENT /var/lib/secret"), 500, "INTERNAL", undefined],
  ];
  for (const [thrown, status, code, detail] of rows) {
    const listener = await startAdmin(t, { explainUrl: () => Promise.reject(thrown) });
    const answer = await request(listener, "GET /explain?url=http://x/a", host);
    const problem = problemOf(answer);
    assert.deepEqual([answer.status, problem["code"], problem["detail"]], [status, code, detail], thrown.message);
    assert.ok(!answer.body.includes("/var/lib"), thrown.message);
  }
  const failing = await startAdmin(t, {
    metrics: { render: () => Promise.reject(new Error("a secret")), contentType: "text/plain" },
    status: () => {
      throw new Error("a secret");
    },
  });
  for (const target of ["/metrics", "/status"]) {
    const answer = await request(failing, `GET ${target}`, host);
    assert.equal(answer.status, 500, target);
    assert.ok(!answer.body.includes("a secret"), target);
    assert.equal(problemOf(answer)["code"], "INTERNAL", target);
  }
});

test("while DNS has nothing to explain from, asking is 503", async (t) => {
  const listener = await startAdmin(t, { explainName: () => undefined });
  const answer = await request(listener, "GET /explain/dns?name=x", host);
  assert.deepEqual([answer.status, problemOf(answer)["code"]], [503, "NOT_READY"]);
});

test("a target that the router can't read is a 400 problem", async (t) => {
  const listener = await startAdmin(t);
  for (const target of ["/%", "/explain/%zz", "/%ff"]) {
    const answer = await request(listener, `GET ${target}`, host);
    assert.deepEqual([answer.status, problemOf(answer)["code"]], [400, "BAD_PARAMETER"], target);
  }
});

test("HEAD asks as GET does, without a body", async (t) => {
  const listener = await startAdmin(t);
  for (const target of ["/healthz", "/readyz", "/metrics"]) {
    const answer = await request(listener, `HEAD ${target}`, host);
    assert.deepEqual([answer.status, answer.body.length], [200, 0], target);
  }
});

test("only addresses, localhost and names that the operator gave are answered", async (t) => {
  const listener = await startAdmin(t, { hosts: ["Fra1.internal.example."] });
  const answered = [
    "127.0.0.1",
    "127.0.0.1:8081",
    "10.0.3.1",
    "[::1]:8081",
    "localhost",
    "LOCALHOST:8081",
    "fra1.internal.example",
    "FRA1.internal.example:80",
  ];
  for (const name of answered) {
    assert.equal((await request(listener, "GET /status", [`Host: ${name}`])).status, 200, name);
  }
  const refused = ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "fra1", "[::1", "", "a b"];
  for (const path of ["/status", "/metrics", "/healthz", "/explain?url=http://x/", "/none"]) {
    for (const name of refused) {
      const answer = await request(listener, `GET ${path}`, [`Host: ${name}`]);
      assert.deepEqual([answer.status, problemOf(answer)["code"]], [421, "UNKNOWN_HOST"], `${name} ${path}`);
      assert.ok(!answer.body.includes("fra1.internal"), "it does not say which names there are");
    }
  }
  assert.equal((await request(listener, "GET /status")).status, 400, "without Host (RFC 9112 §3.2)");
  assert.equal(readAnswer(await exchange(listener, "GET /status HTTP/1.0\r\n\r\n")).status, 421, "nor with HTTP/1.0");
  // The authority of a target in absolute-form counts in place of Host (RFC 9112 §3.2.2).
  const absolute = async (authority: string, field: string): Promise<number> =>
    (await request(listener, `GET http://${authority}/healthz`, [`Host: ${field}`])).status;
  assert.equal(await absolute("localhost:8081", "evil.test"), 200);
  assert.equal(await absolute("evil.test", "localhost"), 421);
});

test("a method that is refused gets no 100 before its refusal (RFC 9110 §10.1.1)", async (t) => {
  const listener = await startAdmin(t);
  const bytes = "POST /status HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  assert.match(await exchange(listener, bytes), /^HTTP\/1\.1 404 /);
});
