/** What a lane sends over HTTP/2 by itself: to slow clients, with small windows, after purges, and to real clients. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type ClientHttp2Session, connect, type Settings } from "node:http2";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { seededRandom } from "#base/random.ts";
import type { CountName } from "../../../node/front/lane/counts.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { seedOr } from "../../support/long.ts";
import { needs } from "../../support/needs.ts";
import { lanesWithReady } from "../../support/shared-lanes.ts";
import { ask, openSession, type Response2, responseOf, startRequest } from "../../node/http2/ask.ts";
import { served } from "../../node/tls/secured.ts";
import { hostName, type RunningEdge, startEdge } from "./running-edge.ts";

interface Scene {
  readonly edge: RunningEdge;
  readonly count: (name: CountName) => number;
}

const fields = [
  ["Cache-Control", "max-age=100000"],
  ["ETag", '"1"'],
] as const;
const large = Buffer.alloc(900_000, "0123456789abcdefghijklmnopqrstuvw");
const small = Buffer.alloc(20_000, "small ");

async function openScene(t: TestContext, { isSecure = false } = {}): Promise<Scene | undefined> {
  const certificates = isSecure ? [served(await certificateFor(["localhost"]))] : undefined;
  const secure = certificates === undefined ? {} : { certificates };
  const lanes = await lanesWithReady(t, secure);
  if (lanes === undefined) return undefined;
  const edge = await startEdge(t, { host: { hedging: false }, lanes, ...secure });
  edge.origin.say("/small", { fields, body: small });
  edge.origin.say("/large", { fields, body: large });
  return { edge, count: (name) => lanes.lanes.counts()[name] };
}

async function openOver(
  t: TestContext,
  { edge }: Scene,
  isSecure: boolean,
  settings: Settings,
): Promise<ClientHttp2Session> {
  if (!isSecure) return await openSession(t, edge.listeners().http2InLane, { settings });
  const url = `https://127.0.0.1:${edge.secured().fronted.port}`;
  const session = connect(url, { ca: testAuthority.certificatePem, servername: "localhost", settings });
  session.on("error", () => undefined);
  t.after(() => {
    session.destroy();
  });
  await once(session, "connect");
  return session;
}

function get(target: string, ...more: string[]): string[] {
  return [":method", "GET", ":scheme", "http", ":authority", hostName, ":path", target, ...more];
}

/** Requests it until the lane answers it. */
async function ready({ edge, count }: Scene, session: ClientHttp2Session, list: readonly string[]): Promise<void> {
  const before = count("answered");
  for (let tries = 0; tries < 200; tries += 1) {
    await ask(session, list);
    await edge.flushed();
    if (count("answered") > before) return;
    await setTimeout(10);
  }
  assert.fail(`the lane does not answer ${list.join(" ")}`);
}

const hashOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function readAtAllPaces(t: TestContext, isSecure: boolean): Promise<void> {
  const scene = await openScene(t, { isSecure });
  if (scene === undefined) return;
  const seed = seedOr(2038);
  const random = seededRandom(seed);
  const warm = await openOver(t, scene, isSecure, {});
  for (const target of ["/small", "/large"]) await ready(scene, warm, get(target));
  const relayed = scene.count("relayed");
  for (let round = 0; round < 8; round += 1) {
    const initialWindowSize = Math.floor(random() * (random() < 0.5 ? 3000 : 200_000)) + 1000;
    const session = await openOver(t, scene, isSecure, { initialWindowSize });
    const asked = Array.from({ length: 15 }, () => (random() < 0.5 ? "/small" : "/large"));
    const responses = asked.map(async (target): Promise<Response2> => {
      const stream = startRequest(session, get(target));
      const response = responseOf(stream);
      if (random() < 0.5) {
        stream.pause();
        await setTimeout(random() * 200);
        stream.resume();
      }
      return await response;
    });
    for (const [index, { status, body, code }] of (await Promise.all(responses)).entries()) {
      assert.deepEqual([status, code], [200, 0], `SEED=${seed}`);
      assert.equal(hashOf(body), hashOf(asked[index] === "/small" ? small : large), `SEED=${seed}`);
    }
    session.close();
  }
  assert.ok(scene.count("relayed") - relayed < 20, "the lane sent them itself");
  assert.equal(scene.count("http2Streams"), 0);
}

for (const isSecure of [false, true]) {
  const title = `whatever the windows and the client's pace, bodies from memory and from a file have their bytes`;
  test(`${isSecure ? "over TLS" : "in the clear"}: ${title}`, (t) => readAtAllPaces(t, isSecure));
}

test("a slow client gets the bytes that were there when its response began", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const { edge } = scene;
  for (const [target, body] of [
    ["/small", small],
    ["/large", large],
  ] as const) {
    const session = await openSession(t, edge.listeners().http2InLane, { settings: { initialWindowSize: 5000 } });
    await ready(scene, session, get(target));
    const stream = startRequest(session, get(target));
    stream.pause();
    await once(stream, "response");
    edge.origin.say(target, { fields, body: Buffer.alloc(body.length, "X") });
    await edge.purge({ hosts: [hostName] });
    for (let count = 0; count < 5; count += 1) await ask(session, get(target));
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    assert.equal(hashOf(Buffer.concat(chunks)), hashOf(body), target);
    session.close();
  }
});

test("304, 206 and HEAD, each counted once, with its host, its status and its bytes", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const { edge, count } = scene;
  const session = await openSession(t, edge.listeners().http2InLane);
  await ready(scene, session, get("/small"));
  const answered = count("answered");
  const before = edge.served.length;
  const matching = await ask(session, get("/small", "if-none-match", '"1"'));
  assert.deepEqual([matching.status, matching.body.length], [304, 0]);
  const part = await ask(session, get("/small", "range", "bytes=1-3"));
  assert.deepEqual([part.status, part.body.toString()], [206, "mal"]);
  assert.deepEqual(part.fields.get("content-range"), [`bytes 1-3/${small.length}`]);
  const head = await ask(session, get("/small").with(1, "HEAD"));
  assert.deepEqual([head.status, head.body.length], [200, 0]);
  assert.deepEqual(head.fields.get("content-length"), [String(small.length)]);
  assert.equal(count("answered") - answered, 3);
  const told = edge.served.slice(before).map(({ host, kind, outcome, status, bodyBytes }) => {
    return [host, kind, outcome, status, bodyBytes];
  });
  assert.deepEqual(told, [
    [hostName, "assets", "hit", 304, 0],
    [hostName, "assets", "hit", 206, 3],
    [hostName, "assets", "hit", 200, 0],
  ]);
});

test("after a purge, a lane does not send what was purged", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const { edge } = scene;
  const session = await openSession(t, edge.listeners().http2InLane);
  await ready(scene, session, get("/small"));
  for (let version = 0; version < 3; version += 1) {
    const body = `version ${version}`;
    edge.origin.say("/small", { fields, body });
    await edge.purge({ hosts: [hostName] });
    assert.equal((await ask(session, get("/small"))).body.toString(), body);
    await ready(scene, session, get("/small"));
  }
});

const run = promisify(execFile);

/** What a program prints, or undefined if it is not installed. */
async function outputOf(t: TestContext, program: string, args: readonly string[]): Promise<Buffer | undefined> {
  try {
    const { stdout } = await run(program, args, { encoding: "buffer", timeout: 30_000, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (!isMissing) throw error;
    needs(t, false, `${program} is not installed`);
    return undefined;
  }
}

for (const [program, args] of [
  ["curl", ["-s", "--http2-prior-knowledge", "-H", `Host: ${hostName}`]],
  ["nghttp", ["-H", `:authority: ${hostName}`]],
] as const) {
  test(`${program} gets the bytes`, async (t) => {
    const scene = await openScene(t);
    if (scene === undefined) return;
    const { port } = scene.edge.listeners().http2InLane;
    for (const [target, body] of [
      ["/small", small],
      ["/large", large],
    ] as const) {
      for (let count = 0; count < 4; count += 1) {
        const got = await outputOf(t, program, [...args, `http://127.0.0.1:${port}${target}`]);
        if (got === undefined) return;
        assert.equal(hashOf(got), hashOf(body));
        await scene.edge.flushed();
      }
    }
    assert.ok(scene.count("answered") > 0, "the lane sent some itself");
  });
}

test("h2load: thousands of requests, all answered", async (t) => {
  const scene = await openScene(t);
  if (scene === undefined) return;
  const { port } = scene.edge.listeners().http2InLane;
  const url = (target: string): string => `http://127.0.0.1:${port}${target}`;
  const many = ["-n", "3000", "-c", "10", "-m", "30", "-H", `:authority: ${hostName}`, url("/small"), url("/large")];
  const printed = (await outputOf(t, "h2load", many))?.toString();
  if (printed === undefined) return;
  assert.match(printed, /3000 done, 3000 succeeded, 0 failed, 0 errored/);
  assert.match(printed, /status codes: 3000 2xx/);
  assert.ok(scene.count("answered") > 1000);
});
