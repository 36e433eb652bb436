/** In which format an order comes out. Pure: the pipeline acts on it, and the estimate of the cost foretells it. */
import type { Size } from "./geometry.ts";
import type { PictureFacts, PictureType } from "#base/picture-facts.ts";
import type { RenderOrder } from "./picture.ts";

/**
 * Beyond this, "avif" that Accept chose becomes `insteadOfAvif`: at effort 3 AVIF takes a quarter of a second for each
 * million pixels, while somebody waits.
 */
const unaskedAvifPixelsMax = 4_000_000;

/** @param size of the result */
export function outputFormatOf(
  source: Pick<PictureFacts, "type" | "frames" | "hasAlpha">,
  order: RenderOrder,
  size: Size,
): PictureType {
  const compatible = source.frames > 1 ? "gif" : source.hasAlpha ? "png" : "jpeg";
  if (order.format === "source") return source.type;
  if (order.format === "compatible") return compatible;
  if (order.format !== "avif" || order.insteadOfAvif === undefined) return order.format;
  const isTooLarge = size.width * size.height > unaskedAvifPixelsMax;
  if (source.frames === 1 && !isTooLarge) return "avif";
  return order.insteadOfAvif === "webp" ? "webp" : compatible;
}

/** Frames that the result has: the other formats take the first. */
export function outputFramesOf(source: Pick<PictureFacts, "frames">, format: PictureType): number {
  return format === "gif" || format === "webp" ? source.frames : 1;
}
