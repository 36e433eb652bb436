/**
 * No request field makes a listener work for more than a moment: each one, filled to the largest size accepted with the
 * texts that patterns are slow at, costs at most 20 ms of the main thread's CPU, on every listener there is.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import { channelKeys, channelTls } from "../../node/peer/keys.ts";
import { canMeasureProcesses, leastCpuMs } from "../support/cpu.ts";
import { hostileText, shapes } from "../support/hostile-text.ts";
import { answering, startLoopbackOrigin } from "../support/loopback-origin.ts";
import { needs } from "../support/needs.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld } from "../support/world.ts";

const cpuMsMax = 20;
/** Heads of 96 KiB are read, of peers 32 KiB; the rest is for the request line and the other fields. */
const valueLength = 95_000;
const peerValueLength = 31_000;

/** Field, and what stands before the hostile text so that it is read as far as it can be. */
const fields: readonly (readonly [name: string, opening: string])[] = [
  ["Accept", "image/"],
  ["Accept-Charset", ""],
  ["Accept-Encoding", "br;q=0"],
  ["Accept-Language", "de"],
  ["Authorization", "Bearer "],
  ["Cache-Control", "max-age="],
  ["CDN-Loop", "nearcast"],
  ["Connection", "close"],
  ["Content-Length", "0"],
  ["Content-Type", "application/json;"],
  ["Cookie", "a="],
  ["Expect", "100-continue"],
  ["Forwarded", "for="],
  ["Host", "img.cdn.test"],
  ["If-Match", '"a"'],
  ["If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"],
  ["If-None-Match", 'W/"a"'],
  ["If-Range", '"a"'],
  ["If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"],
  ["Nearcast-Probe", ""],
  ["Nearcast-Author", ""],
  ["Nearcast-Known", "0".repeat(64)],
  ["Nearcast-Log", "a/1"],
  ["Nearcast-Role", "owner"],
  ["Nearcast-Target", "/"],
  ["Origin", "http://"],
  ["Pragma", "no-cache"],
  ["Range", "bytes="],
  ["TE", "trailers"],
  ["Transfer-Encoding", "chunked"],
  ["Upgrade", "h2c"],
  ["User-Agent", ""],
  ["Via", "1.1 a"],
];

/** Where requests go, and the fields that a good one has there. */
interface Target {
  what: string;
  pid: number;
  open: () => Socket;
  requestLine: string;
  good: Readonly<Record<string, string>>;
  valueLength: number;
}

test("request fields", async (t) => {
  if (!needs(t, canMeasureProcesses(), "/proc/PID/task/TID/schedstat is not there")) return;
  const assetsOrigin = await startLoopbackOrigin(t, answering(200, { "cache-control": "max-age=60" }, "body"));
  const world = await startWorld(t, ["fra"], {
    hasPeers: true,
    hosts: [{ name: "static.cdn.test", kind: "assets", origin: assetsOrigin.url }],
    edge: { decoders: { processes: 1 }, assets: { privateNetworks: ["127.0.0.0/8"] } },
  });
  const edge = world.edge("fra");
  await world.api("PUT", "/images/a.jpg", await photograph(1, { width: 80, height: 60 }));
  const token = async (name: string): Promise<string> =>
    (await readFile(join(world.directory, "origin", "secrets", `${name}.token`), "utf8")).trim();
  const secret = (await (
    await fetch(`${world.originUrl}/api/v1/fleet/secret`, {
      headers: { authorization: `Bearer ${await token("edge")}` },
    })
  ).json()) as { current: string };
  const [peerKey] = channelKeys(() => [Buffer.from(secret.current, "base64url")])();
  assert.ok(peerKey);

  const tcp = (url: string) => (): Socket => connect(Number(new URL(url).port), new URL(url).hostname);
  const tls = (): Socket =>
    connectTls({
      ...channelTls,
      host: edge.address,
      port: 8082,
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ identity: peerKey.identity, psk: peerKey.psk }),
    });
  const ofEdge = { pid: edge.program().pid, valueLength };
  const ofOrigin = { pid: world.originProgram().pid, open: tcp(world.originUrl), valueLength };
  const ofPeers = { pid: edge.program().pid, open: tls, valueLength: peerValueLength };
  const variant = "fit%3Dclip%26q%3D75%26fm%3Djpg";
  const targets: readonly Target[] = [
    {
      ...ofEdge,
      what: "a picture",
      open: tcp(edge.url),
      requestLine: "GET /a.jpg?fm=jpg",
      good: { host: "img.cdn.test" },
    },
    { ...ofEdge, what: "an asset", open: tcp(edge.url), requestLine: "GET /a", good: { host: "static.cdn.test" } },
    { ...ofEdge, what: "a probe", open: tcp(edge.url), requestLine: "GET /.nearcast/health", good: { host: "a" } },
    { ...ofEdge, what: "admin", open: tcp(edge.adminUrl), requestLine: "GET /readyz", good: { host: edge.address } },
    {
      ...ofPeers,
      what: "a peer's picture",
      requestLine: `GET /v1/image?host=img.cdn.test&name=a.jpg&variant=${variant}`,
      good: { "nearcast-role": "owner" },
    },
    {
      ...ofPeers,
      what: "a peer's asset",
      requestLine: "GET /v1/asset?host=static.cdn.test",
      good: { "nearcast-role": "owner", "nearcast-target": "/a" },
    },
    {
      ...ofOrigin,
      what: "a read from the origin",
      requestLine: "GET /api/v1/images/a.jpg",
      good: { host: "a", authorization: `Bearer ${await token("edge")}` },
    },
    {
      ...ofOrigin,
      what: "a write to the origin",
      requestLine: "DELETE /api/v1/images/none.jpg",
      good: { host: "a", authorization: `Bearer ${await token("writer")}` },
    },
  ];

  for (const target of targets) {
    // The first requests of a process pay for compiling its code.
    for (let round = 0; round < 20; round += 1) await send(target, {});
    await t.test(`${fields.length} fields in ${shapes.length} shapes cost ${target.what} 20 ms at most`, async () => {
      for (const [name, opening] of fields) {
        for (const shape of shapes) {
          const changed = { [name.toLowerCase()]: hostileText(opening, shape, target.valueLength) };
          const cpuMs = await leastCpuMs(target.pid, cpuMsMax, () => send(target, changed));
          const row = `${name}: ${opening}${JSON.stringify(shape)} again and again`;
          assert.ok(cpuMs <= cpuMsMax, `${row} cost ${cpuMs.toFixed(1)} ms`);
        }
      }
    });
  }

  await t.test("a Range of 95,000 spaces is answered in under 20 ms of CPU, and delays no other client", async () => {
    const [picture] = targets;
    assert.ok(picture);
    const another = watchAnotherClient(`${edge.url}/a.jpg?fm=jpg`);
    const range = `bytes=${" ".repeat(valueLength)}x`;
    let cpuMs: number;
    let waitedMs: number;
    try {
      assert.match(await send(picture, { range }), /^HTTP\/1\.1 200 /);
      cpuMs = await leastCpuMs(picture.pid, cpuMsMax, () => send(picture, { range }));
    } finally {
      waitedMs = await another.longestMs();
    }
    assert.ok(cpuMs < cpuMsMax, `${cpuMs} ms of CPU`);
    // By the clock on the wall, on a machine that may be busy otherwise. A quadratic pattern took 8,500 ms.
    assert.ok(waitedMs < 1000, `another client waited ${waitedMs} ms`);
  });
});

/** One request over a connection of its own; gives what came until the head was there, or the connection ended. */
async function send(target: Target, changed: Readonly<Record<string, string>>): Promise<string> {
  const socket = target.open();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    if (text.includes("\r\n\r\n")) resolve(text);
  });
  socket.on("error", () => {
    resolve(text); // a reset is an answer too, to a head that is refused while it still comes
  });
  socket.on("close", () => {
    resolve(text);
  });
  socket.setTimeout(30_000, () => {
    reject(new Error(`no answer to ${target.requestLine}`));
  });
  const lines = Object.entries({ connection: "close", ...target.good, ...changed }).map((pair) => pair.join(": "));
  socket.write([`${target.requestLine} HTTP/1.1`, ...lines, "", ""].join("\r\n"), "latin1");
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** Asks again and again, until `longestMs` ends it and tells the longest wait. */
function watchAnotherClient(url: string): { longestMs: () => Promise<number> } {
  const over = new AbortController();
  let longestMs = 0;
  const ask = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const startedMs = performance.now();
      await (await fetch(url)).arrayBuffer();
      longestMs = Math.max(longestMs, performance.now() - startedMs);
    }
  };
  const asking = ask();
  return {
    async longestMs() {
      over.abort();
      await asking;
      return longestMs;
    },
  };
}
