/**
 * Combines the health of nodes into the state of sites; pure. consensus.ts judges the nodes, prober.ts probes them.
 *
 *   node states ─┬─▶ siteStates         up, draining, down: input of steering
 *                ├─▶ siteLoads          with the nodes' answers: the load of each site
 *                └─▶ soonestChangesMs   how soon any of it could change: the TTLs of answers
 *
 * A site is up while one of its nodes is. A node is `draining` if it or the document says that it gets no new clients.
 * A state that the fleet document forces is final: no probe changes it. A site without any address is down, whatever
 * the state of its nodes, because there is nothing to answer with; if its nodes share no address, a node without one of
 * its own adds none. If no site is up, DNS answers with those that are draining; if there are none either, with all: an
 * answer that may work beats none.
 */
import type { Fleet } from "#document/document.ts";
import type { ProbeSettings } from "#document/schema/probes.ts";
import type { Site, SiteNode } from "#document/schema/sites.ts";

export type NodeState = "unknown" | "up" | "down" | "draining";
export type SiteState = "up" | "down" | "draining";

/** The result of one probe. `draining` is an answer, so it counts as a success of the transport. */
export type ProbeResult =
  | {
      outcome: "ready" | "draining";
      /** Absent in a fleet without a secret: without proof no answer is believed (health-proof.ts). */
      answer?: HealthAnswer;
    }
  | {
      outcome: "failed";
      reason: string;
      /** Something answers there, but without proof of being this node. */
      isUnproven?: true;
    };

/** An attempt that was held back, because its address is probed often enough. It may begin after this many ms. */
export interface Held {
  readonly outcome: "held";
  readonly waitMs: number;
}

/** A node's report about itself and others, for nodes of its fleet; an absent field is unknown. */
export interface HealthAnswer {
  /** HTTP requests per second that it answers, 0 … loadMax. */
  readonly load?: number;
  readonly bytesPerSecond?: number;
  /** How late its event loop runs. */
  readonly loopDelayMs?: number;
  readonly rendersWaiting?: number;
  /** The share of its clients that its site keeps (load-shedding.ts). */
  readonly keptShare?: number;
  /** How many processes share its ports, 1 … 64. */
  readonly processes?: number;
  /** Names of the nodes that its own probes do not reach. The list is complete if `watched` matches. */
  readonly unreachable?: readonly string[];
  /** Names of the nodes that reported to it that they are draining. */
  readonly draining?: readonly string[];
  /** Which nodes it probes (`watchedId`). Its silence about others means nothing. */
  readonly watched?: string;
  /** It reaches no other machine. */
  readonly isIsolated?: boolean;
  /** It ignores answers without proof. Releases up to 0.1.0 accepted them, and omit this field. */
  readonly asksProof?: boolean;
  readonly fleetVersion?: number;
  readonly feedSeq?: number;
  readonly release?: string;
  /** Prefixes that it announces by BGP. */
  readonly announced?: readonly string[];
  /** Base URL at which it wants to be probed, if that is another one than in the fleet document: HTTPS, for example. */
  readonly probe?: string;
}

/** More requests per second than any node answers; a higher value is not a measurement. */
export const loadMax = 1_000_000_000;

export interface NodeHealth {
  readonly state: NodeState;
  /** Up node: consecutive attempts without an answer. Down node: consecutive successes. */
  readonly contraryCount: number;
  /** Why it is in this state, for people: `7 probes from here failed: connection refused`. */
  readonly reason: string;
  /** Something at its address answers without proof of being this node. */
  readonly isUnproven?: true;
}

export const unknownHealth: NodeHealth = { state: "unknown", contraryCount: 0, reason: "not probed yet" };

/** State of each site, by its name, for steering. */
export type SiteStates = ReadonlyMap<string, SiteState>;

/** @param healthOf health by node name; nodes that were never probed count as up */
export function siteStates(fleet: Fleet, healthOf: ReadonlyMap<string, NodeHealth>): SiteStates {
  return new Map(fleet.sites.map((site) => [site.name, stateOf(site, healthOf)]));
}

function stateOf(site: Site, healthOf: ReadonlyMap<string, NodeHealth>): SiteState {
  const serving = servingNodes(site);
  if (site.addresses.length === 0 && serving.length === 0) return "down";
  if (site.state !== "auto") return site.state;
  const states = serving.map((node) => healthOf.get(node.name)?.state ?? "unknown");
  if (states.includes("up") || states.includes("unknown")) return "up";
  return states.includes("draining") ? "draining" : "down";
}

/** The nodes that clients of the site can reach: without shared addresses, those with one of their own. */
function servingNodes({ addresses, nodes }: Site): readonly SiteNode[] {
  return addresses.length > 0 ? nodes : nodes.filter((node) => node.addresses.length > 0);
}

/** Requests per second of each site, by its name: the sum over its nodes that are up; absent where none is known. */
export type SiteLoads = ReadonlyMap<string, number>;

/** @param answers the last answer of each node, by its name */
export function siteLoads(
  fleet: Fleet,
  healthOf: ReadonlyMap<string, NodeHealth>,
  answers: ReadonlyMap<string, HealthAnswer>,
): SiteLoads {
  const loads = new Map<string, number>();
  for (const site of fleet.sites) {
    for (const { name } of site.nodes) {
      const load = answers.get(name)?.load;
      if (load === undefined || healthOf.get(name)?.state !== "up") continue;
      loads.set(site.name, (loads.get(site.name) ?? 0) + load);
    }
  }
  return loads;
}

/**
 * The kept share of each site in the answer of the node that decides it: the first of its nodes, in the document's
 * order, that is up. A site is absent if that node is `self`, or does not report a share.
 */
export function toldShares(
  fleet: Fleet,
  healthOf: ReadonlyMap<string, NodeHealth>,
  answers: ReadonlyMap<string, HealthAnswer>,
  self: string,
): Map<string, number> {
  const told = new Map<string, number>();
  for (const site of fleet.sites) {
    const decider = site.nodes.find(({ name }) => healthOf.get(name)?.state === "up")?.name;
    const keptShare = decider === undefined || decider === self ? undefined : answers.get(decider)?.keptShare;
    if (keptShare !== undefined) told.set(site.name, keptShare);
  }
  return told;
}

/** The part of the time between two probes of a node that is not random. */
export const spacingLeast = 0.95;

/** Milliseconds between the beginnings of two attempts while a node does not answer (consensus.ts). */
export function retryMs(settings: ProbeSettings): number {
  return settings.intervalMs / 10;
}

/**
 * The shortest time, in milliseconds, in which the answers with each site could change. An absent site can't change.
 *
 *   site up       all of its nodes that are up must fail       the longest of their times
 *   site down     one of its nodes must come back              the shortest of their times
 *   nodes with addresses of their own are answered themselves: any of them must change      the shortest of their times
 *
 * A node that is up has failed after `failuresDown` attempts in a row, and they begin one retry after another; all that
 * have begun may fail in one moment. One that is down may be up at once, by another node's answer. Going from up to
 * draining is left out: a node that drains goes on serving, for as long as old answers last.
 * @param restless sites whose kept share may change at the next look at the loads
 * @param loadIntervalMs time between two looks at the loads
 */
export function soonestChangesMs(
  fleet: Fleet,
  healthOf: ReadonlyMap<string, NodeHealth>,
  restless: ReadonlySet<string>,
  loadIntervalMs: number,
): Map<string, number> {
  const soonest = new Map<string, number>();
  for (const site of fleet.sites) {
    const byProbes = Math.min(
      site.state === "auto" ? soonestOf(site, healthOf, fleet.probe) : Infinity,
      soonestOfAddresses(site, healthOf, fleet.probe),
    );
    const leastMs = restless.has(site.name) ? Math.min(byProbes, loadIntervalMs) : byProbes;
    if (leastMs !== Infinity) soonest.set(site.name, leastMs);
  }
  return soonest;
}

function soonestOf(site: Site, healthOf: ReadonlyMap<string, NodeHealth>, settings: ProbeSettings): number {
  const isUp = stateOf(site, healthOf) === "up";
  let leastMs = isUp ? 0 : Infinity;
  for (const { name } of servingNodes(site)) {
    const health = healthOf.get(name) ?? unknownHealth;
    const isNodeUp = health.state === "up" || health.state === "unknown";
    if (isNodeUp !== isUp) continue;
    const timeMs = changeMs(health, settings);
    leastMs = isUp ? Math.max(leastMs, timeMs) : Math.min(leastMs, timeMs);
  }
  return leastMs;
}

function soonestOfAddresses(site: Site, healthOf: ReadonlyMap<string, NodeHealth>, settings: ProbeSettings): number {
  const own = site.nodes.filter(({ addresses }) => addresses.length > 0);
  // If it is the only choice, it is in the answer in any state (live-fleet.ts).
  if (own.length === 1 && site.addresses.length === 0) return Infinity;
  return Math.min(...own.map(({ name }) => changeMs(healthOf.get(name) ?? unknownHealth, settings)));
}

/** The shortest time until an up node is down, or a node in another state is up. */
function changeMs({ state, contraryCount }: NodeHealth, settings: ProbeSettings): number {
  if (state !== "up") return 0;
  const waits = Math.max(settings.failuresDown - 1 - contraryCount, 0);
  return Math.floor(waits * retryMs(settings) * spacingLeast);
}
