/**
 * Whatever is wrong with a picture, the refusal says so in a sentence: cut, flipped, filled, of another kind, empty.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import sharp, { type Sharp } from "sharp";
import { whatIsBroken } from "../../../node/image/broken-picture.ts";
import { PictureFailure } from "../../../node/image/picture-failure.ts";
import type { PictureType } from "../../../node/base/picture-facts.ts";
import { inspectPicture } from "../../../node/image/pipeline.ts";

const bounds = { pixelsMax: 50_000_000, timeoutSeconds: 10 };
const size = { width: 90, height: 70 };

async function pictures(): Promise<[PictureType, string, Buffer][]> {
  const noise = { type: "gaussian", mean: 120, sigma: 50 } as const;
  const still = (): Sharp => sharp({ create: { ...size, channels: 3, background: "#777", noise } });
  const rows = await sharp({ create: { width: 40, height: 90, channels: 4, background: "#7f08" } })
    .raw()
    .toBuffer();
  const moving = (): Sharp => sharp(rows, { raw: { width: 40, height: 90, channels: 4, pageHeight: 30 } });
  return [
    ["jpeg", "baseline", await still().jpeg().toBuffer()],
    ["jpeg", "progressive", await still().jpeg({ progressive: true }).toBuffer()],
    ["png", "plain", await still().png().toBuffer()],
    ["png", "interlaced", await still().png({ progressive: true }).toBuffer()],
    ["png", "palette", await still().png({ palette: true }).toBuffer()],
    ["webp", "lossy", await still().webp().toBuffer()],
    ["webp", "lossless", await still().webp({ lossless: true }).toBuffer()],
    ["webp", "animated", await moving().webp().toBuffer()],
    ["gif", "still", await still().gif().toBuffer()],
    ["gif", "animated", await moving().gif().toBuffer()],
    ["avif", "still", await still().avif({ effort: 0 }).toBuffer()],
  ];
}

/** A generator of numbers that are the same each time, so that a failure can be seen again. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state % below;
  };
}

async function detailOf(source: Buffer): Promise<string | undefined> {
  try {
    await inspectPicture(source, bounds);
    return undefined;
  } catch (error) {
    assert(error instanceof PictureFailure, String(error));
    return error.message;
  }
}

test("no refusal of a damaged picture is empty, says Unknown error, or names a path", async () => {
  const below = numbers(20);
  let refused = 0;
  for (const [type, kind, good] of await pictures()) {
    const damaged: [string, Buffer][] = [];
    for (let part = 1; part < 20; part += 1) {
      damaged.push([`cut at ${part}/20`, good.subarray(0, Math.floor((good.length * part) / 20))]);
    }
    for (let round = 0; round < 40; round += 1) {
      const flipped = Buffer.from(good);
      const at = round < 25 ? 8 + below(Math.min(150, good.length - 8)) : below(good.length);
      flipped[at] = below(256);
      damaged.push([`byte ${at} is ${flipped[at]}`, flipped]);
    }
    for (const value of [0, 255]) {
      const from = Math.floor(good.length / 2);
      damaged.push([`${value} from the middle on`, Buffer.from(good).fill(value, from)]);
      damaged.push([`${value} in the header`, Buffer.from(good).fill(value, 16, 40)]);
    }
    for (const [how, source] of damaged) {
      const detail = await detailOf(source);
      if (detail === undefined) continue;
      refused += 1;
      const row = `${kind} ${type}, ${how}: ${detail}`;
      assert.doesNotMatch(detail, /unknown error|\/|\\|undefined|buffer has corrupt/i, row);
      assert.match(detail, /^(?:the|this|a) .{20,}/, row);
      if (how.startsWith("cut") && !detail.includes("bytes are not a")) {
        assert.match(detail, /cut off|ends too early|damaged|not supported/, row);
      }
    }
  }
  assert.ok(refused > 300, `${refused} were refused`);
});

test("a file that lacks its end is called cut off, whatever libvips says", async () => {
  for (const [type, kind, good] of await pictures()) {
    const detail = await detailOf(good.subarray(0, Math.floor(good.length * 0.7)));
    assert.match(detail ?? "", /is cut off after \d+ bytes|ends too early/, `${kind} ${type}: ${detail}`);
  }
});

test("each finding of libvips becomes a sentence", () => {
  const rows: [PictureType, string, RegExp][] = [
    ["gif", "gifload_buffer: no frames in GIF", /^the GIF file holds no picture/],
    ["gif", "gifload_buffer: Invalid frame data", /^a frame of the GIF file is damaged/],
    ["jpeg", "VipsJpeg: Unsupported marker type 0x40", /^this kind of JPEG file is not supported/],
    ["jpeg", "VipsJpeg: premature end of JPEG image", /^the JPEG file ends too early/],
    ["png", "Unknown error", /^the picture data of the PNG file are damaged: copy or export it again$/],
    ["png", "", /^the picture data of the PNG file are damaged: copy or export it again$/],
    ["png", "Input buffer has corrupt header: ", /^the header of the PNG file is damaged/],
    ["avif", "heif: /usr/lib/x.so: bad\u0007", /\(the decoder says: heif: {2}usr lib x\.so: bad\)$/],
  ];
  const whole: Record<PictureType, Buffer> = {
    jpeg: Buffer.from([0xff, 0xd8, 0xff, 0xd9]),
    png: Buffer.from("IEND"),
    gif: Buffer.from(";"),
    webp: Buffer.from("RIFF\x04\0\0\0WEBP", "latin1"),
    avif: Buffer.from("\0\0\0\x08ftyp", "latin1"),
  };
  for (const [type, said, sentence] of rows) assert.match(whatIsBroken(type, whole[type], said), sentence, said);
});
