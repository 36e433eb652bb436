/**
 * Which format a client gets for auto=format, from its Accept header (RFC 9110 §12.5.1).
 *
 * AVIF and WebP must be named: browsers that can't show them send wildcards as well, so a wildcard proves nothing.
 * Among the acceptable formats the highest q wins; at equal q, AVIF comes before WebP before "compatible". No request
 * is rejected for its Accept: a client that accepts no picture at all gets "compatible" (the RFC allows a server to
 * disregard Accept).
 *
 * The header is normalised to one of three classes before it touches a key, so no client can make more than that many
 * variants of one picture by writing its header differently.
 */
import type { ParsedVariant } from "./grammar.ts";
import type { Variant } from "./variant.ts";

export type FormatClass = "avif" | "webp" | "compatible";

/** Browsers send up to 200 characters. A longer header is ignored. */
const acceptLengthMax = 2048;
const rangesMax = 64;

export interface Negotiated {
  readonly variant: Variant;
  readonly formatClass: FormatClass;
  /** Whether the answer needs `Vary: Accept`: always with auto=format, also when this client changes nothing. */
  readonly varies: boolean;
}

/** Settles the format of a parsed URL for one client. Without auto=format, Accept has no say. */
export function negotiate(parsed: ParsedVariant, accept: string | undefined): Negotiated {
  const { variant } = parsed;
  if (!parsed.autoFormat) return { variant, formatClass: "compatible", varies: false };
  const weights = weighFormats(accept);
  const formatClass = pickFormat(weights);
  return { variant: withClass(variant, formatClass, weights), formatClass, varies: true };
}

/** The class alone, for callers that need no variant. */
export function formatClassOf(accept: string | undefined): FormatClass {
  return pickFormat(weighFormats(accept));
}

function withClass(variant: Variant, formatClass: FormatClass, weights: Weights): Variant {
  if (formatClass === "avif") {
    return { ...variant, format: "avif", insteadOfAvif: weights.webp > 0 ? "webp" : "compatible" };
  }
  if (formatClass === "webp") return { ...variant, format: "webp" };
  // An explicit fm is what the author wants where neither AVIF nor WebP is understood.
  return variant.format === "source" ? { ...variant, format: "compatible" } : variant;
}

interface Weights {
  avif: number;
  webp: number;
  compatible: number;
}

function pickFormat({ avif, webp, compatible }: Weights): FormatClass {
  if (avif > 0 && avif >= webp && avif >= compatible) return "avif";
  if (webp > 0 && webp >= compatible) return "webp";
  return "compatible";
}

/** The q of each class, 0–1; 0 is "not acceptable". */
function weighFormats(accept: string | undefined): Weights {
  const ranges = new Map<string, number>();
  if (accept !== undefined && accept.length <= acceptLengthMax) {
    for (const element of splitAtCommas(accept).slice(0, rangesMax)) {
      const range = parseRange(element);
      // RFC 9110 does not define repeated ranges: the higher q counts.
      if (range !== undefined) ranges.set(range.name, Math.max(ranges.get(range.name) ?? 0, range.q));
    }
  }
  // The most specific range decides (§12.5.1), so a named q=0 holds against a wildcard.
  const weigh = (name: string): number => ranges.get(name) ?? ranges.get("image/*") ?? ranges.get("*/*") ?? 0;
  return {
    avif: ranges.get("image/avif") ?? 0,
    webp: ranges.get("image/webp") ?? 0,
    compatible: Math.max(weigh("image/jpeg"), weigh("image/png")),
  };
}

/**
 * One element of Accept: `media-range [ ";" parameter ]* [ ";" q=0.5 ]`. Undefined for what can't be read, and for
 * ranges with parameters of their own, which match only media types that carry them; ours carry none.
 */
function parseRange(element: string): { name: string; q: number } | undefined {
  const semicolon = element.indexOf(";");
  const name = (semicolon < 0 ? element : element.slice(0, semicolon)).trim().toLowerCase();
  if (!/^(?:\*\/\*|[a-z0-9!#$&^_.+-]+\/(?:\*|[a-z0-9!#$&^_.+-]+))$/.test(name)) return undefined;
  if (semicolon < 0) return { name, q: 1 };
  // qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ), §12.4.2. What follows it was once accept-ext.
  const weight = /^[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*(?:;|$)/i.exec(element.slice(semicolon + 1));
  return weight === null ? undefined : { name, q: Number(weight[1]) };
}

/** Splits at commas outside of quoted strings (RFC 9110 §5.6.4). */
function splitAtCommas(text: string): string[] {
  if (!text.includes('"')) return text.split(",");
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (isQuoted && character === "\\") at += 1;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === "," && !isQuoted) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
