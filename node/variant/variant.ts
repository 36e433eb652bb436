/**
 * What a URL asks for, in one normal form. grammar.ts makes it, negotiate.ts settles its format, key.ts names it and
 * the decoder pool renders it (there the same shape is called a RenderOrder, because the two directories do not import
 * each other).
 *
 *   ?w=400&dpr=2&auto=format ──parse──▶ { widthPx: 800, fit: "clip", quality: 75, format: "source" } + autoFormat
 *                            ──negotiate(Accept)──▶ the same with format "avif", "webp" or "compatible"
 */

export const fits = ["clip", "crop", "fill", "max", "min", "scale"] as const;
export type Fit = (typeof fits)[number];

/**
 * "source" is the source's own format. "compatible" is what every client can show: JPEG, PNG when the source has
 * alpha, GIF when it is animated.
 */
export const variantFormats = ["source", "compatible", "jpeg", "png", "webp", "avif"] as const;
export type VariantFormat = (typeof variantFormats)[number];

export interface Variant {
  /** Width in px after dpr, 1–8192. Never together with widthFraction. */
  readonly widthPx?: number;
  /** Width as a part of the source's width after dpr, 0.0001–5 in steps of 0.0001. */
  readonly widthFraction?: number;
  readonly heightPx?: number;
  readonly heightFraction?: number;
  /** "clip" or "max" whenever width or height is left open: the other modes need both to differ from these two. */
  readonly fit: Fit;
  /** 1–100, as for JPEG; other encoders translate it. */
  readonly quality: number;
  readonly format: VariantFormat;
  /**
   * Only with format "avif", and only when Accept chose it: what to send instead when the source is animated, or when
   * the picture is too large for AVIF to be made while somebody waits.
   */
  readonly insteadOfAvif?: "webp" | "compatible";
  /** RRGGBBAA in lower-case hex; absent when wholly transparent, which is the default. */
  readonly background?: string;
  /** Largest factor by which a side of the picture may grow; absent: 1, never enlarged. The host's, not the URL's. */
  readonly enlargementMax?: number;
  /** Most pixels of the result; absent: `outputPixelsDefault`. The host's, not the URL's. */
  readonly outputPixelsMax?: number;
}

/** As the default of hosts, and of a decoder. */
const outputPixelsDefault = 33_554_432;

/** A variant as a host allows it. Defaults are left out, so that hosts with equal bounds share what is stored. */
export function withinBounds(
  variant: Variant,
  { enlargementMax, outputPixelsMax }: { readonly enlargementMax: number; readonly outputPixelsMax: number },
): Variant {
  return {
    ...variant,
    ...(enlargementMax === 1 ? {} : { enlargementMax }),
    ...(outputPixelsMax === outputPixelsDefault ? {} : { outputPixelsMax }),
  };
}
