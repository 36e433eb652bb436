/** Following the origin's feed. Missed events are replayed first, purges among them. */
import type { PurgeReport } from "#follow/channel/messages.ts";
import type { FeedEvent, FeedFollower } from "#follow/feed.ts";
import { followFeed } from "#follow/feed.ts";
import { readPurgeEvent } from "#purge/purge-event.ts";
import { rosterEventKind } from "#document/roster.ts";
import { tokenEventKind } from "#secret/edge-token.ts";
import { secretEventKind } from "#secret/fleet-secret.ts";
import type { DataDirectory } from "./data-directory.ts";
import type { Membership } from "./membership.ts";
import type { OriginLink } from "./origin-link.ts";
import type { Servers } from "./servers.ts";
import type { EdgeSetup } from "../setup.ts";
import type { Upstreams } from "./upstreams.ts";

export interface Following {
  feed: FeedFollower;
  /** Monotonic time at which the edge started to follow. */
  followedFromMs: number;
}

interface Followers {
  membership: Membership;
  servers: Servers;
  link: OriginLink;
}

export async function followOrigin(
  setup: EdgeSetup,
  { memory }: DataDirectory,
  { origin }: Upstreams,
  followers: Followers,
): Promise<Following> {
  const { lifecycle, parts, clock, random, log } = setup;
  const { membership, servers, link } = followers;
  const { secrets, nextToken, channel } = link;
  const followedFromMs = clock.monotonicMs();
  const feed = followFeed({
    async open(since, signal) {
      const stream = await origin.feed(since, signal);
      // Missed rotations are in the feed, but the secrets of another origin, or of an upgraded one, are not.
      secrets.refresh();
      nextToken.refresh();
      membership.refresh();
      return stream;
    },
    position: await memory.loadPosition(),
    async save(position) {
      if (!(await servers.purger.sync())) throw new Error("purges up to it are not on disk");
      await memory.storePosition(position);
    },
    apply: (event) => applyEvent(setup, followers, event),
    async reset(reason, seq) {
      log.info({ reason }, "dropping everything cached");
      await servers.purger.dropAll(seq);
      // Without a document, begin-service.ts requests one repeatedly; an origin may not have one yet.
      if (membership.current() !== null) await membership.takeFleet();
    },
    gated: (isGated) => parts.ready?.setOpen(!isGated),
    connected: channel.opened,
    asked: channel.asked,
    clock,
    random,
    log,
  });
  parts.feed = feed;
  lifecycle.defer("feed", feed.close);
  return { feed, followedFromMs };
}

async function tellOrigin({ channel }: OriginLink, report: Promise<PurgeReport | null>): Promise<void> {
  const counted = await report;
  if (counted !== null) channel.report(counted);
}

async function applyEvent(
  { log }: EdgeSetup,
  { membership, servers, link }: Followers,
  event: FeedEvent,
): Promise<void> {
  if (event.kind === "fleet") await membership.takeFleet();
  else if (event.kind === rosterEventKind) await membership.takeRoster(event.data);
  else if (event.kind === "purge") {
    const { report } = await servers.purger.apply(event.seq, readPurgeEvent(event.data));
    // Not awaited: the purge is in force, and later ones must not wait for the count.
    void tellOrigin(link, report);
  } else if (event.kind === secretEventKind) await link.secrets.take();
  // Not awaited: a token that is unavailable must not delay purges.
  else if (event.kind === tokenEventKind) link.nextToken.refresh();
  else log.warn({ kind: event.kind }, "ignored a feed event of a kind that this release does not know");
}
