/**
 * The peers of this node: which ones it asks before it does the work itself, how it asks them, and where it answers
 * them.
 *
 *   fleet, health, answers, own place ─▶ directory ─▶ peers ─▶ image and asset servers        asking
 *   peer endpoint ─▶ listener ─▶ peer application ─▶ the same servers                        being asked
 *   what clients get ─▶ hot keys ─▶ replication ─▶ the other members of the site
 *
 * A node without a peer endpoint has no peers, and does everything itself.
 */
import type { RequestListener } from "node:http";
import type { FastifyInstance } from "fastify";
import type { Clock } from "#base/clock.ts";
import { listenFailure } from "#base/listen-failure.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { FeedPosition } from "#follow/feed.ts";
import { type Room, roomOf, sitePressures } from "#health/site-pressure.ts";
import type { Prober } from "#health/prober.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import type { Tiers } from "../cache/tiers.ts";
import type { EdgeConfig } from "../config.ts";
import { buildPeerApp } from "../http/peer-app.ts";
import { openPeerClient, type PeerClientCounts } from "../peer/client.ts";
import { openDirectory } from "../peer/directory.ts";
import { createHotKeys } from "../peer/hot-keys.ts";
import { listenForPeers, type PeerListener, type PeerListenerCounts } from "../peer/peer-listener.ts";
import { memberName } from "../peer/members.ts";
import type { ProcessPlace } from "../processes/process-share.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import { joinPeers, type Peers } from "../serve/peers.ts";
import { replicateHotKeys, type Replication } from "../serve/replication.ts";

export interface Peering {
  peers: Peers;
  /** Starts answering peers; called when this node is able to. */
  listen: (servers: {
    images: ImageServer;
    assets: AssetServer;
    tiers: Tiers;
    transfers: TransferRules;
  }) => Promise<void>;
  counts: () => { client: PeerClientCounts; listener: PeerListenerCounts | null; peers: ReturnType<Peers["counts"]> };
  close: () => Promise<void>;
}

const requestGraceMs = 3000;
const roomKeptMs = 100;

export function openPeering(options: {
  config: EdgeConfig & { peer: NonNullable<EdgeConfig["peer"]> };
  place: ProcessPlace;
  /** Null before the first document. */
  fleet: () => Fleet | null;
  prober: () => Pick<Prober, "health" | "answers" | "sites">;
  isReady: () => boolean;
  /** Renderings that wait in this process, for all requesters. */
  rendersWaiting: () => number;
  secrets: () => readonly Uint8Array[];
  position: () => FeedPosition | null;
  gate: () => Promise<void> | null;
  clock: Clock;
  log: Log;
}): Peering {
  const { config, place, fleet, prober, isReady, rendersWaiting, secrets, position, gate, clock, log } = options;
  const self = memberName(config.node, place.index);
  const client = openPeerClient({ self, site: config.site, secrets, clock, log });
  const hotKeys = createHotKeys({ clock });
  let app: FastifyInstance | undefined;
  let listener: PeerListener | undefined;
  let replication: Replication | undefined;
  let lastRoom: Room = { isFull: false, sitesWithRoom: [] };
  let roomUntilMs = -Infinity;

  const directory = openDirectory({
    fleet,
    health: () => prober().health(),
    answers: () => prober().answers(),
    siteStates: () => prober().sites(),
    self: () => ({ node: config.node, process: place.index, processes: place.count, isReady: isReady() }),
    site: config.site,
    room,
    isShunned: client.isShunned,
    clock,
  });
  const peers = joinPeers({
    directory,
    client,
    isBusy: () => rendersWaiting() > waitingMost(),
    position,
    gate,
    served: (key, times) => {
      hotKeys.count(key, clock.monotonicMs(), times);
    },
    clock,
    log,
  });

  /** Answers arrive once a second, but every miss needs the result, so it is kept. */
  function room(): Room {
    const document = fleet();
    const nowMs = clock.monotonicMs();
    if (document === null || nowMs < roomUntilMs) return lastRoom;
    roomUntilMs = nowMs + roomKeptMs;
    const { health, answers, sites } = prober();
    lastRoom = roomOf(document, sites(), sitePressures(document, health(), answers()), config.site);
    return lastRoom;
  }

  /**
   * Above this, peers are sent to the next owner of their key: half of the queue, so that own clients have the rest.
   */
  function waitingMost(): number {
    return (fleet()?.limits.renderQueueMax ?? 0) / 2;
  }

  return {
    peers,
    async listen({ images, assets, tiers, transfers }) {
      replication = replicateHotKeys({ peers, client, hotKeys, images, tiers, clock, log });
      const built = buildPeerApp({ node: self, images, assets, peers, replication, fleet, transfers, clock, log });
      app = built;
      await built.ready();
      const application: RequestListener = (request, response) => {
        built.routing(request, response);
      };
      const { host, port } = config.peer;
      try {
        listener = await listenForPeers({ host, port, secrets, application, clock, log });
      } catch (error) {
        throw listenFailure("peers", config.peer, error);
      }
    },
    counts: () => ({ client: client.counts(), listener: listener?.counts() ?? null, peers: peers.counts() }),
    async close() {
      replication?.close();
      await listener?.close(requestGraceMs);
      await app?.close();
      await client.close();
    },
  };
}
