/**
 * The rules of the roster: who may join under which name, what can be drained and removed. The catalogue stores the
 * roster and informs edges of each change; node/document/roster.ts defines its effect on the fleet.
 *
 *   join    site known? ─▶ same registration again? ─▶ name, URL, addresses unused, room for one more?
 *           ─▶ added, under the next free name
 *   drain   a node of the document or of the roster          remove   only a node of the roster
 *
 * Every rule is checked inside the transaction that changes the roster, against the fleet document of that moment.
 * A document that is published later and uses a name of the roster wins: withRoster() then leaves that node out.
 */
import { NearcastError } from "#base/errors.ts";
import { canonicalAddress } from "#base/ip-text.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import { type Roster, type RosterNode, rosterNodesMax, shortNameLengthMax } from "#document/roster.ts";
import type { Actor } from "../catalogue/audit-entry.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { FleetReader } from "../fleet/stored-fleets.ts";
import { type KeptNode, mustBeReachable, mustFit, type RosterLimits } from "./registration-checks.ts";

/** What a node registers; if it has no name, it gets one. */
export type Registration = Omit<RosterNode, "name"> & { readonly name?: string };

export interface RosterKeeper {
  readonly roster: () => Promise<Roster>;
  /** Every node of the fleet, from its document or the roster, in the order of names. */
  readonly nodes: () => Promise<readonly { readonly node: string; readonly site: string }[]>;
  /**
   * The same registration again changes nothing; without a name it is identified by its URL.
   * @throws NearcastError UNKNOWN_SITE, NODE_CONFLICT, BAD_PARAMETER
   */
  readonly join: (
    wanted: Registration,
    actor: Actor,
  ) => Promise<{ node: RosterNode; revision: number; isNew: boolean }>;
  /** @throws NearcastError NOT_FOUND, or NODE_CONFLICT for a node of the fleet document */
  readonly remove: (name: string, actor: Actor) => Promise<{ revision: number }>;
  /** @throws NearcastError NOT_FOUND; NODE_CONFLICT when too many are drained */
  readonly setDraining: (
    name: string,
    isDraining: boolean,
    actor: Actor,
  ) => Promise<{ revision: number; unchanged: boolean }>;
}

/** How many names a refusal lists; more would not help. */
const namesToldMax = 100;

/** A document that `fleetOf` can no longer read has no nodes that edges know either. */
export function openRosterKeeper(
  catalogue: Pick<Catalogue, "roster" | "changeRoster" | "fleet">,
  fleetOf: FleetReader["read"],
  limits: RosterLimits,
): RosterKeeper {
  return {
    roster: catalogue.roster,
    async nodes() {
      const [roster, newest] = await Promise.all([catalogue.roster(), catalogue.fleet()]);
      const all = [
        ...documentNodes(fleetOf(newest)).map(({ node, site }) => ({ node: node.name, site })),
        ...roster.nodes.map(({ name, site }) => ({ node: name, site })),
      ];
      const byName = new Map(all.toReversed().map((one) => [one.node, one]));
      return [...byName.values()].toSorted((one, other) => (one.node < other.node ? -1 : 1));
    },
    async join(wanted, actor) {
      mustBeReachable(wanted, actor);
      let joined: { node: RosterNode; isNew: boolean } | undefined;
      const { revision } = await catalogue.changeRoster(actor, (roster, newest) => {
        joined = place(wanted, roster, fleetOf(newest));
        if (!joined.isNew) return null;
        const token = actor.token?.id;
        mustFit(wanted.http, roster, token, limits);
        const node: KeptNode = { ...joined.node, ...(token === undefined ? {} : { token }) };
        return { kind: "add", node };
      });
      if (joined === undefined)
        throw new NearcastError("INTERNAL", "the catalogue changed the roster without its rules");
      return { ...joined, revision };
    },
    async remove(name, actor) {
      const { revision } = await catalogue.changeRoster(actor, (roster, newest) => {
        if (roster.nodes.some((node) => node.name === name)) return { kind: "remove", name };
        const fleet = fleetOf(newest);
        if (!documentNodes(fleet).some(({ node }) => node.name === name)) throw noSuchNode(name, roster, fleet);
        throw new NearcastError(
          "NODE_CONFLICT",
          `${name} is a node of the fleet document: remove it there and publish the document`,
        );
      });
      return { revision };
    },
    async setDraining(name, isDraining, actor) {
      let unchanged = true;
      const { revision } = await catalogue.changeRoster(actor, (roster, newest) => {
        const fleet = fleetOf(newest);
        const isMarked = roster.draining.includes(name);
        const isThere = [...documentNodes(fleet).map(({ node }) => node), ...roster.nodes].some(
          (node) => node.name === name,
        );
        // A drain outlives its node in the document, so removing it must remain possible.
        if (!isThere && !(isMarked && !isDraining)) throw noSuchNode(name, roster, fleet);
        unchanged = isMarked === isDraining;
        if (unchanged) return null;
        if (isDraining && roster.draining.length >= rosterNodesMax) {
          throw new NearcastError("NODE_CONFLICT", `at most ${rosterNodesMax} nodes can be drained at a time`);
        }
        return { kind: isDraining ? "drain" : "undrain", name };
      });
      return { revision, unchanged };
    },
  };
}

/** @throws NearcastError as documented at join() */
function place(wanted: Registration, roster: Roster, fleet: Fleet | null): { node: RosterNode; isNew: boolean } {
  const sites = (fleet?.sites ?? []).map((site) => site.name);
  if (!sites.includes(wanted.site)) throw noSuchSite(wanted.site, sites);
  const there = roster.nodes.find(
    wanted.name === undefined ? ({ http }) => sameUrl(http, wanted.http) : ({ name }) => name === wanted.name,
  );
  if (there !== undefined) {
    const different = differences(there, wanted);
    if (different.length === 0) return { node: there, isNew: false };
    throw new NearcastError(
      "NODE_CONFLICT",
      `${there.name} has joined before with different values: ${different.join(", ")}`,
      {
        facts: { node: there.name },
      },
    );
  }
  const others = [...documentNodes(fleet), ...roster.nodes.map((node) => ({ node, site: node.site }))];
  const taken = new Set(others.map(({ node }) => node.name));
  if (wanted.name !== undefined && taken.has(wanted.name)) {
    throw new NearcastError(
      "NODE_CONFLICT",
      `${wanted.name} is already a node of the fleet document: choose another name`,
    );
  }
  mustBeOwn(wanted, others, fleet);
  if (roster.nodes.length >= rosterNodesMax) {
    throw new NearcastError("NODE_CONFLICT", `the roster is full: ${rosterNodesMax} nodes have joined`);
  }
  const { site, http, peer, addresses } = wanted;
  const name = wanted.name ?? nextName(site, taken);
  return { node: { name, site, http, ...(peer === undefined ? {} : { peer }), addresses }, isNew: true };
}

/** Checks that no other node, and no site, already uses the registered values. */
function mustBeOwn(
  wanted: Registration,
  others: readonly { node: Omit<SiteNode, "state">; site: string }[],
  fleet: Fleet | null,
): void {
  const refuse = (what: string, owner: string): never => {
    throw new NearcastError("NODE_CONFLICT", `${what} is already in use: it is ${owner}`);
  };
  const shared = new Map<string, string>();
  const share = (addresses: readonly string[], owner: string): void => {
    for (const address of addresses) shared.set(canonicalAddress(address), owner);
  };
  share(fleet?.anycast.addresses ?? [], "an anycast address");
  for (const cloud of fleet?.anycast.clouds ?? []) share(cloud.addresses, `an address of the cloud ${cloud.name}`);
  for (const { name, addresses } of fleet?.sites ?? []) share(addresses, `shared by all nodes of ${name}`);
  for (const { node } of others) share(node.addresses, `an address of the node ${node.name}`);
  for (const address of wanted.addresses) {
    const owner = shared.get(canonicalAddress(address));
    if (owner !== undefined) refuse(address, owner);
  }
  for (const { node } of others) {
    if (sameUrl(node.http, wanted.http)) refuse(wanted.http, `the URL of the node ${node.name}`);
    if (wanted.peer !== undefined && node.peer !== undefined && samePeer(node.peer, wanted.peer)) {
      refuse(`${wanted.peer.host} port ${wanted.peer.port}`, `the peer endpoint of the node ${node.name}`);
    }
  }
}

/** `fra2`; `dc1-2` for a site whose name ends in a digit. */
function nextName(site: string, taken: ReadonlySet<string>): string {
  const stem = /\d$/.test(site) ? `${site}-` : site;
  // The bound is never reached: there are more numbers than taken names.
  for (let number = 1; number <= taken.size + 1; number += 1) {
    const name = stem.slice(0, shortNameLengthMax - String(number).length) + number;
    if (!taken.has(name)) return name;
  }
  throw new NearcastError("INTERNAL", "no free node name was found");
}

function documentNodes(fleet: Fleet | null): { node: SiteNode; site: string }[] {
  return (fleet?.sites ?? []).flatMap((site) => site.nodes.map((node) => ({ node, site: site.name })));
}

/** The differences between a registration and the existing one. */
function differences(there: RosterNode, wanted: Registration): string[] {
  const sameAddresses = there.addresses.map(canonicalAddress).join() === wanted.addresses.map(canonicalAddress).join();
  const samePeers =
    there.peer === undefined || wanted.peer === undefined
      ? there.peer === wanted.peer
      : samePeer(there.peer, wanted.peer);
  return [
    ...(there.site === wanted.site ? [] : [`site (${there.site})`]),
    ...(sameUrl(there.http, wanted.http) ? [] : [`http (${there.http})`]),
    ...(samePeers ? [] : ["peer"]),
    ...(sameAddresses ? [] : [`addresses (${there.addresses.join(", ")})`]),
  ];
}

function sameUrl(one: string, other: string): boolean {
  return new URL(one).href === new URL(other).href;
}

function samePeer(one: { host: string; port: number }, other: { host: string; port: number }): boolean {
  return canonicalAddress(one.host) === canonicalAddress(other.host) && one.port === other.port;
}

function noSuchSite(site: string, known: readonly string[]): NearcastError {
  const reason =
    known.length === 0
      ? `there is no site "${site}": no valid fleet document is published`
      : `the fleet document has no site "${site}"; it has ${listed(known)}`;
  return new NearcastError("UNKNOWN_SITE", reason, {
    facts: { sites: known.slice(0, namesToldMax) },
  });
}

function noSuchNode(name: string, roster: Roster, fleet: Fleet | null): NearcastError {
  const known = [...documentNodes(fleet).map(({ node }) => node.name), ...roster.nodes.map((node) => node.name)];
  const names = [...new Set(known)].toSorted();
  const told = names.length === 0 ? "it has no nodes yet" : `it has ${listed(names)}`;
  return new NearcastError("NOT_FOUND", `the fleet has no node "${name}"; ${told}`, {
    facts: { nodes: names.slice(0, namesToldMax) },
  });
}

function listed(names: readonly string[]): string {
  const more = names.length - namesToldMax;
  return names.slice(0, namesToldMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
