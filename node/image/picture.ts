/**
 * The words of this room: what a picture is, what may be ordered of it, and how its type is told from its first bytes.
 * A RenderOrder has the same shape as the Variant of node/variant, which this room does not import.
 */
import type { PictureType } from "#base/picture-facts.ts";

export const mediaTypeOf = {
  jpeg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  gif: "image/gif",
  avif: "image/avif",
} as const satisfies Record<PictureType, string>;
export type MediaType = (typeof mediaTypeOf)[PictureType];

export const fits = ["clip", "crop", "fill", "max", "min", "scale"] as const;
export const orderFormats = ["source", "compatible", "jpeg", "png", "webp", "avif"] as const;

export interface RenderOrder {
  readonly widthPx?: number;
  /** Part of the source's width; above 1 enlarges. */
  readonly widthFraction?: number;
  readonly heightPx?: number;
  readonly heightFraction?: number;
  readonly fit: (typeof fits)[number];
  /** 1–100 on JPEG's scale. */
  readonly quality: number;
  /** "compatible": JPEG; PNG when the source has alpha; GIF when it is animated. */
  readonly format: (typeof orderFormats)[number];
  /** What to make instead of "avif" when the source is animated or AVIF would take too long. */
  readonly insteadOfAvif?: "webp" | "compatible";
  /** RRGGBBAA; absent: transparent, or white where the format has no alpha. */
  readonly background?: string;
  /** Largest factor by which a side of the picture may grow. Absent: 1, never enlarged. */
  readonly enlargementMax?: number;
  /** Pixels of one frame of the result. Absent: `outputPixelsDefault`. */
  readonly outputPixelsMax?: number;
}

/** 33.5 megapixels: a little more than a screen of 8K (7680 × 4320). */
export const outputPixelsDefault = 33_554_432;

/**
 * The type that the first bytes promise, or undefined for anything that is not decoded here. This is the gate before
 * libvips guesses for itself; it never reads beyond the first 64 bytes.
 */
export function sniffPicture(bytes: Uint8Array): PictureType | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(64, bytes.byteLength));
  if (head.length >= 3 && head.readUIntBE(0, 3) === 0xff_d8_ff) return "jpeg";
  const text = head.toString("latin1");
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (text.startsWith("GIF87a") || text.startsWith("GIF89a")) return "gif";
  if (text.startsWith("RIFF") && text.startsWith("WEBP", 8)) return "webp";
  // ISO/IEC 14496-12 file type box: size, "ftyp", major brand, version, compatible brands. HEIC has other brands.
  if (text.startsWith("ftyp", 4) && head.length >= 16) {
    const end = Math.min(head.readUInt32BE(0), head.length);
    for (let at = 8; at + 4 <= end; at += 4) {
      const brand = text.slice(at, at + 4);
      if (at !== 12 && (brand === "avif" || brand === "avis")) return "avif";
    }
  }
  return undefined;
}
