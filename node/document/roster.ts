/**
 * The roster: which nodes joined by themselves (`nearcast join`), and which nodes an operator drains. The origin keeps
 * it beside the fleet document, edges follow both, and everything else sees one Fleet, made here.
 *
 *   fleet document (versions, by its author) ┐
 *                                            ├─▶ withRoster() ─▶ Fleet: a site's nodes are those of both
 *   roster (revisions, by nodes and verbs)   ┘
 *
 * The document takes precedence: a name that it uses is not taken from the roster, and nodes of a site that it does not
 * have yet are ignored until it does. `draining` concerns nodes of both.
 */
import { type Static, Type } from "typebox";
import type { Fleet } from "./document.ts";
import { peerEndpoint, type SiteNode } from "./schema/sites.ts";

/** The feed event that announces a new revision of the roster. */
export const rosterEventKind = "roster";

export const rosterNodesMax = 10_000;

/** Characters of a node's or a site's name. */
export const shortNameLengthMax = 32;

const shortName = (description: string) =>
  Type.String({ pattern: "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$", description });

// Unknown keys are allowed: a later origin may add some, and an edge that is not upgraded yet ignores them.
export const rosterNodeSchema = Type.Object({
  name: shortName("unique in the fleet"),
  site: shortName("a site of the fleet document"),
  http: Type.String({
    format: "http-url",
    maxLength: 255,
    description: "base URL at which other nodes reach and probe it",
  }),
  peer: Type.Optional(peerEndpoint),
  addresses: Type.Array(Type.String({ format: "ip", maxLength: 45 }), {
    maxItems: 16,
    default: [],
    description: "service addresses of this node; DNS hands them out while the node is up",
  }),
});
export type RosterNode = Static<typeof rosterNodeSchema>;

export const rosterSchema = Type.Object({
  revision: Type.Integer({ minimum: 0, description: "increases with each change" }),
  nodes: Type.Array(rosterNodeSchema, { maxItems: rosterNodesMax, description: "nodes that joined" }),
  draining: Type.Array(shortName("a node, of the document or of the roster"), {
    maxItems: rosterNodesMax,
    description: "nodes that get no new clients",
  }),
});
export type Roster = Static<typeof rosterSchema>;

export const emptyRoster: Roster = { revision: 0, nodes: [], draining: [] };

/** One Fleet of both, frozen no deeper than its new parts. Pure. */
export function withRoster(document: Fleet, roster: Roster): Fleet {
  if (roster.nodes.length === 0 && roster.draining.length === 0) return document;
  const written = new Set(document.sites.flatMap((site) => site.nodes.map((node) => node.name)));
  const draining = new Set(roster.draining);
  const joinedBySite = Map.groupBy(
    roster.nodes.filter((node) => !written.has(node.name)),
    (node) => node.site,
  );
  const stateOf = (node: SiteNode): SiteNode => (draining.has(node.name) ? { ...node, state: "draining" } : node);
  const sites = document.sites.map((site) => {
    const joined = (joinedBySite.get(site.name) ?? []).map(({ name, http, peer, addresses }): SiteNode => ({
      name,
      http,
      ...(peer === undefined ? {} : { peer }),
      addresses,
      state: "auto",
    }));
    return { ...site, nodes: [...site.nodes, ...joined].map(stateOf) };
  });
  return Object.freeze({ ...document, sites });
}
