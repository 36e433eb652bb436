/** The answers of the admin listener: the node's status, and how it would answer a URL. */
import { tokenId } from "#secret/edge-token.ts";
import { publicPortOf, redirectingHosts, redirectOf } from "../http/https-policy.ts";
import { understandForOwner } from "../http/understand.ts";
import type { OpenedEdge } from "./opened-edge.ts";
import { currentFleet } from "./parts.ts";
import type { TlsPart } from "./phases/tls.ts";
import { dateOf } from "../tls/certificate.ts";
import { feedWarning, tokenWarning, unreadyReasons } from "./readiness.ts";
import { describeSites } from "./site-views.ts";

/** @param isBrief omits what the node sees of others, which grows with the fleet */
export function describeStatus(edge: OpenedEdge, isBrief: boolean): Record<string, unknown> {
  const { setup, directory, upstreams, caches, membership, servers, probing, link, dns, following, tls } = edge;
  const { config, release, parts, clock } = setup;
  const { origin } = upstreams;
  const { feed } = following;
  const heardAtMs = feed.heardAtMs();
  const fleet = currentFleet(parts);
  const unready = unreadyReasons(edge);
  return {
    node: config.node,
    site: config.site,
    process: setup.process,
    pid: process.pid,
    release,
    presence: parts.presence,
    standing: membership.standing(),
    ready: unready.length === 0,
    unready,
    damagedAtStart: directory.damaged,
    fleetVersion: membership.current()?.version ?? null,
    rosterRevision: membership.rosterRevision(),
    fleetSecret: link.secrets.id(),
    originToken: {
      id: tokenId(directory.tokenFile.current()),
      refused: origin.tokenRefusal(),
      warning: tokenWarning(edge) ?? null,
    },
    machine: setup.siblings.total(),
    feed: {
      state: feed.state(),
      position: feed.position(),
      heardMsAgo: heardAtMs === null ? null : Math.round(clock.monotonicMs() - heardAtMs),
      warning: feedWarning(edge) ?? null,
    },
    isIsolated: probing.prober.isIsolated(),
    announce: parts.announcement?.state() ?? null,
    sites: isBrief
      ? null
      : describeSites(fleet, probing.prober, {
          expiryMs: probing.probes.certificateExpiryMs,
          nowMs: clock.wallMs(),
        }),
    cache: { memory: caches.memoryTier.stats(), disk: caches.diskTier.stats(), records: caches.records.size() },
    lanes: { count: parts.lanes?.count ?? 0, absent: parts.lanesAbsent },
    decoders: caches.decoders.stats(),
    peers: servers.peering?.counts() ?? null,
    origin: { ...origin.counts(), isBroken: origin.isBroken() },
    dns: dns.status(),
    tls: tls === null ? null : describeTls(tls),
    // Their clients would be sent to a port that this node does not serve.
    redirectingWithoutHttps: fleet === null || tls !== null ? [] : redirectingHosts(fleet).slice(0, listedMax),
  };
}

/** How many of each list are shown: a node may have thousands of certificates, and an answer has a limit. */
const listedMax = 20;

function describeTls({ certificates, acceptor, hostsWithout }: TlsPart): Record<string, unknown> {
  const all = certificates.all();
  const soonest = all.toSorted((a, b) => a.validToMs - b.validToMs).slice(0, listedMax);
  return {
    certificates: all.length,
    nextExpiry: dateOf(soonest[0]?.validToMs ?? 0),
    soonest: soonest.map(({ names, key, validToMs, place }) => ({
      names: names.slice(0, listedMax),
      key: key.kind,
      expires: dateOf(validToMs),
      file: place.certificateFile,
    })),
    problems: certificates.problems().slice(0, listedMax),
    hostsWithout: hostsWithout().slice(0, listedMax),
    handshakes: acceptor.counts(),
  };
}

/** @throws NearcastError 4xx for a URL that would be refused */
export async function explainUrl(
  { setup, membership, servers }: OpenedEdge,
  url: URL,
  accept: string | undefined,
): Promise<Record<string, unknown>> {
  const target = url.pathname + url.search;
  const fields = { host: url.host, ...(accept === undefined ? {} : { accept }) };
  const fleet = membership.fleet();
  const understood = understandForOwner(fleet, { method: "GET", target, fields });
  const { kind, order } = understood;
  const answer = kind === "images" ? await servers.images.explain(order) : await servers.assets.explain(order);
  const about = kind === "images" ? { variant: order.variant, varies: order.varies } : { target: order.target };
  const isPlain = url.protocol === "http:";
  const redirect = isPlain ? redirectOf(fleet, { target, host: url.host }, publicPortOf(setup.config)) : undefined;
  const sent = redirect === undefined ? {} : { redirectsTo: redirect.location };
  return { host: order.host.name, kind, ...about, ...answer, ...sent };
}
