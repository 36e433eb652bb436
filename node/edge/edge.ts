/**
 * Assembles an edge phase by phase. Each phase is a file in `phases/`, and returns what later phases need. Parts that
 * depend on each other are in parts.ts. main.ts passes DNS in. The phases, in order:
 *
 *   data-directory    token file, lock, what the edge remembers
 *   dns-responder     checks that its addresses are free, and loads the geo data while the other phases run
 *   upstreams         clients of the origin and of the origins of assets hosts
 *   caches            decoders, memory tier, disk tier
 *   membership        the fleet as this node knows it
 *   servers           peers, image server, asset server, purger
 *   probing           prober, load, health answer
 *   origin-link       fleet secret, next token, channel to the origin
 *   dns-hosting       the responder's inputs
 *   feed-following    missed events are replayed first, purges among them
 *   tls               certificates, ticket keys, handshakes
 *   applications      metrics, the application for clients, the admin listener
 *   client-listeners  once the missed purges are applied, or the origin is known to be away
 *   begin-service     document ─▶ decoders ─▶ peers ─▶ first judgement ─▶ DNS ─▶ ready ─▶ lease
 *
 * The order matters: nothing is served from disk before the missed purges are applied (or the origin is known to be
 * away); no name is answered before every node was judged once; other nodes and probes are told that the node is ready
 * when the first snapshot of names is in force on every thread (presence.ts); and it is announced when its own answers
 * have been correct for a while.
 *
 * The stop runs in the opposite order: first the announcement and DNS send clients elsewhere, then requests that still
 * arrive are served, and only then does anything stop.
 */
import { openCMemory } from "#base/c-memory.ts";
import { sleep } from "#base/clock.ts";
import { createLifecycle } from "#base/lifecycle.ts";
import { readRelease } from "#base/release.ts";
import { liveFleet } from "#health/live-fleet.ts";
import type { EdgeConfig } from "../config.ts";
import { returnUnusedMemory } from "../observe/unused-memory.ts";
import { openApplications } from "./phases/applications.ts";
import { openCaches } from "./phases/caches.ts";
import { type DataDirectory, openDataDirectory } from "./phases/data-directory.ts";
import { type DnsHosting, openDnsHosting } from "./phases/dns-hosting.ts";
import { type DnsPart, openDnsResponder } from "./phases/dns-responder.ts";
import { followOrigin } from "./phases/feed-following.ts";
import { chooseLanes } from "./phases/client-lanes.ts";
import { type ClientListener, listenForClients, responseGraceMs } from "./phases/client-listeners.ts";
import { type Membership, openMembership } from "./phases/membership.ts";
import type { OpenedEdge } from "./opened-edge.ts";
import { openOriginLink, type OriginLink } from "./phases/origin-link.ts";
import { currentFleet, fleetChanged, fleetSecrets, noParts } from "./parts.ts";
import { openProbing, type Probing } from "./phases/probing.ts";
import { beginService } from "./phases/begin-service.ts";
import { openServers } from "./phases/servers.ts";
import { openTls, type TlsPart } from "./phases/tls.ts";
import type { EdgeDeps, EdgeSetup } from "./setup.ts";
import { openUpstreams, type Upstreams } from "./phases/upstreams.ts";

export interface Edge {
  /** Where it listens for clients: HTTP, then HTTPS. */
  http: readonly { address: string; port: number; isSecure: boolean }[];
  admin: { address: string; port: number };
  dns: () => readonly { host: string; port: number }[];
  /** Resolves when HTTP and DNS answer. */
  ready: Promise<void>;
  /** Reports `draining` for the configured time (or until `hurry`), then stops everything. */
  drain: () => Promise<void>;
  hurry: () => void;
}

/** How long the start waits for the origin before it continues with the remembered state. */
const firstContactMs = 3000;
const stopMs = 8000;

/**
 * @throws the failure of the part that could not be started, as `ready` does; parts started before it are stopped
 *   again
 */
export async function startEdge(config: EdgeConfig, deps: EdgeDeps): Promise<Edge> {
  const lifecycle = createLifecycle(deps.log);
  const undo = async (error: unknown): Promise<never> => {
    await lifecycle.stop(stopMs);
    throw error;
  };
  const setup = { ...deps, config, release: readRelease(), lifecycle, parts: noParts() };
  const edge = await start(setup).catch(undo);
  return { ...edge, ready: edge.ready.catch(undo) };
}

async function start(setup: EdgeSetup): Promise<Edge> {
  const { lifecycle, clock } = setup;
  chooseLanes(setup); // a wish that can't be met is an error before anything starts
  const memory = openCMemory();
  if (memory !== undefined) {
    const { log, parts } = setup;
    const silently = (expectedMs: number, work: () => void): void => {
      if (parts.announcement === null) work();
      else parts.announcement.silently(expectedMs, work);
    };
    const usage = process.memoryUsage;
    lifecycle.defer("unused memory", returnUnusedMemory({ memory, usage, silently, clock, log }));
  }
  const directory = await openDataDirectory(setup);
  const ended = new AbortController();
  lifecycle.defer("waiting", () => {
    ended.abort(new Error("closing"));
  });
  const responder = await openDnsResponder(setup);
  const upstreams = openUpstreams(setup, directory);
  const caches = await openCaches(setup);
  const membership = await joinFleet(setup, directory, upstreams);
  const servers = openServers(setup, upstreams, caches, membership);
  const probing = openProbing(setup, servers);
  const link = await openOriginLink(setup, directory, upstreams);
  const dns = hostDns(setup, responder, { membership, probing, link });
  const following = await followOrigin(setup, directory, upstreams, { membership, servers, link });
  const tls = await serveTls(setup);
  const edge = { setup, directory, upstreams, caches, membership, servers, probing, link, dns, following, tls };
  const { clientSide, admin } = await openApplications(edge);

  // Pictures are served as soon as the missed purges are applied, or the origin is known to be away.
  await Promise.race([following.feed.firstContact, sleep(clock, firstContactMs)]);
  const listeners: ClientListener[] = [];
  if (!setup.process.sharesPorts) await listenForClients(setup, clientSide, listeners);
  return {
    http: listeners,
    admin,
    dns: () => dns.part()?.addresses() ?? [],
    ready: beginService(edge, clientSide, listeners, ended.signal),
    ...stopOf(edge),
  };
}

async function serveTls({ config, parts, lifecycle, clock, log }: EdgeSetup): Promise<TlsPart | null> {
  parts.tls = await openTls({
    config,
    fleet: () => currentFleet(parts),
    secrets: () => fleetSecrets(parts),
    lanes: () => parts.lanes,
    lifecycle,
    clock,
    log,
  });
  return parts.tls;
}

/** Opens what this node knows of its fleet. */
async function joinFleet(setup: EdgeSetup, { memory }: DataDirectory, { origin }: Upstreams): Promise<Membership> {
  const { config, lifecycle, parts, clock, log } = setup;
  const membership = await openMembership({
    node: config.node,
    site: config.site,
    memory,
    origin,
    changed: (fleet) => {
      fleetChanged(parts, fleet);
    },
    clock,
    log,
  });
  parts.membership = membership;
  lifecycle.defer("membership", membership.close);
  return membership;
}

/** Connects the DNS responder to its inputs. It gets the first ones in the last phase, which also closes it first. */
function hostDns(
  { parts, log }: EdgeSetup,
  part: DnsPart | undefined,
  sources: { membership: Membership; probing: Probing; link: OriginLink },
): DnsHosting {
  const { membership } = sources;
  const { prober } = sources.probing;
  const dns = openDnsHosting({
    part,
    inputs: () => {
      const current = membership.current();
      if (current === null) return null;
      // The prober's object stays identical while nothing in it changes.
      const fleet = prober.live() ?? liveFleet(current.document, prober.health());
      return { fleet, version: current.version, siteStates: prober.sites(), keptShares: prober.keptShares() };
    },
    soonestChangesMs: prober.soonestChangesMs,
    secrets: sources.link.secrets.secrets,
    log,
  });
  parts.dns = dns;
  return dns;
}

function stopOf({ setup, probing }: OpenedEdge): Pick<Edge, "drain" | "hurry"> {
  const { config, lifecycle, parts, clock, log } = setup;
  const { hurried } = parts;
  return {
    async drain() {
      parts.presence = "draining";
      probing.prober.refresh();
      log.info({ drainMs: config.drainMs }, "draining: DNS and BGP send new clients elsewhere");
      const wait = sleep(clock, config.drainMs, hurried.signal).catch(() => undefined); // hurried: continue at once
      await Promise.all([wait, parts.announcement?.drain()]);
      await lifecycle.stop(stopMs + responseGraceMs(config));
    },
    hurry() {
      parts.announcement?.hurry();
      hurried.abort(new Error("hurried"));
    },
  };
}
