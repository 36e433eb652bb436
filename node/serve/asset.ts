/**
 * A request to an `assets` host: a shared cache (RFC 9111) in front of any HTTP/1.1 origin.
 *
 *   URL ──▶ entry or Vary marker ──(request's fields)──▶ entry
 *     fresh ───────────────▶ deliver
 *     stale, in the window ▶ deliver now, revalidate once behind
 *     older ───────────────▶ revalidate first; if the origin fails (5xx, unreachable) inside stale-if-error: deliver
 *     none ────────────────▶ fetch, coalesced
 *   An answer that may not be stored is never shared: its leader gets it, who joined asks for itself, and for a while
 *   (`uncacheable`) nobody waits for anybody on that key.
 *   fetch: owner of the URL in the site, or a site with room, or the shield, then the host's origin (asset-way.ts)
 *
 * Nodes are caches in front of each other, by the same RFC: an owner answers with Age, the asker stores by what the
 * header section says, in memory only. What must not be stored and is known so goes straight to the origin, since the
 * owner could only pass it through.
 */
import { LRUCache } from "lru-cache";
import { Readable } from "node:stream";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { createFlights, type Flight } from "../cache/flights.ts";
import { type Freshness, judgeStorability, judgeUse } from "../cache/freshness.ts";
import { type CachedObject, headerBlockOf, type HeaderPairs, keyOf, tagsMax } from "../cache/object.ts";
import { isPurgedBy, type Purge } from "../cache/purge.ts";
import type { Tier, Tiers } from "../cache/tiers.ts";
import { type AssetFetcher, codingsOf, fieldOf, forwardedFields, type RequestFields } from "../fetch/asset.ts";
import { dropStream } from "../fetch/body.ts";
import {
  collect,
  drop,
  endToEndPairs,
  fieldsOf,
  isAbout,
  lengthOf,
  mergedPairs,
  streamOf,
  tagsOf,
  withDate,
} from "./asset-answer.ts";
import { type Asker, createAssetWays, hostFieldOf, type Way } from "./asset-way.ts";
import type { AssetOrder } from "./order.ts";
import type { Delivery, MissReason, Outcome } from "./outcome.ts";
import type { Peers } from "./peers.ts";
import type { RequestContext } from "./request-context.ts";
import { ofAnotherLog, type Role } from "./wire.ts";

/** A delivery with what another node has to know of it. */
export interface AssetDelivery extends Delivery {
  /** The event of the feed that it is good for. */
  readonly feedSeq: number;
  readonly isSoftPurged: boolean;
}

export interface AssetServer {
  /** @throws NearcastError of the origin, when there is nothing to deliver */
  serve: (order: AssetOrder, context: RequestContext) => Promise<Delivery>;
  /** For another node. @throws like serve() */
  serveToPeer: (order: AssetOrder, role: Role, context: RequestContext) => Promise<AssetDelivery>;
  explain: (order: AssetOrder) => Promise<Record<string, unknown>>;
  /** Overtakes running fetches. */
  purge: (purge: Purge) => void;
  /** For the entries that a soft purge concerns: they are revalidated behind their next use. */
  markStale: (keys: Iterable<string>) => void;
}

/** How long a key stays known as uncacheable (the research calls it hit-for-miss), and how many are known. */
const uncacheableMs = 60_000;
const uncacheableMax = 100_000;
const softPurgedMax = 100_000;
/** Purges remembered for the fetches that were under way; a fetch older than all of them is not stored. */
const recentPurgesMax = 1000;
/** How often a request that joined another's fetch may find that the answer was not for it. */
const joinsMax = 3;
/** Answers that say nothing of the next ones: our catalogue of "try again" (RFC 9110 §15.5.9, RFC 8470, RFC 6585). */
const passingStatuses = new Set([408, 425, 429]);
/** More of our own name in CDN-Loop than any honest chain has (RFC 8586). */
const loopsMax = 3;

/** What a stored answer must tell about itself again. (An interface would not fit a record of unknown values.) */
type Notes = {
  freshness: Freshness;
  etag: string | null;
  lastModified: string | null;
};

type Fetched =
  | {
      outcome: "stored";
      object: CachedObject;
      varyFields: readonly string[];
      isStored: boolean;
      isRevalidated: boolean;
      reason: MissReason;
      way: Way;
    }
  /** The body can be read once, by the leader alone. */
  | {
      outcome: "passed";
      reason: string;
      status: number;
      pairs: HeaderPairs;
      body: Readable;
      lengthBytes: number | null;
      statusBefore: string | null;
    };

/** @param parts `peers`: absent or null, this node is alone */
export function createAssetServer(parts: {
  tiers: Tiers;
  fetcher: AssetFetcher;
  peers?: Peers | null;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): AssetServer {
  const { tiers, fetcher, fleet, peers = null, clock, log } = parts;
  const ways = createAssetWays({ ...parts, peers });
  const flights = createFlights<Fetched>();
  const uncacheable = new LRUCache<string, { untilMs: number; reason: string }>({ max: uncacheableMax });
  const softPurged = new LRUCache<string, true>({ max: softPurgedMax });
  // The last of all purges so far, the newest at the end.
  const recentPurges: Purge[] = [];
  let purgeCount = 0;

  async function lookUp(order: AssetOrder) {
    const primaryKey = primaryKeyOf(order);
    const first = await tiers.load(primaryKey);
    if (first.outcome === "miss") return { key: primaryKey, found: first, reason: "uri-miss" as const };
    const varyFields = first.object.facts.notes["vary"] as readonly string[] | undefined;
    if (varyFields === undefined) return { key: primaryKey, found: first, reason: "uri-miss" as const };
    const key = keyAmong(primaryKey, varyFields, order.fields);
    return { key, found: await tiers.load(key), reason: "vary-miss" as const };
  }

  async function serve(order: AssetOrder, asker: Asker, context: RequestContext): Promise<AssetDelivery> {
    const loops = (fieldOf(order.fields, "cdn-loop") ?? "").split(",").filter((id) => id.trim() === "nearcast").length;
    if (loops >= loopsMax)
      throw new NearcastError("LOOP_DETECTED", `the origin of ${order.host.name} leads back to this CDN`);
    if (order.fields["authorization"] !== undefined) {
      if (wantsOnlyCached(order))
        throw new NearcastError(
          "NOT_CACHED",
          "the request has only-if-cached, but requests with Authorization are never cached",
        );
      return await pass(order, "authorization", context);
    }
    const { key, found, reason } = await lookUp(order);
    if (found.outcome === "miss") {
      if (wantsOnlyCached(order))
        throw new NearcastError("NOT_CACHED", "the request has only-if-cached, and nothing is stored");
      if (order.method === "HEAD") return await pass(order, "head", context);
      return await fetchAndDeliver(order, asker, key, reason, undefined, context);
    }
    const { object, tier } = found;
    const { freshness } = notesOf(object);
    const use = judgeUse(freshness, clock.wallMs());
    const isMarked = softPurged.has(key);
    const isSoftPurged = use.state === "fresh" && isMarked;
    const state = isSoftPurged ? "stale-revalidate" : use.state;
    const ttlSeconds = isSoftPurged ? 0 : use.ttlSeconds;
    if (state !== "fresh" && state !== "stale-revalidate" && wantsOnlyCached(order)) {
      throw new NearcastError("NOT_CACHED", "the request has only-if-cached, and the stored response is stale");
    }
    switch (state) {
      case "fresh":
        return delivery(object, { word: "hit", tier, ttlSeconds }, use.ageSeconds, isMarked);
      case "stale-revalidate": {
        const { result, isCollapsed } = fetch(order, asker, key, "stale", object, context);
        // Whoever began the fetch has the body.
        result.then(isCollapsed ? () => undefined : dropFetched, (error: unknown) => {
          log.debug(
            { reason: (error as Error).message },
            "revalidation in the background failed; the stale response stays",
          );
        });
        return delivery(object, staleOutcome(tier, "revalidating", ttlSeconds), use.ageSeconds, isMarked);
      }
      case "stale-if-error": {
        try {
          return await fetchAndDeliver(order, asker, key, "stale", object, context);
        } catch (thrown) {
          if (asNearcastError(thrown).source !== "origin") throw thrown;
          return delivery(object, staleOutcome(tier, "origin-error", ttlSeconds), use.ageSeconds, isMarked);
        }
      }
      case "expired":
        return await fetchAndDeliver(order, asker, key, "stale", object, context);
    }
  }

  /** Begins or joins the fetch for a key. `before` is the stale entry whose validators can be used. */
  function fetch(
    order: AssetOrder,
    asker: Asker,
    key: string,
    reason: MissReason,
    before: CachedObject | undefined,
    context: RequestContext,
  ) {
    // Apart by where they begin: two nodes that take each other for the owner would wait for each other.
    return flights.join(`${ways.startOf(order, asker)} ${key}`, async (flight) => {
      const fetched = await fetchOnce(order, asker, reason, before, flight, context);
      if (fetched.outcome === "passed" && !isPassingTrouble(fetched.status)) {
        uncacheable.set(key, { untilMs: clock.monotonicMs() + uncacheableMs, reason: fetched.reason });
        // The origin has spoken: what it said before is no longer true, and may not be stored anew (RFC 9111 §4.3.3).
        if (before !== undefined && !flight.isOvertaken) await tiers.remove(before.key);
      }
      return fetched;
    });
  }

  async function fetchAndDeliver(
    order: AssetOrder,
    asker: Asker,
    key: string,
    reason: MissReason,
    before: CachedObject | undefined,
    context: RequestContext,
    joins = 0,
  ): Promise<AssetDelivery> {
    const known = uncacheable.get(key);
    if (known !== undefined && known.untilMs > clock.monotonicMs()) return await pass(order, known.reason, context);
    const startedMs = clock.monotonicMs();
    const { result, isCollapsed } = fetch(order, asker, key, reason, before, context);
    const fetched = await result;
    const tookMs = clock.monotonicMs() - startedMs;
    const isOfPeer = fetched.outcome === "stored" && fetched.way.of !== null;
    const timings = isOfPeer ? { peerMs: tookMs } : { fetchMs: tookMs };
    if (fetched.outcome === "passed") {
      return isCollapsed ? await pass(order, fetched.reason, context) : passedDelivery(fetched, timings);
    }
    // The leader's answer may have been selected by other fields than this client's.
    const mine = isCollapsed ? keyAmong(primaryKeyOf(order), fetched.varyFields, order.fields) : fetched.object.key;
    if (mine !== fetched.object.key) {
      if (joins >= joinsMax) return await pass(order, "vary-miss", context);
      const { key: next, found } = await lookUp(order);
      if (found.outcome === "hit") {
        const use = judgeUse(notesOf(found.object).freshness, clock.wallMs());
        if (use.state === "fresh") {
          const outcome: Outcome = { word: "hit", tier: found.tier, ttlSeconds: use.ttlSeconds };
          return delivery(found.object, outcome, use.ageSeconds, softPurged.has(next));
        }
      }
      const stale = found.outcome === "hit" ? found.object : undefined;
      const why = stale === undefined ? "vary-miss" : "stale";
      return await fetchAndDeliver(order, asker, next, why, stale, context, joins + 1);
    }
    const { ageSeconds, ttlSeconds } = judgeUse(notesOf(fetched.object).freshness, clock.wallMs());
    const { of, status, mark } = fetched.way;
    const what = fetched.isRevalidated ? "revalidated" : "fetched";
    const outcome: Outcome = {
      word: "miss",
      reason: fetched.reason,
      isStored: fetched.isStored,
      isCollapsed,
      detail: of === null ? what : of === "shield" ? `shield-${what}` : of,
      ttlSeconds,
    };
    // An origin that is itself a cache may have given an answer that is old already.
    const age = ageSeconds === 0 ? null : ageSeconds;
    return { ...delivery(fetched.object, outcome, age, mark !== null), timings, statusBefore: status };
  }

  async function fetchOnce(
    order: AssetOrder,
    asker: Asker,
    reason: MissReason,
    before: CachedObject | undefined,
    flight: Flight,
    context: RequestContext,
  ): Promise<Fetched> {
    const purgesBefore = purgeCount;
    const requestedAtMs = clock.wallMs();
    const startedMs = clock.monotonicMs();
    const { arrived: answer, way } = await ways.fetch(order, asker, before && conditionsOf(before), context);
    const receivedAtMs = clock.wallMs();
    // What is stale may be used instead of a failure or of nonsense, so those are raised. Where nothing can be used
    // instead, the origin's own words on its failure go through.
    const isUsable = before !== undefined && judgeUse(notesOf(before).freshness, receivedAtMs).state !== "expired";
    if ((answer.statusCode >= 500 && isUsable) || (answer.statusCode === 304 && before === undefined)) {
      drop(answer);
      throw new NearcastError("ORIGIN_BAD_ANSWER", `${order.host.origin} answered status ${answer.statusCode}`);
    }
    const isUnchanged = answer.statusCode === 304 && before !== undefined;
    if (isUnchanged && !isAbout(notesOf(before).etag, answer)) {
      drop(answer);
      return await fetchOnce(order, asker, reason, undefined, flight, context);
    }
    const headers = withDate(answer.headers, receivedAtMs);
    const pairs = isUnchanged ? mergedPairs(before.headerBlock, headers) : endToEndPairs(headers);
    const status = isUnchanged ? before.facts.status : answer.statusCode;
    const fields = fieldsOf(pairs);
    const judged = judgeStorability(
      {
        status,
        cacheControl: fields.get("cache-control"),
        cdnCacheControl: fields.get("cdn-cache-control"),
        expires: fields.get("expires"),
        // The origin's own: what stands in the pairs may be our stamp, or an Age from before the 304.
        date: fieldOf(answer.headers, "date"),
        age: fieldOf(answer.headers, "age"),
        vary: fields.get("vary"),
        hasSetCookie: answer.headers["set-cookie"] !== undefined,
      },
      { requestedAtMs, receivedAtMs },
      order.host,
    );
    const passedAbout = { lengthBytes: lengthOf(answer), statusBefore: way.status };
    if (judged.outcome === "bypass") {
      if (isUnchanged) drop(answer);
      const body = isUnchanged ? Readable.from([before.body]) : streamOf(answer);
      return { outcome: "passed", reason: judged.reason, status, pairs, body, ...passedAbout };
    }
    const tags = tagsOf(canonicalName(order.host.name), order.target, fields);
    if (tags.length > tagsMax && !isUnchanged) {
      return { outcome: "passed", reason: "too-many-tags", status, pairs, body: streamOf(answer), ...passedAbout };
    }
    let body: Buffer;
    if (isUnchanged) {
      drop(answer);
      body = before.body;
    } else {
      const most = { bytesMax: fleet().limits.objectBytesMax, timeoutMs: order.host.timeoutMs };
      const collected = await collect(answer, most);
      if (collected.outcome === "too-large") {
        return { outcome: "passed", reason: "too-large", status, pairs, body: collected.body, ...passedAbout };
      }
      body = collected.body;
    }
    const primaryKey = primaryKeyOf(order);
    const { freshness } = judged;
    // An encoded body is for those who accept the coding, also where the origin forgets to say so.
    const isEncoded = fields.has("content-encoding") && !judged.varyFields.includes("accept-encoding");
    const varyFields = isEncoded ? [...judged.varyFields, "accept-encoding"].toSorted() : judged.varyFields;
    const told: HeaderPairs = isEncoded ? [...pairs, ["Vary", "Accept-Encoding"]] : pairs; // RFC 9110 §12.5.5
    const key = keyAmong(primaryKey, varyFields, order.fields);
    const notes: Notes = {
      freshness,
      etag: fields.get("etag") ?? null,
      lastModified: fields.get("last-modified") ?? null,
    };
    const about = {
      tags: isUnchanged && tags.length > tagsMax ? before.facts.tags : tags,
      storedAtMs: receivedAtMs,
      feedSeq: way.feedSeq,
      // A 304 is answered sooner than the whole response would have been.
      costMs: Math.max(Math.round(clock.monotonicMs() - startedMs), isUnchanged ? (before.facts.costMs ?? 0) : 0),
    };
    const object: CachedObject = {
      key,
      facts: { ...about, status, notes: { ...notes } },
      headerBlock: headerBlockOf(told.filter(([name]) => !["age", "accept-ranges"].includes(name.toLowerCase()))),
      body,
    };
    let isStored = false;
    if (way.keep !== "none" && (!flight.isOvertaken || !isPurgedSince(purgesBefore, object))) {
      const store = way.keep === "all" ? tiers.store : tiers.storeInMemory;
      if (varyFields.length > 0) {
        const marker = { ...about, status: 0, notes: { vary: varyFields } };
        store({ key: primaryKey, facts: marker, headerBlock: Buffer.alloc(0), body: Buffer.alloc(0) });
      }
      isStored = store(object);
      if (way.mark === null) softPurged.delete(key);
      else softPurged.set(key, true);
    }
    return { outcome: "stored", object, varyFields, isStored, isRevalidated: isUnchanged, reason, way };
  }

  /** Whether one of the purges after the first `count` means this object, or might have. */
  function isPurgedSince(count: number, object: CachedObject): boolean {
    const since = purgeCount - count;
    return (
      since > recentPurges.length ||
      recentPurges.slice(recentPurges.length - since).some((purge) => isPurgedBy(object.facts, purge))
    );
  }

  /** Through to the origin and back, for this client alone. */
  async function pass(order: AssetOrder, reason: string, context: RequestContext): Promise<AssetDelivery> {
    const startedMs = clock.monotonicMs();
    const authorization = fieldOf(order.fields, "authorization");
    const { host, method, target, fields } = order;
    const answer = await fetcher.fetch({
      origin: host.origin,
      method,
      target,
      clientFields: fields,
      timeoutMs: host.timeoutMs,
      client: context.clientNetwork,
      signal: context.signal,
      failureMs: fleet().limits.originFailureMs,
      isHedged: host.hedging,
      extra: { ...hostFieldOf(order), ...(authorization === undefined ? {} : { authorization }) },
    });
    const pairs = endToEndPairs(answer.headers);
    const passed = { pairs, body: answer.body, lengthBytes: lengthOf(answer), statusBefore: null };
    const about = { status: answer.statusCode, ...passed };
    return passedDelivery({ outcome: "passed", reason, ...about }, { fetchMs: clock.monotonicMs() - startedMs });
  }

  return {
    serve: (order, context) => serve(order, "client", context),
    serveToPeer: serve,
    async explain(order) {
      const { key, found, reason } = await lookUp(order);
      const memo = uncacheable.get(key);
      if (found.outcome === "miss") {
        return { key, tier: null, verdict: "miss", why: memo === undefined ? reason : `uncacheable: ${memo.reason}` };
      }
      const use = judgeUse(notesOf(found.object).freshness, clock.wallMs());
      return { key, tier: found.tier, verdict: use.state, use, isSoftPurged: softPurged.has(key) };
    },
    purge(purge) {
      // Purges of pictures come with every upload, and mean no asset.
      if (!purge.isAll && ![...purge.tags].some((tag) => /^(?:host|url|tag):/.test(tag))) return;
      purgeCount += 1;
      recentPurges.push(purge);
      if (recentPurges.length > recentPurgesMax) recentPurges.shift();
      // Which tags an answer will have is not known before it is here, so who asks from now on begins anew.
      flights.overtake(() => true);
      // An origin that was mended shall be asked as if for the first time.
      uncacheable.clear();
    },
    markStale(keys) {
      for (const key of keys) softPurged.set(key, true);
    },
  };
}

function primaryKeyOf(order: AssetOrder): string {
  return keyOf("asset", canonicalName(order.host.name), order.target);
}

/**
 * The key among an URL's variants: the selecting fields as the origin saw them (RFC 9111 §4.1). It sees none but those
 * of the allow-list, so the others select nothing, whatever clients write there.
 */
function keyAmong(primaryKey: string, varyFields: readonly string[], fields: RequestFields): string {
  if (varyFields.length === 0) return primaryKey;
  const values = varyFields.flatMap((name) => {
    const value = forwardedFields.includes(name) ? fieldOf(fields, name) : undefined;
    if (name === "accept-encoding") return [name, codingsOf(value ?? "")];
    return [name, value === undefined ? "absent" : `present:${value.trim().replaceAll(/\s+/g, " ")}`];
  });
  return keyOf("asset-variant", primaryKey, ...values);
}

/** Validators of the stale entry, both where there are both (RFC 9111 §4.3.1). */
function conditionsOf(before: CachedObject): Record<string, string> {
  const { etag, lastModified } = notesOf(before);
  return {
    ...(etag === null ? {} : { "if-none-match": etag }),
    ...(lastModified === null ? {} : { "if-modified-since": lastModified }),
  };
}

function wantsOnlyCached(order: AssetOrder): boolean {
  return /\bonly-if-cached\b/i.test(fieldOf(order.fields, "cache-control") ?? "");
}

function isPassingTrouble(status: number): boolean {
  return status >= 500 || passingStatuses.has(status);
}

/** Our own words, proven by the file's checksum when they come from disk. */
function notesOf(object: CachedObject): Notes {
  return object.facts.notes as Notes;
}

function dropFetched(fetched: Fetched): void {
  if (fetched.outcome === "passed") dropStream(fetched.body);
}

function staleOutcome(tier: Tier, reason: "revalidating" | "origin-error", ttlSeconds: number): Outcome {
  return { word: "stale", tier, reason, ttlSeconds };
}

function delivery(
  object: CachedObject,
  outcome: Outcome,
  ageSeconds: number | null,
  isSoftPurged: boolean,
): AssetDelivery {
  const { etag, lastModified } = notesOf(object);
  return {
    outcome,
    status: object.facts.status,
    headerBlock: object.headerBlock,
    headers: [],
    body: object.body,
    lengthBytes: object.body.length,
    etag,
    lastModified,
    ageSeconds,
    timings: {},
    feedSeq: object.facts.feedSeq,
    isSoftPurged,
  };
}

function passedDelivery(fetched: Extract<Fetched, { outcome: "passed" }>, timings: Delivery["timings"]): AssetDelivery {
  return {
    outcome: { word: "bypass", reason: fetched.reason },
    status: fetched.status,
    headerBlock: headerBlockOf(fetched.pairs),
    headers: [],
    body: fetched.body,
    lengthBytes: fetched.lengthBytes,
    etag: null,
    lastModified: null,
    ageSeconds: null,
    timings,
    statusBefore: fetched.statusBefore,
    feedSeq: ofAnotherLog,
    isSoftPurged: false,
  };
}
