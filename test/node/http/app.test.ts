/** The public application over real sockets: real servers behind it, in front of a loopback origin. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { NearcastError } from "#base/errors.ts";
import { createProofs, proofField } from "#health/health-proof.ts";
import type { Presence, ServedRequest } from "../../../node/http/app.ts";
import { answering } from "../../support/loopback-origin.ts";
import { readCacheStatus } from "./cache-status.ts";
import { assets, img, startEdge } from "./edge-app.ts";
import { exchange, fieldOf, openLine, problemOf, readAnswer, readAnswers, request } from "./raw.ts";

test("other methods than GET and HEAD are 405, whatever the path, and told so (RFC 9110 §15.5.6)", async (t) => {
  const { listener, served } = await startEdge(t);
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE"]) {
    for (const target of ["/a", "/.nearcast/health", "/../a"]) {
      const answer = await request(listener, `${method} ${target}`, [assets]);
      const row = `${method} ${target}: ${answer.body.toString()}`;
      assert.deepEqual([answer.status, problemOf(answer)["code"]], [405, "METHOD_NOT_ALLOWED"], row);
      assert.equal(fieldOf(answer, "allow"), "GET, HEAD", row);
    }
  }
  assert.ok(served.every(({ kind, outcome, status }) => kind === "none" && outcome === "error" && status === 405));
  assert.equal(served.length, 24);
});

test("a body that comes with GET or POST is not read, and is not taken for a request", async (t) => {
  const { listener } = await startEdge(t);
  const body = "GET /inner HTTP/1.1\r\nHost: static.cdn.test\r\n\r\n";
  for (const [method, status] of [
    ["GET", 200],
    ["POST", 405],
  ] as const) {
    const bytes =
      `${method} /outer HTTP/1.1\r\n${assets}\r\nContent-Length: ${body.length}\r\n\r\n${body}` +
      `GET /last HTTP/1.1\r\n${assets}\r\nConnection: close\r\n\r\n`;
    const answers = readAnswers(await exchange(listener, bytes));
    assert.deepEqual(
      answers.map((answer) => answer.status),
      [status],
      method,
    );
  }
});

test("refusals are problems with code, request id and reason, not to be stored", async (t) => {
  const { listener, origin, served } = await startEdge(t);
  const rows: [requestLine: string, fields: string[], status: number, code: string, detail: RegExp][] = [
    ["GET /a", ["Host: other.test"], 421, "UNKNOWN_HOST", /^the host "other\.test" is not served here$/],
    ["GET /a", [], 400, "BAD_REQUEST", /needs a Host field/],
    ["GET /a", ["Host: "], 400, "BAD_REQUEST", /needs a valid Host field/],
    ["GET /a", [img, "Host: static.cdn.test"], 400, "BAD_REQUEST", /only one Host field/],
    ["GET /a", [img, img], 400, "BAD_REQUEST", /only one Host field/],
    ["GET /%2e%2e/a", [assets], 400, "BAD_PATH", /segment/],
    [
      "GET /a.jpg?w=0",
      [img],
      400,
      "BAD_PARAMETER",
      /^w must be a whole number of pixels from 1 to 8192, or a fraction above 0 and below 1 \(got "0"\)$/,
    ],
    [`GET /${"a".repeat(9000)}`, [assets], 414, "URI_TOO_LONG", /9001 characters/],
    ["GET *", [assets], 400, "BAD_REQUEST", /slash/],
  ];
  for (const [requestLine, fields, status, code, detail] of rows) {
    for (const line of [requestLine, requestLine.replace("GET", "HEAD")]) {
      const answer = await request(listener, line, fields);
      const row = `${line.slice(0, 40)} ${fields.join()}`;
      assert.equal(answer.status, status, row);
      assert.equal(fieldOf(answer, "cache-control"), "no-store", row);
      assert.equal(fieldOf(answer, "x-content-type-options"), "nosniff", row);
      assert.equal(fieldOf(answer, "cache-status"), undefined, row);
      const last = served.at(-1);
      assert.deepEqual([last?.kind, last?.outcome, last?.status], ["none", "error", status], row);
      if (line.startsWith("HEAD")) continue;
      const problem = problemOf(answer);
      assert.deepEqual([problem["status"], problem["code"]], [status, code], row);
      assert.match(String(problem["detail"]), detail, row);
      assert.match(String(problem["requestId"]), /^[\w-]{8,40}$/, row);
    }
  }
  const bad = problemOf(await request(listener, "GET /a.jpg?fm=exe", [img]));
  assert.deepEqual([bad["parameter"], bad["value"], bad["allowed"]], ["fm", "exe", "one of jpg, png, webp, avif"]);
  assert.equal(origin.asked.length, 0, "none of it reaches an origin");
});

test("what is served is counted by host's kind, outcome, status and bytes", async (t) => {
  const { listener, served } = await startEdge(t);
  const rows: [requestLine: string, fields: string[], counted: Omit<ServedRequest, "durationMs">][] = [
    ["GET /a", [assets], { host: "static.cdn.test", kind: "assets", outcome: "miss", status: 200, bodyBytes: 4 }],
    ["GET /a", [assets], { host: "static.cdn.test", kind: "assets", outcome: "hit", status: 200, bodyBytes: 4 }],
    ["HEAD /a", [assets], { host: "static.cdn.test", kind: "assets", outcome: "hit", status: 200, bodyBytes: 0 }],
    [
      "GET /a",
      [assets, "Range: bytes=1-2"],
      { host: "static.cdn.test", kind: "assets", outcome: "hit", status: 206, bodyBytes: 2 },
    ],
    [
      "GET /a",
      [assets, "If-None-Match: *"],
      { host: "static.cdn.test", kind: "assets", outcome: "hit", status: 304, bodyBytes: 0 },
    ],
  ];
  for (const [requestLine, fields, counted] of rows) {
    const answer = await request(listener, requestLine, fields);
    const { durationMs, ...rest } = served.at(-1) ?? { durationMs: -1 };
    assert.deepEqual(rest, counted, `${requestLine} ${fields.join()}`);
    assert.ok(durationMs >= 0);
    assert.equal(answer.status, counted.status);
    assert.match(fieldOf(answer, "cache-status") ?? "", /^fra1; /);
  }
  assert.equal(served.length, rows.length);
});

test("a host's name in any spelling is one host: the second request is a hit", async (t) => {
  const { listener, origin } = await startEdge(t);
  for (const host of ["static.cdn.test", "STATIC.cdn.test", "static.cdn.test.", "static.cdn.test:8080"]) {
    assert.equal((await request(listener, "GET /a", [`Host: ${host}`])).body.toString(), "body", host);
  }
  assert.equal((await request(listener, "GET http://static.cdn.test/a", ["Host: other.test"])).status, 200);
  assert.equal(origin.asked.length, 1);
});

test("a picture that is not there is a 404 problem of the host, and remembered", async (t) => {
  const { listener, origin, served } = await startEdge(t, answering(404, { "content-type": "application/json" }, "{}"));
  for (const outcome of ["miss", "hit"]) {
    const answer = await request(listener, "GET /none.jpg?w=100", [img]);
    assert.equal(answer.status, 404);
    assert.deepEqual([served.at(-1)?.kind, served.at(-1)?.outcome], ["images", outcome]);
  }
  assert.deepEqual(
    origin.asked.map(({ target }) => target),
    ["/api/v1/images/none.jpg"],
  );
});

test("probes see the node's presence, whatever Host they name, also without a fleet document", async (t) => {
  const { listener, so } = await startEdge(t);
  const rows: [presence: Presence, fleet: typeof so.fleet, status: number][] = [
    ["starting", null, 503],
    ["ready", so.fleet, 200],
    ["draining", so.fleet, 503],
  ];
  for (const [presence, fleet, status] of rows) {
    so.presence = presence;
    so.fleet = fleet;
    for (const host of ["Host: 192.0.2.1:8080", "Host: static.cdn.test"]) {
      const answer = await request(listener, "GET /.nearcast/health", [host]);
      assert.equal(answer.status, status, presence);
      assert.equal(fieldOf(answer, "cache-control"), "no-store", presence);
      assert.deepEqual(
        JSON.parse(answer.body.toString()),
        { node: "fra1", site: "fra", state: presence, fleetVersion: fleet?.version ?? null },
        presence,
      );
      const head = await request(listener, "HEAD /.nearcast/health", [host]);
      const [one, other] = [answer, head].map(({ status: code, fields }) => [
        code,
        fieldOf({ fields }, "content-length"),
      ]);
      assert.deepEqual(one, other, "HEAD works as GET does");
      assert.equal((await request(listener, "GET http://x/.nearcast/health", [host])).status, status, "absolute-form");
    }
  }
});

test("every answer counts as load, refusals too, but no probe", async (t) => {
  const { listener, load } = await startEdge(t);
  for (let n = 0; n < 3; n++) await request(listener, "GET /.nearcast/health", [assets]);
  assert.equal(load.requests, 0);
  for (const [at, line] of ["GET /a", "GET /a", "POST /a", "GET /%zz"].entries()) {
    await request(listener, line, [assets]);
    assert.equal(load.requests, at + 1, line);
  }
});

test("who proves to be of the fleet hears the node's word, signed; others only its state", async (t) => {
  const { listener, so } = await startEdge(t);
  const [secret, before, foreign] = [randomBytes(32), randomBytes(32), randomBytes(32)];
  so.secrets = [secret, before];
  so.answer = { load: 12.5, unreachable: ["nyc1"], watched: "0123456789abcdef" };
  const open = { node: "fra1", site: "fra", state: "ready", fleetVersion: 7 };
  const rows: [secrets: Uint8Array[], isKnown: boolean][] = [
    [[secret], true],
    [[before], true],
    [[foreign, before], true],
    [[foreign], false],
  ];
  for (const presence of ["ready", "draining"] as const) {
    so.presence = presence;
    for (const [secrets, isKnown] of rows) {
      const proofs = createProofs(() => secrets);
      const ask = proofs.ask();
      assert(ask !== undefined);
      const answer = await request(listener, "GET /.nearcast/health", ["Host: x", `Nearcast-Probe: ${ask.field}`]);
      assert.equal(answer.status, presence === "ready" ? 200 : 503);
      const proof = fieldOf(answer, proofField);
      assert.equal(proof !== undefined && proofs.isProven(ask, answer.status, answer.body, proof), isKnown);
      const said = { ...open, state: presence, ...(isKnown ? { word: so.answer } : {}) };
      assert.deepEqual(JSON.parse(answer.body.toString()), said);
    }
  }
  const { field = "" } = createProofs(() => [secret]).ask() ?? {};
  const odd = [field.slice(1), `${field}x`, `${field}, ${field}`, "", "a.b", "\u00e9".repeat(66), "A".repeat(8000)];
  for (const text of odd) {
    const answer = await request(listener, "GET /.nearcast/health", ["Host: x", `Nearcast-Probe: ${text}`]);
    assert.deepEqual(JSON.parse(answer.body.toString()), { ...open, state: "draining" }, text.slice(0, 100));
    assert.equal(fieldOf(answer, proofField), undefined);
  }
});

test("only the exact path is the probe's; what looks like it belongs to the host", async (t) => {
  const { listener, origin } = await startEdge(t);
  const targets = [
    "/.nearcast/health/",
    "/.nearcast/health?x",
    "/.nearcast",
    "/.nearcast/HEALTH",
    "/.nearcast/%68ealth",
  ];
  for (const target of targets) {
    const answer = await request(listener, `GET ${target}`, [assets]);
    assert.equal(answer.body.toString(), "body", target);
  }
  assert.deepEqual(
    origin.asked.map(({ target }) => target),
    targets,
  );
});

test("without a fleet document a request is 503, to be tried again", async (t) => {
  const { listener, so, served } = await startEdge(t);
  so.fleet = null;
  const answer = await request(listener, "GET /a", [assets]);
  assert.deepEqual([answer.status, problemOf(answer)["code"]], [503, "NOT_READY"]);
  assert.equal(fieldOf(answer, "retry-after"), "1");
  assert.deepEqual([served.at(-1)?.kind, served.at(-1)?.status], ["none", 503]);
});

test("behind the gate nothing is served before it opens; a gate that gives up is 503", async (t) => {
  const { listener, origin, so } = await startEdge(t);
  const gate = Promise.withResolvers<void>();
  so.gate = () => gate.promise;
  const line = await openLine(listener);
  line.send(`GET /a HTTP/1.1\r\n${assets}\r\nConnection: close\r\n\r\n`);
  // Refusals and probes need nothing cached, so they don't wait; by their answers the first request has come too.
  assert.equal((await request(listener, "GET /a", ["Host: other.test"])).status, 421);
  assert.equal((await request(listener, "GET /.nearcast/health", [assets])).status, 200);
  assert.equal(origin.asked.length, 0);
  gate.resolve();
  assert.equal(readAnswer(await line.rest()).status, 200);

  so.gate = () => Promise.reject(new NearcastError("NOT_READY", "this node is still applying missed purges"));
  const answer = await request(listener, "GET /a", [assets]);
  assert.deepEqual([answer.status, problemOf(answer)["code"]], [503, "NOT_READY"]);
  assert.equal(readCacheStatus(fieldOf(answer, "cache-status") ?? "")[0]?.parameters.get("detail"), "NOT_READY");
});

test("a node that drains answers, and tells who keeps a connection to open the next one elsewhere", async (t) => {
  const { listener, so } = await startEdge(t);
  const line = await openLine(listener);
  line.send(`GET /a HTTP/1.1\r\n${assets}\r\n\r\n`);
  await line.until((text) => /body(?:\r\n0\r\n\r\n)?$/.test(text));
  so.presence = "draining";
  line.send(`GET /a HTTP/1.1\r\n${assets}\r\n\r\n`);
  const answers = readAnswers(await line.rest());
  assert.deepEqual(
    answers.map((answer) => [answer.status, fieldOf(answer, "connection")]),
    [
      [200, "keep-alive"],
      [200, "close"],
    ],
  );
});

test("requests on one connection are distinguished: each has its own host, outcome and id", async (t) => {
  const { listener } = await startEdge(t);
  const bytes = [
    `GET /a HTTP/1.1\r\n${assets}\r\n\r\n`,
    "GET /a HTTP/1.1\r\nHost: other.test\r\n\r\n",
    `HEAD /%2e%2e HTTP/1.1\r\n${assets}\r\n\r\n`,
    "GET /.nearcast/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
  ];
  const text = await exchange(listener, bytes.join(""));
  assert.deepEqual(
    [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1])),
    [200, 421, 400, 200],
  );
});

test("bytes above 0x7f in an origin's field are sent on as they came", async (t) => {
  const { listener } = await startEdge(t, (_asked, response) => {
    response.socket?.end(Buffer.from("HTTP/1.1 200 OK\r\nX-Own: caf\xe9\r\nContent-Length: 4\r\n\r\nbody", "latin1"));
  });
  const answer = await request(listener, "GET /a", [assets]);
  assert.deepEqual([answer.status, fieldOf(answer, "x-own")], [200, "caf\xe9"]);
});
