/**
 * How full a site is, as a fraction of its capacity; pure. The highest of these values counts:
 *
 *   requests   all its nodes' requests per second ÷ capacity.requestsPerSecond      for sites that state a capacity
 *   bytes      all its nodes' bytes per second    ÷ capacity.bytesPerSecond
 *   loop       its nodes' mean event-loop delay   ÷ 100 ms                          for all (or their lanes' delay,
 *                                                                                   if that is more)
 *   renders    its nodes' mean waiting renderings ÷ a tenth of limits.renderQueueMax
 *
 * The first two are stated limits. The others show that the machines are exhausted whatever was stated. They count only
 * if a capacity is stated: without one, a site is never considered full (load-shedding.ts).
 *
 *   ≥ 1       full: DNS moves clients away (load-shedding.ts), and misses go to a site with room until those have moved
 *   < 0.85    room: it may be handed other sites' misses
 */
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import { distanceKm, unitVector } from "#base/great-circle.ts";
import type { NodeHealth, HealthAnswer, SiteLoads, SiteStates } from "./health.ts";

/** With this event-loop delay, a node answers hits noticeably late. */
const loopDelayFullMs = 100;
const queuePartFull = 0.1;
const roomBelow = 0.85;
/** If only bytes are stated, load-shedding.ts still counts requests: this many bytes count as one. */
const bytesPerRequest = 20_000;

/** Fraction of each site's capacity, by its name; absent: no capacity is stated, or no node reports anything. */
export type SitePressures = ReadonlyMap<string, number>;

/** @param answers what each node said last, by its name */
export function sitePressures(
  fleet: Fleet,
  healthOf: ReadonlyMap<string, NodeHealth>,
  answers: ReadonlyMap<string, HealthAnswer>,
): SitePressures {
  const pressures = new Map<string, number>();
  for (const site of fleet.sites) {
    if (site.capacity === undefined) continue;
    const said = site.nodes.flatMap(({ name }) => {
      const answer = healthOf.get(name)?.state === "up" ? answers.get(name) : undefined;
      return answer?.load === undefined ? [] : [answer];
    });
    if (said.length > 0) pressures.set(site.name, pressureOf(site.capacity, said, fleet.limits.renderQueueMax));
  }
  return pressures;
}

function pressureOf(
  { requestsPerSecond = Infinity, bytesPerSecond = Infinity }: NonNullable<Site["capacity"]>,
  answers: readonly HealthAnswer[],
  renderQueueMax: number,
): number {
  const sum = (of: (answer: HealthAnswer) => number | undefined): number =>
    answers.reduce((total, answer) => total + (of(answer) ?? 0), 0);
  return Math.max(
    sum(({ load }) => load) / requestsPerSecond,
    sum((answer) => answer.bytesPerSecond) / bytesPerSecond,
    sum(({ loopDelayMs }) => loopDelayMs) / answers.length / loopDelayFullMs,
    sum(({ rendersWaiting }) => rendersWaiting) / answers.length / (queuePartFull * renderQueueMax),
  );
}

/** What a site can do, in requests per second; Infinity where it states nothing. */
export function capacityOf({ capacity }: Site): number {
  if (capacity === undefined) return Infinity;
  return capacity.requestsPerSecond ?? (capacity.bytesPerSecond ?? Infinity) / bytesPerRequest;
}

/** The pressures in requests per second, so that sites of different size can be weighed against each other. */
export function loadsOf(fleet: Fleet, pressures: SitePressures, measured: SiteLoads): SiteLoads {
  const loads = new Map(measured);
  for (const site of fleet.sites) {
    const pressure = pressures.get(site.name);
    if (pressure !== undefined) loads.set(site.name, pressure * capacityOf(site));
  }
  return loads;
}

/** What one site knows of its own fullness and of others' room. */
export interface Room {
  readonly isFull: boolean;
  /** Nearest first; sites without a stated capacity have room as long as they are up. */
  readonly sitesWithRoom: readonly string[];
}

export function roomOf(fleet: Fleet, states: SiteStates, pressures: SitePressures, siteName: string): Room {
  const own = fleet.sites.find(({ name }) => name === siteName);
  if (own === undefined || (pressures.get(siteName) ?? 0) < 1) return { isFull: false, sitesWithRoom: [] };
  const here = unitVector(own.place);
  const sitesWithRoom = fleet.sites
    .filter(({ name }) => name !== siteName && states.get(name) === "up" && (pressures.get(name) ?? 0) < roomBelow)
    .map(({ name, place }) => ({ name, km: distanceKm(here, unitVector(place)) }))
    .toSorted((a, b) => a.km - b.km)
    .map(({ name }) => name);
  return { isFull: true, sitesWithRoom };
}
