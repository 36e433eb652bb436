/**
 * Ranges of an asset that is not stored. A player that seeks in a large film wants a few bytes now. Fetching the whole
 * film for them would take a long time and cost the origin much.
 *
 *   range ──▶ a running fetch has the bytes, or nearly? ──▶ read them there
 *        └──▶ request the range from the origin
 *               206 of a small body ──▶ send it, and fetch the whole body in the background
 *               206 of a large body ──▶ send it; the whole body is fetched when its ranges are requested repeatedly
 *               200: no ranges there ─▶ the whole body is arriving: store it, and send the range
 */
import { LRUCache } from "lru-cache";
import type { AssetOrder } from "./order.ts";

/** Where in the body a request wants to begin, if it names a single range (RFC 9110 §14.1.2). */
export function rangeStart({ method, fields }: AssetOrder, lengthBytes: number | null): number | undefined {
  const { range } = fields;
  if (method !== "GET" || typeof range !== "string" || range.length > rangeLengthMax) return undefined;
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range) ?? [];
  if (first !== "") return Number(first);
  if (last === "") return undefined;
  // The last bytes of a body whose length is not known yet may be anywhere.
  return lengthBytes === null ? Number.MAX_SAFE_INTEGER : Math.max(0, lengthBytes - Number(last));
}

const rangeLengthMax = 64;

/** The fields that ask for the same range of the same version (RFC 9110 §13.1.5, §14.2). */
export function rangeFieldsOf({ fields }: AssetOrder): Record<string, string> {
  const { range, "if-range": ifRange } = fields;
  return {
    ...(typeof range === "string" ? { range } : {}),
    ...(typeof ifRange === "string" ? { "if-range": ifRange } : {}),
  };
}

/** The length of the whole body according to a 206; null: it does not say. */
export function wholeLengthOf(contentRange: string | undefined): number | null {
  const [, length] = /^bytes \d{1,15}-\d{1,15}\/(\d{1,15})$/.exec(contentRange ?? "") ?? [];
  return length === undefined ? null : Number(length);
}

/** How far ahead of a running fetch a range may begin and still wait for it. */
export const soonBytes = 1024 * 1024;
/** A body of up to this size is fetched whole in the background after its first range, and for HEAD. */
export const smallBytesMax = 8 * 1024 * 1024;

/** Counts the ranges of a URL, until it is worthwhile to fetch the whole body. */
export interface RangeCounts {
  /** Counts one more; true: the whole is to be fetched. */
  readonly isWholeWorthwhile: (key: string) => boolean;
  /** The whole body is too large to be stored: it is not to be fetched, however many ranges are requested. */
  readonly neverWhole: (key: string) => void;
}

/**
 * With which range of a URL the whole body is fetched, how far apart two ranges may be, and how many URLs are counted.
 */
const wholeAfterRanges = 4;
const countedMs = 60_000;
const countedMax = 10_000;

export function createRangeCounts(): RangeCounts {
  const counts = new LRUCache<string, number>({ max: countedMax, ttl: countedMs });
  return {
    isWholeWorthwhile(key) {
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      return count >= wholeAfterRanges;
    },
    neverWhole(key) {
      counts.set(key, -Infinity);
    },
  };
}
