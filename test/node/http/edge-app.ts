/** The public application over real sockets: real servers behind it, in front of a loopback origin. */
import { type TestContext } from "node:test";
import type { Fleet } from "#document/document.ts";
import type { HealthAnswer } from "#health/health.ts";
import { createLoadMeter } from "#health/load-meter.ts";
import { openDecoderPool } from "#image/pool.ts";
import { openAssetFetcher } from "../../../node/fetch/asset.ts";
import { openOriginClient } from "../../../node/fetch/origin.ts";
import { buildEdgeApp, type Presence, type ServedRequest } from "../../../node/http/app.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import { createAssetServer } from "../../../node/serve/asset.ts";
import { openColdTurns } from "../../../node/serve/cold-turns.ts";
import { createImageServer } from "../../../node/serve/image.ts";
import { openCaches } from "../../support/caches.ts";
import { fleetWith } from "../../support/fleet.ts";
import { keptLog } from "../../support/kept-log.ts";
import { answering, type LoopbackOrigin, type Script, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { shiftedClock } from "../../support/shifted-clock.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { openTransfers } from "../../support/transfers.ts";
import { fixedToken } from "../../support/fixed-token.ts";

export interface Edge {
  listener: Listener;
  origin: LoopbackOrigin;
  served: ServedRequest[];
  lines: ReturnType<typeof keptLog>["lines"];
  document: Fleet;
  /** How many answers counted. */
  load: { requests: number };
  /** What a test may change while it runs. */
  so: {
    presence: Presence;
    gate: () => Promise<void> | null;
    fleet: { version: number; document: Fleet } | null;
    answer: HealthAnswer;
    secrets: readonly Uint8Array[];
  };
}

/** @param settings `originUrl`: of both hosts, instead of the scripted origin; `timeoutMs`: what they wait for it */
export async function startEdge(
  t: TestContext,
  script: Script = answering(200, { "cache-control": "max-age=60" }, "body"),
  settings: { originUrl?: string; timeoutMs?: number } = {},
) {
  const origin = await startLoopbackOrigin(t, script);
  const { originUrl = origin.url, timeoutMs = 10_000 } = settings;
  const clock = shiftedClock();
  const { log, lines } = keptLog();
  const document = fleetWith({
    hosts: [
      { name: "img.cdn.test", kind: "images" },
      { name: "static.cdn.test", kind: "assets", origin: originUrl, timeoutMs },
    ],
    limits: { originTimeoutMs: timeoutMs },
  });
  const directory = await temporaryDirectory(t);
  const caches = await openCaches({ directory, clock, log });
  t.after(caches.close);
  const { tiers, records } = caches;
  const outward = { clock, random: () => 0 };
  const client = openOriginClient({ url: originUrl, token: fixedToken("unused"), ...outward });
  t.after(() => client.close());
  const fetcher = openAssetFetcher({ node: "fra1", privateNetworks: ["127.0.0.0/8"], ...outward });
  t.after(() => fetcher.close());
  const renderer = openDecoderPool({ size: 0, clock, log }); // no picture here gets so far as to be rendered
  t.after(() => renderer.close());
  const common = { tiers, coldTurns: openColdTurns(clock), fleet: () => document, feedSeq: () => 1, clock, log };
  const served: ServedRequest[] = [];
  const so: Edge["so"] = {
    presence: "ready",
    gate: () => null,
    fleet: { version: 7, document },
    answer: {},
    secrets: [],
  };
  const load = { requests: 0 };
  const meter = createLoadMeter(clock);
  const app = buildEdgeApp({
    node: "fra1",
    site: "fra",
    images: createImageServer({ ...common, records, origin: client, renderer, decoders: 1 }),
    assets: createAssetServer({ ...common, fetcher }),
    fleet: () => so.fleet,
    presence: () => so.presence,
    gate: () => so.gate(),
    served: (one) => served.push(one),
    transfers: openTransfers(clock),
    load: {
      ...meter,
      count(...answered) {
        load.requests += 1;
        meter.count(...answered);
      },
    },
    answer: () => so.answer,
    secrets: () => so.secrets,
    publicPort: 443,
    clock,
    log,
  });
  await app.ready();
  t.after(() => app.close());
  const listener = await listen("127.0.0.1", 0, (asked, response) => {
    app.routing(asked, response);
  });
  t.after(() => listener.close(0));
  return { listener, origin, served, lines, document, load, so } satisfies Edge;
}

export const img = "Host: img.cdn.test";
export const assets = "Host: static.cdn.test";
