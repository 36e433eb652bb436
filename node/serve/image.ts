/**
 * A request for a picture of an `images` host.
 *
 *   record of the source (cache/records)
 *     fresh ───────────────▶ deliver its variant
 *     stale, in the window ▶ deliver its variant now, ask the origin once behind
 *     older, or marked ────▶ ask first; on the origin's failure, inside the stale-if-error window, deliver all the same
 *     none, or too old ────▶ ask first
 *   ask: coalesced per name; one conditional request; gives a record and, when the bytes are new, the bytes
 *   deliver: variant in memory or on disk (hit), else source bytes (disk, origin) ▶ render ▶ store, coalesced per key
 *
 * Variants are keyed by the source's hash, so a running render can't be overtaken by a purge, only an asking can.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, type ErrorCode, NearcastError } from "#base/errors.ts";
import { openGate } from "#base/gate.ts";
import type { Log } from "#base/log.ts";
import type { Fleet, ImagesHost } from "#fleet/document.ts";
import { createFlights } from "../cache/flights.ts";
import { type Freshness, judgeUse, type Use } from "../cache/freshness.ts";
import { type CachedObject, etagOf, headerBlockOf, keyOf } from "../cache/object.ts";
import { type Purge } from "../cache/purge.ts";
import { knownHashesMax, purgesSource, type Records, type SourceRecord, sourceTag } from "../cache/records.ts";
import type { Tier, Tiers } from "../cache/tiers.ts";
import type { OriginClient } from "../fetch/origin.ts";
import type { Variant } from "../variant/variant.ts";
import { variantKey } from "../variant/key.ts";
import type { Delivery, MissReason, Outcome, Timings } from "./outcome.ts";

/** The part of the decoder pool that this room needs. */
export interface Renderer {
  render: (
    source: Buffer,
    order: Variant,
    options: { pixelsMax: number; timeoutMs: number },
  ) => Promise<{ body: Buffer; type: string; renderMs: number }>;
}

export interface ImageOrder {
  host: ImagesHost;
  /** The source's name: the host's prefix and the URL's path. */
  name: string;
  variant: Variant;
  /** Whether the answer could differ by Accept. */
  varies: boolean;
}

export interface ImageServer {
  /** @throws NearcastError of the origin or the decoder, when there is nothing to deliver */
  serve: (order: ImageOrder) => Promise<Delivery>;
  /** The answer, when it is fresh and in memory: without a wait, and so without a promise. */
  serveNow: (order: ImageOrder) => Delivery | undefined;
  /** Where the answer would come from and why; asks nobody and changes nothing. */
  explain: (order: ImageOrder) => Promise<Record<string, unknown>>;
  /** Marks records and overtakes running questions; `mark` is what the purge means for them. */
  purge: (purge: Purge, mark: "replaced" | "removed" | "soft") => void;
  counts: () => { renders: number; renderFailures: number; revalidations: number; waiting: number };
}

/** A picture that could not be rendered is not tried again for so long: its decoder may have cost much. */
const quarantineMs = 30_000;
const quarantineMax = 10_000;
/** Who waits longer for a decoder has given up, or will. */
const renderWaitMs = 10_000;
/** A source that changes while it is being fetched is followed this often. */
const followsMax = 3;

interface Asked {
  record: SourceRecord;
  /** The bytes, when the origin sent them. */
  source: Buffer | null;
  fetchMs: number;
}

export function createImageServer(parts: {
  tiers: Tiers;
  records: Records;
  origin: OriginClient;
  renderer: Renderer;
  /** Sources that may be in memory for rendering at one time; the other renderings wait without theirs. */
  rendersAtOnce: number;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): ImageServer {
  const { tiers, records, origin, renderer, rendersAtOnce, fleet, feedSeq, clock, log } = parts;
  const askings = createFlights<Asked>();
  const fetches = createFlights<Buffer>();
  const renders = createFlights<{ object: CachedObject; isStored: boolean; timings: Timings }>();
  const gate = openGate({
    slots: rendersAtOnce,
    waitingMax: () => fleet().limits.renderQueueMax,
    waitMsMax: renderWaitMs,
    clock,
  });
  const quarantine = new LRUCache<string, { code: ErrorCode; detail: string; untilMs: number }>({ max: quarantineMax });
  const counts = { renders: 0, renderFailures: 0, revalidations: 0 };

  function freshnessOf(record: SourceRecord, host: ImagesHost): Freshness {
    const isAbsent = "absentStatus" in record.meaning;
    return {
      bornAtMs: record.validatedAtMs,
      lifetimeSeconds: isAbsent ? host.negativeSeconds : host.freshSeconds,
      staleWhileRevalidateSeconds: isAbsent ? 0 : host.staleWhileRevalidateSeconds,
      staleIfErrorSeconds: isAbsent ? host.negativeSeconds : host.staleIfErrorSeconds,
    };
  }

  /** How a record may be used now, its mark considered. */
  function useOf(record: SourceRecord, host: ImagesHost): Use {
    const use = judgeUse(freshnessOf(record, host), clock.wallMs());
    if (record.mark === null || use.state === "expired") return use;
    const ttlSeconds = Math.min(0, use.ttlSeconds);
    // Past the window for it, a soft purge gives no leave to answer without asking.
    if (record.mark === "soft" && use.state !== "stale-if-error") {
      return { ...use, ttlSeconds, state: "stale-revalidate" };
    }
    if (record.mark === "soft") return use;
    if (record.mark === "replaced") return { ...use, ttlSeconds, state: "stale-if-error" };
    return { ...use, ttlSeconds, state: "expired" };
  }

  /** Asks the origin what the name means; who asks meanwhile joins. */
  function ask(name: string, before: SourceRecord | undefined): { result: Promise<Asked>; isCollapsed: boolean } {
    return askings.join(name, async (flight) => {
      const startedMs = clock.monotonicMs();
      const seq = feedSeq();
      if (before !== undefined) counts.revalidations += 1;
      const known = before?.knownHashes ?? [];
      const answer = await origin.source(name, known, fleet().limits.sourceBytesMax);
      const meaning = answer.outcome === "absent" ? { absentStatus: answer.status } : { sha256: answer.sha256 };
      const knownHashes =
        answer.outcome === "absent"
          ? known
          : [answer.sha256, ...known.filter((hash) => hash !== answer.sha256)].slice(0, knownHashesMax);
      const record = { name, meaning, knownHashes, validatedAtMs: clock.wallMs(), feedSeq: seq, mark: null };
      const source = answer.outcome === "found" ? answer.body : null;
      if (answer.outcome === "found") storeSource(name, answer.sha256, answer.body, seq);
      // Overtaken: a purge came while the origin answered, so this answer may be the one before it.
      if (!flight.isOvertaken) records.store(record);
      return { record, source, fetchMs: clock.monotonicMs() - startedMs };
    });
  }

  function storeSource(name: string, sha256: string, body: Buffer, seq: number): void {
    tiers.storeOnDisk({
      key: keyOf("source", sha256),
      facts: { status: 200, tags: [sourceTag(name)], storedAtMs: clock.wallMs(), feedSeq: seq, notes: {} },
      headerBlock: Buffer.alloc(0),
      body,
    });
  }

  /** The bytes with this hash. @throws SourceReplaced when the name means others by now */
  async function sourceBytes(name: string, sha256: string, timings: Timings): Promise<Buffer> {
    const stored = await tiers.loadFromDisk(keyOf("source", sha256));
    if (stored !== undefined) return stored.body;
    const startedMs = clock.monotonicMs();
    const { result } = fetches.join(sha256, async () => {
      const seq = feedSeq();
      const answer = await origin.source(name, [], fleet().limits.sourceBytesMax);
      if (answer.outcome !== "found") throw new SourceReplaced();
      storeSource(name, answer.sha256, answer.body, seq);
      if (answer.sha256 !== sha256) throw new SourceReplaced();
      return answer.body;
    });
    const body = await result;
    timings.fetchMs = clock.monotonicMs() - startedMs;
    return body;
  }

  function render(order: ImageOrder, sha256: string, key: string, asked: { source: Buffer | null }) {
    return renders.join(key, async () => {
      const failed = quarantine.get(key);
      if (failed !== undefined && failed.untilMs > clock.monotonicMs()) {
        throw new NearcastError(failed.code, failed.detail);
      }
      // Who has to wait gives the bytes back: a thousand that wait must not hold a thousand sources.
      if (gate.counts().running >= rendersAtOnce) asked.source = null;
      return await gate.pass(async () => await renderNow(order, sha256, key, asked.source));
    });
  }

  async function renderNow(order: ImageOrder, sha256: string, key: string, source: Buffer | null) {
    const timings: Timings = {};
    const seq = feedSeq();
    const { sourcePixelsMax, renderTimeoutMs } = fleet().limits;
    const bytes = source ?? (await sourceBytes(order.name, sha256, timings));
    counts.renders += 1;
    let rendered: { body: Buffer; type: string; renderMs: number };
    try {
      rendered = await renderer.render(bytes, order.variant, {
        pixelsMax: sourcePixelsMax,
        timeoutMs: renderTimeoutMs,
      });
    } catch (thrown) {
      const error = asNearcastError(thrown);
      counts.renderFailures += 1;
      if (error.code !== "OVERLOADED") {
        quarantine.set(key, { code: error.code, detail: error.message, untilMs: clock.monotonicMs() + quarantineMs });
        log.warn({ code: error.code, reason: error.message, source: order.name }, "a picture could not be rendered");
      }
      throw error;
    }
    timings.renderMs = rendered.renderMs;
    const etag = etagOf(rendered.body);
    const object: CachedObject = {
      key,
      facts: {
        status: 200,
        tags: [sourceTag(order.name), `host:${order.host.name}`],
        storedAtMs: clock.wallMs(),
        feedSeq: seq,
        notes: { etag },
      },
      headerBlock: headerBlockOf([
        ["Content-Type", rendered.type],
        ["ETag", etag],
        ["X-Content-Type-Options", "nosniff"],
      ]),
      body: rendered.body,
    };
    return { object, isStored: tiers.store(object), timings };
  }

  /** What `describe` says of a tier's object, or of one that had to be made. */
  type Found = { from: Tier } | { from: "render"; isStored: boolean; isCollapsed: boolean };

  async function deliver(
    order: ImageOrder,
    asked: { readonly record: SourceRecord; source: Buffer | null },
    describe: (found: Found) => Outcome,
    ageSeconds: number | null,
    timings: Timings,
  ): Promise<Delivery> {
    const { meaning } = asked.record;
    if ("absentStatus" in meaning) return absent(order, describe({ from: "memory" }), ageSeconds, timings);
    const key = keyOfVariant(meaning.sha256, order.variant);
    const present = await tiers.load(key);
    if (present.outcome === "hit") {
      return delivery(order, present.object, describe({ from: present.tier }), ageSeconds, timings);
    }
    const { result, isCollapsed } = render(order, meaning.sha256, key, asked);
    const made = await result;
    const outcome = describe({ from: "render", isStored: made.isStored, isCollapsed });
    return delivery(order, made.object, outcome, ageSeconds, { ...timings, ...made.timings });
  }

  function missOutcome(order: ImageOrder, reason: MissReason, record: SourceRecord, isAskCollapsed: boolean) {
    const { lifetimeSeconds } = freshnessOf(record, order.host);
    return (found: Found): Outcome => ({
      word: "miss",
      reason,
      isStored: found.from !== "render" || found.isStored,
      isCollapsed: isAskCollapsed || (found.from === "render" && found.isCollapsed),
      detail: found.from === "render" ? "rendered" : `${found.from}-validated`,
      ttlSeconds: lifetimeSeconds,
    });
  }

  /** Asks first, then delivers; the failure of the origin is the caller's business. */
  async function askAndDeliver(order: ImageOrder, before: SourceRecord | undefined): Promise<Delivery> {
    for (let follows = 1; ; follows += 1) {
      const { result, isCollapsed } = ask(order.name, before);
      const asked = await result;
      const reason = before === undefined || "absentStatus" in before.meaning ? "uri-miss" : "stale";
      const describe = missOutcome(order, reason, asked.record, isCollapsed);
      try {
        return await deliver(order, asked, describe, null, { fetchMs: asked.fetchMs });
      } catch (error) {
        if (!(error instanceof SourceReplaced)) throw error;
        if (follows >= followsMax) throw new NearcastError("ORIGIN_BAD_ANSWER", `${order.name} keeps changing`);
      }
    }
  }

  async function serve(order: ImageOrder): Promise<Delivery> {
    const record = await records.load(order.name);
    if (record === undefined) return await askAndDeliver(order, undefined);
    const use = useOf(record, order.host);
    const asked = { record, source: null };
    switch (use.state) {
      case "fresh": {
        try {
          return await deliver(order, asked, freshOutcome(use.ttlSeconds), use.ageSeconds, {});
        } catch (error) {
          if (error instanceof SourceReplaced) return await askAndDeliver(order, record);
          throw error;
        }
      }
      case "stale-revalidate": {
        ask(order.name, record).result.catch((error: unknown) => {
          log.debug(
            { reason: (error as Error).message, source: order.name },
            "revalidation behind a stale answer failed",
          );
        });
        try {
          return await deliver(order, asked, staleOutcome("revalidating", use.ttlSeconds), use.ageSeconds, {});
        } catch (error) {
          if (error instanceof SourceReplaced) return await askAndDeliver(order, record);
          throw error;
        }
      }
      case "stale-if-error": {
        try {
          return await askAndDeliver(order, record);
        } catch (thrown) {
          if (asNearcastError(thrown).source !== "origin") throw thrown;
          try {
            return await deliver(order, asked, staleOutcome("origin-error", use.ttlSeconds), use.ageSeconds, {});
          } catch (error) {
            // The old bytes are gone here, and the origin has others by now: its failure is what happened.
            throw error instanceof SourceReplaced ? thrown : error;
          }
        }
      }
      case "expired":
        return await askAndDeliver(order, record);
    }
  }

  function freshOutcome(ttlSeconds: number) {
    return (found: Found): Outcome =>
      found.from === "render"
        ? {
            word: "miss",
            reason: "uri-miss",
            isStored: found.isStored,
            isCollapsed: found.isCollapsed,
            detail: "rendered",
            ttlSeconds,
          }
        : { word: "hit", tier: found.from, ttlSeconds };
  }

  function staleOutcome(reason: "revalidating" | "origin-error", ttlSeconds: number) {
    return (found: Found): Outcome => ({
      word: "stale",
      reason,
      tier: found.from === "render" ? "disk" : found.from,
      ttlSeconds,
    });
  }

  function serveNow(order: ImageOrder): Delivery | undefined {
    const record = records.peek(order.name);
    if (record === undefined || "absentStatus" in record.meaning) return undefined;
    const use = useOf(record, order.host);
    if (use.state !== "fresh") return undefined;
    const object = tiers.loadMemory(keyOfVariant(record.meaning.sha256, order.variant));
    if (object === undefined) return undefined;
    const outcome: Outcome = { word: "hit", tier: "memory", ttlSeconds: use.ttlSeconds };
    return delivery(order, object, outcome, use.ageSeconds, noTimings);
  }

  return {
    serve,
    serveNow,
    async explain(order) {
      const record = await records.load(order.name);
      if (record === undefined)
        return { source: order.name, record: null, verdict: "miss", why: "never asked for here" };
      const use = useOf(record, order.host);
      const { meaning } = record;
      const about = { source: order.name, record, use };
      if ("absentStatus" in meaning)
        return { ...about, verdict: use.state, why: `the origin said ${meaning.absentStatus}` };
      const key = keyOfVariant(meaning.sha256, order.variant);
      const place = tiers.locate(key);
      return {
        ...about,
        key,
        tier: place?.tier ?? null,
        storedAt: place === undefined ? null : new Date(place.facts.storedAtMs).toISOString(),
        verdict: place === undefined ? "miss" : use.state,
        why: place === undefined ? "this variant is in no tier" : whyOf(record, use),
      };
    },
    purge(purge, mark) {
      records.mark(purge, mark);
      askings.overtake((name) => purgesSource(purge, name));
    },
    counts: () => ({ ...counts, waiting: gate.counts().waiting }),
  };
}

function whyOf(record: SourceRecord, use: Use): string {
  if (record.mark !== null) return `purged (${record.mark}) since the origin was last asked`;
  return use.ttlSeconds > 0 ? `validated ${use.ageSeconds} s ago` : `its lifetime ended ${-use.ttlSeconds} s ago`;
}

/** The name came to mean other bytes between two questions to the origin: ask again. */
class SourceReplaced extends Error {}

const noTimings: Timings = {};

/** Keys of variants that are asked for again and again; an order that is remembered keeps its variant. */
const keysOfVariants = new WeakMap<Variant, { sha256: string; key: string }>();

function keyOfVariant(sha256: string, variant: Variant): string {
  const known = keysOfVariants.get(variant);
  if (known?.sha256 === sha256) return known.key;
  const key = variantKey(sha256, variant);
  keysOfVariants.set(variant, { sha256, key });
  return key;
}

function hostHeaders(order: ImageOrder): [string, string][] {
  const headers: [string, string][] = [["Cache-Control", order.host.cacheControl]];
  if (order.varies) headers.push(["Vary", "Accept"]);
  return headers;
}

function delivery(
  order: ImageOrder,
  object: CachedObject,
  outcome: Outcome,
  ageSeconds: number | null,
  timings: Timings,
): Delivery {
  return {
    outcome,
    status: 200,
    headerBlock: object.headerBlock,
    headers: hostHeaders(order),
    body: object.body,
    lengthBytes: object.body.length,
    etag: object.facts.notes["etag"] as string,
    lastModified: null,
    ageSeconds,
    timings,
  };
}

const absentBlock = headerBlockOf([["Content-Type", "application/problem+json"]]);

function absent(order: ImageOrder, outcome: Outcome, ageSeconds: number | null, timings: Timings): Delivery {
  const problem = {
    type: "urn:nearcast:error:NOT_FOUND",
    title: "There is nothing under this name",
    status: 404,
    code: "NOT_FOUND",
  };
  const body = Buffer.from(`${JSON.stringify(problem)}\n`);
  return {
    outcome,
    status: 404,
    headerBlock: absentBlock,
    headers: [["Cache-Control", `public, max-age=${order.host.negativeSeconds}`]],
    body,
    lengthBytes: body.length,
    etag: null,
    lastModified: null,
    ageSeconds,
    timings,
  };
}
