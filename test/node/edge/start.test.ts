/** When a starting edge tells probes that it is ready: with DNS, only once its responder answers. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { stringify } from "yaml";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { systemRandom } from "#base/random.ts";
import { check } from "#base/schema.ts";
import { openFleetMemory } from "#follow/fleet-memory.ts";
import { startDns } from "../../../dns/start.ts";
import { edgeConfigSchema, type EdgeConfig } from "../../../node/config.ts";
import { type Edge, startEdge } from "../../../node/edge/edge.ts";
import type { StartDns } from "../../../node/edge/phases/dns-responder.ts";
import { alone } from "../../../node/processes/process-share.ts";
import { openSiblings } from "../../../node/processes/machine-load.ts";
import { queryOf, readAnswer } from "../../dns/support/ask.ts";
import { askUdp } from "../../dns/support/sockets.ts";
import { fleetValue, siteValue } from "../../support/fleet.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const host = "127.0.0.1";

/** An edge that remembers its fleet, and whose origin is down. */
async function configOf(t: TestContext, addresses: readonly object[]): Promise<EdgeConfig> {
  const dataDir = join(await temporaryDirectory(t), "data");
  await mkdir(dataDir);
  const tokenFile = join(dataDir, "edge.token");
  await writeFile(tokenFile, "t".repeat(43), { mode: 0o600 });
  const memory = await openFleetMemory(dataDir);
  const steering = [{ name: "img.cdn.test", policy: "geo" }];
  await memory.storeFleet(1, stringify(fleetValue({ sites: [siteValue("fra")], steering })));
  const checked = check(edgeConfigSchema, {
    node: "fra1",
    site: "fra",
    dataDir,
    origin: { url: `http://${host}:1`, tokenFile },
    http: [{ host, port: 0 }],
    admin: { host, port: 0 },
    decoders: { processes: 1 },
    dns: { addresses, geoFiles: [], threads: 0 },
    // Long enough for a probe while it drains.
    drainMs: 1000,
  });
  assert(checked.ok, JSON.stringify(checked));
  return checked.value;
}

async function start(t: TestContext, config: EdgeConfig, responder: StartDns): Promise<Edge> {
  const siblings = openSiblings({ count: 1, clock: systemClock });
  const deps = { process: alone, siblings, clock: systemClock, random: systemRandom, log: silentLog };
  const edge = await startEdge(config, { ...deps, startDns: responder });
  t.after(() => edge.drain());
  return edge;
}

const realDns: StartDns = (options) =>
  startDns({ ...options, clock: systemClock, random: systemRandom, log: silentLog });

async function probe({ http }: Edge): Promise<[number, unknown]> {
  const response = await fetch(`http://${host}:${http[0]?.port}/.nearcast/health`);
  return [response.status, ((await response.json()) as { state: unknown }).state];
}

async function rcodeOf(edge: Edge): Promise<number> {
  return readAnswer(await askUdp(edge.dns()[0]?.port ?? 0, queryOf({}))).rcode;
}

test("until its DNS answers, a node tells probes that it is starting; meanwhile it has no DNS port", async (t) => {
  const isAsked = Promise.withResolvers<void>();
  const mayAnswer = Promise.withResolvers<void>();
  const slow: StartDns = async (options) => {
    const dns = await realDns(options);
    // Like geo data that take long to load.
    const update: typeof dns.update = async (inputs) => {
      isAsked.resolve();
      await mayAnswer.promise;
      await dns.update(inputs);
    };
    return { ...dns, update };
  };
  const edge = await start(t, await configOf(t, [{ host, port: 0 }]), slow);
  assert.deepEqual([await probe(edge), edge.dns()], [[503, "starting"], []]);
  await isAsked.promise;
  assert.deepEqual([await probe(edge), edge.dns()], [[503, "starting"], []]);
  mayAnswer.resolve();
  await edge.ready;
  assert.deepEqual([await probe(edge), await rcodeOf(edge)], [[200, "ready"], 0]);
  const draining = edge.drain();
  assert.equal((await probe(edge))[1], "draining");
  await draining;
});

test("a node without DNS does not start a responder, and is ready when it serves", async (t) => {
  const edge = await start(t, await configOf(t, []), () => Promise.reject(new Error("no DNS on this node")));
  await edge.ready;
  assert.deepEqual([await probe(edge), edge.dns()], [[200, "ready"], []]);
});

test("a DNS port in use ends the start before anything is served", async (t) => {
  const taken = createSocket("udp4").bind(0, host);
  t.after(() => taken.close());
  await once(taken, "listening");
  const config = await configOf(t, [{ host, port: taken.address().port }]);
  await assert.rejects(start(t, config, realDns), { code: "CANNOT_LISTEN" });
});
