/**
 * From a source's size and an order to exact pixels: imgix's fit modes as arithmetic, without a picture.
 *
 *   source 300 × 200, w=100 h=100
 *   clip  100 × 67   inside the box                        max   the same, but never enlarged
 *   crop  100 × 100  covers the box, rest cut off           min   as crop, box shrunk until the source can fill it
 *   fill  100 × 100  67 high inside, padded                 scale 100 × 100, distorted
 *
 * With one of w and h, the other follows from the proportions. With none, the picture keeps its size. No side of a
 * result exceeds sidePxMax: beyond it the whole result is reduced in proportion.
 */
import type { RenderOrder } from "./picture.ts";

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
  const width = sideOf(order.widthPx, order.widthFraction, source.width);
  const height = sideOf(order.heightPx, order.heightFraction, source.height);
  if (width === undefined || height === undefined) {
    const wanted = width === undefined ? (height ?? source.height) / source.height : width / source.width;
    const grown = order.fit === "max" || order.fit === "min" ? Math.min(1, wanted) : wanted;
    return stretched(source, grown);
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
      return { size: bounded(width * factor, height * factor), manner: "cover" };
    }
    case "crop":
    case "fill":
    case "scale":
      break;
  }
  return { size: bounded(width, height), manner: mannerOf[order.fit] };
}

const mannerOf = { crop: "cover", fill: "inside", scale: "stretch" } as const;

function stretched(source: Size, factor: number): Layout {
  return { size: bounded(source.width * factor, source.height * factor), manner: "stretch" };
}

function sideOf(px: number | undefined, fraction: number | undefined, sourcePx: number): number | undefined {
  if (px !== undefined) return px;
  return fraction === undefined ? undefined : Math.max(1, fraction * sourcePx);
}

function bounded(width: number, height: number): Size {
  const factor = Math.min(1, sidePxMax / Math.max(width, height));
  return { width: wholePx(width * factor), height: wholePx(height * factor) };
}

function wholePx(px: number): number {
  return Math.min(sidePxMax, Math.max(1, Math.round(px)));
}
