/**
 * The members of a site's shared cache; pure.
 *
 *   fleet document and roster ─┐  sites, nodes, their peer endpoints
 *   health by probes ──────────┼─▶ members of a site: one for each process of each node that takes new work
 *   what nodes say (answers) ────┘  how many processes, how many renderings wait
 *
 *   node            fra1, peer 192.0.2.7:8082, 3 processes
 *   its members     fra1 :8082     fra1.1 :8083     fra1.2 :8084
 *
 * A node takes part if it has a peer endpoint and is up, or was not judged yet: a node that has just started must not
 * consider itself the only one. A draining node does not take part, whether it drains itself or an operator drains it:
 * its keys move to their next owners while it can still serve its clients, by asking them like every other node.
 * Neither does a node that is down, or one that its site's forced state in the document excludes.
 */
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { NodeHealth, SiteState } from "#health/health.ts";

/** One process of one node, as its peers see it. */
export interface Member {
  /** `fra1` for a node's first or only process, `fra1.2` for the third. */
  readonly name: string;
  readonly node: string;
  readonly site: string;
  /** An IP address. */
  readonly host: string;
  readonly port: number;
}

/** The part of a node's answer that is used here. */
export interface MemberAnswer {
  readonly processes?: number;
  readonly rendersWaiting?: number;
}

/** A node's own state. It knows better than any probe whether it accepts work. */
export interface Self {
  readonly node: string;
  /** 0 … processes − 1. */
  readonly process: number;
  readonly processes: number;
  readonly isReady: boolean;
}

export interface MembersInput {
  readonly fleet: Fleet;
  readonly health: ReadonlyMap<string, NodeHealth>;
  readonly answers: ReadonlyMap<string, MemberAnswer>;
  readonly self: Self;
}

/** Nobody starts more processes than this on one machine; an answer with more is wrong. */
const processesMax = 64;
const portMax = 65_535;

export function memberName(node: string, process: number): string {
  return process === 0 ? node : `${node}.${process}`;
}

/** All members of a site in the document's order, including this process while it is ready. */
export function membersOf(site: Site, input: MembersInput): Member[] {
  return site.nodes.flatMap(({ name, peer, state }) => {
    if (peer === undefined || state === "draining" || !takesWork(name, input)) return [];
    const processes = name === input.self.node ? input.self.processes : (input.answers.get(name)?.processes ?? 1);
    const count = Math.min(processes, processesMax, portMax + 1 - peer.port);
    return Array.from({ length: count }, (_, process) => ({
      name: memberName(name, process),
      node: name,
      site: site.name,
      host: peer.host,
      port: peer.port + process,
    }));
  });
}

function takesWork(node: string, { health, self }: MembersInput): boolean {
  if (node === self.node) return self.isReady;
  const state = health.get(node)?.state ?? "unknown";
  return state === "up" || state === "unknown";
}

/** Whether other sites may ask this one. */
export function isSiteOpen(site: Site, states: ReadonlyMap<string, SiteState>): boolean {
  return (states.get(site.name) ?? "up") === "up" && site.state !== "down" && site.state !== "draining";
}

/**
 * A node with more renderings waiting than this is passed over: a quarter above its site's mean, plus 8, so that small
 * numbers have no effect. Infinity while fewer than two nodes report.
 */
export function waitingMost(site: Site, { answers }: Pick<MembersInput, "answers">): number {
  const waiting = site.nodes.flatMap(({ name }) => answers.get(name)?.rendersWaiting ?? []);
  if (waiting.length < 2) return Infinity;
  return 1.25 * (waiting.reduce((sum, one) => sum + one, 0) / waiting.length) + 8;
}
