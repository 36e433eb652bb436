/**
 * Where an asset is fetched, nearest first:
 *
 *   owner of the URL in the site ──▶ a site with room, when this one is full ──▶ shield ──▶ the host's origin
 *
 * A request to a peer has the fields that the origin would get, and the peer answers as a cache: RFC 9111 applies to
 * its response as to that of any other cache. What the owner has on its disk, the other nodes of the site keep in
 * memory only. What the shield sent is stored like a response of the origin, because the shield is in another site.
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

/** For whom: what a client's request may lead to, one of a peer may not. */
export type Asker = "client" | Role;

/** The way by which an answer came. */
export interface Way {
  /** Which tiers may keep it, when its header section allows that at all. */
  keep: "all" | "memory" | "none";
  /** The event of the feed that it is good for. */
  feedSeq: number;
  mark: SourceMark | null;
  /** In Cache-Status's words; null: straight from the origin. */
  of: string | null;
  /** Cache-Status of those who were asked. */
  status: string | null;
}

export interface AssetWays {
  /**
   * Straight from the origin, whoever else could be asked.
   * @throws NearcastError ORIGIN_*
   */
  fetchDirectly: (order: AssetOrder, asker: Asker, context: RequestContext) => Promise<{ arrived: Arrived; way: Way }>;
  /** Whom a question goes to first. Questions that begin alike may wait for each other, others must not. */
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

/** Fields and target that another node's listener takes in any case; what is longer goes straight to the origin. */
const fieldsLengthMax = 12_288;
const triesMax = { owner: 2, spill: 1, shield: 2 } as const satisfies Record<Role, number>;
/** The way there and back, beside the origin's own deadline. */
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

  /** The roles that somebody can play now, in their order, each later than the asker's own. */
  function stopsOf(order: AssetOrder, asker: Asker): readonly Role[] {
    if (peers === null || fieldsLengthOf(order) > fieldsLengthMax) return [];
    // A stream of events can only be passed through, and would hold a connection of each node on its way.
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
      timeoutMs: order.host.timeoutMs + waysMs,
      signal,
      read: (answer): Promise<Arrived> => {
        const { statusCode, headers, body } = answer;
        if (statusCode !== 304) return Promise.resolve({ statusCode, headers, body });
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
        status: told.status,
      },
    };
  }

  return {
    fetchPart: (order, extra, context) => askOrigin(parts, "part", order, extra, context),
    startOf: (order, asker) => stopsOf(order, asker)[0] ?? "origin",
    async fetch(order, asker, conditions, context) {
      for (const role of stopsOf(order, asker)) {
        // What only has to be validated is no work worth handing on.
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
    // Always GET: a stale entry can be met by HEAD, and what comes back is stored for all.
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

/** @param feedSeq before the request left: a purge that comes while the origin answers means its response too */
function fromOrigin(feedSeq: number): Way {
  return { keep: "all", feedSeq, mark: null, of: null, status: null };
}

export function hostFieldOf(order: Pick<AssetOrder, "host">): Record<string, string> {
  return { "x-forwarded-host": canonicalName(order.host.name) };
}

/** What the origin would get of a client's fields, and the loops that were counted so far. */
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
