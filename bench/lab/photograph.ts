/**
 * A picture with everything that makes photographs costly to decode and encode: soft gradients, edges, texture of
 * several sizes, and sensor grain. The same size always gives the same bytes.
 *
 *   scene, a quarter of the size ─▶ enlarged with a cubic kernel ─▶ grain on every pixel ─▶ JPEG, quality 90
 */
import sharp from "sharp";
import { seededRandom } from "#base/random.ts";

const reduction = 4;
/** Standard deviation of the grain, in steps of 255: like a phone's camera in the evening. */
const grain = 9;

export async function photograph(width: number, height: number): Promise<Buffer> {
  const small = { width: Math.ceil(width / reduction), height: Math.ceil(height / reduction) };
  const scene = sharp(paintScene(small.width, small.height), { raw: { ...small, channels: 3 } });
  const pixels = await scene.resize({ width, height, fit: "fill", kernel: "cubic" }).raw().toBuffer();
  const random = seededRandom(12);
  for (let index = 0; index < pixels.length; index += 1) {
    const noise = (random() + random() + random() - 1.5) * 2 * grain;
    pixels[index] = Math.max(0, Math.min(255, (pixels[index] ?? 0) + noise));
  }
  return await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

/** Sky, sun, three ridges of hills and a textured foreground, as RGB. */
function paintScene(width: number, height: number): Buffer {
  const pixels = Buffer.alloc(width * height * 3);
  const random = seededRandom(7);
  const waves = Array.from({ length: 24 }, (_none, index) => ({
    x: (random() - 0.5) * 2 ** (index / 3 + 2),
    y: (random() - 0.5) * 2 ** (index / 3 + 2),
    phase: random() * 7,
    weight: 2 ** (-index / 5),
  }));
  const texture = (u: number, v: number): number =>
    waves.reduce((sum, { x, y, phase, weight }) => sum + weight * Math.sin(u * x * 6 + v * y * 6 + phase), 0);
  const ridge = (u: number, layer: number): number =>
    0.45 + layer * 0.15 + 0.05 * Math.sin(u * (5 + layer * 3) + layer) + 0.012 * Math.sin(u * (41 - layer * 9));
  let at = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [u, v] = [x / width, y / height];
      const layer = [2, 1, 0].find((one) => v > ridge(u, one));
      const detail = texture(u, v) * (layer === undefined ? 3 : 8 + layer * 9);
      const sun = Math.hypot(u - 0.7, v - 0.3) < 0.04 ? 60 : 0;
      const colour = layer === undefined ? [120 + v * 160 + sun, 150 + v * 80 + sun, 210] : [90 - layer * 25, 110, 60];
      for (const channel of colour) pixels[at++] = Math.max(0, Math.min(255, channel + detail));
    }
  }
  return pixels;
}
