/**
 * The pictures themselves: what sharp is told. Runs only inside a decoder process (decoder.ts), on hostile bytes.
 *
 *   bytes ─▶ type by the first bytes ─▶ header: size, frames, alpha ─▶ pixel bounds ─▶ format and layout
 *         ─▶ orient, to sRGB, resize, pad, background ─▶ encode without metadata
 *
 * Each function throws a PictureFailure whose code the pool passes on. Whatever libvips says against the bytes is
 * BROKEN_IMAGE: sharp has no error codes, so only the two messages that mean something else are looked for.
 */
import sharp, { type Metadata, type Sharp, type SharpOptions } from "sharp";
import { whatIsBroken } from "./broken-picture.ts";
import { layoutOf, type Layout } from "./geometry.ts";
import { countJpegScans } from "./jpeg-scans.ts";
import { outputFormatOf, outputFramesOf } from "./output-format.ts";
import { PictureFailure } from "./picture-failure.ts";
import { scansMax, type PictureFacts, type PictureType } from "#base/picture-facts.ts";
import { sniffPicture, type RenderOrder } from "./picture.ts";

export interface Bounds {
  /** width × height × frames of a source. */
  readonly pixelsMax: number;
  /** After this libvips gives up by itself, between two rows; the pool's kill comes a little later. */
  readonly timeoutSeconds: number;
}

export interface Rendering {
  readonly body: Buffer;
  readonly type: PictureType;
  readonly width: number;
  readonly height: number;
}

/** All frames of a result together: as much as the largest still picture, 8192 × 8192. */
const resultPixelsMax = 67_108_864;

/** "error" lets pass what browsers show too, such as odd colour profiles, and rejects truncated data. */
const failOn = "error";

/** Tells what a source is, and decodes every row of every frame, so that what is accepted can be rendered later. */
export async function inspectPicture(source: Buffer, bounds: Bounds): Promise<PictureFacts> {
  const header = await readHeader(source);
  refuseTooManyPixels(header, header.frames, bounds.pixelsMax);
  // The width shrinks to a few pixels, the height stays: every row is decoded and nothing large is kept.
  await guarded(
    header.type,
    source,
    sharp(source, openOptions(bounds, header.frames > 1))
      .timeout({ seconds: bounds.timeoutSeconds })
      .resize({ width: Math.min(8, header.codedWidth), height: header.codedHeight, fit: "fill" })
      .raw()
      .toBuffer(),
  );
  return factsOf(header, source);
}

/** Tells what a source is by its header alone, which may be wrong about the rest; little work. */
export async function measurePicture(source: Buffer): Promise<PictureFacts> {
  return factsOf(await readHeader(source), source);
}

function factsOf({ type, width, height, frames, hasAlpha }: Header, source: Buffer): PictureFacts {
  const scans = type === "jpeg" ? countJpegScans(source, scansMax) : 1;
  return { type, width, height, frames, hasAlpha, scans };
}

/** Makes one variant. The result has no metadata, is sRGB with 8 bits a channel, and stands upright. */
export async function renderPicture(source: Buffer, order: RenderOrder, bounds: Bounds): Promise<Rendering> {
  const header = await readHeader(source);
  const layout = layoutOf(header, order);
  const type = outputFormatOf(header, order, layout.size);
  const frames = outputFramesOf(header, type);
  const isAnimated = frames > 1;
  refuseTooManyPixels(header, frames, bounds.pixelsMax);
  const resultPixels = layout.size.width * layout.size.height * frames;
  if (resultPixels > resultPixelsMax) {
    throw new PictureFailure(
      "TOO_MANY_PIXELS",
      `the result would have ${resultPixels} pixels in all its frames; the maximum is ${resultPixelsMax}`,
    );
  }
  const picture = sharp(source, openOptions(bounds, isAnimated)).timeout({ seconds: bounds.timeoutSeconds });
  place(picture, header, order, layout, type);
  encode(picture, type, order.quality);
  const { data, info } = await guarded(header.type, source, picture.toBuffer({ resolveWithObject: true }));
  return { body: data, type, width: info.width, height: info.pageHeight ?? info.height };
}

interface Header extends PictureFacts {
  /** As stored, before the EXIF orientation; of one frame. */
  readonly codedWidth: number;
  readonly codedHeight: number;
  /** More than 8 bits a channel, in a colour space of their own. */
  readonly isDeepWithProfile: boolean;
}

async function readHeader(source: Buffer): Promise<Header> {
  const type = sniffPicture(source);
  if (type === undefined) {
    throw new PictureFailure("UNSUPPORTED_IMAGE", "the bytes are not a JPEG, PNG, WebP, GIF or AVIF picture");
  }
  // No pixel limit here: the header is read without decoding, and the limits of the order are checked on what it says.
  const metadata = await guarded(type, source, sharp(source, { failOn, limitInputPixels: false, pages: 1 }).metadata());
  if (formatOf(metadata) !== type) {
    throw new PictureFailure("UNSUPPORTED_IMAGE", `the bytes begin as ${type} but are ${metadata.format}`);
  }
  const frames = type === "gif" || type === "webp" ? (metadata.pages ?? 1) : 1;
  const codedHeight = frames > 1 ? (metadata.pageHeight ?? metadata.height) : metadata.height;
  const isTurned = frames === 1 && (metadata.orientation ?? 1) >= 5;
  return {
    type,
    width: isTurned ? codedHeight : metadata.width,
    height: isTurned ? metadata.width : codedHeight,
    frames,
    hasAlpha: metadata.hasAlpha,
    codedWidth: metadata.width,
    codedHeight,
    isDeepWithProfile: metadata.hasProfile && metadata.depth !== "uchar",
  };
}

function formatOf(metadata: Metadata): string {
  return metadata.format === "heif" && metadata.compression === "av1" ? "avif" : metadata.format;
}

function refuseTooManyPixels(header: Header, frames: number, pixelsMax: number): void {
  if (header.width * header.height * frames <= pixelsMax) return;
  const size = `${header.width} × ${header.height}${frames > 1 ? ` × ${frames} frames` : ""}`;
  throw new PictureFailure("TOO_MANY_PIXELS", `the picture has ${size} pixels, at most ${pixelsMax} are allowed`);
}

function openOptions(bounds: Bounds, isAnimated: boolean): SharpOptions {
  return {
    failOn,
    // Decoding once more checks what the header said; libvips counts all frames as one tall picture.
    limitInputPixels: bounds.pixelsMax,
    pages: isAnimated ? -1 : 1,
    // Frames of an animation can't be turned; no camera writes one.
    autoOrient: !isAnimated,
  };
}

interface Colour {
  r: number;
  g: number;
  b: number;
  /** 0–1 */
  alpha: number;
}

/**
 * Resizing, padding and background. The colours come out as sRGB whatever profile the source has: sharp converts by
 * default, and drops the profile with all other metadata. Resizing happens in the source's gamma-encoded values; doing
 * it in linear light costs a full decode and would be switched on here.
 */
function place(picture: Sharp, header: Header, order: RenderOrder, layout: Layout, type: PictureType): void {
  const holdsAlpha = type !== "jpeg";
  const asked = readColour(order.background);
  const background = holdsAlpha ? asked : overWhite(asked);
  // Before the resize, so that the padding is the one thing that a transparent background leaves transparent.
  if (header.hasAlpha && background.alpha === 1) picture.flatten({ background });
  const { width, height } = layout.size;
  switch (layout.manner) {
    case "stretch":
      if (width !== header.width || height !== header.height) picture.resize({ width, height, fit: "fill" });
      break;
    case "cover":
      picture.resize({ width, height, fit: "cover", position: "centre" });
      break;
    case "inside":
      picture.resize({ width, height, fit: "contain", background });
      break;
  }
  if (header.hasAlpha && background.alpha > 0 && background.alpha < 1) {
    const { r, g, b, alpha } = background;
    const dot = { raw: { width: 1, height: 1, channels: 4 as const } };
    const pixel = Buffer.from([r, g, b, Math.round(alpha * 255)]);
    picture.composite([{ input: pixel, ...dot, tile: true, blend: "dest-over" }]);
  }
  picture.toColourspace("srgb");
  // With 16 bits a channel sharp converts a profile to Display P3 on the way; this leads on to sRGB, and attaches none.
  if (header.isDeepWithProfile) picture.withIccProfile("srgb", { attach: false });
}

function readColour(rrggbbaa: string | undefined): Colour {
  if (rrggbbaa === undefined) return { r: 255, g: 255, b: 255, alpha: 0 };
  const [r = 0, g = 0, b = 0, a = 0] = Buffer.from(rrggbbaa, "hex");
  return { r, g, b, alpha: a / 255 };
}

function overWhite({ r, g, b, alpha }: Colour): Colour {
  const mix = (part: number): number => Math.round(part * alpha + 255 * (1 - alpha));
  return { r: mix(r), g: mix(g), b: mix(b), alpha: 1 };
}

/**
 * Encoder settings weigh bytes against the time that the first viewer waits. For a 12-megapixel photograph to 800 px
 * the whole rendering takes some 40 ms as JPEG, 60 ms as WebP, 190 ms as AVIF on one slow core; the next step of each
 * (optimised scans, effort 5, effort 4) costs 30 %, 5 % and 300 % more time for 4, 0 and 7 % fewer bytes.
 */
function encode(picture: Sharp, type: PictureType, quality: number): void {
  switch (type) {
    case "jpeg":
      picture.jpeg({ quality, progressive: true, trellisQuantisation: true, overshootDeringing: true });
      break;
    case "png":
      picture.png({ compressionLevel: 6, adaptiveFiltering: true });
      break;
    case "webp":
      picture.webp({ quality, effort: 4 });
      break;
    case "avif":
      picture.avif({ quality: avifQuality(quality), effort: 3, chromaSubsampling: "4:2:0" });
      break;
    case "gif":
      picture.gif({ effort: 4 });
      break;
  }
}

/** AVIF looks as good as JPEG at a lower number: 75 → 60, and 100 stays the best there is. */
function avifQuality(quality: number): number {
  return Math.max(1, Math.round(quality <= 75 ? quality * 0.8 : 60 + (quality - 75) * 1.6));
}

async function guarded<Result>(type: PictureType, source: Buffer, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (message.startsWith("timeout: ")) throw new PictureFailure("DECODER_TIMEOUT", "libvips reached the time limit");
    if (/out of memory|unable to allocate/i.test(message)) {
      throw new PictureFailure("DECODER_MEMORY", "libvips got no memory");
    }
    throw new PictureFailure("BROKEN_IMAGE", whatIsBroken(type, source, message));
  }
}
