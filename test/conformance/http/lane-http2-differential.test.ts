/**
 * The same requests over HTTP/2 to two edges that are alike: one is asked through a lane, whose engine sends ready
 * responses itself and relays all other requests, the other through node:http2. Their responses must be equal, and what
 * they told their metrics.
 */
import assert from "node:assert/strict";
import type { ClientHttp2Session } from "node:http2";
import { test, type TestContext } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import type { Listener } from "../../../node/http/listener.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { lanesWithReady } from "../../support/shared-lanes.ts";
import { ask, openSession, type Response2, responseOf, startRequest } from "../../node/http2/ask.ts";
import { hostName } from "./running-edge.ts";
import { comparable, openBoth, randomRequest, type Request } from "./corpus.ts";

/** The test can't stop the time (lane-differential.test.ts). */
const timed = ["/a", "/short", "/failing"];
/** Most requests come again and again: others would never be ready. */
const popularMax = 40;

/** The request as HTTP/2 has it; undefined: it can't be sent. */
function listOf({ method, target, host, lines }: Request): string[] | undefined {
  if (/[ @]|[^\x21-\x7e]/.test(host)) return undefined;
  const list = [":method", method, ":scheme", "http", ":authority", host, ":path", target];
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const isOfConnection = ["host", "connection", "keep-alive", "transfer-encoding"].includes(name);
    if (!isOfConnection) list.push(name, line.slice(colon + 1).trim());
  }
  return list;
}

/** The two edges fetched their objects at slightly different times. */
function timeless({ status, fields, body, code }: Response2): unknown {
  const told = new Map(
    [...fields].map(([name, values]): [string, readonly string[]] => {
      return [name, name === "cache-status" ? values.map((value) => value.replaceAll(/ttl=\d+/g, "ttl=N")) : values];
    }),
  );
  // node:http2 and Node's parser disagree about Date in answers to what could not be read.
  for (const name of ["age", "date", "x-request-id"]) told.delete(name);
  return { code, answer: comparable({ status, reason: "", fields: told, body }) };
}

async function sessionsTo(t: TestContext, listeners: readonly Listener[]): Promise<ClientHttp2Session[]> {
  return await Promise.all(listeners.map((listener) => openSession(t, listener)));
}

function randomList(random: Random, popular: string[][]): string[] {
  if (popular.length === popularMax && random() < 0.8) return popular[Math.floor(random() * popularMax)] as string[];
  for (;;) {
    const request = randomRequest(random);
    const list = timed.includes(request.target) ? undefined : listOf(request);
    if (list === undefined) continue;
    if (popular.length < popularMax) popular.push(list);
    return list;
  }
}

test("responses over HTTP/2 are the same in a lane and by node:http2", async (t) => {
  const lanes = await lanesWithReady(t);
  const others = await lanesWithReady(t);
  if (lanes === undefined || others === undefined) return;
  const seed = seedOr(2037);
  const random = seededRandom(seed);
  const [inLane, byNode] = await openBoth(t, [lanes, others]);
  const popular: string[][] = [];
  const wanted = rounds(1500, 100_000);
  for (let asked = 0; asked < wanted;) {
    const [one, other] = await sessionsTo(t, [inLane.listeners().http2InLane, byNode.listeners().overHttp2]);
    assert.ok(one !== undefined && other !== undefined);
    for (let count = 0; count < 100; count += 1) {
      const list = randomList(random, popular);
      asked += 1;
      const where = `SEED=${seed}, request ${asked}: ${JSON.stringify(list)}`;
      const [mine, theirs]: [Response2, Response2] = await Promise.all([ask(one, list), ask(other, list)]);
      assert.deepEqual(timeless(mine), timeless(theirs), where);
      await Promise.all([inLane.flushed(), byNode.flushed()]);
      const told = [inLane, byNode].map(({ served }) => {
        const { host, kind, outcome, status, bodyBytes } = served.at(-1) ?? {};
        return { host, kind, outcome, status, bodyBytes };
      });
      assert.deepEqual(told[0], told[1], where);
    }
    one.close();
    other.close();
  }
  const { answered } = lanes.lanes.counts();
  t.diagnostic(`${answered} of ${wanted} requests were answered by the lane`);
  assert.ok(answered > wanted / 20, "the lane answers many of the hits");
  assert.equal(lanes.lanes.restarts(), 0);
});

const unusual: readonly { method: string; target: string; fields?: readonly string[]; body?: string }[] = [
  { method: "POST", target: "/a", body: "body" },
  { method: "POST", target: "/a", fields: ["content-length", "4"], body: "body" },
  { method: "POST", target: "/a", fields: ["content-length", "4", "expect", "100-continue"], body: "body" },
  { method: "PUT", target: "/p.jpg", body: "x".repeat(3000) },
  { method: "PATCH", target: "/a" },
  { method: "DELETE", target: "/a" },
  { method: "OPTIONS", target: "*" },
  { method: "TRACE", target: "/a" },
  { method: "PROPFIND", target: "/a" },
  { method: "GET", target: "/first/1", body: "body" },
  { method: "GET", target: "/first/2", fields: ["content-length", "0"] },
  { method: "HEAD", target: "/first/3", fields: ["content-length", "4"], body: "body" },
  { method: "GET", target: "/.nearcast/health" },
  { method: "HEAD", target: "/.nearcast/health" },
  { method: "GET", target: `/${"l".repeat(9000)}` },
  { method: "GET", target: "/first/4", fields: ["x-long", "l".repeat(30_000)] },
  { method: "GET", target: "/first/5", fields: ["te", "trailers", "cookie", "a=b", "cookie", "c=d"] },
  { method: "GET", target: "/a#b" },
  { method: "GET", target: "/\xe4" },
];

test("the same for methods that are refused, bodies, and odd targets", async (t) => {
  const lanes = await lanesWithReady(t);
  const others = await lanesWithReady(t);
  if (lanes === undefined || others === undefined) return;
  const [inLane, byNode] = await openBoth(t, [lanes, others]);
  const sessions = await sessionsTo(t, [inLane.listeners().http2InLane, byNode.listeners().overHttp2]);
  for (const { method, target, fields = [], body } of unusual) {
    const where = `${method} ${target.slice(0, 40)} ${fields.join(" ").slice(0, 60)}`;
    const list = [":method", method, ":scheme", "http", ":authority", hostName, ":path", target, ...fields];
    const responses = await Promise.all(
      sessions.map(async (session) => {
        const stream = startRequest(session, list, body !== undefined);
        if (body !== undefined) stream.end(body);
        return await responseOf(stream);
      }),
    );
    const [mine, theirs] = responses.map(timeless);
    assert.deepEqual(mine, theirs, where);
  }
});
