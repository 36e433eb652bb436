/**
 * The smuggling corpus at an edge, over HTTP/1.1 and HTTP/2, in the clear and over TLS, in a lane, with a front, and
 * with one that relays all requests to Fastify. There is no list of right responses. This must hold for each case:
 *
 *   - No part of a body, of a field, or of what is no request reaches the origin as a request.
 *   - The origin gets well-formed requests only, and each request of the client at most once.
 *   - The client gets the responses to its own requests, in their order. What it gets is what the origin was asked for.
 *   - The sentinel behind the case gets its own response, as the last one, or the connection closes.
 *   - All of our servers agree; over HTTP/1.1, also when the bytes arrive one by one, or behind another request.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { lanesWithReady, type SharedLanes } from "../../support/shared-lanes.ts";
import { served } from "../../node/tls/secured.ts";
import { type RunningEdge, startEdge } from "../http/running-edge.ts";
import { type ObservingOrigin, startObservingOrigin } from "./observing-origin.ts";
import { type Edge, type Got, runOverHttp1, runOverHttp2 } from "./run-smuggling.ts";
import { type SmugglingCase, targetA } from "./smuggling-case.ts";
import { smugglingOverHttp1 } from "./smuggling-http1.ts";
import { smugglingOverHttp2 } from "./smuggling-http2.ts";

/** A longer case is sent in two pieces in place of single bytes. */
const singleBytesMax = 1500;
/** Cases under way at once. */
const parallel = 8;

let runs = 10_000;

type Run = typeof runOverHttp1;

interface Server {
  readonly where: string;
  readonly edge: Edge;
  readonly origin: ObservingOrigin;
  /** What agrees on all cases. */
  readonly group?: string;
}

async function startObserved(
  t: TestContext,
  certificates: readonly ServedCertificate[],
  lanes?: SharedLanes,
): Promise<{ edge: RunningEdge; origin: ObservingOrigin }> {
  const origin = await startObservingOrigin(t);
  const at = { origin: origin.url, hedging: false };
  const edge = await startEdge(t, { host: at, otherHost: at, certificates, lanes });
  assert.equal((await edge.ask("/hit")).body, "/hit");
  return { edge, origin };
}

interface Form {
  readonly name: "whole" | "in pieces" | "stored" | "behind a hit";
  readonly text: string;
  readonly pieceBytes: number;
  /** Only over HTTP/1.1. */
  readonly isBehindHit?: boolean;
}

function formsOf({ bytes }: SmugglingCase, run: Run): Form[] {
  const wholeBytes = 65_536;
  const pieceBytes = bytes.length > singleBytesMax ? Math.ceil(bytes.length / 2) : 1;
  const forms: Form[] = [
    { name: "whole", text: bytes, pieceBytes: wholeBytes },
    { name: "in pieces", text: bytes, pieceBytes },
  ];
  if (run !== runOverHttp1) return forms;
  return [
    ...forms,
    // A lane or a front may answer the case's own request; it answers the one before.
    { name: "stored", text: bytes.replaceAll(`${targetA} `, "/hit "), pieceBytes },
    { name: "behind a hit", text: bytes, pieceBytes: wholeBytes, isBehindHit: true },
  ];
}

/** @returns what the client got, without the number of the run */
async function runOne(run: Run, { edge, origin }: Server, { text, ...how }: Form): Promise<Got> {
  const number = String((runs += 1));
  const got = await run(edge, number, text.replaceAll("@@@@@", number), how);
  const asked = origin.targets.filter((target) => target.includes(number));
  const wrong = judge(got, asked, number);
  if (wrong !== undefined) throw new Error(`${wrong}: ${JSON.stringify(got)}, the origin: ${JSON.stringify(asked)}`);
  return { ...got, targets: got.targets.map((target) => target.replaceAll(number, "@@@@@")) };
}

/** @returns what is wrong */
function judge({ targets }: Got, asked: readonly string[], number: string): string | undefined {
  const own = targets.filter((target) => target !== "/hit" && target !== "");
  if (asked.some((target) => target.startsWith(`/${number}/hidden`))) return "hidden bytes reached the origin";
  if (new Set(asked).size !== asked.length) return "the origin was asked twice";
  if (own.some((target) => !asked.includes(target))) return "a response to a request that is not this client's";
  if (new Set(own).size !== own.length) return "a response came twice";
  const order = own.map((target) =>
    ["a", "b", "sentinel"].indexOf(target.split(`/${number}/`)[1]?.split("?")[0] ?? ""),
  );
  if (order.some((place, index) => place < (order[index - 1] ?? 0))) return "responses are not in their order";
  const last = targets.indexOf(`/${number}/sentinel`);
  if (last !== -1 && (last !== targets.length - 1 || targets[last - 1] !== "/hit")) return "a response is in between";
  return undefined;
}

/** Runs all cases at all servers. @returns what is wrong */
async function runAll(cases: readonly SmugglingCase[], run: Run, servers: readonly Server[]): Promise<string[]> {
  const wrong: string[] = [];
  const left = [...cases];
  const work = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      const seen = new Map<string, Map<string, string[]>>();
      for (const form of formsOf(one, run)) {
        for (const server of servers) {
          try {
            const got = await runOne(run, server, form);
            const key = run === runOverHttp1 ? agreedOver1(form) : agreedOver2(one, form, server);
            if (key === undefined) continue;
            const word = run === runOverHttp1 ? wordOver1(one, got) : wordOver2(got);
            const words = seen.get(key) ?? new Map<string, string[]>();
            seen.set(key, words.set(word, [...(words.get(word) ?? []), server.where]));
          } catch (error) {
            wrong.push(`${one.name}, ${server.where}, ${form.name}: ${(error as Error).message}`);
          }
        }
      }
      for (const [key, words] of seen)
        if (words.size > 1) wrong.push(`${one.name}, ${key}: they differ: ${JSON.stringify([...words])}`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  return wrong;
}

/** All that have the same key must agree. */
function agreedOver1({ name }: Form): string {
  return name === "stored" ? name : "as it is";
}

function wordOver1({ rfc }: SmugglingCase, { targets, others }: Got): string {
  // Whether there is a method that is only unknown is seen when the whole line is there.
  const statuses = rfc === "9110 §9.1" ? others.map((status) => status.replace("501", "400")) : others;
  return `${targets.join(" ")} ${statuses.join(" ")}`;
}

/**
 * In pieces, a response may leave before the bytes arrive that are wrong (RFC 9113 §8.1.1). nghttp2 drops fields that
 * are not valid, and goes on with the request (conformance/http2/deviations.ts): it agrees with lanes on all else.
 */
function agreedOver2({ rfc }: SmugglingCase, form: Form, { group = "" }: Server): string | undefined {
  if (form.name === "in pieces") return undefined;
  return rfc === "9113 §8.2.1" ? group : "all";
}

/** Whether the case's request was served. How it is refused is open: a stream error may end the connection (§5.4). */
function wordOver2({ targets }: Got): string {
  const own = targets.filter((target) => target !== "/hit" && target !== "/@@@@@/sentinel");
  return own.length > 0 ? `served ${own.join(" ")}` : "not served";
}

async function start(t: TestContext) {
  const certificates = [served(await certificateFor(["localhost"]))];
  const tls = { servername: "localhost", ca: testAuthority.certificatePem };
  const lanes = await lanesWithReady(t, { certificates });
  const without = await startObserved(t, certificates);
  const within = lanes === undefined ? undefined : await startObserved(t, certificates, lanes);
  return { tls, lanes, without, within };
}

test("no case of HTTP/1.1 smuggles a request", async (t) => {
  assert.ok(smugglingOverHttp1.length >= 120, `${smugglingOverHttp1.length} cases`);
  const { tls, lanes, without, within } = await start(t);
  const { fronted, relayed } = without.edge.listeners();
  const { secured } = without.edge;
  const servers = [
    { where: "with a front", edge: fronted, origin: without.origin },
    { where: "alone", edge: relayed, origin: without.origin },
    { where: "over TLS", edge: { ...secured().fronted, tls }, origin: without.origin },
    { where: "alone, over TLS", edge: { ...secured().alone, tls }, origin: without.origin },
    ...(within === undefined
      ? []
      : [
          { where: "in a lane", edge: within.edge.listeners().fronted, origin: within.origin },
          { where: "in a lane, over TLS", edge: { ...within.edge.secured().fronted, tls }, origin: within.origin },
        ]),
  ];
  assert.deepEqual(await runAll(smugglingOverHttp1, runOverHttp1, servers), []);
  for (const { origin } of servers) assert.deepEqual(origin.faults, [], "the origin can read all that it gets");
  if (lanes === undefined) return;
  const { answered } = lanes.lanes.counts();
  assert.ok(
    answered > smugglingOverHttp1.length,
    `the lane answers ${answered} requests, such as those before the cases`,
  );
  assert.equal(lanes.lanes.restarts(), 0);
});

test("no case of HTTP/2 smuggles a request", async (t) => {
  assert.ok(smugglingOverHttp2.length >= 60, `${smugglingOverHttp2.length} cases`);
  const { tls: common, lanes, without, within } = await start(t);
  const tls = { ...common, ALPNProtocols: ["h2"] };
  const { overHttp2, http2Alone } = without.edge.listeners();
  const { secured } = without.edge;
  const byNode = [
    { where: "by node:http2", edge: overHttp2, origin: without.origin },
    { where: "alone", edge: http2Alone, origin: without.origin },
    { where: "over TLS", edge: { ...secured().fronted, tls }, origin: without.origin },
    { where: "alone, over TLS", edge: { ...secured().alone, tls }, origin: without.origin },
  ].map((server) => ({ ...server, group: "by node:http2" }));
  const inLane =
    within === undefined
      ? []
      : [
          { where: "in a lane", edge: within.edge.listeners().http2InLane, origin: within.origin },
          { where: "in a lane, over TLS", edge: { ...within.edge.secured().fronted, tls }, origin: within.origin },
        ].map((server) => ({ ...server, group: "in a lane" }));
  assert.deepEqual(await runAll(smugglingOverHttp2, runOverHttp2, [...byNode, ...inLane]), []);
  for (const { origin } of [...byNode, ...inLane]) assert.deepEqual(origin.faults, []);
  if (lanes === undefined) return;
  assert.ok(lanes.lanes.counts().answered > 0, "the lane answers some");
  assert.equal(lanes.lanes.restarts(), 0);
});
