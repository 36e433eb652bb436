/** What becomes of downloads when an edge stops: all that move get at least `drainMs`, whenever they began. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { systemRandom } from "#base/random.ts";
import { check } from "#base/schema.ts";
import { openFleetMemory } from "#follow/fleet-memory.ts";
import { edgeConfigSchema } from "../../../node/config.ts";
import { type Edge, startEdge } from "../../../node/edge/edge.ts";
import { lanesMissing } from "../../../node/front/lane/lanes.ts";
import { openSiblings } from "../../../node/processes/machine-load.ts";
import { alone } from "../../../node/processes/process-share.ts";
import { fleetValue, siteValue } from "../../support/fleet.ts";
import { startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { needs } from "../../support/needs.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const host = "127.0.0.1";
const body = Buffer.alloc(24 * 1024 * 1024, "a download, ");
const drainMs = 6000;

/** An edge that remembers its fleet, with an assets host; its origin is down. */
async function start(t: TestContext, lanes: number): Promise<Edge> {
  const origin = await startLoopbackOrigin(t, (_asked, response) => {
    response.setHeader("Cache-Control", "max-age=1000").setHeader("ETag", '"1"').end(body);
  });
  const dataDir = join(await temporaryDirectory(t), "data");
  await mkdir(dataDir);
  const tokenFile = join(dataDir, "edge.token");
  await writeFile(tokenFile, "t".repeat(43), { mode: 0o600 });
  const memory = await openFleetMemory(dataDir);
  const hosts = [{ name: "assets.cdn.test", kind: "assets", origin: origin.url }];
  await memory.storeFleet(1, stringify(fleetValue({ sites: [siteValue("fra")], hosts })));
  const checked = check(edgeConfigSchema, {
    node: "fra1",
    site: "fra",
    dataDir,
    origin: { url: `http://${host}:1`, tokenFile },
    http: [{ host, port: 0 }],
    admin: { host, port: 0 },
    front: { lanes },
    assets: { privateNetworks: ["127.0.0.0/8"] },
    decoders: { processes: 1 },
    dns: { addresses: [], geoFiles: [] },
    drainMs,
  });
  assert(checked.ok, JSON.stringify(checked));
  const siblings = openSiblings({ count: 1, clock: systemClock });
  const deps = { process: alone, siblings, clock: systemClock, random: systemRandom, log: silentLog };
  const edge = await startEdge(checked.value, { ...deps, startDns: () => Promise.reject(new Error("no DNS here")) });
  t.after(() => {
    edge.hurry();
    return edge.drain();
  });
  await edge.ready;
  return edge;
}

async function download({ http }: Edge): Promise<IncomingMessage> {
  const headers = { host: "assets.cdn.test" };
  const asked = request({ host, port: http[0]?.port, path: "/large", agent: false, headers }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  response.on("error", () => undefined);
  return response;
}

/** Reads 2 MB a second for so long, then the rest. @returns the bytes; fewer than all: it was cut off */
async function readFor(response: IncomingMessage, forMs: number): Promise<number> {
  let bytes = 0;
  const untilMs = performance.now() + forMs;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (performance.now() > untilMs) return;
    response.pause();
    setTimeout(() => response.resume(), chunk.length / 2000);
  });
  await new Promise((resolve) => response.on("close", resolve));
  return bytes;
}

for (const [where, lanes] of [
  ["the main thread", 0],
  ["a lane", 1],
] as const) {
  test(`a slow download that moves is not cut off before a second drainMs is over: ${where}`, async (t) => {
    const missing = lanes === 0 ? undefined : lanesMissing();
    if (!needs(t, missing === undefined, missing ?? "")) return;
    const edge = await start(t, lanes);
    const early = await download(edge);
    const stopped = edge.drain();
    const slow = readFor(early, drainMs + 3500);
    await sleep(drainMs - 500);
    const late = readFor(await download(edge), 4000);
    assert.deepEqual(await Promise.all([slow, late]), [body.length, body.length]);
    await stopped;
  });
}

test("a second signal leaves downloads three seconds", async (t) => {
  const edge = await start(t, 0);
  const endless = readFor(await download(edge), 60_000);
  const stopped = edge.drain();
  const beganMs = performance.now();
  edge.hurry();
  assert.ok((await endless) < body.length, "it was cut off");
  await stopped;
  const tookMs = performance.now() - beganMs;
  assert.ok(tookMs > 2900 && tookMs < drainMs + 3000, `${tookMs.toFixed()} ms`);
});
