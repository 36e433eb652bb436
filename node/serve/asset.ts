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
 */
import { LRUCache } from "lru-cache";
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { type AssetsHost, canonicalName, type Fleet } from "#fleet/document.ts";
import { createFlights, type Flight } from "../cache/flights.ts";
import { type Freshness, judgeStorability, judgeUse } from "../cache/freshness.ts";
import {
  type CachedObject,
  headerBlockOf,
  type HeaderPairs,
  headerPairsOf,
  keyOf,
  tagLengthMax,
  tagsMax,
} from "../cache/object.ts";
import type { Purge } from "../cache/purge.ts";
import type { Tier, Tiers } from "../cache/tiers.ts";
import { type AssetFetcher, codingsOf, fieldOf, type RequestFields } from "../fetch/asset.ts";
import type { Delivery, MissReason, Outcome } from "./outcome.ts";

export interface AssetOrder {
  host: AssetsHost;
  method: "GET" | "HEAD";
  /** Path and query as the client wrote them. */
  target: string;
  fields: RequestFields;
}

export interface AssetServer {
  /** @throws NearcastError of the origin, when there is nothing to deliver */
  serve: (order: AssetOrder) => Promise<Delivery>;
  explain: (order: AssetOrder) => Promise<Record<string, unknown>>;
  /** Overtakes running fetches; a soft purge marks the entries that `concerned` names. */
  purge: (purge: Purge, concerned: Iterable<string>) => void;
}

/** How long a key stays known as uncacheable (the research calls it hit-for-miss), and how many are known. */
const uncacheableMs = 60_000;
const uncacheableMax = 100_000;
const softPurgedMax = 100_000;
/** More of our own name in CDN-Loop than any honest chain has (RFC 8586). */
const loopsMax = 3;

/** What a stored answer must tell about itself again. */
interface Notes {
  freshness: Freshness;
  etag: string | null;
  lastModified: string | null;
}

type Fetched =
  | { outcome: "stored"; object: CachedObject; isStored: boolean; reason: MissReason }
  /** The body can be read once, by the leader alone. */
  | {
      outcome: "passed";
      reason: string;
      status: number;
      pairs: HeaderPairs;
      body: Readable;
      lengthBytes: number | null;
    };

export function createAssetServer(parts: {
  tiers: Tiers;
  fetcher: AssetFetcher;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): AssetServer {
  const { tiers, fetcher, fleet, feedSeq, clock, log } = parts;
  const flights = createFlights<Fetched>();
  const uncacheable = new LRUCache<string, { untilMs: number; reason: string }>({ max: uncacheableMax });
  const softPurged = new LRUCache<string, true>({ max: softPurgedMax });

  async function lookUp(order: AssetOrder) {
    const primaryKey = primaryKeyOf(order);
    const first = await tiers.load(primaryKey);
    if (first.outcome === "miss") return { key: primaryKey, found: first, reason: "uri-miss" as const };
    const varyFields = first.object.facts.notes["vary"] as readonly string[] | undefined;
    if (varyFields === undefined) return { key: primaryKey, found: first, reason: "uri-miss" as const };
    const key = secondaryKeyOf(primaryKey, varyFields, order.fields);
    return { key, found: await tiers.load(key), reason: "vary-miss" as const };
  }

  async function serve(order: AssetOrder): Promise<Delivery> {
    const loops = (fieldOf(order.fields, "cdn-loop") ?? "").split(",").filter((id) => id.trim() === "nearcast").length;
    if (loops >= loopsMax) throw new NearcastError("LOOP_DETECTED", `${order.host.name} leads back to this CDN`);
    if (order.fields["authorization"] !== undefined) return await pass(order, "authorization");
    const { key, found, reason } = await lookUp(order);
    if (found.outcome === "miss") {
      const directives = fieldOf(order.fields, "cache-control") ?? "";
      if (/\bonly-if-cached\b/i.test(directives)) throw new NearcastError("NOT_CACHED", "only-if-cached was asked");
      if (order.method === "HEAD") return await pass(order, "head");
      return await fetchAndDeliver(order, key, reason, undefined);
    }
    const { object, tier } = found;
    const { freshness } = notesOf(object);
    const use = judgeUse(freshness, clock.wallMs());
    const state = use.state === "fresh" && softPurged.has(key) ? "stale-revalidate" : use.state;
    switch (state) {
      case "fresh":
        return delivery(object, { word: "hit", tier, ttlSeconds: use.ttlSeconds }, use.ageSeconds);
      case "stale-revalidate": {
        fetch(order, key, "stale", object).result.then(discard, (error: unknown) => {
          log.debug({ reason: (error as Error).message }, "revalidation behind a stale answer failed");
        });
        return delivery(object, staleOutcome(tier, "revalidating", use.ttlSeconds), use.ageSeconds);
      }
      case "stale-if-error": {
        try {
          return await fetchAndDeliver(order, key, "stale", object);
        } catch (thrown) {
          if (asNearcastError(thrown).source !== "origin") throw thrown;
          return delivery(object, staleOutcome(tier, "origin-error", use.ttlSeconds), use.ageSeconds);
        }
      }
      case "expired":
        return await fetchAndDeliver(order, key, "stale", object);
    }
  }

  /** Begins or joins the fetch for a key. `before` is the stale entry whose validators can be used. */
  function fetch(order: AssetOrder, key: string, reason: MissReason, before: CachedObject | undefined) {
    return flights.join(key, (flight) => fetchOnce(order, reason, before, flight));
  }

  async function fetchAndDeliver(
    order: AssetOrder,
    key: string,
    reason: MissReason,
    before: CachedObject | undefined,
  ): Promise<Delivery> {
    const known = uncacheable.get(key);
    if (known !== undefined && known.untilMs > clock.monotonicMs()) return await pass(order, known.reason);
    const startedMs = clock.monotonicMs();
    const { result, isCollapsed } = fetch(order, key, reason, before);
    const fetched = await result;
    const timings = { fetchMs: clock.monotonicMs() - startedMs };
    if (fetched.outcome === "passed") {
      // A failure says nothing about the answers to come.
      if (fetched.status < 500) {
        uncacheable.set(key, { untilMs: clock.monotonicMs() + uncacheableMs, reason: fetched.reason });
      }
      return isCollapsed ? await pass(order, fetched.reason) : passedDelivery(fetched, timings);
    }
    // The leader's answer may have been selected by other fields than this client's.
    if (isCollapsed && fetched.object.key !== key) {
      const mine = await lookUp(order);
      if (mine.found.outcome === "miss") return await fetchAndDeliver(order, mine.key, "vary-miss", undefined);
      if (mine.found.object.key !== fetched.object.key) {
        return delivery(mine.found.object, { word: "hit", tier: mine.found.tier, ttlSeconds: 0 }, 0);
      }
    }
    const { lifetimeSeconds } = notesOf(fetched.object).freshness;
    const outcome: Outcome = {
      word: "miss",
      reason: fetched.reason,
      isStored: fetched.isStored,
      isCollapsed,
      detail: before === undefined ? "fetched" : "revalidated",
      ttlSeconds: lifetimeSeconds,
    };
    const { ageSeconds } = judgeUse(notesOf(fetched.object).freshness, clock.wallMs());
    // An origin that is itself a cache may have given an answer that is old already.
    return { ...delivery(fetched.object, outcome, ageSeconds === 0 ? null : ageSeconds), timings };
  }

  async function fetchOnce(
    order: AssetOrder,
    reason: MissReason,
    before: CachedObject | undefined,
    flight: Flight,
  ): Promise<Fetched> {
    const seq = feedSeq();
    const requestedAtMs = clock.wallMs();
    const answer = await fetcher.fetch({ ...requestOf(order), extra: { ...conditionsOf(before), ...hostOf(order) } });
    const receivedAtMs = clock.wallMs();
    if (answer.statusCode >= 500) {
      // A failure of the origin: what is stale may be used instead, so it is raised, unless there is nothing stale.
      if (before !== undefined) {
        await answer.body.dump();
        throw new NearcastError("ORIGIN_BAD_ANSWER", `status ${answer.statusCode} from ${order.host.origin}`);
      }
    }
    const isUnchanged = answer.statusCode === 304 && before !== undefined;
    const pairs = isUnchanged ? mergedPairs(before, answer.headers) : endToEndPairs(answer.headers);
    const status = isUnchanged ? before.facts.status : answer.statusCode;
    const fields = new Map(pairs.map(([name, value]) => [name.toLowerCase(), value]));
    const judged = judgeStorability(
      {
        status,
        cacheControl: fields.get("cache-control"),
        cdnCacheControl: fields.get("cdn-cache-control"),
        expires: fields.get("expires"),
        date: fields.get("date"),
        age: isUnchanged ? fieldOf(answer.headers, "age") : fields.get("age"),
        vary: fields.get("vary"),
        hasSetCookie: answer.headers["set-cookie"] !== undefined,
      },
      { requestedAtMs, receivedAtMs },
      order.host,
    );
    if (judged.outcome === "bypass") {
      const body = isUnchanged ? Readable.from([before.body]) : answer.body;
      return { outcome: "passed", reason: judged.reason, status, pairs, body, lengthBytes: lengthOf(answer) };
    }
    let body: Buffer;
    if (isUnchanged) {
      await answer.body.dump();
      body = before.body;
    } else {
      const collected = await collect(answer, fleet().limits.objectBytesMax);
      if (collected.outcome === "too-large") {
        return {
          outcome: "passed",
          reason: "too-large",
          status,
          pairs,
          body: collected.body,
          lengthBytes: lengthOf(answer),
        };
      }
      body = collected.body;
    }
    const primaryKey = primaryKeyOf(order);
    const { varyFields, freshness } = judged;
    const key = varyFields.length === 0 ? primaryKey : secondaryKeyOf(primaryKey, varyFields, order.fields);
    const notes: Notes = {
      freshness,
      etag: fields.get("etag") ?? null,
      lastModified: fields.get("last-modified") ?? null,
    };
    const about = { tags: tagsOf(order, fields), storedAtMs: receivedAtMs, feedSeq: seq };
    const object: CachedObject = {
      key,
      facts: { ...about, status, notes: { ...notes } },
      headerBlock: headerBlockOf(pairs.filter(([name]) => name.toLowerCase() !== "age")),
      body,
    };
    let isStored = false;
    if (!flight.isOvertaken) {
      if (varyFields.length > 0) {
        const marker = { ...about, status: 0, notes: { vary: varyFields } };
        tiers.store({ key: primaryKey, facts: marker, headerBlock: Buffer.alloc(0), body: Buffer.alloc(0) });
      }
      isStored = tiers.store(object);
      softPurged.delete(key);
    }
    return { outcome: "stored", object, isStored, reason };
  }

  /** Through to the origin and back, for this client alone. */
  async function pass(order: AssetOrder, reason: string): Promise<Delivery> {
    const startedMs = clock.monotonicMs();
    const authorization = fieldOf(order.fields, "authorization");
    const answer = await fetcher.fetch({
      ...requestOf(order),
      extra: { ...hostOf(order), ...(authorization === undefined ? {} : { authorization }) },
    });
    const pairs = endToEndPairs(answer.headers);
    const about = { status: answer.statusCode, pairs, body: answer.body, lengthBytes: lengthOf(answer) };
    return passedDelivery({ outcome: "passed", reason, ...about }, { fetchMs: clock.monotonicMs() - startedMs });
  }

  return {
    serve,
    async explain(order) {
      const { key, found, reason } = await lookUp(order);
      const memo = uncacheable.get(key);
      if (found.outcome === "miss") {
        return { key, tier: null, verdict: "miss", why: memo === undefined ? reason : `uncacheable: ${memo.reason}` };
      }
      const use = judgeUse(notesOf(found.object).freshness, clock.wallMs());
      return { key, tier: found.tier, verdict: use.state, use, isSoftPurged: softPurged.has(key) };
    },
    purge(purge, concerned) {
      // Which tags an answer will have is not known before it is here, so every running fetch may be meant.
      flights.overtake(() => true);
      if (purge.isSoft) for (const key of concerned) softPurged.set(key, true);
    },
  };
}

function primaryKeyOf(order: AssetOrder): string {
  return keyOf("asset", canonicalName(order.host.name), order.target);
}

/** The key among an URL's variants: the selecting fields as the origin saw them (RFC 9111 §4.1). */
function secondaryKeyOf(primaryKey: string, varyFields: readonly string[], fields: RequestFields): string {
  const values = varyFields.flatMap((name) => {
    const value = fieldOf(fields, name);
    if (name === "accept-encoding") return [name, codingsOf(value ?? "")];
    return [name, value === undefined ? "absent" : `present:${value.trim().replaceAll(/\s+/g, " ")}`];
  });
  return keyOf("asset-variant", primaryKey, ...values);
}

function requestOf(order: AssetOrder) {
  const { host, method, target, fields } = order;
  return { origin: host.origin, method, target, clientFields: fields, timeoutMs: host.timeoutMs };
}

function hostOf(order: AssetOrder): Record<string, string> {
  return { "x-forwarded-host": canonicalName(order.host.name) };
}

/** Validators of the stale entry, both where there are both (RFC 9111 §4.3.1). */
function conditionsOf(before: CachedObject | undefined): Record<string, string> {
  if (before === undefined) return {};
  const { etag, lastModified } = notesOf(before);
  return {
    ...(etag === null ? {} : { "if-none-match": etag }),
    ...(lastModified === null ? {} : { "if-modified-since": lastModified }),
  };
}

/** Our own words, proven by the file's checksum when they come from disk. */
function notesOf(object: CachedObject): Notes {
  return object.facts.notes as unknown as Notes;
}

function tagsOf(order: AssetOrder, fields: ReadonlyMap<string, string>): string[] {
  const host = canonicalName(order.host.name);
  const own = (fields.get("cache-tag") ?? fields.get("surrogate-key") ?? "")
    .split(/[\s,]+/)
    .filter((tag) => tag !== "");
  const path = order.target.split("?", 1)[0] ?? "";
  const tags = [`host:${host}`, `url:${host}${path}`, ...own.map((tag) => `tag:${tag}`)];
  return tags.filter((tag) => tag.length <= tagLengthMax).slice(0, tagsMax);
}

/** Fields of one connection only (RFC 9110 §7.6.1), those named in Connection, and lengths, which are set anew. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "content-length",
]);

function endToEndPairs(headers: RequestFields): HeaderPairs {
  const named = new Set((fieldOf(headers, "connection") ?? "").toLowerCase().split(/\s*,\s*/));
  return Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined || hopByHop.has(name) || named.has(name)) return [];
    return (Array.isArray(value) ? value : [value]).map((one) => [name, one] as const);
  });
}

/** The stored header section, freshened by that of a 304 (RFC 9111 §3.2). */
function mergedPairs(before: CachedObject, headers: RequestFields): HeaderPairs {
  const news = endToEndPairs(headers).filter(
    ([name]) => !["content-encoding", "content-type", "content-range"].includes(name),
  );
  const renewed = new Set(news.map(([name]) => name));
  const kept = headerPairsOf(before.headerBlock).filter(([name]) => !renewed.has(name.toLowerCase()));
  return [...kept, ...news];
}

/** The length that the origin announced for a body that passes through as it is. */
function lengthOf(answer: Dispatcher.ResponseData): number | null {
  const text = answer.statusCode === 304 ? undefined : fieldOf(answer.headers, "content-length");
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** The whole body, or, past the bound, a stream of what was read and what is still to come. */
async function collect(
  answer: Dispatcher.ResponseData,
  bytesMax: number,
): Promise<{ outcome: "whole"; body: Buffer } | { outcome: "too-large"; body: Readable }> {
  if (Number(answer.headers["content-length"] ?? 0) > bytesMax) return { outcome: "too-large", body: answer.body };
  const chunks: Buffer[] = [];
  let length = 0;
  const iterator = answer.body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  for (;;) {
    let next: IteratorResult<Buffer>;
    try {
      next = await iterator.next();
    } catch (error) {
      throw new NearcastError("ORIGIN_BAD_ANSWER", "the origin broke off in the midst of a body", { cause: error });
    }
    if (next.done === true) return { outcome: "whole", body: Buffer.concat(chunks, length) };
    chunks.push(next.value);
    length += next.value.length;
    if (length > bytesMax) return { outcome: "too-large", body: Readable.from(rest(chunks, iterator)) };
  }
}

async function* rest(chunks: readonly Buffer[], iterator: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield* chunks;
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
}

function discard(fetched: Fetched): void {
  if (fetched.outcome === "passed") fetched.body.destroy();
}

function staleOutcome(tier: Tier, reason: "revalidating" | "origin-error", ttlSeconds: number): Outcome {
  return { word: "stale", tier, reason, ttlSeconds };
}

function delivery(object: CachedObject, outcome: Outcome, ageSeconds: number | null): Delivery {
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
  };
}

function passedDelivery(fetched: Extract<Fetched, { outcome: "passed" }>, timings: Delivery["timings"]): Delivery {
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
  };
}
