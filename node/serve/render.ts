/**
 * Renderings: bytes of a source and a variant ▶ the object that is stored and sent. Coalesced per key, with a limit on
 * how many run at a time. A rendering that failed is not repeated for a short while.
 *
 * The key has the hash of the source, so a purge can't overtake a rendering, only the request for the meaning of its
 * name. A result that a purge has concerned since is not stored.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, type ErrorCode, NearcastError } from "#base/errors.ts";
import { openGate } from "#base/gate.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { hostTag, sourceTag } from "#purge/entry-tags.ts";
import { createFlights, type Joined } from "../cache/flights.ts";
import { type CachedObject, etagOf, headerBlockOf } from "../cache/object.ts";
import type { Tiers } from "../cache/tiers.ts";
import { canonicalForm } from "../variant/key.ts";
import type { Variant } from "../variant/variant.ts";
import type { Timings } from "../deliver/outcome.ts";
import type { RequestContext } from "./request-context.ts";
import type { SourceName, Sources } from "./source.ts";

/** The part of the decoder pool that this room needs. */
export interface Renderer {
  render: (
    source: Buffer,
    order: Variant,
    options: { pixelsMax: number; timeoutMs: number },
  ) => Promise<{ body: Buffer; type: string; renderMs: number }>;
}

export interface WantedVariant extends SourceName {
  variant: Variant;
}

export interface Rendered {
  object: CachedObject;
  isStored: boolean;
  timings: Timings;
  /** Cache-Status of the shield, when the bytes came from there. */
  status: string | null;
}

export interface Renderings {
  /**
   * @param key of the variant of these bytes
   * @param asked the bytes, when they are at hand; given back when they would wait here
   * @param context of the request that the rendering is for, or of the first of them
   * @param isRefused asked when the rendering would have to begin: true refuses it as OVERLOADED
   */
  render: (
    wanted: WantedVariant,
    bytes: { sha256: string; key: string },
    asked: { source: Buffer | null },
    context: RequestContext,
    isRefused: () => boolean,
  ) => Joined<Rendered>;
  counts: () => { renders: number; renderFailures: number; waiting: number };
}

/** How long a variant that could not be rendered is not tried again: the attempt may have cost much. */
const quarantineMs = 30_000;
const quarantineMax = 10_000;
/** Who waits longer for a decoder has given up, or will. */
export const renderWaitMs = 10_000;

/**
 * @param parts `rendersAtOnce`: sources that may be in memory for rendering; the other renderings wait without theirs
 */
export function createRenderings(parts: {
  tiers: Tiers;
  sources: Sources;
  renderer: Renderer;
  rendersAtOnce: number;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}): Renderings {
  const { tiers, sources, renderer, rendersAtOnce, fleet, feedSeq, clock, log } = parts;
  const failures = openFailureLog(log, clock);
  const renders = createFlights<Rendered>();
  const gate = openGate({
    slots: rendersAtOnce,
    waitingMax: () => fleet().limits.renderQueueMax,
    waitMsMax: renderWaitMs,
    clock,
  });
  const quarantine = new LRUCache<string, { code: ErrorCode; detail: string; untilMs: number }>({ max: quarantineMax });
  const counts = { renders: 0, renderFailures: 0 };

  async function renderNow(
    wanted: WantedVariant,
    { sha256, key }: { sha256: string; key: string },
    source: Buffer | null,
    context: RequestContext,
  ): Promise<Rendered> {
    const seq = feedSeq();
    const clears = tiers.clears();
    const { sourcePixelsMax, renderTimeoutMs } = fleet().limits;
    const fetched = source === null ? await sources.bytes(wanted, sha256, "shield", context) : null;
    const bytes = source ?? fetched?.body;
    if (bytes === undefined) throw new NearcastError("INTERNAL", "the source has no bytes");
    counts.renders += 1;
    let rendered: { body: Buffer; type: string; renderMs: number };
    try {
      rendered = await renderer.render(bytes, wanted.variant, {
        pixelsMax: sourcePixelsMax,
        timeoutMs: renderTimeoutMs,
      });
    } catch (thrown) {
      const error = asNearcastError(thrown);
      counts.renderFailures += 1;
      if (error.code !== "OVERLOADED") {
        quarantine.set(key, { code: error.code, detail: error.message, untilMs: clock.monotonicMs() + quarantineMs });
        failures.warn(
          error.code,
          { reason: error.message, source: wanted.name },
          "a picture could not be rendered; the client gets an error",
        );
      }
      throw error;
    }
    const fetchMs = fetched?.fetchMs ?? null;
    const costMs = Math.round(rendered.renderMs + (fetchMs ?? 0));
    const object = objectOf(wanted, key, rendered, { storedAtMs: clock.wallMs(), feedSeq: seq, costMs });
    const timings = { renderMs: rendered.renderMs, ...(fetchMs === null ? {} : { fetchMs }) };
    const isStored = tiers.clears() === clears && tiers.store(object);
    return { object, isStored, timings, status: fetched?.status ?? null };
  }

  return {
    render: (wanted, bytes, asked, context, isRefused) =>
      renders.join(bytes.key, async () => {
        const failed = quarantine.get(bytes.key);
        if (failed !== undefined && failed.untilMs > clock.monotonicMs()) {
          throw new NearcastError(failed.code, failed.detail);
        }
        if (isRefused()) throw new NearcastError("OVERLOADED", "the render queue is full");
        // Who has to wait gives the bytes back: a thousand that wait must not hold a thousand sources.
        if (gate.counts().running >= rendersAtOnce) asked.source = null;
        return await gate.pass(async () => await renderNow(wanted, bytes, asked.source, context));
      }),
    counts: () => ({ ...counts, waiting: gate.counts().waiting }),
  };
}

/**
 * A variant as it is stored and sent. It says itself which variant of what it is, so that it can be asked for again.
 */
export function objectOf(
  { host, name, variant }: WantedVariant,
  key: string,
  rendered: { body: Buffer; type: string },
  about: { storedAtMs: number; feedSeq: number; costMs: number },
): CachedObject {
  const etag = etagOf(rendered.body);
  return {
    key,
    facts: {
      status: 200,
      tags: [sourceTag(name), hostTag(canonicalName(host.name))],
      ...about,
      notes: { etag, type: rendered.type, host: canonicalName(host.name), name, variant: canonicalForm(variant) },
    },
    headerBlock: headerBlockOf([
      ["Content-Type", rendered.type],
      ["ETag", etag],
      ["X-Content-Type-Options", "nosniff"],
    ]),
    body: rendered.body,
  };
}
