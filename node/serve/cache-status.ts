/**
 * Cache-Status (RFC 9211) as another node sends it: read by the rules of structured fields (RFC 9651) and written
 * again, so that a client never gets a peer's own text. Pure.
 *
 *   text ─▶ entries with the parameters of RFC 9211 §2, each in its range ─▶ text in this cache's own form
 *     └─ anything else in it: no entry at all, because an incomplete list would be misleading
 *
 * `ttl` is the remaining lifetime, and negative for what is stale (§2.4). So it is negative only in an entry that used
 * a stale response (`hit`, `fwd=stale`), or that passed on a response that the previous entry had found stale.
 */

interface CacheEntry {
  readonly name: string;
  readonly isHit: boolean;
  readonly forward: string | null;
  readonly forwardStatus: number | null;
  readonly isStored: boolean;
  readonly isCollapsed: boolean;
  readonly ttlSeconds: number | null;
  readonly detail: string | null;
}

/** No legitimate list of caches is longer than this. */
const lengthMax = 1000;
/** Owner, a site with room, its owner, the shield and its owner, and a few more. */
const entriesMax = 8;
/** A hundred years: more is not a lifetime. */
const ttlSecondsMax = 3_155_760_000;

/** RFC 9211 §2.2. */
const forwards: ReadonlySet<string> = new Set("bypass method uri-miss vary-miss miss request stale partial".split(" "));

/** Parts of RFC 9651, each so narrow that it has one reading: one step forward for each character. */
const semicolon = / *; */y;
const equals = /=/y;
const comma = /[ \t]*,[ \t]*/y;
const key = /[a-z*][a-z0-9_.*-]{0,63}/y;
const integer = /-?\d{1,15}(?![\d.])/y;
const token = /[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]{0,99}/y;
const string = /"[ !#-[\]-~]{0,100}"/y;
const no = /\?0/y;
const yes = /\?1/y;

type Value = { readonly kind: "integer"; readonly number: number } | { kind: "text"; text: string } | boolean;

/** The same entries in this cache's own form; null if there are none, or if they say what no cache says. */
export function restated(text: string): string | null {
  const entries = readEntries(text);
  return entries === undefined ? null : entries.map(writeEntry).join(", ");
}

function readEntries(text: string): CacheEntry[] | undefined {
  if (text.length > lengthMax) return undefined;
  const reader = readerOf(text);
  const entries: CacheEntry[] = [];
  while (entries.length < entriesMax) {
    const entry = readEntry(reader, entries.at(-1));
    if (entry === undefined) return undefined;
    entries.push(entry);
    if (reader.isAtEnd()) return entries;
    if (reader.take(comma) === undefined) return undefined;
  }
  return undefined;
}

interface Reader {
  /** The text that matches here, which is then consumed; undefined: no match. */
  take: (pattern: RegExp) => string | undefined;
  isAtEnd: () => boolean;
}

function readerOf(text: string): Reader {
  let at = 0;
  return {
    take(pattern) {
      pattern.lastIndex = at;
      const found = pattern.exec(text)?.[0];
      if (found !== undefined) at += found.length;
      return found;
    },
    isAtEnd: () => at === text.length,
  };
}

function readEntry(reader: Reader, before: CacheEntry | undefined): CacheEntry | undefined {
  const name = readText(reader);
  if (name === undefined || name === "") return undefined;
  const parameters = new Map<string, Value>();
  while (reader.take(semicolon) !== undefined) {
    const found = reader.take(key);
    const value = found === undefined ? undefined : readValue(reader);
    if (found === undefined || value === undefined) return undefined;
    parameters.set(found, value); // The last one with a name counts (RFC 9651 §3.1.2).
  }
  return entryOf(name, parameters, before);
}

function readText(reader: Reader): string | undefined {
  return reader.take(token) ?? reader.take(string)?.slice(1, -1);
}

function readValue(reader: Reader): Value | undefined {
  if (reader.take(equals) === undefined || reader.take(yes) !== undefined) return true;
  if (reader.take(no) !== undefined) return false;
  const number = reader.take(integer);
  if (number !== undefined) return { kind: "integer", number: Number(number) };
  const text = readText(reader);
  return text === undefined ? undefined : { kind: "text", text };
}

/** Undefined: a parameter has a value that RFC 9211 does not allow. Unknown parameters are left out (§2). */
function entryOf(
  name: string,
  parameters: ReadonlyMap<string, Value>,
  before: CacheEntry | undefined,
): CacheEntry | undefined {
  const flag = (of: string): boolean | undefined => {
    const value = parameters.get(of) ?? false;
    return typeof value === "boolean" ? value : undefined;
  };
  const text = (of: string): string | null | undefined => {
    const value = parameters.get(of);
    if (value === undefined) return null;
    return typeof value === "object" && value.kind === "text" ? value.text : undefined;
  };
  const count = (of: string, min: number, max: number): number | null | undefined => {
    const value = parameters.get(of);
    if (value === undefined) return null;
    const isIn = typeof value === "object" && value.kind === "integer" && value.number >= min && value.number <= max;
    return isIn ? value.number : undefined;
  };
  const [isHit, isStored, isCollapsed] = [flag("hit"), flag("stored"), flag("collapsed")];
  const [forward, detail] = [text("fwd"), text("detail")];
  const [forwardStatus, ttlSeconds] = [count("fwd-status", 100, 599), count("ttl", -ttlSecondsMax, ttlSecondsMax)];
  if (isHit === undefined || isStored === undefined || isCollapsed === undefined) return undefined;
  if (forward === undefined || detail === undefined) return undefined;
  if (forwardStatus === undefined || ttlSeconds === undefined) return undefined;
  // `hit` and `fwd` exclude each other (§2.1, §2.2).
  if ((isHit && forward !== null) || (forward !== null && !forwards.has(forward))) return undefined;
  const mayBeStale = isHit || forward === "stale" || (before?.ttlSeconds ?? 0) < 0;
  if (ttlSeconds !== null && ttlSeconds < 0 && !mayBeStale) return undefined;
  return { name, isHit, forward, forwardStatus, isStored, isCollapsed, ttlSeconds, detail };
}

/** In the order in which outcome.ts writes. */
function writeEntry(entry: CacheEntry): string {
  const { name, isHit, forward, forwardStatus, isStored, isCollapsed, ttlSeconds, detail } = entry;
  return [
    writeText(name),
    ...(isHit ? ["hit"] : []),
    ...(forward === null ? [] : [`fwd=${forward}`]),
    ...(forwardStatus === null ? [] : [`fwd-status=${forwardStatus}`]),
    ...(isStored ? ["stored"] : []),
    ...(isCollapsed ? ["collapsed"] : []),
    ...(ttlSeconds === null ? [] : [`ttl=${ttlSeconds}`]),
    ...(detail === null ? [] : [`detail=${writeText(detail)}`]),
  ].join("; ");
}

/** A token if it is one, otherwise a string: the text has no quote and no backslash. */
function writeText(text: string): string {
  token.lastIndex = 0;
  return token.exec(text)?.[0] === text ? text : `"${text}"`;
}
