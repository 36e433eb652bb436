/** What a lane sends by itself, in the clear and over TLS: until a purge, to slow clients, from files. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { CountName } from "../../../node/front/lane/counts.ts";
import type { Listener } from "../../../node/http/listener.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { lanesWithReady, type SharedLanes } from "../../support/shared-lanes.ts";
import { openLine, readAnswers } from "../../node/http/raw.ts";
import { served } from "../../node/tls/secured.ts";
import { hostName, type RunningEdge, startEdge } from "./running-edge.ts";

type Protocol = "HTTP" | "HTTPS";

interface Scene {
  /** Where clients connect, and how. */
  readonly listener: Listener;
  readonly tls: ConnectionOptions | undefined;
  readonly edge: RunningEdge;
  readonly lanes: SharedLanes;
  readonly count: (name: CountName) => number;
}

const fields = [
  ["Cache-Control", "max-age=100000"],
  ["ETag", '"1"'],
] as const;
const large = Buffer.alloc(900_000, "0123456789abcdefghijklmnopqrstuvw");
const small = Buffer.alloc(50_000, "small ");

async function openScene(t: TestContext, protocol: Protocol): Promise<Scene | undefined> {
  const secure = protocol === "HTTP" ? {} : { certificates: [served(await certificateFor(["localhost"]))] };
  const lanes = await lanesWithReady(t, secure);
  if (lanes === undefined) return undefined;
  const edge = await startEdge(t, { host: { hedging: false }, lanes, ...secure });
  edge.origin.say("/small", { fields, body: small });
  edge.origin.say("/large", { fields, body: large });
  return {
    edge,
    lanes,
    listener: protocol === "HTTP" ? edge.listeners().fronted : edge.secured().fronted,
    tls: protocol === "HTTP" ? undefined : { servername: "localhost", ca: testAuthority.certificatePem },
    count: (name) => lanes.lanes.counts()[name],
  };
}

function testBoth(title: string, body: (t: TestContext, protocol: Protocol) => Promise<void>): void {
  for (const protocol of ["HTTP", "HTTPS"] as const) {
    test(`${protocol}: ${title}`, async (t) => {
      await body(t, protocol);
    });
  }
}

function get(target: string, ...lines: string[]): string {
  return [`GET ${target} HTTP/1.1`, `Host: ${hostName}`, ...lines, "", ""].join("\r\n");
}

/** Requests it until the lane answers it. */
async function ready({ listener, tls, count }: Scene, target: string): Promise<void> {
  const before = count("answered");
  for (let tries = 0; tries < 200; tries += 1) {
    const line = await openLine(listener, tls);
    line.send(get(target, "Connection: keep-alive"));
    await line.until((text) => /\r\n\r\n[^]*$/.test(text) && readLength(text));
    line.socket.destroy();
    if (count("answered") > before) return;
    await setTimeout(10);
  }
  assert.fail(`the lane does not answer ${target}`);
}

/** Whether the response is here to its end. */
function readLength(text: string): boolean {
  const length = Number(/\r\nContent-Length: (\d+)\r\n/i.exec(text)?.[1]);
  return text.length - (text.indexOf("\r\n\r\n") + 4) >= length;
}

async function connected({ listener, tls }: Scene): Promise<Socket> {
  const { address, port } = listener;
  const socket = tls === undefined ? connect(port, address) : connectTls({ ...tls, port, host: address });
  await once(socket, tls === undefined ? "connect" : "secureConnect");
  return socket;
}

/** Reads to the end of `length` bytes, in small pieces, with pauses. */
async function readSlowly(socket: Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let received = 0;
  while (received < length) {
    const chunk = (socket.read() as Buffer | null) ?? undefined;
    if (chunk === undefined) {
      await once(socket, "readable");
      continue;
    }
    chunks.push(chunk);
    received += chunk.length;
    await setTimeout(1);
  }
  return Buffer.concat(chunks);
}

testBoth("after a purge, a lane does not send what was purged", async (t, protocol) => {
  const scene = await openScene(t, protocol);
  if (scene === undefined) return;
  const { edge, listener, tls } = scene;
  await ready(scene, "/small");
  for (let version = 0; version < 5; version += 1) {
    const body = `version ${version}`;
    edge.origin.say("/small", { fields, body });
    await edge.purge({ hosts: [hostName] });
    const line = await openLine(listener, tls);
    line.send(get("/small", "Connection: close"));
    const [answer] = readAnswers(await line.rest());
    assert.equal(answer?.body.toString(), body);
    await ready(scene, "/small");
  }
});

testBoth("a client that does not read gets one response at a time, and the others get theirs", async (t, protocol) => {
  const scene = await openScene(t, protocol);
  if (scene === undefined) return;
  for (const target of ["/small", "/large"]) {
    await ready(scene, target);
    const before = scene.count("answered");
    const slow = await connected(scene);
    slow.pause();
    slow.write(get(target).repeat(400));
    await setTimeout(300);
    const taken: number = scene.count("answered") - before;
    assert.ok(taken < 200, `${taken} responses of ${target} for a client that reads none`);
    const others = scene.count("answered");
    await ready(scene, "/small");
    assert.ok(scene.count("answered") > others);
    slow.destroy();
  }
  await setTimeout(50);
  assert.equal(scene.count("open"), 0, "a client that left is not kept");
});

testBoth(
  "slow clients get the bytes that were there when their response began, from memory and from a file",
  async (t, protocol) => {
    const scene = await openScene(t, protocol);
    if (scene === undefined) return;
    const { edge } = scene;
    for (const [target, body] of [
      ["/small", small],
      ["/large", large],
    ] as const) {
      await ready(scene, target);
      const relayed = scene.count("relayed");
      const slow = await connected(scene);
      const requests = 12;
      slow.write(get(target).repeat(requests));
      await once(slow, "readable");
      edge.origin.say(target, { fields, body: Buffer.alloc(body.length, "X") });
      await edge.purge({ hosts: [hostName] });
      const first = slow.read() as Buffer;
      const text = Buffer.concat([first, await readSlowly(slow, body.length + 200 - first.length)]).toString("latin1");
      const start = text.indexOf("\r\n\r\n") + 4;
      assert.ok(text.slice(start, start + body.length) === body.toString("latin1"), `${target} was changed on the way`);
      assert.ok(relayed <= scene.count("relayed"));
      slow.destroy();
      edge.origin.say(target, { fields, body });
      await edge.purge({ hosts: [hostName] });
    }
  },
);

testBoth("the end of a response does not wait for the next one", async (t, protocol) => {
  const scene = await openScene(t, protocol);
  if (scene === undefined) return;
  for (const target of ["/small", "/large"]) {
    await ready(scene, target);
    const timesMs: number[] = [];
    for (let tries = 0; tries < 5; tries += 1) {
      const line = await openLine(scene.listener, scene.tls);
      const startMs = performance.now();
      line.send(get(target, "Connection: keep-alive"));
      await line.until(readLength);
      timesMs.push(performance.now() - startMs);
      line.socket.destroy();
    }
    // Linux holds back a packet that is not full for 200 ms, unless it is told that nothing follows.
    assert.ok(Math.min(...timesMs) < 190, `${target} took ${timesMs.map(Math.round).join(", ")} ms`);
  }
});

testBoth("a hundred pipelined requests are answered in order", async (t, protocol) => {
  const scene = await openScene(t, protocol);
  if (scene === undefined) return;
  await ready(scene, "/small");
  const line = await openLine(scene.listener, scene.tls);
  const before = scene.count("answered");
  const ranges = Array.from({ length: 100 }, (_, index) => get("/small", `Range: bytes=${index}-${index + 9}`));
  line.send(`${ranges.join("")}${get("/small", "Connection: close")}`);
  const answers = readAnswers(await line.rest());
  assert.equal(answers.length, 101);
  for (const [index, { status, body }] of answers.slice(0, 100).entries()) {
    assert.equal(status, 206);
    assert.equal(body.toString("latin1"), small.subarray(index, index + 10).toString("latin1"));
  }
  assert.equal(scene.count("answered") - before, 100);
});

testBoth("every response of a lane is counted once, with its host, its status and its bytes", async (t, protocol) => {
  const scene = await openScene(t, protocol);
  if (scene === undefined) return;
  await ready(scene, "/small");
  const { edge, listener, tls, count } = scene;
  const before = edge.served.length;
  const answered = count("answered");
  const line = await openLine(listener, tls);
  line.send(get("/small") + get("/small", 'If-None-Match: "1"') + get("/small", "Range: bytes=1-3"));
  await line.until((text) => text.includes("206 Partial Content"));
  assert.equal(count("answered") - answered, 3);
  const told = edge.served.slice(before).map(({ host, kind, outcome, status, bodyBytes }) => {
    return [host, kind, outcome, status, bodyBytes];
  });
  assert.deepEqual(told, [
    [hostName, "assets", "hit", 200, small.length],
    [hostName, "assets", "hit", 304, 0],
    [hostName, "assets", "hit", 206, 3],
  ]);
  line.socket.destroy();
});
