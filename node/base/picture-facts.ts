/**
 * What a source picture is, and how HTTP fields carry it: the origin records it at the upload and sends it with the
 * source, and a shield passes it on. So an edge knows what a rendering will cost before it has the bytes. Pure.
 */

export const pictureTypes = ["jpeg", "png", "webp", "gif", "avif"] as const;
export type PictureType = (typeof pictureTypes)[number];

/** What an upload turned out to be. */
export interface PictureFacts {
  readonly type: PictureType;
  /** Width in px as displayed, that is, after the EXIF orientation. */
  readonly width: number;
  readonly height: number;
  /** 1 for a still picture. */
  readonly frames: number;
  readonly hasAlpha: boolean;
  /** How often decoding passes over all pixels: above 1 for a progressive JPEG. Absent: unknown. */
  readonly scans?: number;
}

/** More scans count as this many; libvips refuses more than a hundred. */
export const scansMax = 1000;

const names = {
  type: "nearcast-type",
  width: "nearcast-width",
  height: "nearcast-height",
  frames: "nearcast-frames",
  alpha: "nearcast-alpha",
  scans: "nearcast-scans",
} as const;

/** Beyond these, a number can't belong to a picture. */
const sidePxMost = 1_000_000;
const framesMost = 10_000_000;

export function writePictureFields({ type, width, height, frames, hasAlpha, scans }: PictureFacts) {
  return {
    [names.type]: type,
    [names.width]: String(width),
    [names.height]: String(height),
    [names.frames]: String(frames),
    [names.alpha]: hasAlpha ? "1" : "0",
    ...(scans === undefined ? {} : { [names.scans]: String(scans) }),
  };
}

/** Undefined: they are missing, as from an earlier release, or invalid. */
export function readPictureFields(
  fields: Readonly<Record<string, string | string[] | undefined>>,
): PictureFacts | undefined {
  const type = pictureTypes.find((one) => one === fields[names.type]);
  const width = readNumber(fields[names.width], sidePxMost);
  const height = readNumber(fields[names.height], sidePxMost);
  const frames = readNumber(fields[names.frames], framesMost);
  const scans = readNumber(fields[names.scans], scansMax);
  if (type === undefined || width === undefined || height === undefined || frames === undefined) return undefined;
  return {
    type,
    width,
    height,
    frames,
    hasAlpha: fields[names.alpha] === "1",
    ...(scans === undefined ? {} : { scans }),
  };
}

function readNumber(text: string | string[] | undefined, most: number): number | undefined {
  const value = typeof text === "string" && /^[1-9]\d{0,7}$/.test(text) ? Number(text) : Infinity;
  return value <= most ? value : undefined;
}
