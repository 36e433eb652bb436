/**
 * What is wrong with a picture that libvips refuses, as a sentence for whoever took it. Pure.
 *
 * libvips speaks in the terms of its loaders, and for PNG often says nothing at all ("Unknown error"). So the file's
 * own structure is asked first whether its end is missing, which is what is wrong with most; then the message.
 */
import type { PictureType } from "#base/picture-facts.ts";

const fileNames: Readonly<Record<PictureType, string>> = {
  jpeg: "JPEG",
  png: "PNG",
  webp: "WebP",
  gif: "GIF",
  avif: "AVIF",
};

/** What the message is looked through for, the first match counts. */
const findings: readonly (readonly [RegExp, (name: string) => string])[] = [
  [/premature end|unexpected end|bad seek/i, (name) => `the ${name} file ends too early: copy or export it again`],
  [/no frames/i, (name) => `the ${name} file holds no picture`],
  [
    /unsupported (?:marker|feature|image format|colou?r)|not implemented|SOF|arithmetic/i,
    (name) => `this kind of ${name} file is not supported: open it in a picture program and export it again`,
  ],
  [/frame/i, (name) => `a frame of the ${name} file is damaged: export it again`],
  [/corrupt header/i, (name) => `the header of the ${name} file is damaged: copy or export it again`],
];

/** @param said what libvips said, of whichever length and content */
export function whatIsBroken(type: PictureType, source: Buffer, said: string): string {
  const name = fileNames[type];
  const [line = ""] = said.split("\n", 1);
  const finding = isCutOff(type, source)
    ? `the ${name} file is cut off after ${source.length} bytes: copy or export it again`
    : (findings.find(([pattern]) => pattern.test(line))?.[1](name) ??
      `the picture data of the ${name} file are damaged: copy or export it again`);
  const words = decoderWords(line);
  return words === "" ? finding : `${finding} (the decoder says: ${words})`;
}

/** Its own words help whoever looks closer; never those that say nothing, and nothing that could be a path. */
function decoderWords(line: string): string {
  const words = line
    .slice(0, 300)
    .replace(/^Input buffer has corrupt header: ?/, "")
    .replaceAll(/[^\x20-\x7e]|[/\\]/g, " ")
    .trim()
    .slice(0, 120);
  return /unknown error/i.test(words) ? "" : words;
}

/** Whether the file lacks its end by what it says of itself; no decoding, no walk beyond a few boxes. */
function isCutOff(type: PictureType, source: Buffer): boolean {
  switch (type) {
    case "jpeg":
      // Cameras pad behind the end marker.
      return source.lastIndexOf(Buffer.from([0xff, 0xd9])) < 0;
    case "png":
      return source.lastIndexOf("IEND") < 0;
    case "gif":
      return source.lastIndexOf(0x3b) < source.length - 64;
    case "webp":
      return source.length < 12 || source.readUInt32LE(4) + 8 > source.length;
    case "avif":
      return endsInsideBox(source);
  }
}

/** ISO 14496-12 §4.2: a file is a row of boxes, each with its size before it. */
function endsInsideBox(source: Buffer): boolean {
  const boxesMax = 1000;
  let at = 0;
  for (let count = 0; count < boxesMax && at < source.length; count += 1) {
    if (at + 8 > source.length) return true;
    const size = source.readUInt32BE(at);
    // 0: to the end of the file; 1: a 64-bit size follows.
    if (size === 0) return false;
    const isLong = size === 1;
    if (isLong && at + 16 > source.length) return true;
    const whole = isLong ? Number(source.readBigUInt64BE(at + 8)) : size;
    if (whole < 8) return false;
    at += whole;
  }
  return at > source.length;
}
