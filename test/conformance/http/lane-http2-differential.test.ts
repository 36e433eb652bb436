/**
 * The same requests over HTTP/2 to two edges that are alike: one is asked through a lane, whose engine sends ready
 * responses itself and relays all other requests, the other through node:http2 and Fastify alone. Many streams of a
 * connection are open at once. Their responses must be equal, what becomes of the connection, and what they told their
 * metrics.
 */
import assert from "node:assert/strict";
import type { ClientHttp2Session } from "node:http2";
import { test, type TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import { type Random, seededRandom } from "#base/random.ts";
import type { Listener } from "../../../node/http/listener.ts";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { openChopped } from "../../support/chopped-socket.ts";
import { timeless } from "../../support/differential.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { lanesWithReady } from "../../support/shared-lanes.ts";
import { openSession, type Response2, responseOf, startRequest } from "../../node/http2/ask.ts";
import { served as servedCertificate } from "../../node/tls/secured.ts";
import { listOf, openBoth, type Request, stored } from "./corpus.ts";
import { compareTold, randomMixed, toldCounts } from "./mixed.ts";
import { hostName, otherHostName } from "./running-edge.ts";

/** Streams that are open at once. */
const batchMax = 24;

/** Without Date: node:http2 and Node's parser disagree about it in answers to what could not be read. */
function comparable2({ status, fields, body, code }: Response2): unknown {
  const told = new Map([...fields].filter(([name]) => name !== "date"));
  return { code, answer: timeless({ status, reason: "", fields: told, body }) };
}

/** Whether the response depends on no other that is under way: its object is stored, or nothing is looked up. */
function isSettled({ method, target, host, lines }: Request): boolean {
  if (method !== "GET" && method !== "HEAD") return true;
  if (lines.some((line) => /^authorization:/i.test(line))) return false;
  const fields = stored[target]?.fields;
  const hosts = [hostName, otherHostName];
  return fields !== undefined && fields.every(([name]) => name !== "Vary") && hosts.includes(host.toLowerCase());
}

/** Requests for streams that are open at once. At most one of them changes what is stored. */
function randomBatch(random: Random, popular: Request[]): Request[] {
  const count = random() < 0.3 ? 1 : 1 + Math.floor(random() * batchMax);
  const batch: Request[] = [];
  let isChanging = false;
  for (let drawn = 0; drawn < count; drawn += 1) {
    const request = randomMixed(random, popular);
    // What has no form in HTTP/2 is a matter of the HTTP/1.1 tests.
    if (listOf(request) === undefined || request.form !== undefined) continue;
    if (!isSettled(request)) {
      if (isChanging) continue;
      isChanging = true;
    }
    batch.push(request);
  }
  return batch;
}

/** The bodies go out in halves, so that frames of different streams come in turn. */
async function askAll(session: ClientHttp2Session, batch: readonly Request[], scheme: string): Promise<unknown[]> {
  const streams = batch.map((request) => {
    const stream = startRequest(session, listOf(request, scheme) ?? [], request.body !== undefined);
    return { stream, body: request.body, response: responseOf(stream) };
  });
  for (const { stream, body } of streams) if (body !== undefined) stream.write(body.slice(0, body.length / 2));
  await new Promise((resolve) => setImmediate(resolve));
  for (const { stream, body } of streams) if (body !== undefined) stream.end(body.slice(body.length / 2));
  return (await Promise.all(streams.map(({ response }) => response))).map(comparable2);
}

/** @param segmentBytes how many bytes leave at once; by default, all */
async function openTo(
  t: TestContext,
  listener: Listener,
  isSecure: boolean,
  segmentBytes?: number,
): Promise<ClientHttp2Session> {
  if (!isSecure && segmentBytes === undefined) return await openSession(t, listener);
  const chopped = openChopped(listener, segmentBytes ?? 65_536);
  const ca = testAuthority.certificatePem;
  const createConnection = isSecure
    ? () => connectTls({ socket: chopped, servername: "localhost", ca, ALPNProtocols: ["h2"] })
    : () => chopped;
  return await openSession(t, listener, { createConnection });
}

async function isAlive(session: ClientHttp2Session): Promise<boolean> {
  if (session.closed || session.destroyed) return false;
  return await new Promise((resolve) => {
    session.once("close", () => {
      resolve(false);
    });
    if (
      !session.ping((error) => {
        resolve(error === null);
      })
    )
      resolve(false);
  });
}

test("responses over HTTP/2 are the same in a lane and by node:http2", async (t) => {
  await compare(t, rounds(300, 15_000));
});

test("responses over HTTP/2 with TLS are the same in a lane and by node:http2", async (t) => {
  await compare(t, rounds(300, 15_000), [servedCertificate(await certificateFor(["localhost"]))]);
});

async function compare(t: TestContext, wanted: number, certificates?: readonly ServedCertificate[]): Promise<void> {
  const lanes = await lanesWithReady(t, certificates === undefined ? {} : { certificates });
  const others = await lanesWithReady(t);
  if (lanes === undefined || others === undefined) return;
  const seed = seedOr(2037);
  const random = seededRandom(seed);
  const isSecure = certificates !== undefined;
  const [inLane, alone] = await openBoth(t, [lanes, others], certificates);
  const listeners = isSecure
    ? [inLane.secured().fronted, alone.secured().alone]
    : [inLane.listeners().http2InLane, alone.listeners().http2Alone];
  const popular: Request[] = [];
  for (let asked = 0; asked < wanted;) {
    const segmentBytes = random() < 0.15 ? 1 + Math.floor(random() * 60) : undefined;
    const sessions = await Promise.all(listeners.map((one) => openTo(t, one, isSecure, segmentBytes)));
    const [one, other] = sessions;
    assert.ok(one !== undefined && other !== undefined);
    const batches = segmentBytes === undefined ? 10 : 3;
    for (let count = 0; count < batches && !one.closed && !other.closed; count += 1) {
      const batch = randomBatch(random, popular);
      asked += batch.length;
      const lists = batch.map((request) => listOf(request));
      const where = `SEED=${seed}, request ${asked}, ${segmentBytes ?? "all"} bytes at once: ${JSON.stringify(lists)}`;
      const before = toldCounts([inLane, alone]);
      const scheme = isSecure ? "https" : "http";
      const [mine, theirs]: unknown[][] = await Promise.all([askAll(one, batch, scheme), askAll(other, batch, scheme)]);
      assert.deepEqual(mine, theirs, where);
      await compareTold([inLane, alone], before, where);
      assert.equal(await isAlive(one), await isAlive(other), `the connection afterwards: ${where}`);
    }
    for (const session of sessions) session.close();
  }
  const { answered } = lanes.lanes.counts();
  t.diagnostic(`${answered} of ${wanted} requests were answered by the lane`);
  assert.ok(answered > wanted / 20, "the lane answers many of the hits");
  assert.equal(lanes.lanes.restarts(), 0);
}

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
  const listeners = [inLane.listeners().http2InLane, byNode.listeners().overHttp2];
  const sessions = await Promise.all(listeners.map((listener) => openSession(t, listener)));
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
    const [mine, theirs] = responses.map(comparable2);
    assert.deepEqual(mine, theirs, where);
  }
});
