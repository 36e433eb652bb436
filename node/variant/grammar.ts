/**
 * The query grammar of `images` hosts: imgix's names and meanings (docs.imgix.com, Rendering API), strictly checked.
 *
 *   w h fit q fm auto dpr bg preset      everything else is ignored and never reaches the key
 *
 * A new parameter touches these places:
 *   grammar.ts                               its value in a URL, and what it means for the variant
 *   variant.ts, key.ts                       the normal form; its part of the cache key and of a question to a peer
 *   node/document/schema/presets.ts          its value in a preset
 *   node/image/picture.ts, messages.ts       its value in a render order, as a decoder process takes it
 *   node/image/geometry.ts, pipeline.ts      what it does to the picture
 *   deploy/docs/image-urls.md                its description
 *
 * Decisions where imgix leaves room or is lenient:
 * - A known parameter given twice is rejected: which of the two wins differs from cache to cache.
 * - q=0 is rejected: no encoder knows it, and presets have the same range.
 * - dpr without w and h does nothing. Where dpr would take a side beyond 8192 px it is lowered for both sides, so that
 *   the proportions stay; the client gets the largest picture there is.
 * - Fractions are rounded to 0.0001, so that one source has a bounded number of variants.
 * - `auto=compress`, which client libraries send together with `format`, asks for what is done anyway.
 * - A preset is a set of defaults; explicit parameters win. An explicit `fm` also switches the preset's `auto` off.
 */
import type { Preset } from "#document/schema/presets.ts";
import { fits, type Fit, type Variant } from "./variant.ts";

/** A comfortable limit for imgix and most encoders; 8192 × 8192 px × 4 B are 268 MB in the decoder. */
const sidePxMax = 8192;
const qualityDefault = 75;

export interface GrammarLimits {
  /** Longer queries are rejected unread: all parameters of this grammar together need less than 200 characters. */
  readonly queryLengthMax: number;
  /** Client libraries add a handful of parameters of their own (`ixlib`, `utm_…`). */
  readonly parametersMax: number;
}
export const grammarLimits: GrammarLimits = { queryLengthMax: 4096, parametersMax: 64 };

export interface Rejection {
  readonly outcome: "rejected";
  /** The parameter, or `query` when the query as a whole can't be read. */
  readonly parameter: string;
  /** As it was given, cut to 100 characters. */
  readonly value: string;
  /** What is accepted, for people: `between 1 and 100`. */
  readonly allowed: string;
}

export interface ParsedVariant {
  readonly outcome: "variant";
  readonly variant: Variant;
  /** True for auto=format: negotiate() chooses the format by Accept, `variant.format` is the fallback. */
  readonly autoFormat: boolean;
}

const formatWords = ["jpg", "png", "webp", "avif"] as const;
type FormatWord = (typeof formatWords)[number];
const formatOf = { jpg: "jpeg", png: "png", webp: "webp", avif: "avif" } as const satisfies Record<FormatWord, string>;

type Side = { readonly px: number } | { readonly fraction: number };

/** The parameters of a query. Each is absent or valid. */
interface Said {
  readonly w?: Side;
  readonly h?: Side;
  readonly fit?: Fit;
  readonly q?: number;
  readonly fm?: FormatWord;
  readonly auto?: boolean;
  readonly dpr?: number;
  readonly bg?: string;
}

interface Parameter {
  /** For people. */
  readonly allowed: string;
  /** Undefined when the text is out of range. */
  readonly read: (text: string) => Said | undefined;
}

function spoken<Value>(
  allowed: string,
  read: (text: string) => Value | undefined,
  say: (value: Value) => Said,
): Parameter {
  return {
    allowed,
    read(text) {
      const value = read(text);
      return value === undefined ? undefined : say(value);
    },
  };
}

const allowedSide = `a whole number of pixels from 1 to ${sidePxMax}, or a fraction above 0 and below 1`;
const parameters: ReadonlyMap<string, Parameter> = new Map([
  ["w", spoken(allowedSide, readSide, (w) => ({ w }))],
  ["h", spoken(allowedSide, readSide, (h) => ({ h }))],
  ["fit", spoken(`one of ${fits.join(", ")}`, readFit, (fit) => ({ fit }))],
  ["q", spoken("a whole number from 1 to 100", readQuality, (q) => ({ q }))],
  ["fm", spoken(`one of ${formatWords.join(", ")}`, readFormat, (fm) => ({ fm }))],
  ["auto", spoken("format", readAuto, (auto) => ({ auto }))],
  ["dpr", spoken("between 0.1 and 5", readRatio, (dpr) => ({ dpr }))],
  ["bg", spoken("3, 4, 6 or 8 hexadecimal digits: RGB, ARGB, RRGGBB or AARRGGBB", readColour, (bg) => ({ bg }))],
]);

/**
 * Reads a URL's query.
 *
 * @param query the raw text, with or without its `?`
 * @param presets of the fleet document
 */
export function parseVariant(
  query: string,
  presets: Readonly<Record<string, Preset>>,
  limits: GrammarLimits = grammarLimits,
): ParsedVariant | Rejection {
  const pairs = decodePairs(query, limits);
  if (!Array.isArray(pairs)) return pairs;

  let said: Said = {};
  let preset: Preset | undefined;
  const seen = new Set<string>();
  for (const [name, text] of pairs) {
    const known = parameters.get(name);
    if (known === undefined && name !== "preset") continue;
    if (seen.has(name)) return rejected(name, text, "given only once");
    seen.add(name);
    if (known === undefined) {
      if (!Object.hasOwn(presets, text)) return rejected(name, text, "the name of a preset in the fleet document");
      preset = presets[text];
    } else {
      const word = known.read(text);
      if (word === undefined) return rejected(name, text, known.allowed);
      said = { ...said, ...word };
    }
  }
  return settle(preset === undefined ? said : { ...saidBy(preset, said), ...said });
}

/** A preset's parameters. They were checked with the fleet document, so only their form changes here. */
function saidBy(preset: Preset, explicit: Said): Said {
  const bg = preset.bg === undefined ? undefined : readColour(preset.bg);
  return {
    ...(preset.w === undefined ? {} : { w: { px: preset.w } }),
    ...(preset.h === undefined ? {} : { h: { px: preset.h } }),
    ...(preset.fit === undefined ? {} : { fit: preset.fit }),
    ...(preset.q === undefined ? {} : { q: preset.q }),
    ...(preset.fm === undefined ? {} : { fm: preset.fm }),
    ...(preset.auto === undefined || explicit.fm !== undefined ? {} : { auto: true }),
    ...(preset.dpr === undefined ? {} : { dpr: preset.dpr }),
    ...(bg === undefined ? {} : { bg }),
  };
}

/** Applies dpr to the sides, and normalizes what makes no difference, so that equal pictures get equal keys. */
function settle(said: Said): ParsedVariant {
  const width = said.w;
  const height = said.h;
  const largestPx = Math.max(pxOf(width), pxOf(height));
  const ratio = largestPx === 0 ? (said.dpr ?? 1) : Math.min(said.dpr ?? 1, sidePxMax / largestPx);
  const variant: Variant = {
    ...(width === undefined ? {} : scaleWidth(width, ratio)),
    ...(height === undefined ? {} : scaleHeight(height, ratio)),
    fit: settleFit(said.fit ?? "clip", width, height),
    quality: said.q ?? qualityDefault,
    format: said.fm === undefined ? "source" : formatOf[said.fm],
    // A fully transparent background, of any color, is the default.
    ...(said.bg === undefined || said.bg.endsWith("00") ? {} : { background: said.bg }),
  };
  return { outcome: "variant", variant, autoFormat: said.auto ?? false };
}

function pxOf(side: Side | undefined): number {
  return side !== undefined && "px" in side ? side.px : 0;
}

function scaleWidth(side: Side, ratio: number): Pick<Variant, "widthPx" | "widthFraction"> {
  return "px" in side ? { widthPx: scalePx(side.px, ratio) } : { widthFraction: scaleFraction(side.fraction, ratio) };
}

function scaleHeight(side: Side, ratio: number): Pick<Variant, "heightPx" | "heightFraction"> {
  return "px" in side ? { heightPx: scalePx(side.px, ratio) } : { heightFraction: scaleFraction(side.fraction, ratio) };
}

function scalePx(px: number, ratio: number): number {
  return Math.max(1, Math.round(px * ratio));
}

function scaleFraction(fraction: number, ratio: number): number {
  // Dividing by an integer gives the double nearest to the decimal; multiplying by 0.0001 would not.
  return Math.max(1, Math.round(fraction * ratio * 10_000)) / 10_000;
}

/** With one side open, there is nothing to crop, pad or distort. The mode only decides whether the picture may grow. */
function settleFit(fit: Fit, width: Side | undefined, height: Side | undefined): Fit {
  if (width !== undefined && height !== undefined) return fit;
  if (width === undefined && height === undefined) return "clip";
  return fit === "max" || fit === "min" ? "max" : "clip";
}

function readSide(text: string): Side | undefined {
  if (/^0?\.[0-9]{1,12}$/.test(text)) {
    const fraction = Number(text);
    return fraction > 0 ? { fraction } : undefined;
  }
  const px = readWhole(text, 1, sidePxMax);
  return px === undefined ? undefined : { px };
}

function readFit(text: string): Fit | undefined {
  return fits.find((one) => one === text);
}

function readFormat(text: string): FormatWord | undefined {
  return formatWords.find((one) => one === text);
}

function readQuality(text: string): number | undefined {
  return readWhole(text, 1, 100);
}

function readWhole(text: string, min: number, max: number): number | undefined {
  if (!/^[0-9]{1,8}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

function readRatio(text: string): number | undefined {
  if (!/^[0-9]{0,3}(?:\.[0-9]{1,12})?$/.test(text) || text === "") return undefined;
  const value = Number(text);
  return value >= 0.1 && value <= 5 ? value : undefined;
}

function readAuto(text: string): boolean | undefined {
  const words = text.split(",", 3);
  if (words.length > 2 || words.some((word) => word !== "format" && word !== "compress")) return undefined;
  return words.includes("format");
}

/** RGB, ARGB, RRGGBB or AARRGGBB → rrggbbaa. */
function readColour(text: string): string | undefined {
  if (!/^(?:[0-9A-Fa-f]{3,4}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})$/.test(text)) return undefined;
  const long = (text.length <= 4 ? text.replace(/./g, "$&$&") : text).toLowerCase();
  return long.length === 6 ? `${long}ff` : `${long.slice(2)}${long.slice(0, 2)}`;
}

function decodePairs(query: string, limits: GrammarLimits): [string, string][] | Rejection {
  const text = query.startsWith("?") ? query.slice(1) : query;
  if (text.length > limits.queryLengthMax)
    return rejected("query", text, `at most ${limits.queryLengthMax} characters`);
  const parts = text.split("&", limits.parametersMax + 1).filter((part) => part !== "");
  const pairs: [string, string][] = [];
  for (const part of parts) {
    const equals = part.indexOf("=");
    const name = decode(equals < 0 ? part : part.slice(0, equals));
    if (name === undefined) return rejected("query", part, "well-formed percent-encoded UTF-8");
    const value = decode(equals < 0 ? "" : part.slice(equals + 1));
    if (value === undefined) return rejected(name.slice(0, 100) || "query", part, "well-formed percent-encoded UTF-8");
    pairs.push([name, value]);
  }
  if (pairs.length <= limits.parametersMax) return pairs;
  return rejected("query", `${pairs.length} or more`, `at most ${limits.parametersMax} parameters`);
}

/** URL Standard, application/x-www-form-urlencoded: `+` is a space. Unlike there, bad escapes are not passed on. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined; // the only thing it throws is URIError
  }
}

function rejected(parameter: string, value: string, allowedText: string): Rejection {
  return { outcome: "rejected", parameter, value: value.slice(0, 100), allowed: allowedText };
}
