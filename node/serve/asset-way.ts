/**
 * Where an asset is fetched, nearest first:
 *
 *   owner of the URL in the site ──▶ a site with room, when this one is full ──▶ shield ──▶ the host's origin
 *
 * A request to a peer has the fields that the origin would get, and the peer answers as a cache: RFC 9111 applies to
 * its response as to that of any other cache. A response from the owner is kept in memory only, because the owner has
 * it on disk. A response from the shield is stored like one from the origin, because the shield is in another site.
 */
import { isEventStream } from "#base/event-streams.ts";
import type { Fleet } from "#document/document.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { SourceMark } from "../cache/records.ts";
import { type AssetFetcher, codingsOf, fieldOf, forwardedFields, type RequestFields } from "../fetch/asset.ts";
import { dropBody } from "../fetch/body.ts";
import type { Member } from "../peer/directory.ts";
import type { AssetOrder } from "./order.ts";
import type { Arrived } from "./asset-answer.ts";
import type { Peers } from "./peers.ts";
import type { RequestContext } from "./request-context.ts";
import { fieldNames, ofAnotherLog, type Role, roles, writeNetwork } from "./wire.ts";

/** Who asks: a client's request may lead to steps that a peer's may not. */
export type Asker = "client" | Role;

/** The way that a response came. */
export interface Way {
  /** Which tiers may keep it, if its header section allows storing at all. */
  keep: "all" | "memory" | "none";
  /** The event of the feed that it is valid for. */
  feedSeq: number;
  mark: SourceMark | null;
  /** As Cache-Status names it; null: straight from the origin. */
  of: string | null;
  /** What the node was asked as that answered; null: nobody but the origin was. */
  role: Role | null;
  /** Cache-Status of the nodes that were asked. */
  status: string | null;
}

export interface AssetWays {
  /**
   * Straight from the origin, whoever else could be asked.
   * @throws NearcastError ORIGIN_*
   */
  fetchDirectly: (order: AssetOrder, asker: Asker, context: RequestContext) => Promise<{ arrived: Arrived; way: Way }>;
  /** Where a request goes first. Requests that begin at the same place may wait for each other; others must not. */
  startOf: (order: AssetOrder, asker: Asker) => Role | "origin";
  /**
   * @param conditions of the stale entry; undefined: there is none
   * @throws NearcastError ORIGIN_*
   */
  fetch: (
    order: AssetOrder,
    asker: Asker,
    conditions: Readonly<Record<string, string>> | undefined,
    context: RequestContext,
  ) => Promise<{ arrived: Arrived; way: Way }>;
  /**
   * The rest of a body that has come from another node: that node has it nearer than the origin, which may be away.
   * Null: it did not come from there, or nobody answers there now.
   * @param extra Range and If-Range; an older release answers with the whole body
   */
  fetchRest: (
    way: Way,
    order: AssetOrder,
    extra: Readonly<Record<string, string>>,
    context: RequestContext,
  ) => Promise<Arrived | null>;
  /**
   * A part of a body, straight from the origin.
   * @param extra Range and If-Range
   * @throws NearcastError ORIGIN_*
   */
  fetchPart: (
    order: AssetOrder,
    extra: Readonly<Record<string, string>>,
    context: RequestContext,
  ) => Promise<{ arrived: Arrived; way: Way }>;
}

/**
 * The size of fields and target that another node's listener always accepts; longer requests go straight to the origin.
 */
const fieldsLengthMax = 12_288;
const triesMax = { owner: 2, spill: 1, shield: 2 } as const satisfies Record<Role, number>;
/** The way there and back, in addition to the origin's own deadline. */
const waysMs = 2000;

interface Parts {
  fetcher: AssetFetcher;
  peers: Peers | null;
  fleet: () => Fleet;
  feedSeq: () => number;
}

export function createAssetWays(parts: Parts): AssetWays {
  const { peers } = parts;

  function membersFor(role: Role, order: AssetOrder): readonly Member[] {
    if (peers === null) return [];
    const { directory } = peers;
    const key = canonicalName(order.host.name) + order.target;
    if (role === "owner") return directory.ownersBefore(key);
    return role === "spill" ? directory.roomElsewhere(key) : directory.shieldFor(key);
  }

  /** The roles that another node can play now, in their order, each later than the asker's own. */
  function stopsOf(order: AssetOrder, asker: Asker): readonly Role[] {
    if (peers === null || fieldsLengthOf(order) > fieldsLengthMax) return [];
    // An event stream can only be passed through, and would hold a connection of each node on the way.
    if (isEventStream(fieldOf(order.fields, "accept"))) return [];
    const open = asker === "client" ? roles : roles.slice(roles.indexOf(asker) + 1);
    return open.filter((role) => membersFor(role, order).length > 0);
  }

  async function askPeers(
    role: Role,
    order: AssetOrder,
    conditions: Readonly<Record<string, string>>,
    { clientNetwork, signal }: RequestContext,
  ): Promise<{ arrived: Arrived; way: Way } | null> {
    const said = await peers?.ask({
      role,
      members: () => membersFor(role, order),
      triesMax: triesMax[role],
      path: `/v1/asset?host=${encodeURIComponent(canonicalName(order.host.name))}`,
      headers: {
        ...forwardedOf(order.fields),
        ...conditions,
        ...writeNetwork(clientNetwork),
        [fieldNames.target]: order.target,
      },
      network: clientNetwork,
      timeoutMs: order.host.timeoutMs + waysMs,
      signal,
      read: (answer): Promise<Arrived> => {
        const { statusCode, headers, body, endIfFrozen } = answer;
        if (statusCode !== 304) return Promise.resolve({ statusCode, headers, body, endIfFrozen });
        dropBody(answer);
        return Promise.resolve({ statusCode, headers, body: Buffer.alloc(0) });
      },
    });
    if (said === undefined || said === null) return null;
    const { told, member } = said;
    return {
      arrived: said.result,
      way: {
        keep: said.feedSeq === null ? "none" : role === "shield" ? "all" : "memory",
        feedSeq: said.feedSeq ?? ofAnotherLog,
        mark: told.mark,
        of: role === "spill" ? `spill-${member.site}` : role,
        role,
        status: told.status,
      },
    };
  }

  return {
    async fetchRest({ role }, order, extra, context) {
      const told = role === null ? null : await askPeers(role, order, extra, context);
      return told === null ? null : told.arrived;
    },
    fetchPart: (order, extra, context) => askOrigin(parts, "part", order, extra, context),
    startOf: (order, asker) => stopsOf(order, asker)[0] ?? "origin",
    async fetch(order, asker, conditions, context) {
      for (const role of stopsOf(order, asker)) {
        // A mere validation is not worth passing on to another site.
        if (role === "spill" && conditions !== undefined) continue;
        const told = await askPeers(role, order, conditions ?? {}, context);
        if (told !== null) return told;
      }
      return await askOrigin(parts, "whole", order, conditions ?? {}, context);
    },
    async fetchDirectly(order, asker, context) {
      const { arrived, way } = await askOrigin(parts, "whole", order, {}, context);
      // On disk, an object is kept where it is looked for first.
      return { arrived, way: { ...way, keep: stopsOf(order, asker).length === 0 ? "all" : "memory" } };
    },
  };
}

/**
 * @param wanted a part is for one reader: its failure is nobody else's, and a late head is not asked for twice
 * @param extra conditions, or Range and If-Range
 */
async function askOrigin(
  { fetcher, feedSeq, fleet }: Parts,
  wanted: "whole" | "part",
  { host, target, fields }: AssetOrder,
  extra: Readonly<Record<string, string>>,
  { clientNetwork, signal }: RequestContext,
): Promise<{ arrived: Arrived; way: Way }> {
  const way = fromOrigin(feedSeq());
  const arrived = await fetcher.fetch({
    origin: host.origin,
    // Always GET: HEAD may find a stale entry, and the response is stored for everyone.
    method: "GET",
    target,
    clientFields: fields,
    extra: { ...extra, ...hostFieldOf({ host }) },
    timeoutMs: host.timeoutMs,
    signal,
    client: clientNetwork,
    failureMs: wanted === "part" ? 0 : fleet().limits.originFailureMs,
    isHedged: wanted === "whole" && host.hedging,
  });
  return { arrived, way };
}

/** @param feedSeq before the request left: a purge that arrives while the origin answers concerns its response, too */
function fromOrigin(feedSeq: number): Way {
  return { keep: "all", feedSeq, mark: null, of: null, role: null, status: null };
}

export function hostFieldOf(order: Pick<AssetOrder, "host">): Record<string, string> {
  return { "x-forwarded-host": canonicalName(order.host.name) };
}

/** The client's fields that the origin would get, and the loops counted so far. */
function forwardedOf(fields: RequestFields): Record<string, string> {
  const forwarded: Record<string, string> = {};
  for (const name of [...forwardedFields, "cdn-loop"]) {
    const value = fieldOf(fields, name);
    if (value !== undefined) forwarded[name] = name === "accept-encoding" ? codingsOf(value) : value;
  }
  return forwarded;
}

function fieldsLengthOf({ target, fields }: AssetOrder): number {
  return Object.values(forwardedOf(fields)).reduce((sum, value) => sum + value.length, target.length);
}
