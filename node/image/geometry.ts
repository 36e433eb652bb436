/**
 * From a source's size and an order to exact pixels: imgix's fit modes as arithmetic, without a picture.
 *
 *   source 300 × 200, w=100 h=100
 *   clip  100 × 67   inside the box                        max   the same, but never enlarged
 *   crop  100 × 100  covers the box, rest cut off           min   as crop, box shrunk until the source can fill it
 *   fill  100 × 100  67 high inside, padded                 scale 100 × 100, distorted
 *
 * With one of w and h, the other follows from the proportions. With none, the picture keeps its size.
 *
 * Three bounds hold for every result: no side exceeds sidePxMax, the picture is not enlarged by more than the order's
 * enlargementMax, and there are no more pixels than its outputPixelsMax. Beyond one of them the whole result, padding
 * included, is reduced in proportion.
 */
import { outputPixelsDefault, type RenderOrder } from "./picture.ts";

/** As in the query grammar; also the bound of a picture that is served in its own size. */
export const sidePxMax = 8192;

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Layout {
  /** The result. */
  readonly size: Size;
  /**
   * How the source gets there: "stretch" to `size` (the proportions are right, or meant to be wrong), "cover" and cut
   * the rest, or fit "inside" and pad.
   */
  readonly manner: "stretch" | "cover" | "inside";
}

/** @param source its size as shown, in px */
export function layoutOf(source: Size, order: RenderOrder): Layout {
  const { manner, width, height } = boxOf(source, order);
  const { enlargementMax = 1, outputPixelsMax = outputPixelsDefault } = order;
  // The whole box shrinks, so that the proportions stay as requested.
  const grown = enlargementOf(manner, width / source.width, height / source.height);
  const factor = Math.min(1, enlargementMax / grown, sidePxMax / Math.max(width, height));
  return { size: withinPixels(width * factor, height * factor, outputPixelsMax), manner };
}

/** The result before its bounds, in parts of a px. */
interface Box extends Size {
  readonly manner: Layout["manner"];
}

function boxOf(source: Size, order: RenderOrder): Box {
  const width = sideOf(order.widthPx, order.widthFraction, source.width);
  const height = sideOf(order.heightPx, order.heightFraction, source.height);
  if (width === undefined || height === undefined) {
    const wanted = width === undefined ? (height ?? source.height) / source.height : width / source.width;
    return stretched(source, order.fit === "max" || order.fit === "min" ? Math.min(1, wanted) : wanted);
  }
  const inside = Math.min(width / source.width, height / source.height);
  switch (order.fit) {
    case "max":
      return stretched(source, Math.min(1, inside));
    case "clip":
      return stretched(source, inside);
    case "min": {
      // The box, reduced until the source covers it without being enlarged.
      const factor = Math.min(1, source.width / width, source.height / height);
      return { width: width * factor, height: height * factor, manner: "cover" };
    }
    case "crop":
    case "fill":
    case "scale":
      return { width, height, manner: mannerOf[order.fit] };
  }
}

const mannerOf = { crop: "cover", fill: "inside", scale: "stretch" } as const;

function stretched(source: Size, factor: number): Box {
  return { width: source.width * factor, height: source.height * factor, manner: "stretch" };
}

function sideOf(px: number | undefined, fraction: number | undefined, sourcePx: number): number | undefined {
  if (px !== undefined) return px;
  return fraction === undefined ? undefined : Math.max(1, fraction * sourcePx);
}

/** How much the side of the picture grows that grows most, if the box is `x` times as wide and `y` times as high. */
function enlargementOf(manner: Layout["manner"], x: number, y: number): number {
  return manner === "inside" ? Math.min(x, y) : Math.max(x, y);
}

function withinPixels(width: number, height: number, pixelsMax: number): Size {
  const factor = Math.min(1, Math.sqrt(pixelsMax / (width * height)));
  const size = { width: wholePx(width * factor), height: wholePx(height * factor) };
  // Rounding up may pass the bound by some pixels, and so does a side that can't be below 1.
  if (size.width * size.height <= pixelsMax) return size;
  return size.width >= size.height
    ? { ...size, width: Math.max(1, Math.floor(pixelsMax / size.height)) }
    : { ...size, height: Math.max(1, Math.floor(pixelsMax / size.width)) };
}

function wholePx(px: number): number {
  return Math.min(sidePxMax, Math.max(1, Math.round(px)));
}
