/**
 * A request to an `assets` host: a shared cache (RFC 9111) in front of any HTTP/1.1 origin. machine.ts has the states,
 * asset-fetch.ts the fetches.
 *
 *   URL ──▶ entry or list of selecting fields ──(fields of the request)──▶ entry
 *
 * A response that may not be stored is never shared: its leader gets it, and those that joined send requests of their
 * own. For a while, or until a response can be stored, requests for that key do not wait for each other. A fetch goes
 * to the owner of the URL in the site, or to a site with room, or to the shield, then to the host's origin
 * (asset-way.ts).
 *
 * Nodes are caches in front of each other, by the same RFC: an owner sends Age, and the node that asked stores the
 * response by its header section, in memory only. A request that is known to be uncacheable goes straight to the
 * origin, because the owner could only pass it through.
 */
import { Readable } from "node:stream";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import { isSourceTag } from "#purge/entry-tags.ts";
import { judgeUse, type Use } from "../cache/freshness.ts";
import type { Purge } from "../cache/purge.ts";
import type { Stored, Tiers } from "../cache/tiers.ts";
import type { Delivery, MissReason, StoredResponse } from "../deliver/outcome.ts";
import { type AssetFetcher, fieldOf } from "../fetch/asset.ts";
import { drainStream, dropStream } from "../fetch/body.ts";
import { type Arrived, endToEndPairs, lengthOf, streamOf } from "./asset-answer.ts";
import {
  type AssetDelivery,
  failedDelivery,
  fetchedDelivery,
  passedDelivery,
  storedDelivery,
} from "./asset-delivery.ts";
import { type AssetFetches, createAssetFetches, type Fetched, type Question } from "./asset-fetch.ts";
import { keyAmong, notesOf } from "./asset-key.ts";
import {
  createRangeCounts,
  type RangeCounts,
  rangeFieldsOf,
  rangeStart,
  smallBytesMax,
  soonBytes,
  wholeLengthOf,
} from "./asset-part.ts";
import { type Asker, type AssetWays, createAssetWays, hostFieldOf } from "./asset-way.ts";
import type { FillCounts } from "./fill-room.ts";
import type { ColdTurns } from "./cold-turns.ts";
import { type Found, run, Outdated } from "./machine.ts";
import type { AssetOrder } from "./order.ts";
import { createPatience, type Patience } from "./patience.ts";
import type { Peers } from "./peers.ts";
import { ownWork, type RequestContext, until } from "./request-context.ts";
import type { Role } from "./wire.ts";

export interface AssetServer {
  /**
   * Returns at once if the response is fresh, and in memory or in the page cache.
   * @throws NearcastError of the origin, if there is nothing to deliver; in the promise, or at once
   */
  serve: (order: AssetOrder, context: RequestContext) => Delivery | Promise<Delivery>;
  /** The response, if it is fresh, and in memory or in the page cache: without a wait, and so without a promise. */
  serveNow: (order: AssetOrder, isWhole: boolean) => Delivery | undefined;
  /** A response was sent this often, without having been looked for. */
  noteUses: (stored: StoredResponse, times: number) => void;
  /** Serves another node. @throws like serve() */
  serveToPeer: (order: AssetOrder, role: Role, context: RequestContext) => AssetDelivery | Promise<AssetDelivery>;
  explain: (order: AssetOrder) => Promise<Record<string, unknown>>;
  /** Bodies that are arriving from origins. */
  fills: () => FillCounts;
  /** This purge is in force. Nobody joins running fetches any more that may date from before it. */
  purge: (purge: Purge) => void;
}

/** How often a request that joined another's fetch may find that the response was not for it. */
const joinsMax = 3;
/** Our name occurs in CDN-Loop more often than in any legitimate chain (RFC 8586). */
const loopsMax = 3;

interface LookedUp {
  readonly key: string;
  /** Why nothing was found: nothing under the URL, or nothing for these fields of the request. */
  readonly reason: MissReason;
  readonly varyFields: readonly string[];
  readonly found: Found<Stored> | undefined;
}

interface Env {
  readonly tiers: Tiers;
  readonly fetcher: AssetFetcher;
  readonly fetches: AssetFetches;
  readonly ways: AssetWays;
  readonly coldTurns: ColdTurns;
  readonly rangeCounts: RangeCounts;
  readonly patience: Patience;
  readonly fleet: () => Fleet;
  readonly clock: Clock;
  readonly log: Log;
}

/** One request on its way through the states. */
interface Request {
  readonly order: AssetOrder;
  readonly asker: Asker;
  readonly context: RequestContext;
}

/** @param parts `peers`: absent or null if this node is alone */
export function createAssetServer(parts: {
  tiers: Tiers;
  fetcher: AssetFetcher;
  peers?: Peers | null;
  coldTurns: ColdTurns;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): AssetServer {
  const { tiers, fetcher, coldTurns, fleet, peers = null, clock, log } = parts;
  const ways = createAssetWays({ ...parts, peers });
  const fetches = createAssetFetches({
    tiers,
    ways,
    fleet,
    clock,
  });
  const rangeCounts = createRangeCounts();
  const patience = createPatience(clock);
  const env: Env = { tiers, fetcher, fetches, ways, coldTurns, rangeCounts, patience, fleet, clock, log };
  return {
    serve: (order, context) => serve(env, { order, asker: "client", context }),
    serveNow: (order, isWhole) => serveNow(env, order, isWhole),
    noteUses({ key }, times) {
      tiers.noteUses(key, times);
    },
    serveToPeer: (order, asker, context) => serve(env, { order, asker, context }),
    explain: (order) => explain(env, order),
    fills: fetches.fills,
    purge(purge) {
      // Purges of pictures concern no asset.
      if (purge.isAll || ![...purge.tags, ...purge.tagPrefixes].every(isSourceTag)) fetches.purge(purge.isAll);
    },
  };
}

function serve(env: Env, request: Request): AssetDelivery | Promise<AssetDelivery> {
  const { order } = request;
  refuseLoop(order);
  if (order.fields["authorization"] !== undefined) {
    refuseUncached(order, "requests with Authorization are never cached");
    return passInTurn(env, request, "authorization");
  }
  const at = lookUp(env, request);
  return at instanceof Promise ? at.then((later) => answerFrom(env, request, later)) : answerFrom(env, request, at);
}

/** Looks at the fields of the order during this call only: the front reads its next request into the same record. */
function serveNow(env: Env, order: AssetOrder, isWhole: boolean): Delivery | undefined {
  const { primaryKey } = order;
  const first = env.tiers.find(primaryKey, isWhole);
  // Whoever asks again joins what is being read.
  if (first instanceof Promise) return undefined;
  const at = lookAmong(env, { order, context: { ...ownWork, isWhole } }, primaryKey, first);
  if (at instanceof Promise || at.found?.use.state !== "fresh") return undefined;
  const { entry } = at.found;
  const { bornAtMs, lifetimeSeconds } = notesOf(entry).freshness;
  const stored = { key: entry.key, foundBy: primaryKey, bornAtMs, lifetimeSeconds, selectedBy: at.varyFields };
  return { ...storedDelivery(at.found, "fresh"), stored };
}

function answerFrom(env: Env, request: Request, at: LookedUp): AssetDelivery | Promise<AssetDelivery> {
  const { order } = request;
  const { found } = at;
  if (found === undefined) refuseUncached(order, "nothing is stored");
  else if (found.use.state !== "fresh" && found.use.state !== "stale-revalidate")
    refuseUncached(order, "the stored response is stale");
  return run<Stored, AssetDelivery>({
    lookUp: () => found,
    deliver(stored, because) {
      if (because === "origin-slow" && env.fetches.isWithdrawn({ ...request, key: at.key })) throw new Withdrawn();
      return storedDelivery(stored, because);
    },
    ask: async (_before, late) => {
      // A client that has got something stale takes no turn, and nothing is fetched for it.
      const waiting = { ...request, context: until(request.context, late) };
      const turn = turnToAsk(env, waiting, at);
      if (turn === true) return await ask(env, waiting, at);
      await turn;
      const later = await lookUp(env, waiting);
      if (later.found?.use.state === "fresh") return storedDelivery(later.found, "fresh");
      return await ask(env, waiting, later);
    },
    askBehind: (before) => fetchBehind(env, { ...request, ...at, before: before.entry }),
    waiting: { patience: env.patience, key: at.key, waitMsFor: () => order.host.staleWaitMs },
  });
}

async function ask(env: Env, request: Request, at: LookedUp): Promise<AssetDelivery> {
  const { order } = request;
  if (at.found === undefined) {
    if (order.method === "HEAD" && env.fetches.isTooLargeForHead(at.key)) return await pass(env, request, "head");
    if (isFarAway(env, request, at)) return await passPart(env, request, at);
  }
  return await fetchAndDeliver(env, request, at, 0);
}

/** The origin has refused the response (401, 402, 403, 451), and only the text of the refusal is late. */
class Withdrawn extends Outdated {}

type Asked = Pick<Request, "order" | "context">;

function lookUp(env: Env, asked: Asked): LookedUp | Promise<LookedUp> {
  const { primaryKey } = asked.order;
  const first = env.tiers.find(primaryKey, asked.context.isWhole);
  const further = (found: Stored | undefined): LookedUp | Promise<LookedUp> => lookAmong(env, asked, primaryKey, found);
  return first instanceof Promise ? first.then(further) : further(first);
}

/** @param first what is stored under the URL: its only response, or the fields that select among several */
function lookAmong(
  env: Env,
  { order, context }: Asked,
  primaryKey: string,
  first: Stored | undefined,
): LookedUp | Promise<LookedUp> {
  const varyFields = first?.facts.notes["vary"] as readonly string[] | undefined;
  if (varyFields === undefined)
    return { key: primaryKey, reason: "uri-miss", varyFields: [], found: foundOf(env, first) };
  const key = keyAmong(primaryKey, varyFields, order.fields);
  const selected = env.tiers.find(key, context.isWhole);
  const lookedUp = (found: Stored | undefined): LookedUp => ({
    key,
    reason: "vary-miss",
    varyFields,
    found: foundOf(env, found),
  });
  return selected instanceof Promise ? selected.then(lookedUp) : lookedUp(selected);
}

function foundOf(env: Env, entry: Stored | undefined): Found<Stored> | undefined {
  return entry === undefined ? undefined : { entry, use: useOf(env, entry) };
}

/** A response marked by a soft purge is revalidated, however fresh it would be. */
function useOf(env: Env, stored: Stored): Use {
  const use = judgeUse(notesOf(stored).freshness, env.clock.wallMs());
  if (use.state !== "fresh" || !stored.isSoftPurged) return use;
  return { ...use, state: "stale-revalidate", ttlSeconds: 0 };
}

/** Joining a fetch costs little, so a request that does so does not wait behind others of its network. */
function turnToAsk(env: Env, { order, asker, context }: Request, at: LookedUp): true | Promise<void> {
  if (env.fetches.isUnderWay({ order, asker, context, ...at, before: undefined })) return true;
  return env.coldTurns.take(context, at.key);
}

/** For a request that is never cached: each waits alone. */
async function passInTurn(env: Env, request: Request, reason: string): Promise<AssetDelivery> {
  const turn = env.coldTurns.take(request.context, request.context.id);
  if (turn !== true) await turn;
  return await pass(env, request, reason);
}

/** A fetch that no client may end. Reports its failures itself; never rejects. */
async function fetchBehind(env: Env, question: Question): Promise<void> {
  try {
    // A running fetch is joined at once, because those that wait for it now may leave.
    if (!env.fetches.isUnderWay(question)) await env.coldTurns.takeBehind(question.key);
    const { result, isCollapsed } = env.fetches.join(question, "to-the-end");
    const fetched = await result;
    if (fetched.outcome === "fetched") keepToItsEnd(fetched);
    // The request that began the fetch has the body.
    if (fetched.outcome === "passed" && !isCollapsed) dropStream(fetched.body);
  } catch (error) {
    const facts = { reason: (error as Error).message };
    env.log.debug(facts, "a fetch in the background failed; what is stored stays");
  }
}

/** A fill that renews a stored response is wanted, although nobody reads it. */
function keepToItsEnd({ fill }: Extract<Fetched, { outcome: "fetched" }>): void {
  void fill.ended.finally(fill.keep());
}

/** A fill for HEAD has no reader. It is wanted up to the size beyond which HEAD is better sent as HEAD. */
function keepWhileSmall({ fill }: Extract<Fetched, { outcome: "fetched" }>): void {
  void Promise.race([fill.ended, fill.untilArrived(smallBytesMax)]).then(fill.keep());
}

/** Drops the body: a short one is read to its end, so that its connection can be used again. */
function headOnly(passed: Extract<Fetched, { outcome: "passed" }>): Extract<Fetched, { outcome: "passed" }> {
  const { body, lengthBytes } = passed;
  if (lengthBytes === null) dropStream(body);
  else drainStream(body, lengthBytes);
  return { ...passed, body: Readable.from([]) };
}

async function fetchAndDeliver(env: Env, request: Request, at: LookedUp, joins: number): Promise<AssetDelivery> {
  const { order, asker, context } = request;
  const known = env.fetches.uncacheable(at.key);
  if (known !== undefined) return await passOrStore(env, request, at, known);
  const startedMs = env.clock.monotonicMs();
  const before = at.found?.entry;
  const { result, isCollapsed } = env.fetches.join({ order, asker, context, ...at, before }, "while-the-client-waits");
  const fetched = await result;
  return await deliverFetched(env, request, at, {
    fetched,
    isCollapsed,
    tookMs: env.clock.monotonicMs() - startedMs,
    joins,
  });
}

async function deliverFetched(
  env: Env,
  request: Request,
  at: LookedUp,
  about: { fetched: Fetched; isCollapsed: boolean; tookMs: number; joins: number },
): Promise<AssetDelivery> {
  const { order } = request;
  const { fetched, isCollapsed, tookMs, joins } = about;
  switch (fetched.outcome) {
    case "failed":
      return failedDelivery(fetched, isCollapsed, { fetchMs: tookMs });
    case "passed":
      if (isCollapsed) return await pass(env, request, fetched.reason);
      return passedDelivery(order.method === "HEAD" ? headOnly(fetched) : fetched, { fetchMs: tookMs });
    case "fetched":
    case "renewed": {
      const isForOne = fetched.outcome === "fetched" && !fetched.isShareable && order.method !== "HEAD";
      if (isForOne && isCollapsed) return await fetchAlone(env, request, at);
      // The fetch may have been for other fields than those of this client.
      const { varyFields, key } = fetched.head;
      if (keyAmong(order.primaryKey, varyFields, order.fields) !== key) return await lookAgain(env, request, joins);
      const reason = at.found === undefined ? at.reason : "stale";
      if (order.method === "HEAD" && fetched.outcome === "fetched") keepWhileSmall(fetched);
      return fetchedDelivery(fetched, { reason, isCollapsed, tookMs, wallMs: env.clock.wallMs() });
    }
  }
}

/** What another request has fetched can't be shared: this one fetches it for itself. */
async function fetchAlone(env: Env, request: Request, at: LookedUp): Promise<AssetDelivery> {
  const { order, asker, context } = request;
  const startedMs = env.clock.monotonicMs();
  const fetched = await env.fetches.fetchAlone({ order, asker, context, ...at, before: at.found?.entry });
  const tookMs = env.clock.monotonicMs() - startedMs;
  return await deliverFetched(env, request, at, { fetched, isCollapsed: false, tookMs, joins: 0 });
}

/** Whether it is better to request a range than to wait until the body has arrived up to it. */
function isFarAway(env: Env, { order, asker, context }: Request, at: LookedUp): boolean {
  const coming = env.fetches.coming({ order, asker, context, ...at, before: undefined });
  const start = rangeStart(order, coming?.lengthBytes ?? null);
  if (start === undefined || env.fetches.uncacheable(at.key) !== undefined) return false;
  if (coming !== undefined) return start > coming.arrivedBytes + soonBytes;
  return !env.rangeCounts.isWholeWorthwhile(at.key);
}

/** Gets a range of an object that is not stored from the origin. */
async function passPart(env: Env, request: Request, at: LookedUp): Promise<AssetDelivery> {
  const { order, asker, context } = request;
  const startedMs = env.clock.monotonicMs();
  const question = { order, asker, context, ...at, before: undefined };
  const clearsBefore = env.tiers.clears();
  const { arrived, way } = await env.ways.fetchPart(order, rangeFieldsOf(order), context);
  const fetchMs = env.clock.monotonicMs() - startedMs;
  if (arrived.statusCode === 206) {
    const lengthBytes = wholeLengthOf(fieldOf(arrived.headers, "content-range"));
    if (lengthBytes !== null && lengthBytes > env.fleet().limits.objectBytesMax) env.rangeCounts.neverWhole(at.key);
    else if (lengthBytes !== null && lengthBytes <= smallBytesMax) void fetchBehind(env, question);
  } else if (arrived.statusCode !== 416) {
    // A 416 says nothing of the whole (RFC 9110 §15.5.17).
    const fetched = await env.fetches.adopt(question, { arrived, way, clearsBefore });
    if (fetched !== undefined) {
      return await deliverFetched(env, request, at, { fetched, isCollapsed: false, tookMs: fetchMs, joins: 0 });
    }
  }
  return passedThrough(arrived, "range", fetchMs);
}

/**
 * Serves a request whose key is known as uncacheable. It waits for nobody. A response that can be stored after all is
 * stored, so that one odd response does not keep a URL out of the cache for long (Varnish: hit-for-miss).
 */
async function passOrStore(env: Env, request: Request, at: LookedUp, reason: string): Promise<AssetDelivery> {
  const { order, asker, context } = request;
  if (order.method !== "GET" || Object.keys(rangeFieldsOf(order)).length > 0) return await pass(env, request, reason);
  const startedMs = env.clock.monotonicMs();
  const clearsBefore = env.tiers.clears();
  const { arrived, way } = await env.ways.fetchDirectly(order, asker, context);
  const fetchMs = env.clock.monotonicMs() - startedMs;
  const question = { order, asker, context, ...at, before: undefined };
  const fetched = await env.fetches.adoptStorable(question, { arrived, way, clearsBefore });
  if (fetched === undefined) return passedThrough(arrived, reason, fetchMs);
  return await deliverFetched(env, request, at, { fetched, isCollapsed: false, tookMs: fetchMs, joins: 0 });
}

function passedThrough(arrived: Arrived, reason: string, fetchMs: number): AssetDelivery {
  const pairs = endToEndPairs(arrived.headers);
  const about = { reason, status: arrived.statusCode, pairs, lengthBytes: lengthOf(arrived) };
  return passedDelivery({ outcome: "passed", statusBefore: null, body: streamOf(arrived), ...about }, { fetchMs });
}

/** The awaited response is for other clients: another one may be stored by now, or must be fetched. */
async function lookAgain(env: Env, request: Request, joins: number): Promise<AssetDelivery> {
  if (joins >= joinsMax) return await pass(env, request, "vary-miss");
  const at = await lookUp(env, request);
  if (at.found?.use.state === "fresh") return storedDelivery(at.found, "fresh");
  return await fetchAndDeliver(env, request, at, joins + 1);
}

/** Passes the request through to the origin, for this client alone. */
async function pass(env: Env, { order, context }: Request, reason: string): Promise<AssetDelivery> {
  const startedMs = env.clock.monotonicMs();
  const authorization = fieldOf(order.fields, "authorization");
  const { host, method, target, fields } = order;
  const answer = await env.fetcher.fetch({
    origin: host.origin,
    method,
    target,
    clientFields: fields,
    timeoutMs: host.timeoutMs,
    extra: {
      ...(method === "GET" ? rangeFieldsOf(order) : {}),
      ...hostFieldOf(order),
      ...(authorization === undefined ? {} : { authorization }),
    },
    client: context.clientNetwork,
    signal: context.signal,
    failureMs: env.fleet().limits.originFailureMs,
    isHedged: host.hedging,
  });
  return passedThrough(answer, reason, env.clock.monotonicMs() - startedMs);
}

async function explain(env: Env, order: AssetOrder): Promise<Record<string, unknown>> {
  const { key, found, reason } = await lookUp(env, { order, context: { ...ownWork, isWhole: false } });
  if (found === undefined) {
    const known = env.fetches.uncacheable(key);
    return { key, tier: null, verdict: "miss", why: known === undefined ? reason : `uncacheable: ${known}` };
  }
  const { entry, use } = found;
  return { key, tier: entry.tier, verdict: use.state, use, isSoftPurged: entry.isSoftPurged };
}

function refuseLoop(order: AssetOrder): void {
  const ids = (fieldOf(order.fields, "cdn-loop") ?? "").split(",");
  if (ids.filter((id) => id.trim() === "nearcast").length < loopsMax) return;
  throw new NearcastError("LOOP_DETECTED", `the origin of ${order.host.name} leads back to this CDN`);
}

function refuseUncached(order: AssetOrder, why: string): void {
  if (!/\bonly-if-cached\b/i.test(fieldOf(order.fields, "cache-control") ?? "")) return;
  throw new NearcastError("NOT_CACHED", `the request has only-if-cached, but ${why}`);
}
