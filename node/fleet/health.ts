/**
 * Is a node up? Raw probe results in, a judgement out; pure.
 *
 *   unknown ──success──▶ up ──failuresDown failures in a row──▶ down ──successesUp successes in a row──▶ up
 *   unknown ──failure──▶ down         (the first judgement stands before the first answer)
 *
 * A site is up while one of its nodes is; `draining` is a node's own word that it wants no new clients.
 * When no site is up, DNS answers as if all were (an answer that may work beats one that can't).
 */
import type { Fleet, ProbeSettings, Site } from "./document.ts";

export type NodeState = "unknown" | "up" | "down" | "draining";
export type SiteState = "up" | "down" | "draining";

/** What one probe saw. `draining` is an answer, so it counts as a success of the transport. */
export type ProbeResult = { outcome: "ready" } | { outcome: "draining" } | { outcome: "failed"; reason: string };

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
