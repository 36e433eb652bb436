/** The peers, and the picture and asset servers that ask them. */
import { openTransferRules, type TransferRules } from "../../deliver/transfer.ts";
import { type AssetServer, createAssetServer } from "../../serve/asset.ts";
import { type ColdTurns, openColdTurns } from "../../serve/cold-turns.ts";
import { createImageServer, type ImageServer } from "../../serve/image.ts";
import { createPurger, type Purger } from "../../serve/purger.ts";
import type { Caches } from "./caches.ts";
import type { Membership } from "./membership.ts";
import { currentFleet, feedSeq, fleetSecrets } from "../parts.ts";
import { openPeering, type Peering } from "../peering.ts";
import { presenceTold } from "../presence.ts";
import type { EdgeSetup } from "../setup.ts";
import type { Upstreams } from "./upstreams.ts";

export interface Servers {
  /** Null: this node has no peer endpoint, and does all work itself. */
  peering: Peering | null;
  images: ImageServer;
  assets: AssetServer;
  purger: Purger;
  /** Turns for requests of clients, of peers and of this node itself. */
  coldTurns: ColdTurns;
  /** For responses to clients and to peers alike: both hold the memory of this process. */
  transfers: TransferRules;
}

/** Stands in until the prober is opened. */
const nothingProbed = { health: () => new Map(), answers: () => new Map(), sites: () => new Map() };

export function openServers(
  setup: EdgeSetup,
  { origin, fetcher }: Upstreams,
  { decoders, tiers, records, purges, sweep }: Caches,
  membership: Membership,
): Servers {
  const { config, parts, clock, log } = setup;
  const peering = openPeeringIfAny(setup);
  const coldTurns = openColdTurns(clock);
  const shared = {
    tiers,
    coldTurns,
    fleet: membership.fleet,
    feedSeq: () => feedSeq(parts),
    peers: peering?.peers ?? null,
    clock,
    log,
  };
  const images = createImageServer({
    ...shared,
    records,
    origin,
    renderer: decoders,
    decoders: config.decoders.processes,
  });
  parts.images = images;
  const assets = createAssetServer({ ...shared, fetcher });
  const outdate = (): void => parts.ready?.outdate();
  const stores = { tiers, records, purges, sweep };
  const purger = createPurger({ images, assets, ...stores, outdate, fleet: () => currentFleet(parts) });
  const transfers = openTransferRules(config.delivery, clock);
  return { peering, images, assets, purger, coldTurns, transfers };
}

function openPeeringIfAny(setup: EdgeSetup): Peering | null {
  const { config, process, lifecycle, parts, clock, log } = setup;
  const { peer } = config;
  if (peer === undefined) return null;
  const peering = openPeering({
    config: { ...config, peer },
    place: process,
    fleet: () => currentFleet(parts),
    prober: () => parts.prober ?? nothingProbed,
    isReady: () => presenceTold(setup) === "ready",
    rendersWaiting: () => parts.images?.counts().turns.waiting ?? 0,
    secrets: () => fleetSecrets(parts),
    position: () => parts.feed?.position() ?? null,
    gate: () => parts.feed?.gate() ?? null,
    clock,
    log,
  });
  lifecycle.defer("peers", peering.close);
  return peering;
}
