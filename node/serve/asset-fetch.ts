/**
 * Fetches for an assets host: one per key, however many ask.
 *
 *   ask ──▶ running? join ──▶ head ──▶ stored under a key: everyone reads the same fill        (fetched)
 *                               │      304: the stored body under a new head                   (renewed)
 *                               │      a failure: shared by all who wait, kept for a moment    (failed)
 *                               └──▶   not for the cache: its leader alone reads it            (passed)
 *
 * A flight ends with the head; its key stays taken until the fill is stored, so that who comes meanwhile joins the fill
 * instead of asking again. A flight that nobody waits for any more is aborted, and its connection freed.
 */
import { LRUCache } from "lru-cache";
import { Readable } from "node:stream";
import { type BodyReader, chunksOf } from "#base/body.ts";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, NearcastError } from "#base/errors.ts";
import type { Fleet } from "#document/document.ts";
import { type Fill, type FillSource, startFill } from "../cache/fill.ts";
import { judgeUse } from "../cache/freshness.ts";
import type { BodyWriter } from "../cache/disk/body-writer.ts";
import type { HeaderPairs } from "../cache/object.ts";
import type { Stored, Tiers } from "../cache/tiers.ts";
import { openTurns, type Turns } from "../deliver/turns.ts";
import { fieldOf, type RequestFields } from "../fetch/asset.ts";
import { type Arrived, collect, drop, endToEndPairs, isAbout, lengthOf, streamOf } from "./asset-answer.ts";
import { conditionsOf, fieldsKey, notesOf, primaryKeyOf } from "./asset-key.ts";
import { type AssetHead, isFailure, isWithdrawal, meaningOf } from "./asset-response.ts";
import { sourceOf } from "./asset-source.ts";
import type { Asker, AssetWays, Way } from "./asset-way.ts";
import type { AssetOrder } from "./order.ts";
import type { RequestContext } from "./request-context.ts";
import { readFill } from "./rest-reader.ts";

export type Fetched =
  /** Its body is on its way; readers join the fill. */
  | {
      readonly outcome: "fetched";
      readonly head: AssetHead;
      readonly fill: Fill<BodyWriter>;
      /** A reader of the fill, or of a fetch of its own once it has fallen behind. */
      readonly open: (start: number, end: number | null) => BodyReader;
      readonly isStorable: boolean;
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
  /** Its body is for its leader alone unless `isShareable`. */
  | {
      readonly outcome: "failed";
      readonly status: number;
      readonly pairs: HeaderPairs;
      readonly body: Buffer;
      readonly isShareable: boolean;
      readonly statusBefore: string | null;
    }
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
  /** The key by which the URL is looked up now. */
  readonly key: string;
  /** The fields that select among the URL's stored responses. */
  readonly varyFields: readonly string[];
  /** The stale entry whose validators can be used. */
  readonly before: Stored | undefined;
}

export interface AssetFetches {
  /**
   * Joins the fetch for a key, or begins it.
   * @throws NearcastError ORIGIN_*, in the result
   */
  readonly join: (
    question: Question,
    wanted: "while-the-client-waits" | "to-the-end",
  ) => { result: Promise<Fetched>; isCollapsed: boolean };
  /**
   * Begins a fetch whose response is here already; nothing happens when one is running.
   * @returns whether it was taken, as join() would give it
   */
  readonly adopt: (question: Question, come: Come) => Promise<Fetched> | undefined;
  /** How much of the body of a running fetch is here; undefined: none is running, or its head has not arrived. */
  readonly coming: (question: Question) => { arrivedBytes: number; lengthBytes: number | null } | undefined;
  /** Why this key was not for the cache when it was last fetched; undefined: it may be. */
  readonly uncacheable: (key: string) => string | undefined;
  /** Running fetches may be of before a purge: nobody joins them any more. */
  readonly purge: () => void;
}

/** A response that is here already. */
interface Come {
  readonly arrived: Arrived;
  readonly way: Way;
}

interface Flight {
  readonly result: Promise<Fetched>;
  readonly abort: AbortController;
  /** Of the monotonic clock: what the object costs to fetch again is told to the memory tier. */
  readonly startedMs: number;
  waiters: number;
  /** Its head has arrived, or it failed. */
  isLanded: boolean;
  /** The response that readers join now. */
  landed: Extract<Fetched, { outcome: "fetched" }> | undefined;
  isOvertaken: boolean;
}

interface KeptFailure {
  readonly untilMs: number;
  /** The fields of the one who met it, when they may have provoked it; null: it is everyone's. */
  readonly fieldsKey: string | null;
  readonly fetched: Extract<Fetched, { outcome: "failed" }>;
}

/** How long a key stays known as uncacheable (Varnish: hit-for-miss), and how many are known. */
const uncacheableMs = 60_000;
const uncacheableMax = 100_000;
/** Bodies of failures that are kept for a moment. One that is larger is for its leader alone. */
const failureBytesMax = 64 * 1024;
const failuresBytesMax = 16 * 1024 * 1024;
/** A fill that has begun waits so long for readers: whoever asked may have left just now, and may come back. */
const graceMs = 1000;
/** A fill goes on for its readers, whoever of them began it. */
const noSignal = new AbortController().signal;
/** So much of a response has to come before it takes the place of a stored one that can still be used. */
const trustedBytes = 256 * 1024;
/** A body that nobody waits for is fetched to its end when no more than this is missing. */
const abandonedBytesMax = 1024 * 1024;

/** A body up to here is always kept in memory until it is whole; at most 64 of them come from one origin at once. */
const smallBodyBytesMax = 1024 * 1024;
/** Larger bodies that all running fills together may keep in memory until they are whole, where there is no disk. */
const collectingBytesMax = 64 * 1024 * 1024;

/** Windows of all running fills together, and the least that one has: it must hold some chunks of a socket. */
const windowsBytesMax = 64 * 1024 * 1024;
const windowBytesMin = 128 * 1024;

interface Env {
  readonly tiers: Tiers;
  readonly ways: AssetWays;
  readonly fleet: () => Fleet;
  readonly clock: Clock;
}

interface State extends Env {
  readonly running: Map<string, Flight>;
  /** Of the chunks that come from origins. */
  readonly turns: Turns;
  /** Fills under way. */
  filling: number;
  /** Of `collectingBytesMax`. */
  collectingBytes: number;
  readonly uncacheableUntil: LRUCache<string, { untilMs: number; reason: string }>;
  readonly failures: LRUCache<string, KeptFailure>;
}

export function createAssetFetches(env: Env): AssetFetches {
  const state: State = {
    ...env,
    running: new Map(),
    turns: openTurns(),
    filling: 0,
    collectingBytes: 0,
    uncacheableUntil: new LRUCache({ max: uncacheableMax }),
    failures: new LRUCache({ maxSize: failuresBytesMax, sizeCalculation: sizeOfFailure }),
  };
  return {
    join: (question, wanted) => join(state, question, wanted === "to-the-end" ? undefined : question.context.signal),
    adopt(question, come) {
      const key = flightKey(state, question);
      return state.running.has(key) ? undefined : begin(state, key, question, come).result;
    },
    coming(question) {
      const fill = state.running.get(flightKey(state, question))?.landed?.fill;
      return fill === undefined ? undefined : { arrivedBytes: fill.arrivedBytes(), lengthBytes: fill.lengthBytes };
    },
    uncacheable(key) {
      const known = state.uncacheableUntil.get(key);
      return known !== undefined && known.untilMs > state.clock.monotonicMs() ? known.reason : undefined;
    },
    purge() {
      // Which tags a response will have is not known before it is here, so who asks from now on begins anew.
      for (const flight of state.running.values()) flight.isOvertaken = true;
      state.running.clear();
      // An origin that was mended shall be asked as if for the first time.
      state.uncacheableUntil.clear();
      state.failures.clear();
    },
  };
}

function join(state: State, question: Question, signal: AbortSignal | undefined) {
  const kept = keptFailure(state, question);
  if (kept !== undefined) return { result: kept, isCollapsed: true };
  const key = flightKey(state, question);
  const running = state.running.get(key);
  const isCollapsed = running !== undefined && mayJoin(state, running);
  const flight = isCollapsed ? running : begin(state, key, question);
  return { result: waitFor(flight, signal), isCollapsed };
}

/** Apart by where they begin: two nodes that take each other for the owner would wait for each other. */
function flightKey({ ways }: State, { order, asker, key }: Question): string {
  return `${ways.startOf(order, asker)} ${key}`;
}

/** A body may be on its way for longer than it is fresh; a fetch that everyone has left is about to fail. */
function mayJoin({ clock }: State, { landed, abort }: Flight): boolean {
  if (abort.signal.aborted) return false;
  return landed === undefined || judgeUse(notesOf(landed.head).freshness, clock.wallMs()).state === "fresh";
}

/** @param come the response, when it is here already */
function begin(state: State, key: string, question: Question, come?: Come): Flight {
  const abort = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<Fetched>();
  const flight: Flight = {
    result: promise,
    abort,
    startedMs: state.clock.monotonicMs(),
    waiters: 0,
    isLanded: false,
    landed: undefined,
    isOvertaken: false,
  };
  state.running.set(key, flight);
  const forget = (): void => {
    if (state.running.get(key) === flight) state.running.delete(key);
  };
  const clearsBefore = state.tiers.clears();
  const land = (fetched: Fetched): void => {
    flight.isLanded = true;
    if (fetched.outcome === "fetched") {
      flight.landed = fetched;
      void storeWhole(state, question, flight, fetched, clearsBefore).finally(forget);
    } else forget();
    if (fetched.outcome === "failed") keepFailure(state, question, fetched);
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

/** The flight's result for one who waits; whoever leaves last aborts the fetch. */
async function waitFor(flight: Flight, signal: AbortSignal | undefined): Promise<Fetched> {
  if (signal === undefined) {
    flight.waiters += 1; // and never leaves
    return await flight.result;
  }
  const { promise: left, reject } = Promise.withResolvers<never>();
  const leave = (): void => {
    flight.waiters -= 1;
    reject(new NearcastError("BAD_REQUEST", "the client closed the connection"));
    if (flight.waiters === 0 && !flight.isLanded) flight.abort.abort(new Error("nobody waits for this any more"));
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
  const receivedAtMs = clock.wallMs();
  const { statusCode } = arrived;
  // What is stale may be used instead of a failure or of nonsense, so those are raised. Where nothing can be used
  // instead, the origin's own words on its failure go through.
  const isUsable = before !== undefined && judgeUse(notesOf(before).freshness, receivedAtMs).state !== "expired";
  if ((statusCode >= 500 && isUsable) || (statusCode === 304 && before === undefined)) {
    drop(arrived);
    throw new NearcastError("ORIGIN_BAD_ANSWER", `${order.host.origin} answered status ${statusCode}`);
  }
  if (isFailure(statusCode)) {
    if (isWithdrawal(statusCode)) removeStored(state, before, flight);
    return await failureOf(arrived, way, order.host.timeoutMs);
  }
  const isUnchanged = statusCode === 304 && before !== undefined;
  if (isUnchanged && !isAbout(notesOf(before).etag, arrived)) {
    drop(arrived);
    return await fetchOnce(state, { ...question, before: undefined }, flight, clearsBefore, undefined);
  }
  const times = { requestedAtMs, receivedAtMs };
  const meaning = meaningOf(order, arrived, times, isUnchanged ? before : null, way);
  const bytesMax = state.fleet().limits.objectBytesMax;
  const lengthBytes = lengthOf(arrived);
  const about = { status: isUnchanged ? before.facts.status : statusCode, lengthBytes, statusBefore: way.status };
  if (meaning.outcome === "pass") {
    notForTheCache(state, question, flight, meaning.reason);
    if (isUnchanged) drop(arrived);
    const body = isUnchanged ? Readable.from(chunksOf(before.body)) : streamOf(arrived);
    return { outcome: "passed", reason: meaning.reason, pairs: meaning.pairs, body, ...about };
  }
  const { head } = meaning;
  if (isUnchanged) {
    drop(arrived);
    const isStored = mayStore(state, way, clearsBefore, head) && (await renew(state, question, way, head, before));
    return { outcome: "renewed", head, before, isStored, way };
  }
  if (lengthBytes !== null && lengthBytes > bytesMax) {
    notForTheCache(state, question, flight, "too-large");
    const pairs = endToEndPairs(arrived.headers);
    return { outcome: "passed", reason: "too-large", pairs, body: streamOf(arrived), ...about };
  }
  const restFrom = (offset: number): Promise<FillSource | undefined> =>
    restOf(state, { ...question, order }, head, offset);
  const room = roomInMemory(state, lengthBytes, bytesMax);
  let place: BodyWriter | null = null;
  const { fill, release } = startFill({
    source: sourceOf(arrived.body, order.host.timeoutMs, state.turns),
    lengthBytes,
    bytesMax,
    keepBytesMax: room.bytesMax,
    openPlace() {
      place = way.keep === "all" ? (state.tiers.write(head.key, lengthBytes) ?? null) : null;
      return place;
    },
    abandonedBytesMax,
    shareBytesMax: () => Math.max(windowBytesMin, windowsBytesMax / Math.max(1, state.filling)),
    resume: restFrom,
  });
  state.filling += 1;
  void fill.ended.finally(() => {
    state.filling -= 1;
    room.free();
  });
  try {
    if (isUsable) await untilTrusted(fill);
  } finally {
    clock.after(graceMs, release);
  }
  const hasRoom = place !== null || lengthBytes === null || lengthBytes <= room.bytesMax;
  const isStorable = hasRoom && mayStore(state, way, clearsBefore, head);
  const open = (start: number, end: number | null): BodyReader => readFill(fill, { start, end }, restFrom);
  return { outcome: "fetched", head, fill, open, isStorable, way };
}

/**
 * How much of a body may be kept in memory until it is whole. Small bodies always may. Larger ones are kept only where
 * there is no disk, within one limit for all running fills; past it, the body passes through and is not stored.
 */
function roomInMemory(
  state: State,
  lengthBytes: number | null,
  objectBytesMax: number,
): { bytesMax: number; free: () => void } {
  const bytesMax = Math.min(objectBytesMax, state.tiers.memoryBodyBytesMax);
  const wantedBytes = lengthBytes ?? bytesMax;
  const smallOnly = { bytesMax: Math.min(bytesMax, smallBodyBytesMax), free: () => undefined };
  if (wantedBytes <= smallBodyBytesMax || wantedBytes > bytesMax) return smallOnly;
  if (state.collectingBytes + wantedBytes > collectingBytesMax) return smallOnly;
  state.collectingBytes += wantedBytes;
  return {
    bytesMax,
    free() {
      state.collectingBytes -= wantedBytes;
    },
  };
}

/**
 * A response that takes the place of a usable one is delivered once its beginning is here, or all of it: until then, a
 * failure is answered with what is stored. @throws the failure of the fill
 */
async function untilTrusted(fill: Fill): Promise<void> {
  await fill.untilArrived(trustedBytes);
  const failure = fill.failure();
  if (failure !== undefined) throw failure;
}

/**
 * The rest of a body whose source failed: straight from the origin, if it has the same bytes still (RFC 9110 §13.1.5).
 * Undefined: it can't be had.
 */
async function restOf(
  state: State,
  { order, context }: Question,
  head: AssetHead,
  offset: number,
): Promise<FillSource | undefined> {
  const { etag } = notesOf(head);
  if (etag === null || etag.startsWith("W/") || offset === 0) return undefined;
  try {
    const { arrived: answer } = await state.ways.fetchPart(
      order,
      { range: `bytes=${offset}-`, "if-range": etag },
      { ...context, signal: noSignal },
    );
    const isTheRest = answer.statusCode === 206 && isFromOffsetToEnd(answer.headers, offset);
    if (isTheRest && fieldOf(answer.headers, "etag") === etag)
      return sourceOf(answer.body, order.host.timeoutMs, state.turns);
    drop(answer);
  } catch {
    // The first failure is the one to report.
  }
  return undefined;
}

/** A server may send less than was asked for (RFC 9110 §15.3.7); a part without its end would pass for the whole. */
function isFromOffsetToEnd(headers: RequestFields, offset: number): boolean {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(fieldOf(headers, "content-range") ?? "");
  return match !== null && Number(match[1]) === offset && Number(match[2]) + 1 === Number(match[3]);
}

/** Stores a fill at its end; who looks the key up meanwhile joins the fill. Never rejects. */
async function storeWhole(
  state: State,
  question: Question,
  flight: Flight,
  { head, fill, way }: Extract<Fetched, { outcome: "fetched" }>,
  clearsBefore: number,
): Promise<void> {
  const ended = await fill.ended;
  if (ended.end === "too-large") notForTheCache(state, question, flight, "too-large");
  if (ended.end !== "whole") return;
  if (!mayStore(state, way, clearsBefore, head)) {
    ended.place?.abort();
    return;
  }
  storeMarker(state, question, way, head);
  const { key, headerBlock } = head;
  const facts = { ...head.facts, costMs: Math.round(state.clock.monotonicMs() - flight.startedMs) };
  const put = way.keep === "all" ? state.tiers.store : state.tiers.storeInMemory;
  if (ended.bytes !== null) put({ key, facts, headerBlock, body: ended.bytes });
  await ended.place?.commit(facts, headerBlock);
}

function mayStore({ tiers }: State, way: Way, clearsBefore: number, { facts }: AssetHead): boolean {
  return way.keep !== "none" && tiers.clears() === clearsBefore && tiers.isStorable(facts);
}

/** A new head for what is stored. Under another key, such as after a change of Vary, the body stays where it was. */
async function renew(state: State, question: Question, way: Way, head: AssetHead, before: Stored): Promise<boolean> {
  if (head.key !== before.key) return false;
  storeMarker(state, question, way, head);
  const isStored = await state.tiers.replaceHead(before, head.facts, head.headerBlock);
  return isStored;
}

/** Which fields select among the URL's responses is found under the URL's own key. */
function storeMarker(state: State, { order }: Question, way: Way, head: AssetHead): void {
  if (head.varyFields.length === 0) return;
  const put = way.keep === "all" ? state.tiers.store : state.tiers.storeInMemory;
  const facts = { ...head.facts, status: 0, notes: { vary: head.varyFields } };
  put({ key: primaryKeyOf(order), facts, headerBlock: Buffer.alloc(0), body: Buffer.alloc(0) });
}

/** The origin has spoken: what it said before is no longer true, and may not be stored anew (RFC 9111 §4.3.3). */
function notForTheCache(state: State, { key, before }: Question, flight: Flight, reason: string): void {
  state.uncacheableUntil.set(key, { untilMs: state.clock.monotonicMs() + uncacheableMs, reason });
  removeStored(state, before, flight);
}

function removeStored(state: State, before: Stored | undefined, flight: Flight): void {
  if (before !== undefined && !flight.isOvertaken) void state.tiers.remove(before.key);
}

/**
 * A revalidation has no fields of the client but those that select the response, so that no client can provoke a
 * response that takes the place of a stored one.
 */
function neutral({ order, varyFields }: Question): AssetOrder {
  const kept = new Set(["accept-encoding", "cdn-loop", ...varyFields]);
  const fields = Object.fromEntries(Object.entries(order.fields).filter(([name]) => kept.has(name)));
  return { ...order, fields };
}

async function failureOf(arrived: Arrived, way: Way, timeoutMs: number): Promise<Fetched> {
  const { statusCode: status, headers } = arrived;
  const pairs = endToEndPairs(headers);
  const about = { status, pairs, isShareable: mayBeShared(pairs), statusBefore: way.status };
  const collected = await collect(arrived, { bytesMax: failureBytesMax, timeoutMs });
  if (collected.outcome === "whole") return { outcome: "failed", body: collected.body, ...about };
  const { body } = collected;
  return { outcome: "passed", reason: "status", body, lengthBytes: lengthOf(arrived), ...about };
}

function keepFailure(state: State, { order, key }: Question, failed: KeptFailure["fetched"]): void {
  const isProvoked = failed.status < 500;
  state.failures.set(key, {
    untilMs: state.clock.monotonicMs() + state.fleet().limits.originFailureMs,
    fieldsKey: isProvoked ? fieldsKey(order.fields) : null,
    fetched: failed,
  });
}

function keptFailure(state: State, { order, key }: Question): Promise<Fetched> | undefined {
  const kept = state.failures.get(key);
  if (kept === undefined || kept.untilMs <= state.clock.monotonicMs()) return undefined;
  if (kept.fieldsKey !== null && kept.fieldsKey !== fieldsKey(order.fields)) return undefined;
  return Promise.resolve(kept.fetched);
}

/** A failure's body for one client, such as one with a cookie, is not for the others (RFC 9111 §3). */
function mayBeShared(pairs: HeaderPairs): boolean {
  const fields = pairs.map(([name, value]) => [name.toLowerCase(), value] as const);
  if (fields.some(([name]) => name === "set-cookie")) return false;
  return !fields.some(([name, value]) => name === "cache-control" && /\b(?:private|no-store)\b/i.test(value));
}

function sizeOfFailure({ fetched }: KeptFailure): number {
  return 1024 + fetched.body.length;
}
