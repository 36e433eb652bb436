/**
 * RFC 9111 as pure functions: whether a shared cache may store a response, how long it is fresh, how old it is, and how
 * long it may be used stale (RFC 5861). Also CDN-Cache-Control (RFC 9213), which overrides Cache-Control here.
 *
 * Times are wall-clock milliseconds; durations are seconds.
 */
export type Directives = ReadonlyMap<string, string | null>;

/** A field value this long names more than any cache needs; it is taken to forbid what it could. */
const fieldLengthMax = 4096;
/** RFC 9111 §1.2.2: a delta-seconds above 2^31 means "for ever". */
const deltaSecondsMax = 2_147_483_648;

/** Parses Cache-Control (RFC 9111 §5.2): lower-case name → value without quotes, or null. The first of equals wins. */
export function parseCacheControl(field: string | undefined): Directives {
  const directives = new Map<string, string | null>();
  if (field === undefined) return directives;
  if (field.length > fieldLengthMax) return directives.set("no-store", null);
  const pattern = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?/g;
  for (const [, name = "", quoted, plain] of field.matchAll(pattern)) {
    const key = name.toLowerCase();
    if (!directives.has(key)) directives.set(key, quoted?.replaceAll(/\\(.)/g, "$1") ?? plain ?? null);
  }
  return directives;
}

/** Delta-seconds; a value that is no number counts as 0, the careful reading (RFC 9111 §4.2.1). */
export function secondsOf(directives: Directives, name: string): number | undefined {
  if (!directives.has(name)) return undefined;
  const text = directives.get(name) ?? "";
  return /^\d+$/.test(text) ? Math.min(Number(text), deltaSecondsMax) : 0;
}

/** What of an answer decides its storing: names in lower case. */
export interface AnswerFields {
  readonly status: number;
  readonly cacheControl: string | undefined;
  readonly cdnCacheControl: string | undefined;
  readonly expires: string | undefined;
  readonly date: string | undefined;
  readonly age: string | undefined;
  readonly vary: string | undefined;
  readonly hasSetCookie: boolean;
}

/** What holds where the answer itself says nothing. */
export interface FreshnessDefaults {
  freshSeconds: number;
  negativeSeconds: number;
  staleWhileRevalidateSeconds: number;
  staleIfErrorSeconds: number;
}

export interface Freshness {
  /** When the answer's age was 0 (RFC 9111 §4.2.3). */
  readonly bornAtMs: number;
  readonly lifetimeSeconds: number;
  readonly staleWhileRevalidateSeconds: number;
  readonly staleIfErrorSeconds: number;
}

export type Storability =
  | { outcome: "store"; freshness: Freshness; varyFields: readonly string[] }
  | { outcome: "bypass"; reason: BypassReason };

export type BypassReason =
  "status" | "no-store" | "private" | "set-cookie" | "vary-any" | "vary-cookie" | "partial" | "no-lifetime";

/**
 * Status codes that this cache understands and may keep: those of RFC 9110 §15.1 "heuristically cacheable", less 206,
 * and 302 and 307, which need a lifetime of their own (RFC 9111 §3).
 */
const storableStatuses = new Set([200, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501]);
const explicitStatuses = new Set([302, 307]);
/** Kept without explicit lifetime only for the host's default. */
const negativeStatuses = new Set([404, 405, 410, 414, 501]);

/**
 * @param requestedAtMs when the request left, and receivedAtMs when the answer came: the age is corrected by both
 */
export function judgeStorability(
  answer: AnswerFields,
  times: { requestedAtMs: number; receivedAtMs: number },
  defaults: FreshnessDefaults,
): Storability {
  if (answer.status === 206) return { outcome: "bypass", reason: "partial" };
  if (!storableStatuses.has(answer.status)) return { outcome: "bypass", reason: "status" };
  const targeted = parseCacheControl(answer.cdnCacheControl);
  const isTargeted = targeted.size > 0;
  const directives = isTargeted ? targeted : parseCacheControl(answer.cacheControl);
  if (directives.has("no-store")) return { outcome: "bypass", reason: "no-store" };
  if (directives.has("private")) return { outcome: "bypass", reason: "private" };
  if (answer.hasSetCookie) return { outcome: "bypass", reason: "set-cookie" };
  const varyFields = parseVary(answer.vary);
  if (varyFields === "any") return { outcome: "bypass", reason: "vary-any" };
  if (varyFields.includes("cookie") || varyFields.includes("authorization")) {
    return { outcome: "bypass", reason: "vary-cookie" };
  }
  const dateMs = parseHttpDate(answer.date) ?? times.receivedAtMs;
  // RFC 9111 §4.2.3: the larger of the apparent age and the corrected Age field.
  const apparentAgeMs = Math.max(0, times.receivedAtMs - dateMs);
  // Of several Age values the first counts (RFC 9111 §5.1).
  const ageField = answer.age?.split(",", 1)[0]?.trim() ?? "";
  const ageFieldMs = /^\d+$/.test(ageField) ? Math.min(Number(ageField), deltaSecondsMax) * 1000 : 0;
  const correctedAgeMs = ageFieldMs + (times.receivedAtMs - times.requestedAtMs);
  const bornAtMs = times.receivedAtMs - Math.max(apparentAgeMs, correctedAgeMs);

  const fallback = negativeStatuses.has(answer.status)
    ? defaults.negativeSeconds
    : [301, 308, 302, 307].includes(answer.status)
      ? 0
      : defaults.freshSeconds;
  const explicitSeconds =
    secondsOf(directives, "s-maxage") ??
    secondsOf(directives, "max-age") ??
    (isTargeted ? undefined : expiresLifetime(answer.expires, dateMs));
  if (explicitStatuses.has(answer.status) && explicitSeconds === undefined && !directives.has("public")) {
    return { outcome: "bypass", reason: "no-lifetime" };
  }
  const lifetimeSeconds = directives.has("no-cache") ? 0 : (explicitSeconds ?? fallback);
  // RFC 9111 §5.2.2.2 and .8 forbid any use while stale. s-maxage implies the same (§5.2.2.10), but who writes
  // stale-while-revalidate beside it means shared caches like this one.
  const forbidsStale = ["must-revalidate", "proxy-revalidate", "no-cache"].some((name) => directives.has(name));
  const allowed = (name: string, fallbackSeconds: number): number => {
    if (forbidsStale) return 0;
    return secondsOf(directives, name) ?? (directives.has("s-maxage") ? 0 : fallbackSeconds);
  };
  const staleWhileRevalidateSeconds = allowed("stale-while-revalidate", defaults.staleWhileRevalidateSeconds);
  const staleIfErrorSeconds = allowed("stale-if-error", defaults.staleIfErrorSeconds);
  const freshness = { bornAtMs, lifetimeSeconds, staleWhileRevalidateSeconds, staleIfErrorSeconds };
  return { outcome: "store", freshness, varyFields };
}

/** An Expires that can't be read means "already expired" (RFC 9111 §5.3). */
function expiresLifetime(expires: string | undefined, dateMs: number): number | undefined {
  if (expires === undefined) return undefined;
  const expiresMs = parseHttpDate(expires);
  return expiresMs === undefined ? 0 : Math.max(0, Math.floor((expiresMs - dateMs) / 1000));
}

/** The selecting field names in lower case, sorted; `any` for `*`. */
export function parseVary(field: string | undefined): readonly string[] | "any" {
  if (field === undefined) return [];
  if (field.length > fieldLengthMax) return "any";
  const names = field
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  if (names.includes("*")) return "any";
  return [...new Set(names)].toSorted();
}

const time = "[0-2]\\d:[0-5]\\d:[0-6]\\d";
const month = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
const dateForms = [
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\\d ${month} \\d{4} ${time} GMT$`),
  new RegExp(`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, [0-3]\\d-${month}-\\d{2} ${time} GMT$`),
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} [ 0-3]\\d ${time} \\d{4}$`),
];

/**
 * IMF-fixdate and the two obsolete forms (RFC 9110 §5.6.7), as wall-clock milliseconds. Nothing else that
 * `Date.parse` would guess at: other zones and loose forms are no dates of HTTP.
 */
export function parseHttpDate(text: string | undefined): number | undefined {
  if (text === undefined || !dateForms.some((form) => form.test(text))) return undefined;
  // asctime has no zone, and means UTC.
  const ms = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(ms) ? undefined : ms;
}

export type Use =
  | { state: "fresh"; ageSeconds: number; ttlSeconds: number }
  /** Answer now, revalidate behind. */
  | { state: "stale-revalidate"; ageSeconds: number; ttlSeconds: number }
  /** Revalidate first; on error it may still be used. */
  | { state: "stale-if-error"; ageSeconds: number; ttlSeconds: number }
  | { state: "expired"; ageSeconds: number; ttlSeconds: number };

/** How a stored answer may be used now. `ttlSeconds` is negative for how long it has been stale. */
export function judgeUse(freshness: Freshness, nowMs: number): Use {
  const age = Math.max(0, (nowMs - freshness.bornAtMs) / 1000);
  const ageSeconds = Math.floor(age);
  const ttlSeconds = Math.ceil(freshness.lifetimeSeconds - age);
  const staleFor = age - freshness.lifetimeSeconds;
  if (staleFor < 0) return { state: "fresh", ageSeconds, ttlSeconds };
  if (staleFor < freshness.staleWhileRevalidateSeconds) return { state: "stale-revalidate", ageSeconds, ttlSeconds };
  if (staleFor < freshness.staleIfErrorSeconds) return { state: "stale-if-error", ageSeconds, ttlSeconds };
  return { state: "expired", ageSeconds, ttlSeconds };
}
