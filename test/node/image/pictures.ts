/** Pictures for tests, made on the spot by sharp, and the bytes of some that no encoder would make. */
import sharp, { type Sharp } from "sharp";
import { crc32, deflateSync } from "node:zlib";
import type { RenderOrder } from "../../../node/image/picture.ts";

export const bounds = { pixelsMax: 10_000_000, timeoutSeconds: 20 };

export function order(wish: Partial<RenderOrder> = {}): RenderOrder {
  return { fit: "clip", quality: 75, format: "source", ...wish };
}

/** Noise, so that no encoder makes a few bytes of it. */
export function noise(width: number, height: number): Sharp {
  const dots = { type: "gaussian", mean: 128, sigma: 40 } as const;
  return sharp({ create: { width, height, channels: 3, background: "#888", noise: dots } });
}

export function plain(width: number, height: number, background: string, channels: 3 | 4 = 3): Sharp {
  return sharp({ create: { width, height, channels, background } });
}

/** A PNG of 60 × 40, red at the top left, green top right, blue bottom left, white bottom right. */
export async function quarters(): Promise<Buffer> {
  const colours = ["#f00", "#0f0", "#00f", "#fff"];
  const tiles = await Promise.all(colours.map((colour) => plain(30, 20, colour).png().toBuffer()));
  const places = tiles.map((input, index) => ({ input, left: (index % 2) * 30, top: index < 2 ? 0 : 20 }));
  return await plain(60, 40, "#000").composite(places).png().toBuffer();
}

export async function animation(type: "gif" | "webp", frames = 3): Promise<Buffer> {
  const pictures = await Promise.all(
    Array.from({ length: frames }, (_, index) =>
      plain(50, 40, `rgb(${index * 60}, 20, 200)`)
        .png()
        .toBuffer(),
    ),
  );
  const joined = sharp(pictures, { join: { animated: true } });
  const delay = pictures.map((_, index) => 100 * (index + 1));
  return await (type === "gif" ? joined.gif({ delay, loop: 2 }) : joined.webp({ delay, loop: 2 })).toBuffer();
}

/** The colour at a point, as [r, g, b] or [r, g, b, a]. */
export async function colourAt(picture: Buffer, left: number, top: number): Promise<number[]> {
  const dot = await sharp(picture, { pages: 1 }).extract({ left, top, width: 1, height: 1 }).raw().toBuffer();
  return [...dot];
}

export function isNear(actual: readonly number[], expected: readonly number[], tolerance = 12): boolean {
  return (
    actual.length === expected.length &&
    actual.every((value, index) => Math.abs(value - (expected[index] ?? Number.NaN)) <= tolerance)
  );
}

/** A PNG whose header promises `width` × `height` and that has a few bytes of pixels. */
export function pngBomb(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB, deflate, no filter, not interlaced
  const pixels = deflateSync(Buffer.alloc(1 + width * 3));
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type: string, body: Buffer): Buffer {
  const content = Buffer.concat([Buffer.from(type, "latin1"), body]);
  const framed = Buffer.alloc(content.length + 8);
  framed.writeUInt32BE(body.length, 0);
  content.copy(framed, 4);
  framed.writeUInt32BE(crc32(content), content.length + 4);
  return framed;
}
