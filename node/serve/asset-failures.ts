/**
 * The 4xx and 5xx responses of origins, kept for a moment (`limits.originFailureMs`). Meanwhile, all requests get the
 * same response, so an origin in trouble gets one request per second and URL. Used by asset-fetch.ts.
 *
 * The fields of a request may have provoked a 4xx, for example because one is too large. So a 4xx is only for requests
 * with the same fields. A 5xx is for all requests.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "#base/clock.ts";
import type { HeaderPairs } from "../cache/object.ts";
import type { RequestFields } from "../fetch/asset.ts";
import { fieldsKey } from "./asset-key.ts";

/** Its body is for its leader alone unless `isShareable`. */
export interface AssetFailure {
  readonly outcome: "failed";
  readonly status: number;
  readonly pairs: HeaderPairs;
  readonly body: Buffer;
  readonly isShareable: boolean;
  readonly statusBefore: string | null;
}

export interface AssetFailures {
  /** @param fields of the request that met it */
  readonly keep: (key: string, fields: RequestFields, failure: AssetFailure) => void;
  readonly find: (key: string, fields: RequestFields) => AssetFailure | undefined;
  /** An origin that works again is to be asked as if for the first time. */
  readonly clear: () => void;
}

interface Kept {
  readonly untilMs: number;
  /** The fields of the request that met it, if they may have provoked it; null: it is for everyone. */
  readonly fieldsKey: string | null;
  readonly failure: AssetFailure;
}

/** A larger body is for its leader alone, and is not kept. */
export const failureBytesMax = 64 * 1024;
const failuresBytesMax = 16 * 1024 * 1024;
/** The size of an entry without its body. */
const entryBytes = 1024;

/** @param lifetimeMs how long a failure is kept, as configured now */
export function createAssetFailures(clock: Clock, lifetimeMs: () => number): AssetFailures {
  const failures = new LRUCache<string, Kept>({
    maxSize: failuresBytesMax,
    sizeCalculation: ({ failure }) => entryBytes + failure.body.length,
  });
  return {
    keep(key, fields, failure) {
      const isProvoked = failure.status < 500;
      const untilMs = clock.monotonicMs() + lifetimeMs();
      failures.set(key, { untilMs, fieldsKey: isProvoked ? fieldsKey(fields) : null, failure });
    },
    find(key, fields) {
      const kept = failures.get(key);
      if (kept === undefined || kept.untilMs <= clock.monotonicMs()) return undefined;
      return kept.fieldsKey === null || kept.fieldsKey === fieldsKey(fields) ? kept.failure : undefined;
    },
    clear() {
      failures.clear();
    },
  };
}

/** A failure's body for one client, such as one with a cookie, is not for the others (RFC 9111 §3). */
export function mayBeShared(pairs: HeaderPairs): boolean {
  const fields = pairs.map(([name, value]) => [name.toLowerCase(), value] as const);
  if (fields.some(([name]) => name === "set-cookie")) return false;
  return !fields.some(([name, value]) => name === "cache-control" && /\b(?:private|no-store)\b/i.test(value));
}
