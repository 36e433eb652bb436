/**
 * Fetches for an assets host: one per key, however many requests wait for it.
 *
 *   ask ──▶ running? join ──▶ head ──▶ may be stored: everyone reads the same fill              (fetched)
 *                               │      304: the stored body gets a new head                     (renewed)
 *                               │      a failure: for all who wait, and kept for a moment       (failed)
 *                               └──▶   can't be stored: only its leader reads it                (passed)
 *
 * A flight ends with the head. Its key stays in use until the fill is stored, so a later request joins the fill instead
 * of asking again. A flight that nobody waits for any more is aborted, and its connection is freed.
 */
import { LRUCache } from "lru-cache";
import { Readable } from "node:stream";
import { type BodyReader, chunksOf } from "#base/body.ts";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, NearcastError, withoutStack } from "#base/errors.ts";
import type { Fleet } from "#document/document.ts";
import type { Fill } from "../cache/fill.ts";
import { judgeUse } from "../cache/freshness.ts";
import type { BodyWriter } from "../cache/disk/body-writer.ts";
import type { HeaderPairs } from "../cache/object.ts";
import { dropStream } from "../fetch/body.ts";
import type { Stored, Tiers } from "../cache/tiers.ts";
import { type Arrived, collect, drop, endToEndPairs, isAbout, lengthOf, streamOf } from "./asset-answer.ts";
import { conditionsOf, notesOf } from "./asset-key.ts";
import { smallBytesMax } from "./asset-part.ts";
import { type AssetHead, isFailure, isWithdrawal, meaningOf } from "./asset-response.ts";
import {
  type AssetFailure,
  type AssetFailures,
  createAssetFailures,
  failureBytesMax,
  mayBeShared,
} from "./asset-failures.ts";
import { type AssetFills, createAssetFills } from "./asset-fill.ts";
import type { FillCounts } from "./fill-room.ts";
import type { Asker, AssetWays, Way } from "./asset-way.ts";
import type { AssetOrder } from "./order.ts";
import {
  mayStore,
  notForTheCache,
  removeStored,
  renew,
  storeWhole,
  type Stores,
  uncacheableMs,
} from "./asset-storing.ts";
import type { RequestContext } from "./request-context.ts";

export type Fetched =
  /** Its body is arriving; readers join the fill. */
  | {
      readonly outcome: "fetched";
      readonly head: AssetHead;
      readonly fill: Fill<BodyWriter>;
      /** A reader of the fill, or of a fetch of its own once it has fallen behind. */
      readonly open: (start: number, end: number | null) => BodyReader;
      readonly isStorable: boolean;
      /** False: only the leader reads it. Others could fall behind, and then nobody would have the rest for them. */
      readonly isShareable: boolean;
      readonly way: Way;
    }
  /** The stored body of `before`, under a new head. */
  | {
      readonly outcome: "renewed";
      readonly head: AssetHead;
      readonly before: Stored;
      readonly isStored: boolean;
      readonly way: Way;
    }
  | AssetFailure
  /** The body can be read once, by the leader alone. */
  | {
      readonly outcome: "passed";
      readonly reason: string;
      readonly status: number;
      readonly pairs: HeaderPairs;
      readonly body: Readable;
      readonly lengthBytes: number | null;
      readonly statusBefore: string | null;
    };

export interface Question {
  readonly order: AssetOrder;
  readonly asker: Asker;
  readonly context: RequestContext;
  /** The key under which the URL is looked up now. */
  readonly key: string;
  /** The fields that select among the URL's stored responses. */
  readonly varyFields: readonly string[];
  /** The stale entry whose validators can be used. */
  readonly before: Stored | undefined;
}

export interface AssetFetches {
  /**
   * Joins the fetch for a key, or begins one.
   * @throws NearcastError ORIGIN_*, in the result
   */
  readonly join: (
    question: Question,
    wanted: "while-the-client-waits" | "to-the-end",
  ) => { result: Promise<Fetched>; isCollapsed: boolean };
  /** Begins a fetch that nobody joins. @throws like join(), in the result */
  readonly fetchAlone: (question: Question) => Promise<Fetched>;
  /** Whether a request that joins now gets the result of a running fetch, or of one that failed a moment ago. */
  readonly isUnderWay: (question: Question) => boolean;
  /**
   * Begins a fetch whose response has already arrived; nothing happens if a fetch is running.
   * @returns the result as join() would return it, if the response was adopted
   */
  readonly adopt: (question: Question, come: Come) => Promise<Fetched> | undefined;
  /** Whether a running fetch has found that the stored response is not for anyone any more (RFC 9110 §15.5). */
  readonly isWithdrawn: (question: Pick<Question, "order" | "asker" | "key">) => boolean;
  /** How much of a running fetch's body has arrived; undefined: none is running, or its head has not arrived. */
  readonly coming: (question: Question) => { arrivedBytes: number; lengthBytes: number | null } | undefined;
  /**
   * Like adopt(), for a key that is known as uncacheable: nothing happens unless this response can be stored. Then the
   * key is no longer known as uncacheable, so of many responses that arrive at once, one is adopted.
   */
  readonly adoptStorable: (question: Question, come: Come) => Promise<Fetched> | undefined;
  /** Why this key was uncacheable when it was last fetched; undefined: it may be cacheable. */
  readonly uncacheable: (key: string) => string | undefined;
  /** Whether HEAD must not fetch this body, because it was found to be large a while ago. */
  readonly isTooLargeForHead: (key: string) => boolean;
  /** The fills of its fetches. */
  readonly fills: () => FillCounts;
  /**
   * A purge is in force. Nobody joins a running fetch any more that may date from before it. Once the head has arrived,
   * its tags tell, unless everything is dropped.
   */
  readonly purge: (isAll: boolean) => void;
}

/** A response that has already arrived. */
export interface Come {
  readonly arrived: Arrived;
  readonly way: Way;
  /** How often everything had been purged when it was requested (cache/tiers.ts, clears()). */
  readonly clearsBefore: number;
}

interface Flight {
  readonly result: Promise<Fetched>;
  readonly abort: AbortController;
  /** On the monotonic clock: the memory tier is told how long it takes to fetch the object again. */
  readonly startedMs: number;
  waiters: number;
  /** The leader has left: nobody reads a body that is for the leader alone. */
  isLeaderless: boolean;
  /** Its head has arrived, or it failed. */
  isLanded: boolean;
  /** The response that readers join now. */
  landed: Extract<Fetched, { outcome: "fetched" }> | undefined;
  isOvertaken: boolean;
  /** The head of a refusal has arrived: the stored response is removed. */
  isWithdrawal: boolean;
}

/** Keys that are known as uncacheable. */
const uncacheableMax = 100_000;

interface Env {
  readonly tiers: Tiers;
  readonly ways: AssetWays;
  readonly fleet: () => Fleet;
  readonly clock: Clock;
}

interface State extends Env, Stores {
  readonly running: Map<string, Flight>;
  readonly fills: AssetFills;
  readonly failures: AssetFailures;
  /** Bodies that are too large to be fetched for a HEAD request. */
  readonly large: LRUCache<string, true>;
}

export function createAssetFetches(env: Env): AssetFetches {
  const state: State = {
    ...env,
    running: new Map(),
    fills: createAssetFills(env.tiers, env.clock),
    uncacheableUntil: new LRUCache({ max: uncacheableMax }),
    failures: createAssetFailures(env.clock, () => env.fleet().limits.originFailureMs),
    large: new LRUCache({ max: uncacheableMax, ttl: uncacheableMs }),
  };
  return {
    join: (question, wanted) => join(state, question, wanted === "to-the-end" ? undefined : question.context.signal),
    fetchAlone(question) {
      const flight = begin(state, `${flightKey(state, question)}\n${question.context.id}`, question);
      return waitFor(flight, question.context.signal, true);
    },
    isUnderWay(question) {
      if (state.failures.find(question.key, question.order.fields) !== undefined) return true;
      const running = state.running.get(flightKey(state, question));
      return running !== undefined && mayJoin(state, running);
    },
    adopt: (question, come) => adopt(state, question, come),
    adoptStorable(question, come) {
      const known = uncacheable(state, question.key);
      if (known === undefined || !isStorableNow(state, question, come, known)) return undefined;
      const adopted = adopt(state, question, come);
      if (adopted !== undefined) state.uncacheableUntil.delete(question.key);
      return adopted;
    },
    isWithdrawn: (question) => state.running.get(flightKey(state, question))?.isWithdrawal === true,
    coming(question) {
      const fill = state.running.get(flightKey(state, question))?.landed?.fill;
      return fill === undefined ? undefined : { arrivedBytes: fill.arrivedBytes(), lengthBytes: fill.lengthBytes };
    },
    uncacheable: (key) => uncacheable(state, key),
    isTooLargeForHead: (key) => state.large.get(key) === true,
    fills: state.fills.counts,
    purge(isAll) {
      for (const [key, flight] of state.running) {
        // The tags of a response are not known before it arrives, so requests from now on begin a fetch of their own.
        const { landed } = flight;
        if (!isAll && landed !== undefined && state.tiers.isStorable(landed.head.facts)) continue;
        flight.isOvertaken = true;
        state.running.delete(key);
      }
      state.uncacheableUntil.clear();
      state.failures.clear();
    },
  };
}

function join(state: State, question: Question, signal: AbortSignal | undefined) {
  const kept = state.failures.find(question.key, question.order.fields);
  if (kept !== undefined) return { result: Promise.resolve<Fetched>(kept), isCollapsed: true };
  const key = flightKey(state, question);
  const running = state.running.get(key);
  const isCollapsed = running !== undefined && mayJoin(state, running);
  // Its client has left before anything was requested.
  if (!isCollapsed && signal?.aborted === true)
    return { result: Promise.reject<Fetched>(clientGone(signal)), isCollapsed };
  const flight = isCollapsed ? running : begin(state, key, question);
  return { result: waitFor(flight, signal, !isCollapsed), isCollapsed };
}

function adopt(state: State, question: Question, come: Come): Promise<Fetched> | undefined {
  const key = flightKey(state, question);
  return state.running.has(key) ? undefined : begin(state, key, question, come).result;
}

function uncacheable({ uncacheableUntil, clock }: State, key: string): string | undefined {
  const known = uncacheableUntil.get(key);
  return known !== undefined && known.untilMs > clock.monotonicMs() ? known.reason : undefined;
}

/** @param known why the key is known as uncacheable */
function isStorableNow(state: State, { order }: Question, { arrived, way }: Come, known: string): boolean {
  if (isFailure(arrived.statusCode)) return false;
  const lengthBytes = lengthOf(arrived);
  // If the length is unknown, the body would turn out to be too large again once much of it is on disk.
  if (lengthBytes === null ? known === "too-large" : lengthBytes > state.fleet().limits.objectBytesMax) return false;
  const nowMs = state.clock.wallMs();
  return meaningOf(order, arrived, { requestedAtMs: nowMs, receivedAtMs: nowMs }, null, way).outcome === "store";
}

/** Kept apart by where they begin: two nodes that each take the other for the owner would wait for each other. */
function flightKey({ ways }: State, { order, asker, key }: Pick<Question, "order" | "asker" | "key">): string {
  return `${ways.startOf(order, asker)} ${key}`;
}

/** A body may arrive for longer than it is fresh, and a fetch that everyone has left is about to fail. */
function mayJoin({ clock }: State, { landed, abort }: Flight): boolean {
  if (abort.signal.aborted) return false;
  return landed === undefined || judgeUse(notesOf(landed.head).freshness, clock.wallMs()).state === "fresh";
}

/** @param come the response, if it has already arrived */
function begin(state: State, key: string, question: Question, come?: Come): Flight {
  const abort = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<Fetched>();
  const flight: Flight = {
    result: promise,
    abort,
    startedMs: state.clock.monotonicMs(),
    waiters: 0,
    isLeaderless: false,
    isLanded: false,
    landed: undefined,
    isOvertaken: false,
    isWithdrawal: false,
  };
  state.running.set(key, flight);
  const forget = (): void => {
    if (state.running.get(key) === flight) state.running.delete(key);
  };
  const clearsBefore = come?.clearsBefore ?? state.tiers.clears();
  const land = (fetched: Fetched): void => {
    flight.isLanded = true;
    if (fetched.outcome === "fetched") {
      flight.landed = fetched;
      if (!fetched.isShareable) forget();
      void storeWhole(state, question, flight, fetched, clearsBefore).finally(forget);
    } else forget();
    if (fetched.outcome === "failed") state.failures.keep(question.key, question.order.fields, fetched);
    if (fetched.outcome === "passed" && flight.isLeaderless) dropStream(fetched.body);
    resolve(fetched);
  };
  fetchOnce(state, question, flight, clearsBefore, come).then(land, (thrown: unknown) => {
    flight.isLanded = true;
    forget();
    reject(asNearcastError(thrown));
  });
  promise.catch(() => undefined); // every waiter has its own promise of it
  return flight;
}

/** The flight's result for one waiter. The last waiter to leave aborts the fetch. */
async function waitFor(flight: Flight, signal: AbortSignal | undefined, isLeader: boolean): Promise<Fetched> {
  if (signal === undefined) {
    flight.waiters += 1; // and never leaves
    return await flight.result;
  }
  const { promise: left, reject } = Promise.withResolvers<never>();
  const leave = (): void => {
    flight.waiters -= 1;
    if (isLeader) flight.isLeaderless = true;
    reject(clientGone(signal));
    if (flight.waiters === 0 && !flight.isLanded)
      flight.abort.abort(withoutStack(() => new Error("nobody waits for this any more")));
  };
  flight.waiters += 1;
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([flight.result, left]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

/** @param signal aborted because the client has left */
function clientGone({ reason }: AbortSignal): NearcastError {
  return new NearcastError("BAD_REQUEST", "the client closed the connection", { cause: reason });
}

async function fetchOnce(
  state: State,
  question: Question,
  flight: Flight,
  clearsBefore: number,
  come: Come | undefined,
): Promise<Fetched> {
  const { asker, before } = question;
  const context = { ...question.context, signal: flight.abort.signal };
  const order = before === undefined ? question.order : neutral(question);
  const { ways, clock } = state;
  const requestedAtMs = clock.wallMs();
  const { arrived, way } = come ?? (await ways.fetch(order, asker, before && conditionsOf(before), context));
  const times = { requestedAtMs, receivedAtMs: clock.wallMs() };
  const isReplaceable =
    before !== undefined && judgeUse(notesOf(before).freshness, times.receivedAtMs).state !== "expired";
  refuseNonsense(order, before, arrived, isReplaceable);
  if (isFailure(arrived.statusCode)) {
    if (isWithdrawal(arrived.statusCode)) {
      flight.isWithdrawal = true;
      removeStored(state, before, flight);
    }
    return await failureOf(arrived, way, order.host.timeoutMs, clock);
  }
  const unchanged = arrived.statusCode === 304 ? before : undefined;
  if (unchanged !== undefined && !isAbout(notesOf(unchanged).etag, arrived)) {
    drop(arrived);
    return await fetchOnce(state, { ...question, before: undefined }, flight, clearsBefore, undefined);
  }
  const meaning = meaningOf(order, arrived, times, unchanged ?? null, way);
  if (meaning.outcome === "pass") {
    notForTheCache(state, question, flight, meaning.reason);
    return passed(arrived, way, meaning, unchanged);
  }
  const { head } = meaning;
  if (unchanged !== undefined) {
    drop(arrived);
    const isStored = mayStore(state, way, clearsBefore, head) && (await renew(state, question, way, head, unchanged));
    return { outcome: "renewed", head, before: unchanged, isStored, way };
  }
  const bytesMax = state.fleet().limits.objectBytesMax;
  if ((lengthOf(arrived) ?? 0) > bytesMax) {
    notForTheCache(state, question, flight, "too-large");
    return passed(arrived, way, { reason: "too-large", pairs: endToEndPairs(arrived.headers) }, undefined);
  }
  // A large body is not fetched for HEAD alone; requests that have joined meanwhile ask for it themselves.
  const isForHeadAlone = order.method === "HEAD" && before === undefined && flight.waiters <= 1;
  if (isForHeadAlone && (lengthOf(arrived) ?? 0) > smallBytesMax) {
    state.large.set(question.key, true);
    return passed(arrived, way, { reason: "head", pairs: endToEndPairs(arrived.headers) }, undefined);
  }
  const { fill, open, hasRoom, isShareable } = await state.fills.begin({
    arrived,
    head,
    timeoutMs: order.host.timeoutMs,
    bytesMax,
    isForDisk: way.keep === "all",
    isReplaceable,
    network: context.clientNetwork,
    signal: context.signal,
    // A fill continues for its readers, whichever of them began it.
    restWays: [
      (fields, signal) => ways.fetchRest(way, order, fields, { ...context, signal }),
      async (fields, signal) => (await ways.fetchPart(order, fields, { ...context, signal })).arrived,
    ],
  });
  const isStorable = hasRoom && mayStore(state, way, clearsBefore, head);
  return { outcome: "fetched", head, fill, open, isStorable, isShareable, way };
}

/**
 * If a stale response can be used instead, failures and invalid responses are thrown. Otherwise the origin's own error
 * response passes through.
 * @throws NearcastError ORIGIN_BAD_ANSWER
 */
function refuseNonsense(order: AssetOrder, before: Stored | undefined, arrived: Arrived, isReplaceable: boolean): void {
  const { statusCode } = arrived;
  const isNonsense = statusCode === 304 && before === undefined;
  if (!isNonsense && !(statusCode >= 500 && isReplaceable)) return;
  drop(arrived);
  throw new NearcastError("ORIGIN_BAD_ANSWER", `${order.host.origin} answered with status ${statusCode}`);
}

/** @param unchanged the stored response that a 304 refers to: its body is sent */
function passed(
  arrived: Arrived,
  { status: statusBefore }: Way,
  { reason, pairs }: { reason: string; pairs: HeaderPairs },
  unchanged: Stored | undefined,
): Fetched {
  const about = { outcome: "passed", reason, pairs, statusBefore } as const;
  if (unchanged === undefined)
    return { ...about, status: arrived.statusCode, body: streamOf(arrived), lengthBytes: lengthOf(arrived) };
  drop(arrived);
  const { facts, body, lengthBytes } = unchanged;
  return { ...about, status: facts.status, body: Readable.from(chunksOf(body)), lengthBytes };
}

/**
 * A revalidation has none of the client's fields except those that select the response, so that no client can provoke a
 * response that replaces a stored one.
 */
function neutral({ order, varyFields }: Question): AssetOrder {
  const kept = new Set(["accept-encoding", "cdn-loop", ...varyFields]);
  const fields = Object.fromEntries(Object.entries(order.fields).filter(([name]) => kept.has(name)));
  return { ...order, fields };
}

async function failureOf(arrived: Arrived, way: Way, timeoutMs: number, clock: Clock): Promise<Fetched> {
  const { statusCode: status, headers } = arrived;
  const pairs = endToEndPairs(headers);
  const about = { status, pairs, isShareable: mayBeShared(pairs), statusBefore: way.status };
  const collected = await collect(arrived, { bytesMax: failureBytesMax, timeoutMs }, clock).catch((error: unknown) => {
    // The status says all that matters: without it, clients would get what was withdrawn.
    if (isWithdrawal(status)) return { outcome: "whole", body: Buffer.alloc(0) } as const;
    throw error;
  });
  if (collected.outcome === "whole") return { outcome: "failed", body: collected.body, ...about };
  const { body } = collected;
  return { outcome: "passed", reason: "status", body, lengthBytes: lengthOf(arrived), ...about };
}
