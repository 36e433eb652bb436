/**
 * Is a node up? Raw probe results in, a judgement out; pure.
 *
 *   unknown ──success──▶ up ──failuresDown failures in a row──▶ down ──successesUp successes in a row──▶ up
 *   unknown ──failure──▶ down         (the first judgement stands before the first answer)
 *
 * A site is up while one of its nodes is; `draining` is a node's own word that it wants no new clients.
 * A state that the fleet document forces is final: no probe changes it.
 * When no site is up, DNS names those that drain, and without any of them all: an answer that may work beats none.
 *
 * From the same judgements comes how soon they could change (`soonestChangesMs`): an answer need not be asked for again
 * before that.
 */
import type { Fleet, ProbeSettings, Site } from "./document.ts";

export type NodeState = "unknown" | "up" | "down" | "draining";
export type SiteState = "up" | "down" | "draining";

/** What one probe saw. `draining` is an answer, so it counts as a success of the transport. */
export type ProbeResult = ({ outcome: "ready" | "draining" } & NodeWord) | { outcome: "failed"; reason: string };

/** What a node says of itself beside its state; absent when it does not say. */
export interface NodeWord {
  /** HTTP requests per second that it answers, 0 … loadMax. */
  readonly load?: number;
  /** The share of its clients that its site keeps (load.ts). */
  readonly keptShare?: number;
}

/** More requests per second than any node answers: what is above was never measured. */
export const loadMax = 1_000_000_000;

export interface NodeHealth {
  readonly state: NodeState;
  /** Results in a row that speak against `state`. */
  readonly contraryCount: number;
  /** Why it is in this state, for people: `3 probes failed: connection refused`. */
  readonly reason: string;
}

export const unknownHealth: NodeHealth = { state: "unknown", contraryCount: 0, reason: "not probed yet" };

/** The health after one more probe. */
export function judge(before: NodeHealth, result: ProbeResult, settings: ProbeSettings): NodeHealth {
  if (result.outcome === "failed") {
    if (before.state === "down") return { state: "down", contraryCount: 0, reason: result.reason };
    const failures = before.contraryCount + 1;
    if (before.state !== "unknown" && failures < settings.failuresDown) return { ...before, contraryCount: failures };
    return { state: "down", contraryCount: 0, reason: result.reason };
  }
  const wanted: NodeState = result.outcome === "draining" ? "draining" : "up";
  if (before.state === "down") {
    const successes = before.contraryCount + 1;
    if (successes < settings.successesUp) return { ...before, contraryCount: successes };
  }
  return { state: wanted, contraryCount: 0, reason: result.outcome === "draining" ? "draining" : "answers" };
}

/** State of each site, by its name: what steering is told. */
export type SiteStates = ReadonlyMap<string, SiteState>;

/** @param healthOf health by node name; nodes that were never probed count as up */
export function siteStates(fleet: Fleet, healthOf: ReadonlyMap<string, NodeHealth>): SiteStates {
  return new Map(fleet.sites.map((site) => [site.name, stateOf(site, healthOf)]));
}

function stateOf(site: Site, healthOf: ReadonlyMap<string, NodeHealth>): SiteState {
  if (site.state !== "auto") return site.state;
  const states = site.nodes.map((node) => healthOf.get(node.name)?.state ?? "unknown");
  if (states.includes("up") || states.includes("unknown")) return "up";
  return states.includes("draining") ? "draining" : "down";
}

/** Requests per second of each site, by its name: the sum over its nodes that are up; absent where none is known. */
export type SiteLoads = ReadonlyMap<string, number>;

/** @param words what each node said last, by its name */
export function siteLoads(
  fleet: Fleet,
  healthOf: ReadonlyMap<string, NodeHealth>,
  words: ReadonlyMap<string, NodeWord>,
): SiteLoads {
  const loads = new Map<string, number>();
  for (const site of fleet.sites) {
    for (const { name } of site.nodes) {
      const load = words.get(name)?.load;
      if (load === undefined || healthOf.get(name)?.state !== "up") continue;
      loads.set(site.name, (loads.get(site.name) ?? 0) + load);
    }
  }
  return loads;
}

/**
 * The kept share of each site in the word of the node that decides it: the first of its nodes, in the document's order,
 * that is up. A site is absent when that is `self`, or when that node does not say.
 */
export function toldShares(
  fleet: Fleet,
  healthOf: ReadonlyMap<string, NodeHealth>,
  words: ReadonlyMap<string, NodeWord>,
  self: string,
): Map<string, number> {
  const told = new Map<string, number>();
  for (const site of fleet.sites) {
    const decider = site.nodes.find(({ name }) => healthOf.get(name)?.state === "up")?.name;
    const keptShare = decider === undefined || decider === self ? undefined : words.get(decider)?.keptShare;
    if (keptShare !== undefined) told.set(site.name, keptShare);
  }
  return told;
}

/** Of the time between two probes of a node, the part that is not left to chance. */
export const spacingLeast = 0.95;

/** Milliseconds between the beginnings of two probes of a node, at most; at least `spacingLeast` of it. */
export function spacingMs(state: NodeState, settings: ProbeSettings): number {
  return state === "down" ? settings.intervalMs / 2 : settings.intervalMs;
}

/**
 * The least time in which this judgement of each site could change, in milliseconds; a site that is absent can't.
 *
 *   site up       all of its nodes that are up must fail       the longest of their times
 *   site down     one of its nodes must come back              the shortest of their times
 *
 *   a node that needs n more results      now ─▶ 1st ──spacing──▶ 2nd ──spacing──▶ ‥ nth
 *
 * The first of them may come at any moment, and its probe may have begun one timeout ago; so (n − 1) spacings less a
 * timeout pass at least. Going from up to draining is left out: a node that drains goes on serving, for as long as
 * old answers last.
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
    const byProbes = site.state === "auto" ? soonestOf(site, healthOf, fleet.probe) : Infinity;
    const leastMs = restless.has(site.name) ? Math.min(byProbes, loadIntervalMs) : byProbes;
    if (leastMs !== Infinity) soonest.set(site.name, leastMs);
  }
  return soonest;
}

function soonestOf(site: Site, healthOf: ReadonlyMap<string, NodeHealth>, settings: ProbeSettings): number {
  const isUp = stateOf(site, healthOf) === "up";
  let leastMs = isUp ? 0 : Infinity;
  for (const { name } of site.nodes) {
    const health = healthOf.get(name) ?? unknownHealth;
    const isNodeUp = health.state === "up" || health.state === "unknown";
    if (isNodeUp !== isUp) continue;
    const timeMs = changeMs(health, settings);
    leastMs = isUp ? Math.max(leastMs, timeMs) : Math.min(leastMs, timeMs);
  }
  return leastMs;
}

/** The least time until an up node is down, or another one up. */
function changeMs({ state, contraryCount }: NodeHealth, settings: ProbeSettings): number {
  // `unknown` falls by its first failure, `draining` ends by one answer.
  const threshold = state === "up" ? settings.failuresDown : state === "down" ? settings.successesUp : 1;
  const results = Math.max(threshold - contraryCount, 1);
  const waitsMs = (results - 1) * spacingMs(state, settings) * spacingLeast;
  return Math.max(0, Math.floor(waitsMs - Math.min(settings.timeoutMs, settings.intervalMs)));
}
