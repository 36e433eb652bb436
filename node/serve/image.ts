/**
 * A request for a picture of an `images` host.
 *
 *   record of the source (cache/records)
 *     fresh ────────────────▶ deliver its variant
 *     stale, in the window ─▶ deliver its variant now, revalidate in the background
 *     older, or marked ─────▶ ask first; if the origin fails within the stale-if-error window, deliver the old variant
 *     none, or too old ─────▶ ask first
 *   ask (meaning.ts): one conditional request gives a record and, if the bytes are new, the bytes
 *   deliver: variant in memory or on disk (hit), else bytes of the source ▶ render (render.ts) ▶ store
 *
 * If there are other nodes, each piece of work has a node that does it for all of them. This node does it only if no
 * other node can:
 *
 *   what is not here ──▶ owner in the site ──▶ a site with room, when this is full ──▶ here: shield, origin, render
 *                        └── relay.ts: keeps their responses in memory only ───┘
 *
 * A request from a peer begins further to the right than a request from a client (wire.ts, roles).
 */
import type { Clock } from "#base/clock.ts";
import { asNearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { Use } from "../cache/freshness.ts";
import type { Purge } from "../cache/purge.ts";
import type { Records, SourceRecord } from "../cache/records.ts";
import { storedInMemory, type Tiers } from "../cache/tiers.ts";
import { createVariantSets } from "../cache/variant-sets.ts";
import type { Delivery, Outcome, StoredResponse, Timings } from "../deliver/outcome.ts";
import type { OriginClient } from "../fetch/origin.ts";
import {
  absent,
  type Answer,
  delivery,
  type Found,
  freshOutcome,
  missOutcome,
  missReason,
  noTimings,
  staleOutcome,
} from "./image-answer.ts";
import {
  answerOfOthers,
  answerOfPeers,
  type Asker,
  canServeStale,
  type Images,
  isAnsweredHere,
  isHere,
  isUnderWay,
  keyOfVariant,
  noteUse,
  ownersOf,
} from "./image-peers.ts";
import type { ColdTurns } from "./cold-turns.ts";
import { answerOrStale, type Found as FoundIn, run, type Steps } from "./machine.ts";
import { createMeanings } from "./meaning.ts";
import type { ImageOrder } from "./order.ts";
import { createPatience } from "./patience.ts";
import type { Peers } from "./peers.ts";
import { ownWork, type RequestContext, unending, until } from "./request-context.ts";
import { createRelay, type Helpers } from "./relay.ts";
import { createRenderings, type RenderCounts, type Renderer, type WantedVariant } from "./render.ts";
import { createShield, type ToldSource } from "./shield.ts";
import { createSources, followSource, type SourceName } from "./source.ts";
import { freshnessOf, staleWaitMsOf } from "./source-freshness.ts";

export interface ImageServer {
  /** @throws NearcastError of the origin or the decoder, if there is nothing to deliver */
  serve: (order: ImageOrder, context: RequestContext) => Promise<Delivery>;
  /** The answer, if it is fresh, and in memory or in the page cache: without a wait, and so without a promise. */
  serveNow: (order: ImageOrder, isWhole: boolean) => Delivery | undefined;
  /** A variant was sent this often, without having been looked for. */
  noteUses: (stored: StoredResponse, times: number) => void;
  /** Serves another node. @throws NearcastError like serve(); OVERLOADED if it would be one rendering too many */
  serveToPeer: (wanted: WantedVariant, role: Helpers["role"], context: RequestContext) => Promise<Answer>;
  /** Serves another node as the shield. @throws NearcastError ORIGIN_*, BODY_TOO_LARGE */
  sourceToPeer: (source: SourceName, known: readonly string[], context: RequestContext) => Promise<ToldSource>;
  /** Whether this variant is here and fresh. */
  isHere: (wanted: WantedVariant) => Promise<boolean>;
  /**
   * Fetches a variant from its owner, so that it is here when clients request it. Returns whether it arrived and stays.
   * A variant that this node owns is not made unasked.
   */
  replicate: (wanted: WantedVariant) => Promise<boolean>;
  /** Explains where the answer would come from; asks nobody and changes nothing. */
  explain: (order: ImageOrder) => Promise<Record<string, unknown>>;
  /** Running questions may date from before this purge: nobody joins them any more. */
  purge: (purge: Purge) => void;
  counts: () => RenderCounts & { revalidations: number };
}

/** @param parts `decoders`: processes that render; `peers`: absent or null if this node is alone */
export function createImageServer(parts: {
  tiers: Tiers;
  records: Records;
  origin: OriginClient;
  renderer: Renderer;
  decoders: number;
  peers?: Peers | null;
  coldTurns: ColdTurns;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): ImageServer {
  const { tiers, records, peers = null, coldTurns, fleet, clock, log } = parts;
  const sources = createSources({ ...parts, peers });
  const meanings = createMeanings({ ...parts, sources });
  const renderings = createRenderings({ ...parts, sources });
  const patience = createPatience(clock);
  const shield = createShield({ records, meanings, sources, patience, coldTurns });
  const relay = peers === null ? null : createRelay({ ...parts, peers });
  const images: Images = {
    tiers,
    records,
    peers,
    relay,
    meanings,
    renderings,
    variantSets: createVariantSets(),
    patience,
    coldTurns,
    fleet,
    log,
  };
  return {
    serve: (order, context) => serve(images, order, context),
    serveNow: (order, isWhole) => serveNow(images, order, isWhole),
    noteUses({ key, sourceHash }, times) {
      tiers.noteUses(key, times);
      peers?.served(key, times);
      if (sourceHash !== undefined) noteUse(images, sourceHash, key);
    },
    serveToPeer: (wanted, role, context) => answer(images, wanted, { role, context }),
    sourceToPeer: shield.tell,
    async isHere(wanted) {
      const record = await records.load(wanted.name);
      if (record === undefined || meanings.useOf(record, wanted.host).state !== "fresh") return false;
      return isHere(images, record, wanted.variant);
    },
    async replicate(wanted) {
      const owners = ownersOf(images, wanted.name);
      if (owners === undefined || relay === null) return false;
      await coldTurns.takeBehind(wanted.name);
      const relayed = await relay.ask(wanted, await records.load(wanted.name), owners, ownWork).result;
      return relayed?.isStored ?? false;
    },
    explain: (order) => explain(images, order),
    purge(purge) {
      peers?.purged(purge.seq);
      meanings.purge(purge);
      relay?.purge(purge);
    },
    counts: () => ({ ...renderings.counts(), ...meanings.counts() }),
  };
}

async function serve(images: Images, order: ImageOrder, context: RequestContext): Promise<Delivery> {
  const answered = await answer(images, order, { role: "client", context });
  if (answered.object === null) return absent(order, answered);
  images.peers?.served(answered.object.key);
  return delivery(order, answered.object, answered);
}

function serveNow(images: Images, order: ImageOrder, isWhole: boolean): Delivery | undefined {
  const { records, meanings, tiers, peers } = images;
  const record = records.peek(order.name);
  if (record === undefined || "absentStatus" in record.meaning) return undefined;
  const use = meanings.useOf(record, order.host);
  if (use.state !== "fresh") return undefined;
  const object = tiers.find(keyOfVariant(record.meaning.sha256, order.variant), isWhole);
  // A request that asks again joins what is being read.
  if (object === undefined || object instanceof Promise) return undefined;
  peers?.served(object.key);
  noteUse(images, record.meaning.sha256, object.key);
  const outcome: Outcome = { word: "hit", tier: object.tier, ttlSeconds: use.ttlSeconds };
  const about = { outcome, ageSeconds: use.ageSeconds, timings: noTimings, status: null };
  const { bornAtMs, lifetimeSeconds } = freshnessOf(record, order.host);
  return delivery(order, object, about, {
    key: object.key,
    foundBy: order.name,
    sourceHash: record.meaning.sha256,
    bornAtMs,
    lifetimeSeconds,
    selectedBy: [],
  });
}

async function answer(images: Images, order: WantedVariant, asker: Asker): Promise<Answer> {
  const found = await lookUp(images, order);
  const isNow = isAnsweredHere(images, order, asker, found) || isUnderWay(images, order, asker);
  const own = stepsFor(images, order, asker);
  const question: Question = { order, asker, found, own };
  if (isNow) return await answerNow(images, question);
  if (found === undefined || !canServeStale(images, order, found)) return await answerInTurn(images, question);
  // The wait for the turn counts towards `staleWaitMs`.
  return await answerOrStale(own, found, async (late) => {
    const waiting = { ...asker, context: until(asker.context, late) };
    const steps = stepsFor(images, order, waiting);
    const unhurried = { ...steps, waiting: { ...steps.waiting, waitMsFor: () => null } };
    return await answerInTurn(images, { order, asker: waiting, found, own: unhurried });
  });
}

type OwnSteps = Omit<Steps<SourceRecord, Answer>, "lookUp">;
type FoundRecord = FoundIn<SourceRecord> | undefined;

interface Question {
  readonly order: WantedVariant;
  readonly asker: Asker;
  readonly found: FoundRecord;
  readonly own: OwnSteps;
}

/** Its record may be another one after the wait. */
async function answerInTurn(images: Images, question: Question): Promise<Answer> {
  const { order, asker } = question;
  const turn = images.coldTurns.take(asker.context, order.name);
  if (turn === true) return await answerNow(images, question);
  await turn;
  return await answerNow(images, { ...question, found: await lookUp(images, order) });
}

async function answerNow(images: Images, { order, asker, found, own }: Question): Promise<Answer> {
  const theirs = images.peers === null ? null : await answerOfPeers(images, order, asker, found, own);
  if (theirs !== null) return theirs;
  try {
    return await run({ ...own, lookUp: () => found });
  } catch (thrown) {
    const isTooMuch = asker.role === "client" && asNearcastError(thrown).code === "OVERLOADED";
    const relayed = isTooMuch ? await answerOfOthers(images, order, asker, found) : null;
    if (relayed === null) throw thrown;
    return relayed;
  }
}

async function lookUp({ records, meanings }: Images, { name, host }: WantedVariant) {
  // While the disk was read, another request may have fetched it.
  const record = (await records.load(name)) ?? records.peek(name);
  return record === undefined ? undefined : { entry: record, use: meanings.useOf(record, host) };
}

/** Asks memory, disk, shield and origin; nobody else. */
function stepsFor(images: Images, order: WantedVariant, asker: Asker): OwnSteps {
  return {
    deliver({ entry: record, use }, because) {
      const { ageSeconds, ttlSeconds } = use;
      const describe = because === "fresh" ? freshOutcome(ttlSeconds) : staleOutcome(because, ttlSeconds);
      const about = { ageSeconds, timings: {}, status: null };
      return deliver(images, order, asker, { record, source: null }, { describe, ...about });
    },
    ask: (before, late) => {
      // Nothing is rendered for a client that already has its answer.
      const waiting = { ...asker, context: until(asker.context, late) };
      return followSource(order, () => askAndDeliver(images, order, waiting, before?.entry));
    },
    askBehind: ({ entry: record }) => revalidateBehind(images, order, asker, record),
    waiting: { patience: images.patience, key: order.name, waitMsFor: (record) => staleWaitMsOf(record, order.host) },
  };
}

/** Asks first, then delivers; the failure of the origin is the caller's business. */
async function askAndDeliver(
  images: Images,
  order: WantedVariant,
  asker: Asker,
  before: SourceRecord | undefined,
): Promise<Answer> {
  const { result, isCollapsed } = images.meanings.ask(order, before, "shield", asker.context);
  const asked = await result;
  const { lifetimeSeconds } = freshnessOf(asked.record, order.host);
  return await deliver(
    images,
    order,
    asker,
    { record: asked.record, source: asked.source },
    {
      describe: missOutcome(missReason(before), asked, isCollapsed, lifetimeSeconds),
      ageSeconds: asked.ageSeconds === 0 ? null : asked.ageSeconds,
      timings: { fetchMs: asked.fetchMs },
      status: asked.status,
    },
  );
}

async function deliver(
  images: Images,
  order: WantedVariant,
  asker: Asker,
  asked: { readonly record: SourceRecord; source: Buffer | null },
  {
    describe,
    ...about
  }: {
    describe: (found: Found) => Outcome;
    ageSeconds: number | null;
    timings: Timings;
    status: string | null;
  },
): Promise<Answer> {
  const { record } = asked;
  const { meaning, picture } = record;
  if ("absentStatus" in meaning) return { record, object: null, outcome: describe({ from: "memory" }), ...about };
  const { sha256 } = meaning;
  const key = keyOfVariant(sha256, order.variant);
  const present = await images.tiers.find(key, asker.context.isWhole);
  noteUse(images, sha256, key);
  if (present !== undefined) return { record, object: present, outcome: describe({ from: present.tier }), ...about };
  const bytes = { sha256, key, ...(picture === undefined ? {} : { picture }) };
  const isBusy = asker.role === "client" ? never : (images.peers?.isBusy ?? never);
  const { result, isCollapsed } = images.renderings.render(order, bytes, asked, asker.context, isBusy);
  const { object, isStored, timings, status } = await result;
  return {
    record,
    object: storedInMemory(object),
    outcome: describe({ from: "render", isStored, isCollapsed, status }),
    ageSeconds: about.ageSeconds,
    timings: { ...about.timings, ...timings },
    status: about.status ?? status,
  };
}

const never = (): boolean => false;

/** Renews a record while its variant is being sent. Never rejects. */
async function revalidateBehind(
  images: Images,
  order: WantedVariant,
  asker: Asker,
  record: SourceRecord,
): Promise<void> {
  const { relay, meanings, log } = images;
  const owners = asker.role === "client" ? ownersOf(images, order.name) : undefined;
  const context = unending(asker.context);
  try {
    // A running revalidation is joined at once, because those that wait for it now may leave.
    if (!isUnderWay(images, order, asker)) await images.coldTurns.takeBehind(order.name);
    const relayed = owners === undefined ? null : await relay?.ask(order, record, owners, context).result;
    if (relayed === null || relayed === undefined) await meanings.ask(order, record, "shield", context).result;
  } catch (error) {
    const facts = { reason: (error as Error).message, source: order.name };
    log.debug(facts, "revalidation in the background failed; the stale picture stays");
  }
}

async function explain(images: Images, order: ImageOrder): Promise<Record<string, unknown>> {
  const { records, peers, meanings, tiers } = images;
  const record = await records.load(order.name);
  const owners = peers?.directory.ownersBefore(order.name).map(({ name }) => name);
  const who = { source: order.name, ...(owners === undefined ? {} : { owners }) };
  if (record === undefined) return { ...who, record: null, verdict: "miss", why: "never requested here" };
  const use = meanings.useOf(record, order.host);
  const { meaning } = record;
  const about = { ...who, record, use };
  if ("absentStatus" in meaning)
    return { ...about, verdict: use.state, why: `the origin said ${meaning.absentStatus}` };
  const key = keyOfVariant(meaning.sha256, order.variant);
  const tier = tiers.locate(key);
  const facts = await tiers.factsOf(key);
  return {
    ...about,
    key,
    tier: tier ?? null,
    storedAt: facts === undefined ? null : new Date(facts.storedAtMs).toISOString(),
    verdict: tier === undefined ? "miss" : use.state,
    why: tier === undefined ? "this node has this variant neither in memory nor on disk" : whyOf(record, use),
  };
}

function whyOf(record: SourceRecord, use: Use): string {
  if (record.mark !== null) return `purged (${record.mark}) since the origin was last asked`;
  return use.ttlSeconds > 0 ? `validated ${use.ageSeconds} s ago` : `its lifetime ended ${-use.ttlSeconds} s ago`;
}
