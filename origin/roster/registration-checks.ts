/**
 * Checks what a registration may name, and limits the nodes per token and per address: every edge probes each
 * registered node once a second and connects to it, so whoever holds an edge token could direct the whole fleet at a
 * target.
 *
 *   http, peer, addresses ─▶ in a network where no client ever reaches a node? ─▶ refused
 *                            of the machine itself, from another machine?      ─▶ refused
 *                         ─▶ above the limit of one token, or one address?     ─▶ refused, with the limit
 *
 * Private networks stay allowed: nodes often reach each other over one. Edges send only a GET of a fixed path there, at
 * a limited rate (node/fetch/probe-budget.ts), and its answer counts only with a proof. Edges resolve names themselves,
 * and refuse those that resolve to their own machine.
 */
import { NearcastError } from "#base/errors.ts";
import { embeddedIpv4 } from "#base/embedded-ipv4.ts";
import { isIn, leadsInto, loopback, unreachable } from "#base/networks.ts";
import type { Roster, RosterNode } from "#document/roster.ts";
import type { Actor } from "../catalogue/audit-entry.ts";

export interface RosterLimits {
  readonly nodesPerTokenMax: number;
  readonly nodesPerAddressMax: number;
}

/** A node as stored in the catalogue. */
export type KeptNode = RosterNode & {
  /** Id of the token that it was registered with; absent for nodes from an older release. */
  readonly token?: string;
};

/** @throws NearcastError BAD_PARAMETER */
export function mustBeReachable({ http, peer, addresses }: Omit<RosterNode, "name">, { address }: Actor): void {
  for (const named of addresses) {
    if (leadsInto(unreachable, named)) refuse("addresses", named, "is not an address that clients can reach");
  }
  const isHere = address !== undefined && isIn(loopback, address);
  const places = [["http", hostOf(http)] as const, ...(peer === undefined ? [] : [["peer", peer.host] as const])];
  for (const [key, host] of places) {
    if (leadsInto(unreachable, host)) refuse(key, host, "is not an address that other nodes can reach");
    const isOwn = leadsInto(loopback, host) || host === "localhost" || host.endsWith(".localhost");
    if (isOwn && !isHere) {
      refuse(key, host, "is the machine itself: use the address at which other nodes reach this one");
    }
  }
}

function refuse(key: string, value: string, why: string): never {
  throw new NearcastError("BAD_PARAMETER", `${key}: ${value} ${why}`);
}

/**
 * Call this for a node that is not in the roster yet.
 * @throws NearcastError NODE_CONFLICT
 */
export function mustFit(http: string, roster: Roster, token: string | undefined, limits: RosterLimits): void {
  const host = hostOf(http);
  const target = targetOf(http);
  const nodes: readonly KeptNode[] = roster.nodes;
  if (nodes.filter((node) => targetOf(node.http) === target).length >= limits.nodesPerAddressMax) {
    throw new NearcastError(
      "NODE_CONFLICT",
      `${limits.nodesPerAddressMax} nodes at ${host} have joined, the most that limits.nodesPerAddressMax of the ` +
        "origin allows: `nearcast remove` nodes that are gone, or raise the limit",
    );
  }
  if (token === undefined || nodes.filter((node) => node.token === token).length < limits.nodesPerTokenMax) return;
  throw new NearcastError(
    "NODE_CONFLICT",
    `${limits.nodesPerTokenMax} nodes have joined with the token ${token}, the most that limits.nodesPerTokenMax of ` +
      "the origin allows: `nearcast remove` nodes that are gone, or raise the limit",
  );
}

/**
 * The target of its probes: an IPv4 address in an IPv6 address counts as the former, or it could be named many times.
 */
function targetOf(url: string): string {
  const host = hostOf(url);
  return embeddedIpv4(host)[0] ?? host;
}

/** As the URL parser writes it, without the brackets of an IPv6 address: each address has one form. */
function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, "");
}
