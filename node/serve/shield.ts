/**
 * The shield: tells nodes of other sites what a name stands for, so that the origin gets one request for each source.
 *
 *   record fresh ──▶ sent as it is, with its age and, if the other node lacks them, the bytes from disk
 *   else ──────────▶ the origin is asked first; while it fails or is late, a stale record that may be used then is sent
 *
 * Meanwhile, the other node answers its own clients with what it has, so the shield sends stale records only if it
 * must.
 */
import type { Records, SourceRecord } from "../cache/records.ts";
import type { Asked, Meanings } from "./meaning.ts";
import type { ColdTurns } from "./cold-turns.ts";
import type { Outcome } from "../deliver/outcome.ts";
import { type RequestContext, unending, until } from "./request-context.ts";
import { run } from "./machine.ts";
import type { Patience } from "./patience.ts";
import { followSource, type SourceName, type Sources } from "./source.ts";
import { freshnessOf, staleWaitMsOf } from "./source-freshness.ts";

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

export function createShield(parts: {
  records: Records;
  meanings: Meanings;
  sources: Sources;
  patience: Patience;
  coldTurns: ColdTurns;
}): Shield {
  const { records, meanings, sources, patience, coldTurns } = parts;

  /** The record, with the bytes if the asker lacks them: from disk, or else from the origin alone. */
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

  async function ask(
    source: SourceName,
    known: readonly string[],
    before: SourceRecord | undefined,
    context: RequestContext,
  ): Promise<ToldSource> {
    if (!meanings.isUnderWay(source, "origin")) {
      const turn = coldTurns.take(context, source.name);
      if (turn !== true) await turn;
    }
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
  }

  return {
    tell: async (source, known, context) =>
      await run<SourceRecord, ToldSource>({
        async lookUp() {
          const record = await records.load(source.name);
          if (record === undefined) return undefined;
          const use = meanings.useOf(record, source.host);
          return { entry: record, use: use.state === "stale-revalidate" ? { ...use, state: "stale-if-error" } : use };
        },
        async deliver({ entry: record, use: { ttlSeconds } }, because) {
          const outcome: Outcome =
            because === "fresh"
              ? { word: "hit", tier: "disk", ttlSeconds }
              : { word: "stale", tier: "disk", reason: because, ttlSeconds };
          return { ...(await withBytes(source, known, { record, source: null }, context)), outcome };
        },
        ask: (before, late) => followSource(source, () => ask(source, known, before?.entry, until(context, late))),
        async askBehind({ entry: before }) {
          // The request that asked first reports the failure.
          try {
            if (!meanings.isUnderWay(source, "origin")) await coldTurns.takeBehind(source.name);
            await meanings.ask(source, before, "origin", unending(context)).result;
          } catch {
            // The stale record has been sent.
          }
        },
        waiting: { patience, key: source.name, waitMsFor: (record) => staleWaitMsOf(record, source.host) },
      }),
  };
}
