/**
 * The name of a variant in every cache tier and on every node: SHA-256 over the source's version and the variant's
 * canonical form. Equal pictures have equal keys; anything that can change a byte of the picture changes the key.
 */
import { createHash } from "node:crypto";
import { fits, type Variant, type VariantFormat } from "./variant.ts";

/**
 * Part of every key. Increment it when the pipeline produces different bytes from the same order, so that nodes render
 * again what they have on disk.
 */
const renderingGeneration = 2;

/**
 * One line of text, always in the same order, such as `w=800&fit=clip&q=75&fm=webp`. It uses the query grammar where
 * possible, so for a variant with fractions below 1, parsing the line gives the same variant.
 */
export function canonicalForm(variant: Variant): string {
  const parts: string[] = [];
  const width = variant.widthPx ?? variant.widthFraction;
  const height = variant.heightPx ?? variant.heightFraction;
  if (width !== undefined) parts.push(`w=${sideText(width, variant.widthPx === undefined)}`);
  if (height !== undefined) parts.push(`h=${sideText(height, variant.heightPx === undefined)}`);
  parts.push(`fit=${variant.fit}`);
  // PNG is lossless: its quality changes nothing.
  if (variant.format !== "png") parts.push(`q=${variant.quality}`);
  if (variant.background !== undefined) {
    parts.push(`bg=${variant.background.slice(6)}${variant.background.slice(0, 6)}`);
  }
  if (variant.format === "compatible") parts.push("class=compatible");
  else if (variant.format !== "source") parts.push(`fm=${variant.format === "jpeg" ? "jpg" : variant.format}`);
  if (variant.insteadOfAvif !== undefined) parts.push(`instead=${variant.insteadOfAvif}`);
  if (variant.enlargementMax !== undefined) parts.push(`grow=${variant.enlargementMax.toFixed(4)}`);
  if (variant.outputPixelsMax !== undefined) parts.push(`px=${variant.outputPixelsMax}`);
  return parts.join("&");
}

/** A fraction keeps four decimals, so that `1.0000` of the source and 1 px never meet. */
function sideText(value: number, isFraction: boolean): string {
  return isFraction ? value.toFixed(4) : String(value);
}

/**
 * Parses the output of canonicalForm() from another node. Undefined for any other text, so that two texts never mean
 * the same variant. Only the quality of PNG, which changes nothing, is not recovered.
 */
export function parseCanonicalForm(text: string): Variant | undefined {
  const match = canonicalPattern.exec(text)?.groups;
  if (match === undefined) return undefined;
  const { w, h, q, bg, fm, instead, grow, px } = match;
  const isOpen = w === undefined || h === undefined;
  const fit = fits.find((one) => one === match["fit"]);
  const format = match["compatible"] === undefined ? formatOf(fm) : "compatible";
  if (fit === undefined || format === undefined || (isOpen && fit !== "clip" && fit !== "max")) return undefined;
  if (instead !== undefined && format !== "avif") return undefined;
  const width = readSide(w);
  const height = readSide(h);
  const quality = q === undefined ? 75 : Number(q);
  if (width === undefined || height === undefined || quality < 1 || quality > 100) return undefined;
  if (Number(grow ?? 1) > enlargementMost || Number(px ?? 1) > outputPixelsMost) return undefined;
  const variant: Variant = {
    ...(width.px === undefined ? {} : { widthPx: width.px }),
    ...(width.fraction === undefined ? {} : { widthFraction: width.fraction }),
    ...(height.px === undefined ? {} : { heightPx: height.px }),
    ...(height.fraction === undefined ? {} : { heightFraction: height.fraction }),
    fit,
    quality,
    format,
    ...(bg === undefined ? {} : { background: `${bg.slice(2)}${bg.slice(0, 2)}` }),
    ...(instead === "webp" || instead === "compatible" ? { insteadOfAvif: instead } : {}),
    ...(grow === undefined ? {} : { enlargementMax: Number(grow) }),
    ...(px === undefined ? {} : { outputPixelsMax: Number(px) }),
  };
  return canonicalForm(variant) === text && variant.background?.endsWith("00") !== true ? variant : undefined;
}

/** As in the fleet document: no host allows more. */
const enlargementMost = 10;
const outputPixelsMost = 67_108_864;

const canonicalPattern = new RegExp(
  [
    "^(?:w=(?<w>[0-9.]{1,6})&)?(?:h=(?<h>[0-9.]{1,6})&)?fit=(?<fit>[a-z]{1,5})(?:&q=(?<q>[0-9]{1,3}))?",
    "(?:&bg=(?<bg>[0-9a-f]{8}))?(?:&class=(?<compatible>compatible)|&fm=(?<fm>[a-z]{3,4}))?",
    "(?:&instead=(?<instead>webp|compatible))?",
    "(?:&grow=(?<grow>[1-9][0-9]?\\.[0-9]{4}))?(?:&px=(?<px>[1-9][0-9]{3,7}))?$",
  ].join(""),
);

function formatOf(word: string | undefined): VariantFormat | undefined {
  switch (word) {
    case undefined:
      return "source";
    case "jpg":
      return "jpeg";
    case "png":
    case "webp":
    case "avif":
      return word;
    default:
      return undefined;
  }
}

/**
 * A side in px, 1–8192, as a fraction, 0.0001–5, or open; the notation distinguishes them (sideText). Undefined: out of
 * range.
 */
function readSide(text: string | undefined): { px?: number; fraction?: number } | undefined {
  if (text === undefined) return {};
  const value = Number(text);
  if (/^[0-9]\.[0-9]{4}$/.test(text)) return value > 0 && value <= 5 ? { fraction: value } : undefined;
  return /^[1-9][0-9]{0,3}$/.test(text) && value <= 8192 ? { px: value } : undefined;
}

/**
 * @param sourceVersion what identifies the source's bytes, such as their content hash; without line breaks
 * @returns 64 hexadecimal digits
 */
export function variantKey(sourceVersion: string, variant: Variant): string {
  return createHash("sha256")
    .update(`${renderingGeneration}\n${sourceVersion}\n${canonicalForm(variant)}`)
    .digest("hex");
}
