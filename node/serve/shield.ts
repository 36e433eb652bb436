/**
 * The shield's side: what a name means, for nodes of other sites, so that the origin hears of each object once.
 *
 *   record fresh ──▶ told as it is, with its age and, where the asker lacks them, the bytes from disk
 *   else ──────────▶ the origin is asked first; while it fails, what may be used in front of a failure is told instead
 *
 * Whoever asks answers its own clients meanwhile from what it has, so here nothing is told stale without need.
 */
import { asNearcastError, NearcastError } from "#base/errors.ts";
import type { Records, SourceRecord } from "../cache/records.ts";
import type { Asked, Meanings } from "./meaning.ts";
import type { Outcome } from "./outcome.ts";
import type { RequestContext } from "./request-context.ts";
import { type SourceName, SourceReplaced, type Sources } from "./source.ts";
import { freshnessOf } from "./source-freshness.ts";

export interface ToldSource {
  record: SourceRecord;
  /** Null: the asker has them, or there are none. */
  body: Buffer | null;
  outcome: Outcome;
}

export interface Shield {
  /** @throws NearcastError ORIGIN_*, BODY_TOO_LARGE */
  tell: (source: SourceName, known: readonly string[], context: RequestContext) => Promise<ToldSource>;
}

/** A source that changes while it is being fetched is followed this often. */
const followsMax = 3;

export function createShield(parts: { records: Records; meanings: Meanings; sources: Sources }): Shield {
  const { records, meanings, sources } = parts;

  /** The record with the bytes, when the asker lacks them; from disk, or else from the origin alone. */
  async function withBytes(
    source: SourceName,
    known: readonly string[],
    { record, source: bytes }: Pick<Asked, "record" | "source">,
    context: RequestContext,
  ): Promise<{ record: SourceRecord; body: Buffer | null }> {
    const { meaning } = record;
    if ("absentStatus" in meaning || known.includes(meaning.sha256)) return { record, body: null };
    return { record, body: bytes ?? (await sources.bytes(source, meaning.sha256, "origin", context)).body };
  }

  async function tellOnce(
    source: SourceName,
    known: readonly string[],
    mustAsk: boolean,
    context: RequestContext,
  ): Promise<ToldSource> {
    const before = await records.load(source.name);
    const use = before === undefined ? undefined : meanings.useOf(before, source.host);
    if (before !== undefined && use?.state === "fresh" && !mustAsk) {
      const outcome: Outcome = { word: "hit", tier: "disk", ttlSeconds: use.ttlSeconds };
      return { ...(await withBytes(source, known, { record: before, source: null }, context)), outcome };
    }
    try {
      const { result, isCollapsed } = meanings.ask(source, before, "origin", context);
      const asked = await result;
      const outcome: Outcome = {
        word: "miss",
        reason: before === undefined ? "uri-miss" : "stale",
        isStored: true,
        isCollapsed,
        detail: asked.source === null ? "validated" : "fetched",
        ttlSeconds: freshnessOf(asked.record, source.host).lifetimeSeconds,
      };
      return { ...(await withBytes(source, known, asked, context)), outcome };
    } catch (error) {
      if (before === undefined || use === undefined || use.state === "expired") throw error;
      if (asNearcastError(error).source !== "origin") throw error;
      const outcome: Outcome = { word: "stale", tier: "disk", reason: "origin-error", ttlSeconds: use.ttlSeconds };
      return { ...(await withBytes(source, known, { record: before, source: null }, context)), outcome };
    }
  }

  return {
    async tell(source, known, context) {
      for (let follows = 1; ; follows += 1) {
        try {
          return await tellOnce(source, known, follows > 1, context);
        } catch (error) {
          if (!(error instanceof SourceReplaced)) throw error;
          if (follows >= followsMax)
            throw new NearcastError("ORIGIN_BAD_ANSWER", `${source.name} changed repeatedly while it was fetched`);
        }
      }
    },
  };
}
