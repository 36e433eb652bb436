/**
 * Checks what another node sends as a variant. A peer knows the fleet secret, but may have been compromised: what it
 * calls a picture could be an SVG with a script or an HTML page, which a browser would run under the site's name. Pure.
 */
import type { PictureType } from "#base/picture-facts.ts";
import { type MediaType, mediaTypeOf, sniffPicture } from "#image/picture.ts";
import type { Variant } from "../variant/variant.ts";

/** As the decoders choose (image/pipeline): still, with alpha, or animated decides between these. */
const compatibleTypes = ["jpeg", "png", "gif"] as const satisfies PictureType[];

/** The formats in which this variant can be; which of them it is depends on the source. */
function typesOf({ format, insteadOfAvif }: Variant): readonly PictureType[] {
  switch (format) {
    case "source":
      return ["jpeg", "png", "webp", "gif", "avif"];
    case "compatible":
      return compatibleTypes;
    case "jpeg":
    case "png":
    case "webp":
      return [format];
    case "avif":
      if (insteadOfAvif === undefined) return ["avif"];
      return insteadOfAvif === "webp" ? ["avif", "webp"] : ["avif", ...compatibleTypes];
  }
}

/** The media type of these bytes; undefined if they are not a picture, or have a format that was not requested. */
export function typeOfRelayed(bytes: Uint8Array, variant: Variant): MediaType | undefined {
  const type = sniffPicture(bytes);
  return type !== undefined && typesOf(variant).includes(type) ? mediaTypeOf[type] : undefined;
}
