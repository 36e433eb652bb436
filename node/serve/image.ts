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
import { keyOf } from "../cache/object.ts";
import { type Purge } from "../cache/purge.ts";
import type { Records, SourceRecord } from "../cache/records.ts";
import { storedInMemory, type Tiers } from "../cache/tiers.ts";
import { createVariantSets } from "../cache/variant-sets.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { Member } from "../peer/directory.ts";
import { rankOwners } from "../peer/owners.ts";
import { variantKey } from "../variant/key.ts";
import type { Variant } from "../variant/variant.ts";
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
import { deliverInstead, run, type Steps } from "./machine.ts";
import { createMeanings } from "./meaning.ts";
import type { ImageOrder } from "./order.ts";
import type { Delivery, MissReason, Outcome, Timings } from "../deliver/outcome.ts";
import type { Peers } from "./peers.ts";
import { ownWork, type RequestContext } from "./request-context.ts";
import { createRelay, type Helpers, type Relayed } from "./relay.ts";
import { createRenderings, type RenderCounts, type Renderer, type WantedVariant } from "./render.ts";
import { createShield, type ToldSource } from "./shield.ts";
import { createSources, followSource, type SourceName } from "./source.ts";
import { freshnessOf } from "./source-freshness.ts";

/** For whom: what a client's request may lead to, one of a peer may not. */
interface Asker {
  readonly role: "client" | Helpers["role"];
  readonly context: RequestContext;
}

export interface ImageServer {
  /** @throws NearcastError of the origin or the decoder, when there is nothing to deliver */
  serve: (order: ImageOrder, context: RequestContext) => Promise<Delivery>;
  /** The answer, when it is fresh and in memory: without a wait, and so without a promise. */
  serveNow: (order: ImageOrder) => Delivery | undefined;
  /** For another node. @throws NearcastError like serve(); OVERLOADED when it would be a new rendering, and too much */
  serveToPeer: (wanted: WantedVariant, role: Helpers["role"], context: RequestContext) => Promise<Answer>;
  /** As the shield, for another node. @throws NearcastError ORIGIN_*, BODY_TOO_LARGE */
  sourceToPeer: (source: SourceName, known: readonly string[], context: RequestContext) => Promise<ToldSource>;
  /** Whether this variant is here and fresh. */
  isHere: (wanted: WantedVariant) => Promise<boolean>;
  /**
   * Fetches a variant from its owner, that it be here when clients ask; returns whether it came and stays. What this
   * node owns itself it does not make unasked.
   */
  replicate: (wanted: WantedVariant) => Promise<boolean>;
  /** Where the answer would come from and why; asks nobody and changes nothing. */
  explain: (order: ImageOrder) => Promise<Record<string, unknown>>;
  /** Running questions may be of before this purge: nobody joins them any more. */
  purge: (purge: Purge) => void;
  counts: () => RenderCounts & { revalidations: number };
}

/** Owners that are asked before a node does the work itself; the directory names no more. */
const ownersMax = 2;

/** @param parts `decoders`: processes that render; `peers`: absent or null, this node is alone */
export function createImageServer(parts: {
  tiers: Tiers;
  records: Records;
  origin: OriginClient;
  renderer: Renderer;
  decoders: number;
  peers?: Peers | null;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): ImageServer {
  const { tiers, records, peers = null, log } = parts;
  const sources = createSources({ ...parts, peers });
  const meanings = createMeanings({ ...parts, sources });
  const renderings = createRenderings({ ...parts, sources });
  const shield = createShield({ records, meanings, sources });
  const relay = peers === null ? null : createRelay({ ...parts, peers });
  const { useOf } = meanings;
  const variantSets = createVariantSets();
  const never = (): boolean => false;
  const isBusy = peers === null ? never : peers.isBusy;

  /** A source has a bounded number of stored variants: one that is used less makes room. */
  function noteUse(sha256: string, key: string): void {
    const surplus = variantSets.use(sha256, key, parts.fleet().limits.variantsPerSourceMax);
    if (surplus !== undefined) void tiers.remove(surplus);
  }

  async function deliver(
    order: WantedVariant,
    asker: Asker,
    asked: { readonly record: SourceRecord; source: Buffer | null },
    describe: (found: Found) => Outcome,
    about: { ageSeconds: number | null; timings: Timings; status: string | null },
  ): Promise<Answer> {
    const { record } = asked;
    const { meaning } = record;
    if ("absentStatus" in meaning) return { record, object: null, outcome: describe({ from: "memory" }), ...about };
    const key = keyOfVariant(meaning.sha256, order.variant);
    const present = await tiers.find(key, asker.context.isWhole);
    noteUse(meaning.sha256, key);
    if (present !== undefined) return { record, object: present, outcome: describe({ from: present.tier }), ...about };
    const bytes = { sha256: meaning.sha256, key, ...(record.picture === undefined ? {} : { picture: record.picture }) };
    const { result, isCollapsed } = renderings.render(
      order,
      bytes,
      asked,
      asker.context,
      asker.role === "client" ? never : isBusy,
    );
    const { object, isStored, timings, status } = await result;
    const outcome = describe({ from: "render", isStored, isCollapsed, status });
    return {
      record,
      object: storedInMemory(object),
      outcome,
      ageSeconds: about.ageSeconds,
      timings: { ...about.timings, ...timings },
      status: about.status ?? status,
    };
  }

  /** Asks first, then delivers; the failure of the origin is the caller's business. */
  async function askAndDeliver(order: WantedVariant, asker: Asker, before: SourceRecord | undefined): Promise<Answer> {
    const { result, isCollapsed } = meanings.ask(order, before, "shield", asker.context);
    const asked = await result;
    const { lifetimeSeconds } = freshnessOf(asked.record, order.host);
    const describe = missOutcome(missReason(before), asked, isCollapsed, lifetimeSeconds);
    const ageSeconds = asked.ageSeconds === 0 ? null : asked.ageSeconds;
    const about = { ageSeconds, timings: { fetchMs: asked.fetchMs }, status: asked.status };
    return await deliver(order, asker, { record: asked.record, source: asked.source }, describe, about);
  }

  /** Memory, disk, shield, origin; nobody else. */
  function stepsFor(order: WantedVariant, asker: Asker): Omit<Steps<SourceRecord, Answer>, "lookUp"> {
    return {
      deliver({ entry: record, use }, because) {
        const { ageSeconds, ttlSeconds } = use;
        const describe = because === "fresh" ? freshOutcome(ttlSeconds) : staleOutcome(because, ttlSeconds);
        const about = { ageSeconds, timings: {}, status: null };
        return deliver(order, asker, { record, source: null }, describe, about);
      },
      ask: (before) => followSource(order, () => askAndDeliver(order, asker, before?.entry)),
      askBehind({ entry: record }) {
        revalidateBehind(order, asker, record);
      },
    };
  }

  /** Renews a record while its variant is being sent. */
  function revalidateBehind(order: WantedVariant, asker: Asker, record: SourceRecord): void {
    const renew = async (): Promise<unknown> => {
      const owners = asker.role === "client" ? ownersOf(order.name) : undefined;
      const relayed = owners === undefined ? null : await relay?.ask(order, record, owners, asker.context).result;
      return relayed ?? (await meanings.ask(order, record, "shield", asker.context).result);
    };
    renew().catch((error: unknown) => {
      const facts = { reason: (error as Error).message, source: order.name };
      log.debug(facts, "revalidation in the background failed; the stale picture stays");
    });
  }

  /** Undefined: the name is ours, or nobody is there to own it. */
  function ownersOf(name: string): Helpers | undefined {
    if (peers === null || peers.directory.ownersBefore(name).length === 0) return undefined;
    return { role: "owner", members: () => peers.directory.ownersBefore(name), triesMax: ownersMax };
  }

  /** Undefined: there is room here, or nowhere. */
  function roomFor(name: string): Helpers | undefined {
    if (peers === null || peers.directory.roomElsewhere(name).length === 0) return undefined;
    return { role: "spill", members: () => peers.directory.roomElsewhere(name), triesMax: 1 };
  }

  /** Null: the answer is here, or to be made here. */
  async function answerOfPeers(
    order: WantedVariant,
    asker: Asker,
    record: SourceRecord | undefined,
    use: Use | undefined,
  ): Promise<Answer | null> {
    const isHeld = record !== undefined && isHere(record, order.variant);
    if (isHeld && (use?.state === "fresh" || use?.state === "stale-revalidate")) return null;
    const helpers = [
      asker.role === "client" ? ownersOf(order.name) : undefined,
      // What is held and only has to be validated is no work worth handing on.
      asker.role !== "spill" && !isHeld ? roomFor(order.name) : undefined,
    ];
    for (const one of helpers) {
      if (one === undefined) continue;
      try {
        const theirs = await askHelpers(order, record, use, one, asker.context);
        if (theirs !== null) return theirs;
      } catch (thrown) {
        const isOfOrigin = asNearcastError(thrown).source === "origin";
        const isSourceHere = record !== undefined && "sha256" in record.meaning && hasSource(record.meaning.sha256);
        if (!isOfOrigin || record === undefined || !(isHeld || isSourceHere)) throw thrown;
        if (use === undefined || use.state === "expired") throw thrown;
        if (use.state !== "stale-if-error") return null;
        return await deliverInstead(stepsFor(order, asker), { entry: record, use }, thrown);
      }
    }
    return null;
  }

  async function askHelpers(
    order: WantedVariant,
    record: SourceRecord | undefined,
    use: Use | undefined,
    helpers: Helpers,
    context: RequestContext,
  ): Promise<Answer | null> {
    if (relay === null) return null;
    const { result, isCollapsed } = relay.ask(order, record, helpers, context);
    const relayed = await result;
    return relayed === null
      ? null
      : answerOf(relayed, order, helpers, use?.state === "fresh" ? "uri-miss" : missReason(record), isCollapsed);
  }

  function answerOf(
    relayed: Relayed,
    order: WantedVariant,
    { role }: Helpers,
    reason: MissReason,
    isCollapsed: boolean,
  ): Answer {
    const { record, object, isStored, ageSeconds, status, peerMs, member } = relayed;
    if ("sha256" in record.meaning && object !== null) noteUse(record.meaning.sha256, object.key);
    const { ttlSeconds } = useOf(record, order.host);
    const detail = role === "owner" ? "owner" : `spill-${member.site}`;
    return {
      record,
      object,
      outcome: { word: "miss", reason, isStored, isCollapsed, detail, ttlSeconds },
      ageSeconds: ageSeconds === 0 ? null : ageSeconds,
      timings: { peerMs },
      status,
    };
  }

  /** Who may be able to take one more rendering when this node can't. */
  function othersFor(name: string): Helpers | undefined {
    const room = roomFor(name);
    if (room !== undefined || peers === null) return room;
    const members = (): readonly Member[] => rankOwners(name, peers.directory.site());
    return members().length === 0 ? undefined : { role: "spill", members, triesMax: 1 };
  }

  async function answer(order: WantedVariant, asker: Asker): Promise<Answer> {
    const record = await records.load(order.name);
    const use = record === undefined ? undefined : useOf(record, order.host);
    const theirs = peers === null ? null : await answerOfPeers(order, asker, record, use);
    if (theirs !== null) return theirs;
    try {
      const found = record === undefined || use === undefined ? undefined : { entry: record, use };
      return await run({ ...stepsFor(order, asker), lookUp: () => found });
    } catch (thrown) {
      const others = asker.role === "client" && asNearcastError(thrown).code === "OVERLOADED" && othersFor(order.name);
      const relayed = others ? await askHelpers(order, record, use, others, asker.context) : null;
      if (relayed === null) throw thrown;
      return relayed;
    }
  }

  function isHere({ meaning }: SourceRecord, variant: Variant): boolean {
    return "absentStatus" in meaning || tiers.locate(keyOfVariant(meaning.sha256, variant)) !== undefined;
  }

  function hasSource(sha256: string): boolean {
    return tiers.locate(keyOf("source", sha256)) !== undefined;
  }

  function serveNow(order: ImageOrder): Delivery | undefined {
    const record = records.peek(order.name);
    if (record === undefined || "absentStatus" in record.meaning) return undefined;
    const use = useOf(record, order.host);
    if (use.state !== "fresh") return undefined;
    const object = tiers.loadMemory(keyOfVariant(record.meaning.sha256, order.variant));
    if (object === undefined) return undefined;
    peers?.served(object.key);
    noteUse(record.meaning.sha256, object.key);
    const outcome: Outcome = { word: "hit", tier: "memory", ttlSeconds: use.ttlSeconds };
    return delivery(order, storedInMemory(object), {
      outcome,
      ageSeconds: use.ageSeconds,
      timings: noTimings,
      status: null,
    });
  }

  return {
    async serve(order, context) {
      const answered = await answer(order, { role: "client", context });
      if (answered.object === null) return absent(order, answered);
      peers?.served(answered.object.key);
      return delivery(order, answered.object, answered);
    },
    serveNow,
    serveToPeer: (wanted, role, context) => answer(wanted, { role, context }),
    sourceToPeer: shield.tell,
    async isHere(wanted) {
      const record = await records.load(wanted.name);
      return record !== undefined && useOf(record, wanted.host).state === "fresh" && isHere(record, wanted.variant);
    },
    async replicate(wanted) {
      const owners = ownersOf(wanted.name);
      if (owners === undefined || relay === null) return false;
      const relayed = await relay.ask(wanted, await records.load(wanted.name), owners, ownWork).result;
      return relayed?.isStored ?? false;
    },
    async explain(order) {
      const record = await records.load(order.name);
      const owners = peers?.directory.ownersBefore(order.name).map(({ name }) => name);
      const who = { source: order.name, ...(owners === undefined ? {} : { owners }) };
      if (record === undefined) return { ...who, record: null, verdict: "miss", why: "never asked for here" };
      const use = useOf(record, order.host);
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
        why: tier === undefined ? "this variant is in no tier" : whyOf(record, use),
      };
    },
    purge(purge) {
      peers?.purged(purge.seq);
      meanings.purge(purge);
      relay?.purge(purge);
    },
    counts: () => ({ ...renderings.counts(), ...meanings.counts() }),
  };
}

function whyOf(record: SourceRecord, use: Use): string {
  if (record.mark !== null) return `purged (${record.mark}) since the origin was last asked`;
  return use.ttlSeconds > 0 ? `validated ${use.ageSeconds} s ago` : `its lifetime ended ${-use.ttlSeconds} s ago`;
}

/** Keys of variants that are asked for again and again; an order that is remembered keeps its variant. */
const keysOfVariants = new WeakMap<Variant, { sha256: string; key: string }>();

function keyOfVariant(sha256: string, variant: Variant): string {
  const known = keysOfVariants.get(variant);
  if (known?.sha256 === sha256) return known.key;
  const key = variantKey(sha256, variant);
  keysOfVariants.set(variant, { sha256, key });
  return key;
}
