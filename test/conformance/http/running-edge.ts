/**
 * The `assets` side of an edge as node/edge/edge.ts puts it together, on a real socket, with real tiers, in front of a
 * scripted origin. Its clock stands still until a test moves it, so that every Age and ttl is exact.
 */
import assert from "node:assert/strict";
import { Agent, type IncomingHttpHeaders, request, type RequestListener } from "node:http";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { stringify } from "yaml";
import { type Clock, systemClock } from "#base/clock.ts";
import { systemRandom } from "#base/random.ts";
import { problemLines } from "#base/schema.ts";
import { createLoadMeter } from "#health/load-meter.ts";
import { readPurgeEvent } from "#purge/purge-event.ts";
import { parseFleet } from "#document/read-document.ts";
import { openDecoderPool } from "#image/pool.ts";
import { openAssetFetcher } from "../../../node/fetch/asset.ts";
import { openOriginClient } from "../../../node/fetch/origin.ts";
import type { UpstreamStats } from "../../../node/fetch/upstream/upstream.ts";
import { buildEdgeApp, type Presence, type ServedRequest } from "../../../node/http/app.ts";
import type { SharedLanes } from "../../support/shared-lanes.ts";
import { openReadyMemory } from "../../../node/front/ready/ready-memory.ts";
import { createHits, reportSent } from "../../../node/http/hits.ts";
import { openReadyHits, readyBytesFor, type ReadyHits } from "../../../node/http/ready-hits.ts";
import { createHttp2Counts } from "../../../node/http2/counts.ts";
import type { Lanes } from "../../../node/front/lane/lanes.ts";
import { listen, type Listener } from "../../../node/http/listener.ts";
import type { Answer } from "../../../node/front/connection.ts";
import type { AnswerPlain } from "../../../node/http2/connection.ts";
import { openTlsAcceptor } from "../../../node/tls/acceptor.ts";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import { indexCertificates } from "../../../node/tls/certificate-index.ts";
import { openTicketKeys } from "../../../node/tls/ticket-keys.ts";
import { createAssetServer } from "../../../node/serve/asset.ts";
import { openColdTurns } from "../../../node/serve/cold-turns.ts";
import { createImageServer } from "../../../node/serve/image.ts";
import { createPurger } from "../../../node/serve/purger.ts";
import type { DiskTier } from "../../../node/cache/disk/disk-tier.ts";
import type { MemoryTier } from "../../../node/cache/memory.ts";
import { openCaches } from "../../support/caches.ts";
import { fleetValue } from "../../support/fleet.ts";
import { keptLog, type KeptLog } from "../../support/kept-log.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { type ScriptedOrigin, startScriptedOrigin } from "./scripted-origin.ts";
import { openTransfers } from "../../support/transfers.ts";
import { fixedToken } from "../../support/fixed-token.ts";

export interface Got {
  status: number;
  fields: IncomingHttpHeaders;
  /** Each field's lines, in order. */
  lines: NodeJS.Dict<string[]>;
  body: string;
  /** False when the connection broke before the answer's end by its framing. */
  isWhole: boolean;
  /** The outcome's word, of Server-Timing; undefined for errors. */
  word: string | undefined;
}

export interface AskOptions {
  method?: "GET" | "HEAD";
  host?: string;
  fields?: Readonly<Record<string, string | readonly string[]>>;
  /** Breaks the client's connection off. */
  signal?: AbortSignal;
  /** Called when the header section is here, before the body. */
  onHead?: () => void;
}

export interface RunningEdge {
  origin: ScriptedOrigin;
  now: () => number;
  /** Moves the clock on. */
  skip: (seconds: number) => void;
  /** Asks as clients do: the front answers what it can. */
  ask: (target: string, options?: AskOptions) => Promise<Got>;
  /**
   * Where the same application listens with a front, with one that relays all requests, and without; and for HTTP/2
   * without TLS, with hits and without, and in a lane.
   */
  listeners: () => Record<"fronted" | "relayed" | "alone" | "overHttp2" | "http2Alone" | "http2InLane", Listener>;
  /** The same over TLS, for a test that gives certificates. */
  secured: () => Record<"fronted" | "alone", Listener>;
  /** Applies a purge as the feed's follower does: the position moves on when it is in force. */
  purge: (event: object) => Promise<void>;
  /** Closes everything but the origin and the directory, and starts anew over them. */
  restart: () => Promise<void>;
  /** Resolves when everything taken by the disk tier is written. */
  flushed: () => Promise<void>;
  stats: () => {
    memory: ReturnType<MemoryTier["stats"]>;
    disk: ReturnType<DiskTier["stats"]>;
    fetches: number;
    /** Of the main host's origin. */
    upstream: UpstreamStats | undefined;
  };
  /** What the metrics were told, oldest first. */
  served: readonly ServedRequest[];
  /** Requests that the front answered. */
  byFront: () => number;
  log: KeptLog;
}

export const hostName = "assets.cdn.test";
export const otherHostName = "other.cdn.test";
export const nodeName = "fra1";

/**
 * @param settings `host` is merged into the main host of the fleet document, `otherHost` into the other, `imagesHost`
 *   into that of pictures, `limits` into its limits; `originPath` is appended to the main host's origin; `decoders`
 *   render pictures of img.cdn.test, whose origin is the same; with `certificates`, it serves HTTPS, too; with `lanes`,
 *   a lane stands before the front (over HTTPS, too, if the lanes have certificates), in the time of the system
 */
export async function startEdge(
  t: TestContext,
  settings: {
    host?: object;
    otherHost?: object;
    imagesHost?: object;
    originPath?: string;
    limits?: object;
    memoryBytes?: number;
    decoders?: number;
    certificates?: readonly ServedCertificate[];
    lanes?: SharedLanes | undefined;
  } = {},
): Promise<RunningEdge> {
  let passedMs = 0;
  const startMs = Date.UTC(2026, 5, 1, 12, 0, 0);
  const { lanes } = settings;
  // Lanes know no other clock than the system's.
  const clock: Clock =
    lanes === undefined
      ? { ...systemClock, wallMs: () => startMs + passedMs, monotonicMs: () => passedMs }
      : systemClock;
  // Hooks run in their order: the edge ends before its directory and its origin do.
  const edge = { close: (): Promise<void> => Promise.resolve() };
  t.after(() => edge.close());
  const origin = await startScriptedOrigin(t, clock.wallMs);
  const directory = await temporaryDirectory(t);
  const kept = keptLog();
  const parsed = parseFleet(
    stringify(
      fleetValue({
        hosts: [
          { name: "img.cdn.test", kind: "images", ...settings.imagesHost },
          { name: hostName, kind: "assets", origin: origin.url + (settings.originPath ?? ""), ...settings.host },
          { name: otherHostName, kind: "assets", origin: origin.url, ...settings.otherHost },
        ],
        limits: settings.limits ?? {},
      }),
    ),
  );
  assert(parsed.ok, parsed.ok ? "" : problemLines(parsed.problems).join("\n"));
  const document = parsed.value;
  let seq = 0;
  const served: ServedRequest[] = [];
  let byFront = 0;

  async function start() {
    const closers: (() => Promise<unknown>)[] = [];
    const common = { clock, random: systemRandom };
    const { log } = kept;
    const { memoryBytes = 16 * 1024 * 1024 } = settings;
    const ready: { hits?: ReadyHits } = {};
    const changed = (key: string): void => ready.hits?.forget(key);
    const caches = await openCaches({ directory: join(directory, "cache"), memoryBytes, clock, log, changed });
    closers.push(caches.close);
    const { memory, disk, tiers, records } = caches;
    const fetcher = openAssetFetcher({ node: nodeName, privateNetworks: ["127.0.0.0/8"], ...common });
    closers.push(fetcher.close);
    // Without decoders no picture is asked for: the client connects to nothing, the pool has no process.
    const client = openOriginClient({ url: origin.url, token: fixedToken("unused"), ...common });
    closers.push(client.close);
    const renderer = openDecoderPool({ size: settings.decoders ?? 0, clock, log });
    closers.push(renderer.close);
    const shared = { tiers, coldTurns: openColdTurns(clock), fleet: () => document, feedSeq: () => seq, clock, log };
    const images = createImageServer({ ...shared, records, origin: client, renderer, decoders: 1 });
    const assets = createAssetServer({ ...shared, fetcher });
    const outdate = (): void => ready.hits?.outdate();
    const purger = createPurger({ ...caches, images, assets, outdate, fleet: () => document });
    const serving = {
      node: nodeName,
      images,
      assets,
      fleet: () => ({ version: 1, document }),
      presence: (): Presence => "ready",
      gate: () => null,
      served: (one: ServedRequest) => served.push(one),
      transfers: openTransfers(clock),
      load: createLoadMeter(clock),
      clock,
    };
    const app = buildEdgeApp({ ...serving, site: "fra", answer: () => ({}), secrets: () => [], publicPort: 8443, log });
    closers.push(() => app.close());
    await app.ready();
    const route: RequestListener = (incoming, response) => {
      app.routing(incoming, response);
    };
    const settle = (): void =>
      lanes?.lanes.takeSent((...sent) => {
        if (ready.hits !== undefined) reportSent({ ...serving, ready: ready.hits }, sent);
      });
    ready.hits = openReadyHits({
      node: nodeName,
      memory: lanes?.ready.memory ?? openReadyMemory(new ArrayBuffer(readyBytesFor(memoryBytes)), 1),
      hasLanes: lanes !== undefined,
      settle,
      used: { images, assets },
      keepAliveSeconds: 65,
      clock,
    });
    closers.push(() => Promise.resolve(ready.hits?.close()));
    const hits = createHits({ ...serving, isGated: () => false, ready: ready.hits, log });
    const answer: typeof hits.front = (asked) => {
      const answered = hits.front(asked);
      if (answered !== "relay") byFront += 1;
      return answered;
    };
    const fronted = await listen("127.0.0.1", 0, route, { front: { answer, clock }, lanes: lanes?.lanes });
    closers.push(() => fronted.close(0));
    const overHttp2 = await listen("127.0.0.1", 0, route, {
      front: {
        answer,
        http2: { answer: hits.http2, counts: createHttp2Counts(), isLeaving: () => false },
        isAlwaysHttp2: true,
        clock,
      },
    });
    closers.push(() => overHttp2.close(0));
    const relayed = await listen("127.0.0.1", 0, route, { front: { answer: () => "relay", clock } });
    closers.push(() => relayed.close(0));
    const http2Alone = await listen("127.0.0.1", 0, route, {
      front: {
        answer: () => "relay",
        http2: { answer: () => "relay", counts: createHttp2Counts(), isLeaving: () => false },
        isAlwaysHttp2: true,
        clock,
      },
    });
    closers.push(() => http2Alone.close(0));
    const http2InLane =
      lanes === undefined
        ? overHttp2
        : await listen("127.0.0.1", 0, route, { front: { answer, clock, isAlwaysHttp2: true }, lanes: lanes.lanes });
    closers.push(() => (http2InLane === overHttp2 ? Promise.resolve() : http2InLane.close(0)));
    const alone = await listen("127.0.0.1", 0, route);
    closers.push(() => alone.close(0));
    const openSecured = async (one: Answer, http2Answer: AnswerPlain, inLanes?: Lanes): Promise<Listener> => {
      const index = indexCertificates(settings.certificates ?? [], undefined, systemClock.wallMs());
      const acceptor = openTlsAcceptor({
        certificates: () => index,
        ticketKeys: openTicketKeys(() => [], systemClock),
        protocols: ["h2", "http/1.1"],
        clock: systemClock,
      });
      closers.push(() => Promise.resolve(acceptor.close()));
      const listener = await listen("127.0.0.1", 0, route, {
        front: {
          answer: one,
          http2: { answer: http2Answer, counts: createHttp2Counts(), isLeaving: () => false },
          clock,
          tls: acceptor,
        },
        lanes: inLanes,
      });
      closers.push(() => listener.close(0));
      return listener;
    };
    const secured =
      settings.certificates === undefined
        ? undefined
        : {
            fronted: await openSecured(answer, hits.http2, lanes?.lanes),
            alone: await openSecured(
              () => "relay",
              () => "relay",
            ),
          };
    const agent = new Agent({ keepAlive: true, maxSockets: 200 });
    closers.push(() => Promise.resolve(agent.destroy()));
    return {
      memory,
      disk,
      purger,
      fetcher,
      agent,
      listeners: { fronted, relayed, alone, overHttp2, http2Alone, http2InLane },
      secured,
      settle,
      async close() {
        for (const close of closers.toReversed()) await close();
      },
    };
  }

  let running = await start();
  edge.close = () => running.close();
  return {
    origin,
    now: clock.wallMs,
    skip(seconds) {
      assert(lanes === undefined, "the system's time can't be skipped");
      passedMs += seconds * 1000;
    },
    ask: (target, options = {}) => askOnce(running.listeners.fronted.port, running.agent, target, options),
    listeners: () => running.listeners,
    secured() {
      assert.ok(running.secured !== undefined, "this edge has no certificates");
      return running.secured;
    },
    async purge(event) {
      const whole = readPurgeEvent({ reason: "purge", names: [], hosts: [], tags: [], ...event });
      await running.purger.apply(seq + 1, whole);
      seq += 1;
    },
    async restart() {
      await running.close();
      running = await start();
    },
    flushed: () => running.disk.flushed(),
    stats: () => ({
      memory: running.memory.stats(),
      disk: running.disk.stats(),
      fetches: running.fetcher.counts().fetches,
      upstream: running.fetcher.upstreams()[0],
    }),
    get served() {
      running.settle();
      return served;
    },
    byFront: () => byFront,
    log: kept,
  };
}

/** A break before the header section rejects; one in the body shows as `isWhole: false`. */
function askOnce(port: number, agent: Agent, target: string, options: AskOptions): Promise<Got> {
  const { method = "GET", host = hostName, fields = {}, signal, onHead } = options;
  return new Promise((resolve, reject) => {
    const headers = { host, ...(fields as Record<string, string | string[]>) };
    const asking = request(
      { host: "127.0.0.1", port, agent, path: target, method, headers, ...(signal && { signal }) },
      (answer) => {
        const chunks: Buffer[] = [];
        onHead?.();
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", () => undefined); // a break; "close" follows, and `complete` tells
        answer.on("close", () => {
          resolve({
            status: answer.statusCode ?? 0,
            fields: answer.headers,
            lines: answer.headersDistinct,
            body: Buffer.concat(chunks).toString(),
            isWhole: answer.complete,
            word: /cache;desc=(\w+)/.exec(String(answer.headers["server-timing"] ?? ""))?.[1],
          });
        });
      },
    );
    asking.on("error", reject);
    asking.end();
  });
}

/** Cache-Status's last member (this node's) as its parameters (RFC 9211 §2): a bare one is `true`. */
export function cacheStatus(got: Got): ReadonlyMap<string, string | true> {
  const [name, ...parameters] = (got.lines["cache-status"]?.at(-1) ?? "").split(/\s*;\s*/);
  assert.equal(name, nodeName, "Cache-Status names this node");
  return new Map(
    parameters.map((one) => {
      const [key = "", value] = one.split("=");
      return [key, value ?? true];
    }),
  );
}

/** Asks until it is true, for what happens behind an answer; past its bound the test fails with `what`. */
export async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 12_000; turn += 1) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail(`not so: ${what}`);
}
