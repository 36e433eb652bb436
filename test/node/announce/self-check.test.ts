/** The node's questions to itself, against servers that answer rightly, wrongly, late, or not at all. */
import packet from "dns-packet";
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { systemClock } from "#base/clock.ts";
import { seededRandom } from "#base/random.ts";
import { createSelfCheck, type SelfCheck, type SelfCheckTargets } from "../../../node/announce/self-check.ts";

/** A query in, an answer out; undefined: silence. */
type Answer = (query: packet.Packet) => Buffer | undefined;

const zone = "cdn.test";
const soa = {
  type: "SOA",
  name: zone,
  ttl: 60,
  data: { mname: "ns1.cdn.test", rname: "host.cdn.test", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 1 },
} as const;

function answering(change: Partial<packet.Packet> = {}): Answer {
  return (query) =>
    packet.encode({
      type: "response",
      id: query.id ?? 0,
      flags: packet.AUTHORITATIVE_ANSWER,
      questions: query.questions ?? [],
      answers: [soa],
      ...change,
    });
}

const right = answering();
const silent: Answer = () => undefined;

/** DNS on one port, over UDP and TCP. */
async function dns(t: TestContext, answers: { udp: Answer; tcp: Answer }): Promise<{ host: string; port: number }> {
  const host = "127.0.0.1";
  const streams = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => {
      const answer = answers.tcp(packet.decode(data.subarray(2)));
      if (answer === undefined) return;
      // The length and the rest arrive apart, as they may.
      socket.write(Buffer.from([answer.length >> 8, answer.length & 255]));
      setImmediate(() => socket.write(answer));
    });
  }).listen(0, host);
  await once(streams, "listening");
  const { port } = streams.address() as AddressInfo;
  const datagrams = createSocket("udp4");
  datagrams.on("message", (message, from) => {
    const answer = answers.udp(packet.decode(message));
    if (answer !== undefined) datagrams.send(answer, from.port, from.address);
  });
  datagrams.bind(port, host);
  await once(datagrams, "listening");
  t.after(() => {
    datagrams.close();
    streams.close();
  });
  return { host, port };
}

async function http(t: TestContext, listener: RequestListener): Promise<{ host: string; port: number }> {
  const server = createHttpServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

const ask = { host: "img.cdn.test", path: "/check.png", expects: "picture" } as const;

async function checkOnce(targets: Partial<SelfCheckTargets>): Promise<SelfCheck> {
  const all = { dns: [], zone, http: [], ask, ...targets };
  return await createSelfCheck({ targets: () => all, clock: systemClock, random: seededRandom(1) })();
}

/** The reason without the port, which is another one each time. */
function reasonOf(result: SelfCheck): string {
  return result.ok ? "right" : result.reason.replace(/:\d+:/, ":");
}

test("right answers over UDP, TCP and HTTP are right", async (t) => {
  const asked: (string | undefined)[] = [];
  const pictures = await http(t, ({ headers, url }, answer) => {
    asked.push(headers.host, url);
    answer.setHeader("content-type", "image/png").end("picture");
  });
  const names = await dns(t, { udp: right, tcp: right });
  assert.deepEqual(await checkOnce({ dns: [names], http: [pictures] }), { ok: true });
  assert.deepEqual(asked, ["img.cdn.test", "/check.png"]);
});

test("the question is the zone's SOA, without recursion", async (t) => {
  const asked: packet.Packet[] = [];
  const note: Answer = (query) => {
    asked.push(query);
    return right(query);
  };
  await checkOnce({ dns: [await dns(t, { udp: note, tcp: note })] });
  assert.equal(asked.length, 2);
  for (const query of asked) {
    assert.deepEqual(query.questions, [{ name: zone, type: "SOA", class: "IN" }]);
    assert.equal((query.flags ?? 0) & packet.RECURSION_DESIRED, 0);
  }
});

test("an answer that is cut over UDP is right, since TCP is asked too", async (t) => {
  const cut = answering({ answers: [], flags: packet.AUTHORITATIVE_ANSWER | packet.TRUNCATED_RESPONSE });
  assert.equal(reasonOf(await checkOnce({ dns: [await dns(t, { udp: cut, tcp: right })] })), "right");
  const both = await dns(t, { udp: cut, tcp: cut });
  assert.equal(
    reasonOf(await checkOnce({ dns: [both] })),
    "DNS over TCP at 127.0.0.1: the answer has no SOA of cdn.test",
  );
});

test("wrong answers of DNS are reported by transport, address and reason", async (t) => {
  const cases: readonly (readonly [string, { udp: Answer; tcp: Answer }, string])[] = [
    ["silence over UDP", { udp: silent, tcp: right }, "DNS over UDP at 127.0.0.1: no answer within 500 ms"],
    ["silence over TCP", { udp: right, tcp: silent }, "DNS over TCP at 127.0.0.1: no answer within 500 ms"],
    [
      "SERVFAIL",
      { udp: answering({ flags: packet.AUTHORITATIVE_ANSWER | 2 }), tcp: right },
      "DNS over UDP at 127.0.0.1: the answer has RCODE 2",
    ],
    [
      "no authority",
      { udp: right, tcp: answering({ flags: 0 }) },
      "DNS over TCP at 127.0.0.1: the answer is not authoritative",
    ],
    [
      "another question",
      { udp: right, tcp: answering({ questions: [{ name: "other.test", type: "SOA", class: "IN" }] }) },
      "DNS over TCP at 127.0.0.1: it answered another question",
    ],
    ["another id", { udp: answering({ id: 7 }), tcp: right }, "DNS over UDP at 127.0.0.1: it answered another query"],
    [
      "no SOA",
      { udp: answering({ answers: [] }), tcp: right },
      "DNS over UDP at 127.0.0.1: the answer has no SOA of cdn.test",
    ],
  ];
  for (const [what, answers, reason] of cases) {
    assert.equal(reasonOf(await checkOnce({ dns: [await dns(t, answers)] })), reason, what);
  }
});

test("octets that are no DNS are wrong, not a crash", async (t) => {
  const garbage: Answer = (query) =>
    Buffer.concat([right(query)?.subarray(0, 14) ?? Buffer.alloc(0), Buffer.alloc(9, 255)]);
  const result = await checkOnce({ dns: [await dns(t, { udp: garbage, tcp: right })] });
  assert.match(reasonOf(result), /^DNS over UDP at 127\.0\.0\.1: /);
});

test("a port where nobody listens is reported at once", async () => {
  const nowhere = { host: "127.0.0.1", port: 1 };
  assert.equal(reasonOf(await checkOnce({ dns: [nowhere] })), "DNS over UDP at 127.0.0.1: connection refused");
  assert.equal(reasonOf(await checkOnce({ http: [nowhere] })), "HTTP at 127.0.0.1: connection refused");
});

test("HTTP answers that are no picture are wrong, unless any answer will do", async (t) => {
  const cases: readonly (readonly [string, RequestListener, string, string])[] = [
    [
      "404",
      (_, answer) => answer.writeHead(404, { "content-type": "text/plain" }).end("no"),
      "status 404 with text/plain, not a picture",
      "right",
    ],
    [
      "HTML",
      (_, answer) => answer.writeHead(200, { "content-type": "text/html" }).end("hi"),
      "status 200 with text/html, not a picture",
      "right",
    ],
    [
      "no type",
      (_, answer) => answer.writeHead(200).end("hi"),
      "status 200 with no Content-Type, not a picture",
      "right",
    ],
    ["silence", () => undefined, "no answer within 500 ms", "HTTP at 127.0.0.1: no answer within 500 ms"],
    [
      "a body that stops",
      (_, answer) => {
        answer.writeHead(200, { "content-type": "image/png", "content-length": 10 }).write("half");
      },
      "no answer within 500 ms",
      "HTTP at 127.0.0.1: no answer within 500 ms",
    ],
    [
      "a body that is cut off",
      (request, answer) => {
        answer.writeHead(200, { "content-type": "image/png", "content-length": 10 }).write("half");
        setTimeout(() => request.socket.destroy(), 50);
      },
      "the connection was closed before it answered",
      "HTTP at 127.0.0.1: the connection was closed before it answered",
    ],
  ];
  for (const [what, listener, asPicture, asAny] of cases) {
    const at = await http(t, listener);
    assert.equal(reasonOf(await checkOnce({ http: [at] })), `HTTP at 127.0.0.1: ${asPicture}`, what);
    assert.equal(reasonOf(await checkOnce({ http: [at], ask: { ...ask, expects: "any" } })), asAny, what);
  }
});

test("of a large picture the first megabyte is enough", async (t) => {
  const at = await http(t, (_, answer) => {
    answer.writeHead(200, { "content-type": "image/jpeg", "content-length": 100_000_000 });
    answer.write(Buffer.alloc(2_000_000)); // and no more
  });
  assert.deepEqual(await checkOnce({ http: [at] }), { ok: true });
});

test("one wrong address among right ones is enough, and no address at all is wrong", async (t) => {
  const good = await dns(t, { udp: right, tcp: right });
  const bad = await dns(t, { udp: right, tcp: silent });
  assert.equal(reasonOf(await checkOnce({ dns: [good, bad] })), "DNS over TCP at 127.0.0.1: no answer within 500 ms");
  assert.equal(reasonOf(await checkOnce({})), "this node has no service address to check");
  assert.equal(
    reasonOf(await checkOnce({ dns: [good], zone: undefined })),
    "this node has no service address to check",
  );
});
