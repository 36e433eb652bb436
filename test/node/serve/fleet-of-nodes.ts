/**
 * Several nodes in one process, as edge.ts puts them together: each with its own caches, directory, client and peer
 * listener on real sockets, before one origin that counts. Health is what the test says; purges come when it says so.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, type TestContext } from "node:test";
import type { FastifyInstance } from "fastify";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import type { FeedPosition } from "#follow/feed.ts";
import type { NodeHealth } from "#health/health.ts";
import { readPurgeEvent } from "#purge/purge-event.ts";
import { openDecoderPool } from "#image/pool.ts";
import { openAssetFetcher } from "../../../node/fetch/asset.ts";
import { openOriginClient } from "../../../node/fetch/origin.ts";
import { buildPeerApp } from "../../../node/http/peer-app.ts";
import { openPeerClient } from "../../../node/peer/client.ts";
import { type Member, openDirectory, type PeerDirectory } from "../../../node/peer/directory.ts";
import { createHotKeys } from "../../../node/peer/hot-keys.ts";
import { listenForPeers } from "../../../node/peer/peer-listener.ts";
import { createAssetServer } from "../../../node/serve/asset.ts";
import { openColdTurns } from "../../../node/serve/cold-turns.ts";
import { createImageServer, type ImageServer } from "../../../node/serve/image.ts";
import { primaryKeyOf } from "../../../node/serve/asset-key.ts";
import type { AssetOrder, ImageOrder } from "../../../node/serve/order.ts";
import { cacheStatusOf, type Delivery } from "../../../node/deliver/outcome.ts";
import { joinPeers, type PeerCounts } from "../../../node/serve/peers.ts";
import { createPurger } from "../../../node/serve/purger.ts";
import type { Renderer } from "../../../node/serve/render.ts";
import { replicateHotKeys } from "../../../node/serve/replication.ts";
import type { Variant } from "../../../node/variant/variant.ts";
import { openCaches } from "../../support/caches.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";
import { pngLike } from "../../support/pictures.ts";
import { testContext } from "../../support/request-context.ts";
import { standingClock } from "../../support/standing-clock.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { withWholeBody } from "../../support/whole-body.ts";
import { openTransfers } from "../../support/transfers.ts";
import { fixedToken } from "../../support/fixed-token.ts";

/** One pool of real decoders for all nodes: starting one takes longer than most tests. */
const decoders = openDecoderPool({ size: 2, clock: systemClock, log: silentLog });
after(() => decoders.close());

/** A renderer that makes something of its own of each source and variant, without a decoder; counts. */
export function quickRenderer(): Renderer & { renders: () => readonly string[]; hold: (wait: Promise<void>) => void } {
  const renders: string[] = [];
  let holding: Promise<void> = Promise.resolve();
  return {
    measure: () => Promise.resolve({ type: "png", width: 1000, height: 1000, frames: 1, hasAlpha: true, scans: 1 }),
    async render(source, order) {
      const name = `${createHash("sha256").update(source).digest("hex")} ${JSON.stringify(order)}`;
      renders.push(name);
      await holding;
      return { body: pngLike(`rendered ${name}`), type: "image/png", renderMs: 1 };
    },
    renders: () => renders,
    hold(wait) {
      holding = wait;
    },
  };
}

export interface TestNode {
  name: string;
  site: string;
  member: Member;
  directory: PeerDirectory;
  /** What answers its peers, to be asked without a channel. */
  peerApp: FastifyInstance;
  get: (name: string, variant?: Partial<Variant>, clientNetwork?: string, signal?: AbortSignal) => Promise<Delivery>;
  /** Without a wait, from memory, or not at all. */
  getNow: (name: string, variant?: Partial<Variant>) => Delivery | undefined;
  asset: (target: string, fields?: AssetOrder["fields"]) => Promise<Delivery>;
  /** The same with a body that is read by the test. */
  assetUnread: (target: string) => Promise<Delivery>;
  /** Applies an event of the feed here; its number is the one after this node's last. */
  event: (data: object) => Promise<void>;
  /** The same in two steps: in force in memory, and the position moved on. */
  eventInSteps: (data: object) => { moveOn: () => Promise<void> };
  position: FeedPosition | null;
  counts: () => ReturnType<ImageServer["counts"]>;
  peerCounts: () => PeerCounts;
  /** Second requests to the origin for a late first one (fetch/upstream/hedge.ts): they depend on the machine. */
  hedges: () => number;
  statusOf: (delivery: Delivery) => string;
  setBusy: (isBusy: boolean) => void;
  /** As a process that was killed: nobody answers any more, and what was under way is cut. */
  kill: () => Promise<void>;
  forgetEverything: () => Promise<void>;
  forgetVariantsInMemory: () => void;
  flushed: () => Promise<void>;
  diskEntries: () => number;
}

export interface World {
  nodes: readonly TestNode[];
  node: (name: string) => TestNode;
  /** The node of a site that owns this key, and one that does not. */
  ownerOf: (site: string, key: string) => TestNode;
  otherOf: (site: string, key: string) => TestNode;
  setDown: (node: string) => void;
  /** What a site's directory is told of its own load. */
  setFull: (site: string, sitesWithRoom: readonly string[]) => void;
  skip: (seconds: number) => void;
}

const peerPort = 8082;

/** @param settings `sites`: how many nodes each has, such as `{ fra: 3 }` */
export async function startNodes(
  t: TestContext,
  originUrl: string,
  settings: {
    sites: Readonly<Record<string, number>>;
    shield?: string;
    imagesHost?: object;
    /** Of a node with another fleet document than the others. */
    imagesHostOf?: (node: string) => object;
    assetsOrigin?: string;
    limits?: object;
    renderer?: Renderer;
    /** Of a node that does not do as the others do. */
    rendererOf?: (node: string) => Renderer | undefined;
    decoders?: number;
    /** How far each node's wall clock is off. */
    skewMs?: (node: number) => number;
  },
): Promise<World> {
  const net = `127.${20 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 256)}`;
  const clock = standingClock();
  const secret = randomBytes(32);
  const health = new Map<string, NodeHealth>();
  const full = new Map<string, readonly string[]>();
  const places = Object.entries(settings.sites).flatMap(([site, count]) =>
    Array.from({ length: count }, (_, index) => ({ site, name: `${site}${index + 1}` })),
  );
  const hostOf = (name: string): string => `${net}.${1 + places.findIndex((place) => place.name === name)}`;
  const fleetOf = (self?: string) =>
    fleetWith({
      ...(settings.shield === undefined ? {} : { shield: settings.shield }),
      limits: settings.limits ?? {},
      sites: Object.keys(settings.sites).map((site) =>
        siteValue(site, {
          nodes: places
            .filter((place) => place.site === site)
            .map(({ name }) => ({
              name,
              http: `http://${hostOf(name)}:8080`,
              peer: { host: hostOf(name), port: peerPort },
            })),
        }),
      ),
      hosts: [
        {
          name: "img.cdn.test",
          kind: "images",
          freshSeconds: 100,
          staleWhileRevalidateSeconds: 100,
          staleIfErrorSeconds: 1000,
          negativeSeconds: 10,
          ...settings.imagesHost,
          ...(self === undefined ? {} : settings.imagesHostOf?.(self)),
        },
        ...(settings.assetsOrigin === undefined
          ? []
          : [{ name: "static.cdn.test", kind: "assets", origin: settings.assetsOrigin }]),
      ],
    });
  const imagesHost = fleetOf().hosts.find((host) => host.kind === "images");
  const assetsHost = fleetOf().hosts.find((host) => host.kind === "assets");
  assert(imagesHost !== undefined);

  async function startNode(place: { site: string; name: string }, index: number): Promise<TestNode> {
    const { site, name } = place;
    const fleet = fleetOf(name);
    const skewMs = settings.skewMs?.(index) ?? 0;
    const ownClock = { ...clock, wallMs: () => clock.wallMs() + skewMs };
    const shared = { clock: ownClock, log: silentLog };
    const directoryPath = await temporaryDirectory(t);
    const caches = await openCaches({ directory: directoryPath, memoryBytes: 32_000_000, ...shared });
    const { disk, memory, tiers, records } = caches;
    const origin = openOriginClient({
      url: originUrl,
      token: fixedToken("x".repeat(20)),
      clock: ownClock,
      random: () => 0,
    });
    const fetcher = openAssetFetcher({
      node: name,
      privateNetworks: ["127.0.0.0/8"],
      clock: ownClock,
      random: () => 0,
    });
    // All nodes' handshakes are made by this one process.
    const connectTimeoutsMs = { withinSite: 10_000, betweenSites: 10_000 };
    const client = openPeerClient({ self: name, site, secrets: () => [secret], connectTimeoutsMs, ...shared });
    const so = { position: { originId: "origin-a", seq: 1 } as FeedPosition | null, isBusy: false };
    const directory = openDirectory({
      fleet: () => fleet,
      health: () => health,
      answers: () => new Map(),
      siteStates: () => new Map(),
      self: () => ({ node: name, process: 0, processes: 1, isReady: true }),
      site,
      room: () => ({ isFull: full.has(site), sitesWithRoom: full.get(site) ?? [] }),
      isShunned: client.isShunned,
      clock: ownClock,
    });
    const hotKeys = createHotKeys({ clock: ownClock });
    const peers = joinPeers({
      directory,
      client,
      isBusy: () => so.isBusy,
      position: () => so.position,
      gate: () => null,
      served: (key) => {
        hotKeys.count(key, ownClock.monotonicMs());
      },
      ...shared,
    });
    const common = {
      tiers,
      coldTurns: openColdTurns(ownClock),
      fleet: () => fleet,
      feedSeq: () => so.position?.seq ?? 0,
      peers,
      ...shared,
    };
    const renderer = settings.rendererOf?.(name) ?? settings.renderer ?? decoders;
    const images = createImageServer({
      ...common,
      records,
      origin,
      renderer,
      decoders: settings.decoders ?? 2,
    });
    const assets = createAssetServer({ ...common, fetcher });
    const purger = createPurger({ ...caches, images, assets, outdate: () => undefined, fleet: () => fleet });
    const transfers = openTransfers(ownClock);
    const replication = replicateHotKeys({ peers, client, hotKeys, images, tiers, ...shared });
    const app = buildPeerApp({
      node: name,
      images,
      assets,
      peers,
      replication,
      fleet: () => fleet,
      transfers,
      ...shared,
    });
    await app.ready();
    const listener = await listenForPeers({
      host: hostOf(name),
      port: peerPort,
      secrets: () => [secret],
      application: (request, response) => {
        app.routing(request, response);
      },
      ...shared,
    });
    let isDead = false;
    const kill = async (): Promise<void> => {
      if (isDead) return;
      isDead = true;
      replication.close();
      await listener.close(0);
      await app.close();
      await client.close();
      await origin.close();
      await fetcher.close();
      await caches.close();
    };
    t.after(kill);
    const orderOf = (source: string, variant: Partial<Variant>): ImageOrder => ({
      host: imagesHost as ImageOrder["host"],
      name: source,
      variant: { widthPx: 20, fit: "clip", quality: 75, format: "png", ...variant },
      varies: false,
    });
    const assetOf = async (target: string, fields: AssetOrder["fields"]): Promise<Delivery> => {
      assert(assetsHost?.kind === "assets");
      const primaryKey = primaryKeyOf(assetsHost, target);
      return await assets.serve({ host: assetsHost, method: "GET", target, primaryKey, fields }, testContext());
    };
    const nextSeq = (): number => (so.position?.seq ?? 0) + 1;
    const moveOn = (seq: number): void => {
      if (so.position !== null) so.position = { ...so.position, seq };
    };
    return {
      name,
      site,
      member: { name, node: name, site, host: hostOf(name), port: peerPort },
      directory,
      peerApp: app,
      get: (source, variant = {}, clientNetwork, signal) =>
        images.serve(orderOf(source, variant), testContext(clientNetwork, signal)),
      getNow: (source, variant = {}) => images.serveNow(orderOf(source, variant), true),
      asset: async (target, fields = {}) => await withWholeBody(await assetOf(target, fields)),
      assetUnread: (target) => assetOf(target, {}),
      async event(data) {
        const seq = nextSeq();
        await purger.apply(seq, readPurgeEvent(data));
        moveOn(seq);
      },
      eventInSteps(data) {
        const seq = nextSeq();
        const applied = purger.apply(seq, readPurgeEvent(data));
        return {
          async moveOn() {
            await applied;
            moveOn(seq);
          },
        };
      },
      get position() {
        return so.position;
      },
      set position(next) {
        so.position = next;
      },
      counts: images.counts,
      peerCounts: peers.counts,
      hedges: () => origin.upstream().hedges,
      statusOf: (delivery) => cacheStatusOf(name, delivery.outcome, delivery.statusBefore),
      setBusy(isBusy) {
        so.isBusy = isBusy;
      },
      kill,
      async forgetEverything() {
        await purger.dropAll(so.position?.seq ?? 0);
      },
      forgetVariantsInMemory() {
        memory.clear();
      },
      flushed: disk.flushed,
      diskEntries: () => disk.stats().entries,
    };
  }

  const nodes = await Promise.all(places.map(startNode));
  const node = (name: string): TestNode => {
    const found = nodes.find((one) => one.name === name);
    assert(found !== undefined, `this world has no node ${name}`);
    return found;
  };
  const ofSite = (site: string): TestNode[] => nodes.filter((one) => one.site === site);
  return {
    nodes,
    node,
    ownerOf(site, key) {
      const owner = ofSite(site).find(({ directory }) => directory.ownersBefore(key).length === 0);
      assert(owner !== undefined);
      return owner;
    },
    otherOf(site, key) {
      const other = ofSite(site).find(({ directory }) => directory.ownersBefore(key).length > 0);
      assert(other !== undefined);
      return other;
    },
    setDown(name) {
      health.set(name, { state: "down", contraryCount: 0, reason: "the test says so" });
      clock.skip(0.2); // directories keep what they know for a tenth of a second
    },
    setFull(site, sitesWithRoom) {
      full.set(site, sitesWithRoom);
      clock.skip(0.2);
    },
    skip: clock.skip,
  };
}
