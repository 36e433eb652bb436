/**
 * Renderings: bytes of a source and a variant ▶ the object that is stored and sent. Coalesced per key, and in turn,
 * shared fairly between client networks (image/render-turns.ts). A rendering that failed is not repeated for a short
 * while.
 *
 *   what the source is ──known from the origin──▶ cost ▶ turn ▶ bytes ▶ decoder ▶ stored
 *                       └─ or a turn to read its header ─┘
 *
 * The key has the hash of the source, so a purge can't overtake a rendering, only the request for the meaning of its
 * name. A result that a purge has covered since is not stored.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, type ErrorCode, NearcastError } from "#base/errors.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import { hostTag, sourceTag } from "#purge/entry-tags.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import { openQuarantine, type Quarantine } from "#image/quarantine.ts";
import {
  type CostCorrections,
  createCorrections,
  estimateCost,
  isBlamedOnSource,
  learnCost,
  measureCostMs,
  type RenderCost,
} from "#image/render-cost.ts";
import { type Flight, openRenderTurns, type TurnCounts } from "#image/render-turns.ts";
import type { Joined } from "../cache/flights.ts";
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
    options: { pixelsMax: number; timeoutMs: number; rank: number; signal?: AbortSignal },
  ) => Promise<{ body: Buffer; type: string; renderMs: number }>;
  /** What a source is, by its header. */
  measure: (
    source: Buffer,
    options: { pixelsMax: number; timeoutMs: number; rank: number; signal?: AbortSignal },
  ) => Promise<PictureFacts>;
}

export interface WantedVariant extends SourceName {
  variant: Variant;
}

export interface Rendered {
  object: CachedObject;
  isStored: boolean;
  timings: Timings;
  /** Cache-Status of the shield, if the bytes came from there. */
  status: string | null;
}

/** What is to be rendered: the source's bytes by their hash, and the variant of them by its key. */
export interface RenderedBytes {
  readonly sha256: string;
  readonly key: string;
  /** As the origin recorded it; absent: not known. */
  readonly picture?: PictureFacts;
}

export interface RenderCounts {
  renders: number;
  renderFailures: number;
  /** Refused because the source is in quarantine. */
  quarantineRefusals: number;
  /** Sources in quarantine. */
  quarantined: number;
  /** The queue of renderings. */
  turns: TurnCounts;
}

export interface Renderings {
  /**
   * @param asked the bytes, if they are at hand; released if they would have to wait here
   * @param context of the request that the rendering is for, or of the first of them
   * @param isRefused called when the rendering would have to begin: true refuses it as OVERLOADED
   */
  render: (
    wanted: WantedVariant,
    bytes: RenderedBytes,
    asked: { source: Buffer | null },
    context: RequestContext,
    isRefused: () => boolean,
  ) => Joined<Rendered>;
  counts: () => RenderCounts;
}

/** How long a variant that could not be rendered is not tried again: the attempt may have cost much. */
const failureMs = 30_000;
const failuresMax = 10_000;
/** What the headers of sources said about which the origin recorded nothing: about 200 B each. */
const measuredMax = 20_000;
/** Reading a header takes a few ms; beyond this, the decoder hangs. */
const measureTimeoutMs = 2000;
/** Anyone who waits longer for a decoder has given up, or will. */
export const renderWaitMs = 10_000;

interface Parts {
  tiers: Tiers;
  sources: Sources;
  renderer: Renderer;
  /** Decoder processes. */
  decoders: number;
  fleet: () => Fleet;
  feedSeq: () => number;
  clock: Clock;
  log: Log;
}

export function createRenderings(parts: Parts): Renderings {
  const { decoders, fleet, clock } = parts;
  const state: State = {
    parts,
    log: openFailureLog(parts.log, clock),
    failed: new LRUCache({ max: failuresMax }),
    quarantine: openQuarantine(),
    measured: new LRUCache({ max: measuredMax }),
    corrections: createCorrections(),
    counts: { renders: 0, renderFailures: 0, quarantineRefusals: 0 },
  };
  const turns = openRenderTurns<Rendered>({
    workers: decoders,
    waitingMax: () => fleet().limits.renderQueueMax,
    waitMsMax: renderWaitMs,
    clock,
  });
  return {
    render: (wanted, bytes, asked, context, isRefused) =>
      turns.join(bytes.key, context, async (flight) => {
        refuseFailing(state, wanted, bytes);
        if (isRefused()) throw new NearcastError("OVERLOADED", "the render queue is full");
        return await renderInTurn(state, { wanted, bytes, asked, context, flight });
      }),
    counts: () => ({
      ...state.counts,
      quarantined: state.quarantine.size(clock.monotonicMs()),
      turns: turns.counts(),
    }),
  };
}

interface State {
  readonly parts: Parts;
  readonly log: FailureLog;
  /** Variants that could not be rendered. */
  readonly failed: LRUCache<string, { code: ErrorCode; detail: string; untilMs: number }>;
  readonly quarantine: Quarantine;
  readonly measured: LRUCache<string, PictureFacts>;
  readonly corrections: CostCorrections;
  readonly counts: { renders: number; renderFailures: number; quarantineRefusals: number };
}

interface Rendering {
  readonly wanted: WantedVariant;
  readonly bytes: RenderedBytes;
  readonly asked: { source: Buffer | null };
  readonly context: RequestContext;
  readonly flight: Flight;
}

/** @throws NearcastError the failure of this variant a moment ago; SOURCE_QUARANTINED */
function refuseFailing(
  { failed, quarantine, counts, parts }: State,
  wanted: WantedVariant,
  bytes: RenderedBytes,
): void {
  const nowMs = parts.clock.monotonicMs();
  const quarantined = quarantine.check(bytes.sha256, nowMs);
  if (quarantined !== undefined) {
    const { code, failures, leftMs } = quarantined;
    const retryAfterSeconds = Math.ceil(leftMs / 1000);
    counts.quarantineRefusals += 1;
    throw new NearcastError(
      "SOURCE_QUARANTINED",
      `${wanted.name} failed ${failures} times, last with ${code}: it is not rendered for ${retryAfterSeconds} s`,
      { facts: { retryAfterSeconds } },
    );
  }
  const before = failed.get(bytes.key);
  if (before !== undefined && before.untilMs > nowMs) throw new NearcastError(before.code, before.detail);
}

async function renderInTurn(state: State, rendering: Rendering): Promise<Rendered> {
  const { wanted, bytes, asked, flight } = rendering;
  const picture = bytes.picture ?? state.measured.get(bytes.sha256) ?? (await measureInTurn(state, rendering));
  const cost = estimateCost(picture, wanted.variant, state.corrections);
  return await flight.turn(
    cost.totalMs,
    async (rank) => await renderNow(state, rendering, cost, rank),
    () => {
      // A rendering that has to wait releases the bytes: a thousand waiting ones must not hold a thousand sources.
      asked.source = null;
    },
  );
}

/** Reads the header of a source about which nothing is known. */
async function measureInTurn(state: State, rendering: Rendering): Promise<PictureFacts> {
  const { parts, measured } = state;
  const { bytes, asked, flight } = rendering;
  return await flight.turn(measureCostMs, async (rank) => {
    const source = await sourceBytes(state, rendering);
    const { sourcePixelsMax: pixelsMax } = parts.fleet().limits;
    try {
      const options = { pixelsMax, timeoutMs: measureTimeoutMs, rank, signal: flight.signal };
      const picture = await parts.renderer.measure(source.body, options);
      measured.set(bytes.sha256, picture);
      asked.source = source.body;
      return picture;
    } catch (thrown) {
      if (!flight.signal.aborted) noteFailure(state, rendering, asNearcastError(thrown), null);
      throw thrown;
    }
  });
}

async function sourceBytes(
  { parts }: State,
  { wanted, bytes, asked, context, flight }: Rendering,
): Promise<{ body: Buffer; fetchMs: number | null; status: string | null }> {
  if (asked.source !== null) return { body: asked.source, fetchMs: null, status: null };
  const forAll = { ...context, clientNetwork: flight.network(), signal: flight.signal };
  const fetched = await parts.sources.bytes(wanted, bytes.sha256, "shield", forAll);
  flight.signal.throwIfAborted();
  return fetched;
}

async function renderNow(state: State, rendering: Rendering, cost: RenderCost, rank: number): Promise<Rendered> {
  const { parts, counts, corrections, quarantine } = state;
  const { tiers, renderer, fleet, feedSeq, clock } = parts;
  const { wanted, bytes, flight } = rendering;
  const seq = feedSeq();
  const clears = tiers.clears();
  const { sourcePixelsMax, renderTimeoutMs } = fleet().limits;
  const source = await sourceBytes(state, rendering);
  counts.renders += 1;
  let rendered: { body: Buffer; type: string; renderMs: number };
  try {
    rendered = await renderer.render(source.body, wanted.variant, {
      pixelsMax: sourcePixelsMax,
      timeoutMs: renderTimeoutMs,
      rank,
      signal: flight.signal,
    });
  } catch (thrown) {
    if (!flight.signal.aborted) noteFailure(state, rendering, asNearcastError(thrown), cost);
    throw thrown;
  }
  learnCost(corrections, cost, rendered.renderMs);
  quarantine.succeeded(bytes.sha256);
  const { fetchMs, status } = source;
  const costMs = Math.round(rendered.renderMs + (fetchMs ?? 0));
  const object = objectOf(wanted, bytes.key, rendered, { storedAtMs: clock.wallMs(), feedSeq: seq, costMs });
  const timings = { renderMs: rendered.renderMs, ...(fetchMs === null ? {} : { fetchMs }) };
  const isStored = tiers.clears() === clears && tiers.store(object);
  return { object, isStored, timings, status };
}

/** @param cost of the rendering that failed; null: its header could not be read */
function noteFailure(
  state: State,
  { wanted, bytes }: Rendering,
  { code, message: detail }: NearcastError,
  cost: RenderCost | null,
): void {
  const { parts, counts, failed, quarantine, log } = state;
  counts.renderFailures += 1;
  if (code === "OVERLOADED") return;
  const nowMs = parts.clock.monotonicMs();
  failed.set(bytes.key, { code, detail, untilMs: nowMs + failureMs });
  const isOfSource = cost === null || isBlamedOnSource(cost, parts.fleet().limits.renderTimeoutMs);
  if (code === "DECODER_CRASHED" || (isOfDecoder(code) && isOfSource)) {
    quarantine.failed(bytes.sha256, code, nowMs);
  }
  const facts = { reason: detail, source: wanted.name };
  log.warn(code, facts, "a picture could not be rendered; the client gets an error");
}

/** Failures that cost a process, or its whole time. */
function isOfDecoder(code: ErrorCode): boolean {
  return code === "DECODER_CRASHED" || code === "DECODER_TIMEOUT" || code === "DECODER_MEMORY";
}

/**
 * A variant as it is stored and sent. It says which variant of which source it is, so that it can be requested again.
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
