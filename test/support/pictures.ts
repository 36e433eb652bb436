/** Pictures made on the spot: photograph-like enough that encoders have work, small enough to be quick. */
import sharp from "sharp";
import { seededRandom } from "#base/random.ts";

/** @param seed another seed, another picture */
export async function photograph(
  seed: number,
  size: { width: number; height: number } = { width: 800, height: 533 },
): Promise<Buffer> {
  const { width, height } = size;
  const random = seededRandom(seed);
  const [a, b, c] = [random() * 6, random() * 6, random() * 6];
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 3) {
      pixels[i] = 128 + 90 * Math.sin(x / 90 + a) + 30 * random();
      pixels[i + 1] = 128 + 90 * Math.sin(y / 70 + b + x / 300) + 30 * random();
      pixels[i + 2] = 128 + 90 * Math.sin((x + y) / 110 + c) + 30 * random();
    }
  }
  return await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 85 })
    .toBuffer();
}

const pngSignature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** Begins like a PNG, which is all that anyone but a decoder looks at. */
export function pngLike(text: string): Buffer {
  return Buffer.concat([pngSignature, Buffer.from(text)]);
}
