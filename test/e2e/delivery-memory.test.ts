/**
 * Clients that request much and read little, and fills of many large bodies at once: the edge's resident memory stays
 * within its size at rest, its memory cache, its budget for bytes in flight, and a margin. Other clients are served
 * without delay meanwhile.
 */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import {
  type Bystander,
  get,
  readSlowly,
  sendAndNeverRead,
  startBystander,
  type Wanted,
} from "../support/edge-client.ts";
import { rounds } from "../support/long.ts";
import { type LoopbackOrigin, startLoopbackOrigin } from "../support/loopback-origin.ts";
import { needs } from "../support/needs.ts";
import { canMeasureMemory, forgetPeak, residentBytes } from "../support/process-memory.ts";
import { startWorld, until, type WorldEdge } from "../support/world.ts";

const mebibyte = 1024 * 1024;
const memoryBytes = 64 * mebibyte;
const inFlightBytes = 64 * mebibyte;
const marginBytes = 150 * mebibyte;
const bystanderMsMax = 5000;
const largeBytes = 60_000_000;
const drillMs = rounds(6000, 15_000);
/** One origin gives no edge more than 64 connections, so many fills at once need several. */
const originsCount = 4;
const smallPath = "/2000/small.css";
/** On disk they are 12 GB, which is too much for CI. */
const fillsCount = rounds(40, 200);
const block = Buffer.alloc(65_536, "nearcast");

interface Place {
  edge: WorldEdge;
  hosts: readonly string[];
  origins: readonly LoopbackOrigin[];
  /** Before the first drill: what a drill leaves behind does not raise the ceiling of the next. */
  restBytes: number;
}

async function startPlace(t: TestContext, diskBytes: number): Promise<Place> {
  const origins = await Promise.all(
    Array.from({ length: originsCount }, () =>
      startLoopbackOrigin(t, ({ target }, response) => generate(target, response)),
    ),
  );
  const hosts = origins.map((_, index) => `static${index}.cdn.test`);
  const world = await startWorld(t, ["fra"], {
    hosts: origins.map(({ url }, index) => ({ name: hosts[index], kind: "assets", origin: url })),
    edge: {
      cache: { memoryBytes, diskBytes },
      delivery: { inFlightBytes },
      decoders: { processes: 1 },
      assets: { privateNetworks: ["127.0.0.0/8"] },
    },
  });
  const edge = world.edge("fra");
  for (let count = 0; count < 20; count += 1) {
    assert.equal((await get({ url: edge.url, host: hosts[0] ?? "", path: smallPath })).status, 200);
  }
  const { now: restBytes } = await residentBytes(edge.program().pid);
  return { edge, hosts, origins, restBytes };
}

/** `/BYTES/NAME`: a storable body of that size, as fast as it is taken. */
async function generate(target: string, response: ServerResponse): Promise<void> {
  const lengthBytes = Number(/^\/(\d+)\//.exec(target)?.[1]);
  response.writeHead(200, { "content-length": lengthBytes, "cache-control": "max-age=3600", etag: `"${lengthBytes}"` });
  const blocks = function* (): Generator<Buffer> {
    for (let left = lengthBytes; left > 0; left -= block.length)
      yield left < block.length ? block.subarray(0, left) : block;
  };
  // A client that leaves ends the response early, which is no error here.
  await pipeline(Readable.from(blocks()), response).catch(() => undefined);
}

/** Client number `index` of a crowd: eight to a network, so that no drill is about the share of one network. */
const addressOf = (index: number): string => `127.10.${Math.floor(index / 8)}.${1 + (index % 8)}`;

/** Runs a drill beside a client that requests something small and cached, and judges memory and that client. */
async function runDrill(t: TestContext, { edge, hosts, restBytes }: Place, drill: () => Promise<void>): Promise<void> {
  const { pid } = edge.program();
  const small: Wanted = { url: edge.url, host: hosts[0] ?? "", path: smallPath, from: "127.9.9.9" };
  await forgetPeak(pid);
  const bystander: Bystander = startBystander(() => small, 10);
  let met;
  try {
    await drill();
  } finally {
    met = await bystander.stop();
  }
  const { peak } = await residentBytes(pid);
  const inMiB = (bytes: number): string => `${Math.round(bytes / mebibyte)} MiB`;
  const [p50, p99, slowest] = [met.p50Ms, met.p99Ms, met.slowestMs].map((ms) => ms.toFixed(1));
  const times = `${met.count} others: p50 ${p50}, p99 ${p99}, slowest ${slowest} ms`;
  t.diagnostic(`at rest ${inMiB(restBytes)}, peak ${inMiB(peak)}; ${times}`);
  assert.deepEqual(met.failures, [], "another client's request failed");
  assert.ok(met.count >= 10, "the other client sent too little to prove anything");
  assert.ok(met.slowestMs <= bystanderMsMax, `another client waited for ${met.slowestMs} ms`);
  const ceiling = restBytes + memoryBytes + inFlightBytes + marginBytes;
  assert.ok(peak <= ceiling, `resident memory rose to ${inMiB(peak)}, at most ${inMiB(ceiling)}`);
}

/** Stores an object, and waits until the edge answers from its own storage. */
async function warm({ edge, hosts }: Place, path: string): Promise<void> {
  const wanted: Wanted = { url: edge.url, host: hosts[0] ?? "", path };
  assert.equal((await get(wanted)).status, 200);
  await until(`${path} is stored`, async () => /; hit;/.test(String((await get(wanted)).headers["cache-status"])));
}

/** Clients that send their requests and read nothing. @param perSecond how many of them come in a second */
async function neverReading(
  { edge, hosts }: Place,
  clients: number,
  pathsOf: (index: number) => readonly string[],
  perSecond = Infinity,
): Promise<Socket[]> {
  return await Promise.all(
    Array.from({ length: clients }, async (_, index) => {
      await pause((index / perSecond) * 1000);
      const host = hosts[index % hosts.length] ?? "";
      return await sendAndNeverRead({ url: edge.url, host, from: addressOf(index) }, pathsOf(index));
    }),
  );
}

function leave(sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.on("error", () => undefined).destroy();
}

test("memory with a disk", async (t) => {
  if (!needs(t, canMeasureMemory(), "/proc/PID/clear_refs is not there")) return;
  const place = await startPlace(t, 40_000 * mebibyte);
  const only = { ...place, hosts: place.hosts.slice(0, 1) };

  await t.test("64 pipelined GETs of 32 MiB on one connection that reads nothing", async (subtest) => {
    const path = `/${32 * mebibyte}/film`;
    await warm(place, path);
    await runDrill(subtest, place, async () => {
      const sockets = await neverReading(only, 1, () => Array.from({ length: 64 }, () => path));
      await pause(drillMs);
      leave(sockets);
    });
  });

  await t.test("100 clients that request 60 MB on disk and never read", async (subtest) => {
    const path = `/${largeBytes}/film`;
    await warm(place, path);
    await runDrill(subtest, place, async () => {
      const sockets = await neverReading(only, 100, () => [path]);
      await pause(drillMs);
      leave(sockets);
    });
  });

  await t.test("1,000 readers at 1 KB/s", async (subtest) => {
    const path = `/${largeBytes}/film`;
    await warm(place, path);
    await runDrill(subtest, place, async () => {
      const sockets = await neverReading(only, 1000, () => [path]);
      await readSlowly(sockets, 1024, AbortSignal.timeout(drillMs));
      leave(sockets);
    });
  });

  await t.test(`${fillsCount} distinct fills of 60 MB`, async (subtest) => {
    await fill(subtest, place, fillsCount);
  });
});

test("memory without a disk: 200 distinct fills of 60 MB", async (t) => {
  if (!needs(t, canMeasureMemory(), "/proc/PID/clear_refs is not there")) return;
  await fill(t, await startPlace(t, 0), 200);
});

async function fill(t: TestContext, place: Place, count: number): Promise<void> {
  const askedBefore = place.origins.reduce((sum, { asked }) => sum + asked.length, 0);
  await runDrill(t, place, async () => {
    // Two hundred cold misses in one moment are more than a second of CPU time, which is not what this is about.
    const sockets = await neverReading(place, count, (index) => [`/${largeBytes}/film-${index}`], 100);
    await pause(drillMs);
    leave(sockets);
  });
  const asked = place.origins.reduce((sum, origin) => sum + origin.asked.length, 0) - askedBefore;
  t.diagnostic(`${asked} requests reached the origins`);
  assert.ok(asked >= count * 0.9, `only ${asked} of ${count} fills began`);
}
