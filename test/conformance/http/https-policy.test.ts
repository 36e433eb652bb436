/**
 * Redirects to HTTPS and HSTS (RFC 6797), over HTTP and TLS, from the front and from the application: both say the same
 * for every outcome.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import type { Listener } from "../../../node/http/listener.ts";
import { type Answer, fieldOf, readAnswers } from "../../node/http/raw.ts";
import { served } from "../../node/tls/secured.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { hostName, otherHostName, type RunningEdge, startEdge } from "./running-edge.ts";

const hsts = { maxAgeSeconds: 63_072_000, includeSubDomains: true, preload: true };
const hstsField = "max-age=63072000; includeSubDomains; preload";
const certificates = [served(await certificateFor([hostName, otherHostName]))];

async function start(t: TestContext, host: object): Promise<RunningEdge> {
  const edge = await startEdge(t, { host, certificates });
  edge.origin.say("/a", {
    fields: [
      ["Cache-Control", "max-age=600"],
      ["ETag", '"1"'],
    ],
    body: "aaa",
  });
  return edge;
}

/** Requests on one connection, one after the other. */
async function ask(t: TestContext, { port }: Listener, isSecure: boolean, heads: readonly string[]): Promise<Answer[]> {
  const ca = testAuthority.certificatePem;
  const socket: Socket = isSecure
    ? connectTls({ port, host: "127.0.0.1", servername: hostName, ca })
    : connectPlain(port, "127.0.0.1");
  t.after(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.write(heads.map((head, index) => withEnd(head, index === heads.length - 1)).join(""));
  await once(socket, "close");
  const isHead = heads.map((head) => head.startsWith("HEAD"));
  return readAnswers(Buffer.concat(chunks).toString("latin1"), { isHead });
}

function withEnd(head: string, isLast: boolean): string {
  return `${head}\r\n${isLast ? "Connection: close\r\n" : ""}\r\n`;
}

const get = (target: string, ...fields: string[]): string =>
  [`GET ${target} HTTP/1.1`, `Host: ${hostName}`, ...fields].join("\r\n");

/** Of all listeners, with and without TLS. */
const listenersOf = (edge: RunningEdge): [string, Listener, boolean][] => [
  ["front", edge.listeners().fronted, false],
  ["application", edge.listeners().alone, false],
  ["front, TLS", edge.secured().fronted, true],
  ["application, TLS", edge.secured().alone, true],
];

test("HSTS is in every response over TLS, whatever its outcome and whoever answers, and in no other", async (t) => {
  const edge = await start(t, { hsts });
  const heads = [
    get("/a"), // a miss at first
    get("/a"),
    get("/a"),
    get("/a"), // ready by now
    get("/a", 'If-None-Match: "1"'),
    get("/a", "Range: bytes=0-0"),
    get("/a", "Range: bytes=9-"),
    get("/a", 'If-Match: "2"'),
    get("/a").replace("GET", "HEAD"),
    get("/missing"),
    get("/.."),
  ];
  const statuses = [200, 200, 200, 200, 304, 206, 416, 412, 200, 404, 400];
  for (let round = 0; round < 2; round += 1) {
    for (const [name, listener, isSecure] of listenersOf(edge)) {
      const answers = await ask(t, listener, isSecure, heads);
      assert.deepEqual(
        answers.map(({ status }) => status),
        statuses,
        name,
      );
      for (const [index, answer] of answers.entries()) {
        // A target that can't be read names no host.
        const expected = isSecure && answer.status !== 400 ? hstsField : undefined;
        assert.equal(fieldOf(answer, "strict-transport-security"), expected, `${name}: ${heads[index]}`);
      }
    }
  }
  assert.ok(edge.byFront() > 10, "the front answers, too");
});

test("HTTP/2 has the same, from hits and from the application", async (t) => {
  const edge = await start(t, { hsts, redirectToHttps: true });
  for (const listener of Object.values(edge.secured())) {
    const ca = testAuthority.certificatePem;
    const session = connectHttp2(`https://${hostName}`, {
      createConnection: () =>
        connectTls({ port: listener.port, host: "127.0.0.1", servername: hostName, ca, ALPNProtocols: ["h2"] }),
    });
    t.after(() => {
      session.destroy();
    });
    for (const [path, status] of [
      ["/a", 200],
      ["/a", 200],
      ["/missing", 404],
    ] as const) {
      const stream = session.request({ ":path": path });
      const [fields] = (await once(stream, "response")) as [IncomingHttpHeaders];
      stream.resume();
      assert.deepEqual([fields[":status"], fields["strict-transport-security"]], [status, hstsField], path);
    }
  }
});

test("a host that redirects does so without TLS alone, for its own name, and not for challenges", async (t) => {
  const edge = await start(t, { redirectToHttps: true });
  edge.origin.say("/.well-known/acme-challenge/x", { fields: [["Cache-Control", "max-age=600"]], body: "token" });
  const bare = (target: string, host: string): string => `GET ${target} HTTP/1.1\r\nHost: ${host}`;
  const rows: [head: string, status: number, location?: string][] = [
    [get("/a"), 301, `https://${hostName}:8443/a`],
    [get("/a?b=%20c"), 301, `https://${hostName}:8443/a?b=%20c`],
    [get("/"), 301, `https://${hostName}:8443/`],
    [get("/a").replace("GET", "HEAD"), 301, `https://${hostName}:8443/a`],
    [bare("/a", `${hostName.toUpperCase()}.:80`), 301, `https://${hostName}:8443/a`],
    [bare(`http://${hostName}/a`, hostName), 301, `https://${hostName}:8443/a`],
    [bare("/a", otherHostName), 200],
    [get("/.well-known/acme-challenge/x"), 200],
    [get("/.nearcast/health"), 200],
    [get("/.."), 400],
  ];
  for (let round = 0; round < 3; round += 1) {
    for (const [name, listener, isSecure] of listenersOf(edge)) {
      const heads = rows.map(([head]) => head);
      const answers = await ask(t, listener, isSecure, heads);
      for (const [index, [head, status, location]] of rows.entries()) {
        const answer = answers[index] as Answer;
        const isRedirect = !isSecure && status === 301;
        const expected =
          isSecure && status === 301 ? (head.includes(" /a ") || head.includes("/a HTTP") ? 200 : 404) : status;
        assert.equal(answer.status, expected, `${name}: ${head}`);
        assert.equal(fieldOf(answer, "location"), isRedirect ? location : undefined, `${name}: ${head}`);
        if (isRedirect) assert.equal(fieldOf(answer, "cache-control"), "max-age=3600");
      }
    }
  }
  const redirects = edge.served.filter(({ outcome }) => outcome === "redirect");
  assert.equal(redirects.length, 3 * 2 * 6);
  assert.ok(redirects.every(({ host, status }) => host === hostName && status === 301));
});
