/**
 * The asset side of an edge in this process: the real application, server, tiers and fetcher over real sockets, with
 * an `assets` host whose origin is the test's, and a clock that the test moves.
 */
import type { TestContext } from "node:test";
import { silentLog } from "#base/log.ts";
import { openDiskTier } from "../../node/cache/disk.ts";
import { openMemoryTier } from "../../node/cache/memory.ts";
import { joinTiers } from "../../node/cache/tiers.ts";
import { openAssetFetcher } from "../../node/fetch/asset.ts";
import { buildEdgeApp, type ServedRequest } from "../../node/http/app.ts";
import { listen } from "../../node/http/listener.ts";
import { type AssetServer, createAssetServer } from "../../node/serve/asset.ts";
import type { ImageServer } from "../../node/serve/image.ts";
import { fleetWith } from "./fleet.ts";
import { type HttpAnswer, httpGet } from "./http-get.ts";
import { purgeFor } from "./objects.ts";
import { type ShiftedClock, shiftedClock } from "./shifted-clock.ts";
import { temporaryDirectory } from "./temporary.ts";

export interface AssetEdge {
  address: { address: string; port: number };
  clock: ShiftedClock;
  served: ServedRequest[];
  get: (
    target: string,
    options?: { method?: string; headers?: Record<string, string | string[]> },
  ) => Promise<HttpAnswer>;
  purge: (parts: Parameters<typeof purgeFor>[0]) => Promise<void>;
  explain: AssetServer["explain"];
  fetches: () => number;
  tierBytes: () => { memory: number; disk: number };
  /** Resolves when everything is on disk. */
  flushed: () => Promise<void>;
  /** Closes it all and starts it again over the same directory. */
  restart: () => Promise<void>;
}

/** This edge has no pictures. */
const noImages: ImageServer = {
  serve: () => Promise.reject(new Error("no pictures here")),
  explain: () => Promise.reject(new Error("no pictures here")),
  purge: () => undefined,
  counts: () => ({ renders: 0, renderFailures: 0, revalidations: 0 }),
};

export async function startAssetEdge(
  t: TestContext,
  originUrl: string,
  settings: { host?: object; limits?: object; memoryBytes?: number } = {},
): Promise<AssetEdge> {
  const directory = await temporaryDirectory(t);
  const fleet = fleetWith({
    hosts: [{ name: "static.test", kind: "assets", origin: originUrl, ...settings.host }],
    limits: settings.limits ?? {},
  });
  const clock = shiftedClock();
  const served: ServedRequest[] = [];
  let seq = 1;

  async function start() {
    const fetcher = openAssetFetcher({ node: "fra1", clock, random: () => 0 });
    const disk = await openDiskTier({ directory, bytesMax: 64 * 1024 * 1024, clock, log: silentLog });
    const memory = openMemoryTier(settings.memoryBytes ?? 64 * 1024 * 1024);
    const tiers = joinTiers(memory, disk);
    await disk.scanned;
    const assets = createAssetServer({ tiers, fetcher, fleet: () => fleet, feedSeq: () => seq, clock, log: silentLog });
    const app = buildEdgeApp({
      node: "fra1",
      site: "fra",
      images: noImages,
      assets,
      fleet: () => ({ version: 1, document: fleet }),
      presence: () => "ready",
      gate: () => null,
      served: (request) => served.push(request),
      clock,
      log: silentLog,
    });
    await app.ready();
    const listener = await listen("127.0.0.1", 0, (request, response) => {
      app.routing(request, response);
    });
    const stop = async (): Promise<void> => {
      await listener.close(500);
      await app.close();
      await fetcher.close();
      await disk.close();
    };
    return { fetcher, disk, memory, tiers, assets, listener, stop };
  }

  let now = await start();
  t.after(() => now.stop());
  return {
    get address() {
      return now.listener;
    },
    clock,
    served,
    get: (target, options = {}) =>
      httpGet(`http://127.0.0.1:${now.listener.port}${target}`, {
        ...options,
        headers: { host: "static.test", ...options.headers },
      }),
    async purge(parts) {
      seq += 1;
      const purge = purgeFor({ seq, ...parts });
      now.assets.purge(purge, purge.isSoft ? now.tiers.keysOf(purge) : []);
      if (!purge.isSoft) await now.tiers.purge(purge);
    },
    explain: (order) => now.assets.explain(order),
    fetches: () => now.fetcher.counts().fetches,
    tierBytes: () => ({ memory: now.memory.stats().bytes, disk: now.disk.stats().bytes }),
    flushed: () => now.disk.flushed(),
    restart: async () => {
      await now.stop();
      now = await start();
    },
  };
}
