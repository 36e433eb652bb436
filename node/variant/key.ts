/**
 * The name of a variant in every cache tier and on every node: SHA-256 over the source's version and the variant's
 * canonical form. Equal pictures have equal keys; anything that can change a byte of the picture changes the key.
 */
import { createHash } from "node:crypto";
import type { Variant } from "./variant.ts";

/**
 * Part of every key. It grows when the pipeline begins to make other bytes from the same order, so that a node with a
 * disk full of older renderings makes them anew.
 */
const renderingGeneration = 1;

/**
 * One line of text, always in the same order, such as `w=800&fit=clip&q=75&fm=webp`. What the query grammar can say is
 * written in that grammar, so for a variant whose fractions lie below 1 parsing it again gives the same variant.
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
  return parts.join("&");
}

/** A fraction keeps four decimals, so that `1.0000` of the source and 1 px never meet. */
function sideText(value: number, isFraction: boolean): string {
  return isFraction ? value.toFixed(4) : String(value);
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
