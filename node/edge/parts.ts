/**
 * The parts of an edge that depend on each other. Each is null until its phase has opened it; a part that is opened
 * early reads a later one through this record.
 *
 *   membership ─ fleetChanged ─▶ prober, DNS, announcement       prober ─ healthChanged, soonestChanges ─▶ DNS
 *   secrets ─ secretsChanged ─▶ DNS, channel                     feed, presence, loop: read by all
 *
 * The functions below are all interactions between them.
 */
import type { FastifyInstance } from "fastify";
import type { Fleet } from "#document/document.ts";
import type { FeedFollower } from "#follow/feed.ts";
import type { Prober } from "#health/prober.ts";
import type { Lanes } from "../front/lane/lanes.ts";
import type { OriginChannel } from "../fetch/channel.ts";
import type { SecretFollower } from "../fetch/secrets.ts";
import type { Presence } from "../http/app.ts";
import type { ReadyHits } from "../http/ready-hits.ts";
import type { LoopMeter } from "../observe/loop-meter.ts";
import type { ImageServer } from "../serve/image.ts";
import type { Announcement } from "./announcement.ts";
import type { DnsHosting } from "./phases/dns-hosting.ts";
import type { Membership } from "./phases/membership.ts";
import type { TlsPart } from "./phases/tls.ts";

export interface Parts {
  /** Whether this process serves HTTP and peers, regardless of its DNS and of what the fleet says about it. */
  presence: Presence;
  /** Aborted when the edge is to stop at once, without a drain. */
  readonly hurried: AbortController;
  membership: Membership | null;
  images: ImageServer | null;
  ready: ReadyHits | null;
  prober: Prober | null;
  secrets: SecretFollower | null;
  channel: OriginChannel | null;
  dns: DnsHosting | null;
  /** Stays null on a node without HTTPS. */
  tls: TlsPart | null;
  feed: FeedFollower | null;
  adminApp: FastifyInstance | null;
  /** Stays null if the main thread owns the connections of clients. */
  lanes: Lanes | null;
  /** Why the main thread owns connections that the configuration leaves to lanes. */
  lanesAbsent: string | null;
  /** Opened after the start: delays of the start are not load. */
  loop: LoopMeter | null;
  /** Stays null if nothing is to be announced. */
  announcement: Announcement | null;
}

export function noParts(): Parts {
  return {
    presence: "starting",
    hurried: new AbortController(),
    membership: null,
    images: null,
    ready: null,
    prober: null,
    secrets: null,
    channel: null,
    dns: null,
    tls: null,
    feed: null,
    adminApp: null,
    lanes: null,
    lanesAbsent: null,
    loop: null,
    announcement: null,
  };
}

export function fleetChanged(parts: Parts, fleet: Fleet): void {
  parts.ready?.outdate();
  // Before this node itself can be probed, its own judgement would be "down".
  if (parts.presence !== "starting") parts.prober?.watch(fleet);
  parts.dns?.refresh();
  parts.tls?.refresh();
  parts.announcement?.refresh();
}

export function healthChanged(parts: Parts): void {
  parts.dns?.refresh();
}

export function soonestChanges(parts: Parts, msBySite: ReadonlyMap<string, number>): void {
  parts.dns?.setSoonestChanges(msBySite);
}

export function secretsChanged(parts: Parts, fresh: readonly Uint8Array[]): void {
  parts.dns?.setSecrets(fresh);
  parts.channel?.secretsChanged();
}

/** The current fleet secret and the previous one; empty before the first is known. */
export function fleetSecrets({ secrets }: Parts): readonly Uint8Array[] {
  return secrets?.secrets() ?? [];
}

/** Number of the last event of the feed that was applied; 0 before the first. */
export function feedSeq({ feed }: Parts): number {
  return feed?.position()?.seq ?? 0;
}

/** Null before the first fleet document. */
export function currentFleet({ membership }: Parts): Fleet | null {
  return membership?.current()?.document ?? null;
}

/** 0 before the first fleet document. */
export function fleetVersion({ membership }: Parts): number {
  return membership?.current()?.version ?? 0;
}
