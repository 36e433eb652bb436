/**
 * Sources that are not rendered for a while, because their decoders failed repeatedly: each failure costs a process,
 * and up to its whole time limit. Pure but for what it remembers; the time is passed in.
 *
 *   failure ─▶ failure ─▶ quarantine 30 s ─▶ failure ─▶ 60 s ─▶ … ─▶ 1 h
 *                                       └─▶ success ─▶ forgotten
 *
 * By the hash of the source's bytes: a new version of a picture is another source, and free at once. What is stored of
 * a source in quarantine is delivered as before.
 */
import { LRUCache } from "lru-cache";
import type { ErrorCode } from "#base/errors.ts";

/** A crash may be the system's: the first failure of a source is not yet its own. */
const failuresFree = 1;
const firstMs = 30_000;
const longestMs = 3_600_000;
/** Some 200 B each. One that is pushed out begins anew. */
const sourcesMax = 10_000;
/** A failure is forgotten after this long without another. */
const forgottenMs = 2 * longestMs;

interface Failing {
  failures: number;
  code: ErrorCode;
  untilMs: number;
}

export interface Quarantine {
  /** Undefined: the source may be rendered. */
  readonly check: (source: string, nowMs: number) => { code: ErrorCode; failures: number; leftMs: number } | undefined;
  /** Notes a failure of the decoder that the source is to blame for. */
  readonly failed: (source: string, code: ErrorCode, nowMs: number) => void;
  readonly succeeded: (source: string) => void;
  /** Sources that are in quarantine now. */
  readonly size: (nowMs: number) => number;
}

export function openQuarantine(): Quarantine {
  const sources = new LRUCache<string, Failing>({ max: sourcesMax });
  return {
    check(source, nowMs) {
      const failing = sources.get(source);
      if (failing === undefined || failing.untilMs <= nowMs) return undefined;
      return { code: failing.code, failures: failing.failures, leftMs: failing.untilMs - nowMs };
    },
    failed(source, code, nowMs) {
      const before = sources.get(source);
      const isRecent = before !== undefined && nowMs - before.untilMs < forgottenMs;
      const failures = isRecent ? before.failures + 1 : 1;
      const times = failures - failuresFree - 1;
      const pauseMs = times < 0 ? 0 : Math.min(longestMs, firstMs * 2 ** Math.min(times, 30));
      sources.set(source, { failures, code, untilMs: nowMs + pauseMs });
    },
    succeeded(source) {
      sources.delete(source);
    },
    size(nowMs) {
      let size = 0;
      for (const { untilMs } of sources.values()) if (untilMs > nowMs) size += 1;
      return size;
    },
  };
}
