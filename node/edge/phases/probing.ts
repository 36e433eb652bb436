/** The prober of all nodes, and this node's own load and health answer. */
import type { Fleet } from "#document/document.ts";
import type { HealthAnswer } from "#health/health.ts";
import { createLoadMeter, type LoadMeter } from "#health/load-meter.ts";
import { openProber, type Prober } from "#health/prober.ts";
import { openProbeClient, type ProbeClient } from "../../fetch/http-probe.ts";
import { currentFleet, feedSeq, fleetSecrets, fleetVersion, healthChanged, soonestChanges } from "../parts.ts";
import { presenceTold } from "../presence.ts";
import { probeUrlOf } from "../probe-url.ts";
import type { Servers } from "./servers.ts";
import type { EdgeSetup } from "../setup.ts";

export interface Probing {
  probes: ProbeClient;
  prober: Prober;
  load: LoadMeter;
}

export function openProbing(setup: EdgeSetup, { images }: Servers): Probing {
  const { config, siblings, lifecycle, parts, clock, random, log } = setup;
  const probes = openProbeClient({
    secrets: () => fleetSecrets(parts),
    servername: () => currentFleet(parts)?.hosts[0]?.name.replace(/\.$/, ""),
    clock,
  });
  lifecycle.defer("probe client", probes.close);
  const load = createLoadMeter(clock);
  siblings.follow(() => ({
    requestsPerSecond: load.requestsPerSecond(),
    bytesPerSecond: load.bytesPerSecond(),
    rendersWaiting: images.counts().turns.waiting,
    // A client meets both: the lane that owns its connection, and the main thread if the lane has no response.
    loopDelayMs: Math.max(parts.loop?.delayMs() ?? 0, parts.lanes?.delayMs() ?? 0),
    answersDns: parts.dns?.answers() ?? false,
  }));
  lifecycle.defer("sibling processes", siblings.close);
  const prober = openProber({
    self: config.node,
    presence: () => presenceTold(setup),
    answer: () => healthAnswer(setup),
    probe: probes.probe,
    changed: () => {
      healthChanged(parts);
    },
    judgedRound: (soonestMs) => {
      soonestChanges(parts, soonestMs);
    },
    clock,
    random,
    log,
  });
  parts.prober = prober;
  lifecycle.defer("prober", prober.close);
  return { probes, prober, load };
}

const httpByFleet = new WeakMap<Fleet, string | null>();

/** `http` of this node in the document, looked up once per document. */
function httpOf(fleet: Fleet | null, node: string): string | undefined {
  if (fleet === null) return undefined;
  let http = httpByFleet.get(fleet);
  if (http === undefined) {
    const own = fleet.sites.flatMap(({ nodes }) => nodes).find(({ name }) => name === node);
    http = own?.http ?? null;
    httpByFleet.set(fleet, http);
  }
  return http ?? undefined;
}

/** This node's health answer. */
export function healthAnswer({ config, siblings, release, parts }: EdgeSetup): HealthAnswer {
  const probe = probeUrlOf(config, httpOf(currentFleet(parts), config.node));
  const { requestsPerSecond, bytesPerSecond, rendersWaiting, loopDelayMs } = siblings.total();
  return {
    load: requestsPerSecond,
    bytesPerSecond,
    rendersWaiting,
    loopDelayMs,
    keptShare: parts.prober?.keptShares().get(config.site) ?? 1,
    processes: siblings.count,
    ...parts.prober?.view(),
    fleetVersion: fleetVersion(parts),
    feedSeq: feedSeq(parts),
    release,
    announced: parts.announcement?.healthy() ?? [],
    ...(probe === undefined ? {} : { probe }),
  };
}
