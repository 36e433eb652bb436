/** Conditions and ranges of a request, judged against the selected response (RFC 9110 §13 and §14). Pure. */
import { pickByteRange } from "#base/byte-range.ts";
import { parseHttpDate } from "../cache/freshness.ts";

export interface Conditions {
  ifMatch: string | undefined;
  ifNoneMatch: string | undefined;
  ifModifiedSince: string | undefined;
  ifUnmodifiedSince: string | undefined;
  range: string | undefined;
  ifRange: string | undefined;
}

export interface Selected {
  status: number;
  etag: string | null;
  lastModified: string | null;
  lengthBytes: number;
}

export type Verdict =
  | { verdict: "whole" }
  | { verdict: "not-modified" }
  | { verdict: "precondition-failed" }
  | { verdict: "part"; start: number; end: number }
  | { verdict: "unsatisfiable" };

/** A longer list of entity tags matches nothing. */
const listLengthMax = 4096;

/** In the order of RFC 9110 §13.2.2. `end` of a part is exclusive. Conditions hold for 200 answers only. */
export function judgeConditions(conditions: Conditions, selected: Selected): Verdict {
  if (selected.status !== 200) return { verdict: "whole" };
  const modifiedMs = parseHttpDate(selected.lastModified ?? undefined);
  if (conditions.ifMatch !== undefined) {
    if (!matches(conditions.ifMatch, selected.etag, "strong")) return { verdict: "precondition-failed" };
  } else if (conditions.ifUnmodifiedSince !== undefined) {
    const sinceMs = parseHttpDate(conditions.ifUnmodifiedSince);
    if (sinceMs !== undefined && modifiedMs !== undefined && modifiedMs > sinceMs) {
      return { verdict: "precondition-failed" };
    }
  }
  if (conditions.ifNoneMatch !== undefined) {
    if (matches(conditions.ifNoneMatch, selected.etag, "weak")) return { verdict: "not-modified" };
  } else if (conditions.ifModifiedSince !== undefined) {
    const sinceMs = parseHttpDate(conditions.ifModifiedSince);
    if (sinceMs !== undefined && modifiedMs !== undefined && modifiedMs <= sinceMs) return { verdict: "not-modified" };
  }
  if (conditions.range === undefined || !isRangeCurrent(conditions.ifRange, selected, modifiedMs)) {
    return { verdict: "whole" };
  }
  return judgeRange(conditions.range, selected.lengthBytes);
}

/** If-Range (RFC 9110 §13.1.5): the validator must match strongly, else the whole is sent. */
function isRangeCurrent(ifRange: string | undefined, selected: Selected, modifiedMs: number | undefined): boolean {
  if (ifRange === undefined) return true;
  if (ifRange.includes('"')) return matches(ifRange, selected.etag, "strong");
  const sinceMs = parseHttpDate(ifRange);
  return sinceMs !== undefined && sinceMs === modifiedMs;
}

function judgeRange(range: string, lengthBytes: number): Verdict {
  const picked = pickByteRange(range, lengthBytes);
  switch (picked.outcome) {
    case "whole":
    case "unsatisfiable":
      return { verdict: picked.outcome };
    case "part":
      return { verdict: "part", start: picked.start, end: picked.end };
  }
}

/** Whether a list of entity tags (or `*`) names this one, by the strong or the weak comparison (RFC 9110 §8.8.3.2). */
function matches(list: string, etag: string | null, comparison: "strong" | "weak"): boolean {
  if (list.trim() === "*") return true;
  if (etag === null || list.length > listLengthMax) return false;
  const opaque = (tag: string): string => tag.replace(/^W\//, "");
  const isWeak = (tag: string): boolean => tag.startsWith("W/");
  for (const [tag] of list.matchAll(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g)) {
    if (opaque(tag) !== opaque(etag)) continue;
    if (comparison === "weak" || (!isWeak(tag) && !isWeak(etag))) return true;
  }
  return false;
}
