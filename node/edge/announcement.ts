/**
 * Connects the lease to the edge: the prefixes that this node announces, the checks they depend on, and when it may
 * withdraw them.
 *
 *   fleet document ─▶ the prefixes of the clouds of this node's site ─▶ lease (announce/, a thread of its own)
 *   DNS over UDP and TCP, a picture over HTTP, at the very addresses of those clouds ─▶ self-check
 *   standing in the fleet, SIGTERM ─▶ drain: GRACEFUL_SHUTDOWN (RFC 8326), then withdrawal
 *
 * A failed self-check withdraws the announcement only if another node confirms over unicast that it announces the same
 * prefixes and is healthy. Of two nodes that fail at once, each would see the other as healthy. So a node whose own
 * check has just failed reports that it is not (`healthy()`), and the one that asks later stays announced.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { canonicalAddress } from "#base/ip-text.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import type { NodeHealth, HealthAnswer } from "#health/health.ts";
import { type Lease, openLease } from "../announce/lease.ts";
import type { LeaseState } from "../announce/lease-state.ts";
import { createSelfCheck, type SelfCheck, type SelfCheckTargets } from "../announce/self-check.ts";
import type { EdgeConfig } from "../config.ts";
import type { Standing } from "./phases/membership.ts";

export interface Announcement {
  /** The fleet in force has changed, or this node's standing in it. */
  refresh: () => void;
  state: () => LeaseState;
  /** The prefixes that this node announces and vouches for; none while its own answers are wrong. */
  healthy: () => readonly string[];
  /** Resolves after the withdrawal. */
  drain: () => Promise<void>;
  hurry: () => void;
  /** Runs work during which the main thread is silent; the announcement stays (announce/heartbeat.ts). */
  silently: (expectedMs: number, work: () => void) => void;
  close: () => Promise<void>;
}

/** How many other nodes are asked before an announcement is withdrawn. */
const witnessesMax = 8;

export function openAnnouncement(options: {
  config: EdgeConfig & { announce: NonNullable<EdgeConfig["announce"]> };
  processIndex: number;
  /** Null before the first document. */
  fleet: () => Fleet | null;
  standing: () => Standing;
  health: () => ReadonlyMap<string, NodeHealth>;
  answers: () => ReadonlyMap<string, HealthAnswer>;
  /** Probes a node now; undefined when it does not answer. */
  ask: (node: SiteNode) => Promise<HealthAnswer | undefined>;
  clock: Clock;
  random: Random;
  log: Log;
}): Announcement {
  const { config, processIndex, fleet, standing, health, answers, ask, clock, random, log } = options;
  let isDraining = false;
  let last: SelfCheck = { ok: false, reason: "not checked yet" };

  const check = createSelfCheck({ targets, clock, random });
  const lease: Lease = openLease({
    announce: config.announce,
    processIndex,
    as: fleet()?.anycast.as,
    prefixes: prefixes(),
    async selfCheck() {
      last = await check();
      return last;
    },
    mayFall,
    isAlone,
    clock,
    random,
    log,
  });

  function clouds(): Fleet["anycast"]["clouds"] {
    return (fleet()?.anycast.clouds ?? []).filter(({ sites }) => sites.includes(config.site));
  }

  function prefixes(): string[] {
    return [...new Set(clouds().flatMap((cloud) => cloud.prefixes))];
  }

  /** The node's sockets on the clouds' addresses; all of its sockets if none is. */
  function targets(): SelfCheckTargets {
    const announced = new Set(clouds().flatMap(({ addresses }) => addresses.map(canonicalAddress)));
    const among = (endpoints: readonly { host: string; port: number }[]): { host: string; port: number }[] => {
      const own = endpoints.filter(({ host }) => announced.has(canonicalAddress(host)));
      return own.length > 0 ? own : [...endpoints];
    };
    const { checkHost, checkPath } = config.announce;
    const firstImages = fleet()?.hosts.find(({ kind }) => kind === "images")?.name;
    return {
      dns: among(config.dns.addresses),
      zone: fleet()?.zones[0]?.name,
      http: among(config.http),
      ask: {
        host: canonicalName(checkHost ?? firstImages ?? "localhost"),
        path: checkPath ?? "/.nearcast/health",
        expects: checkPath === undefined ? "any" : "picture",
      },
    };
  }

  async function mayFall(wanted: readonly string[]): Promise<boolean> {
    const others = (fleet()?.sites ?? [])
      .flatMap(({ nodes }) => nodes)
      .filter(({ name }) => name !== config.node && health().get(name)?.state === "up")
      .slice(0, witnessesMax);
    const said = await Promise.all(others.map(ask));
    const announced = new Set(said.flatMap((answer) => answer?.announced ?? []));
    return wanted.every((prefix) => announced.has(prefix));
  }

  /** Judged by the last probe results, without new probes. */
  function isAlone(wanted: readonly string[]): boolean {
    const announced = new Set<string>();
    for (const [name, { announced: theirs = [] }] of answers()) {
      if (name !== config.node && health().get(name)?.state === "up") for (const one of theirs) announced.add(one);
    }
    return !wanted.every((prefix) => announced.has(prefix));
  }

  return {
    refresh() {
      lease.setPrefixes(prefixes(), fleet()?.anycast.as);
      if (isDraining || fleet() === null) return;
      if (standing() === "listed") lease.undrain();
      else {
        lease.drain().catch((error: unknown) => {
          log.error({ err: error }, "the announcement could not be withdrawn");
        });
      }
    },
    state: lease.state,
    healthy() {
      const { announced, isShuttingDown } = lease.state();
      return last.ok && !isShuttingDown ? announced : [];
    },
    async drain() {
      isDraining = true;
      await lease.drain();
    },
    hurry: lease.hurry,
    silently: lease.silently,
    close: lease.close,
  };
}
