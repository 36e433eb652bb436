/**
 * The picture that `nearcast up` stores as a first example: hills under an evening sky, painted on the spot. It has
 * what makes photographs hard for encoders (smooth gradients, fine grain, sharp edges), and the same seed gives the
 * same bytes on every start.
 *
 *   sky: gradient + sun's glow + thin clouds   ▶  hills, far to near: ridge lines and light from value noise  ▶  grain
 */
import { seededRandom } from "#base/random.ts";
import sharp from "sharp";

const width = 1600;
const height = 1067;
const seed = 20_260_101;

type Colour = readonly [red: number, green: number, blue: number];

const zenith: Colour = [46, 84, 148];
const horizon: Colour = [250, 196, 140];
const sun = { x: 0.68, y: 0.5, radius: 0.035, colour: [255, 236, 190] as Colour };
const haze: Colour = [222, 178, 160];
const hills: readonly { top: number; swing: number; waves: number; colour: Colour; haze: number }[] = [
  { top: 0.56, swing: 0.2, waves: 3.1, colour: [92, 104, 140], haze: 0.62 },
  { top: 0.63, swing: 0.2, waves: 2.3, colour: [74, 96, 112], haze: 0.4 },
  { top: 0.71, swing: 0.18, waves: 2.9, colour: [56, 86, 74], haze: 0.22 },
  { top: 0.8, swing: 0.12, waves: 1.7, colour: [42, 70, 42], haze: 0.08 },
  { top: 0.9, swing: 0.1, waves: 2.2, colour: [30, 46, 26], haze: 0 },
];

/** Returns the bytes of a JPEG of 1600 × 1067 pixels, some 300 kB. */
export async function samplePicture(): Promise<Buffer> {
  return await sharp(paint(), { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 88, progressive: true })
    .toBuffer();
}

function paint(): Buffer {
  const random = seededRandom(seed);
  const noise = valueNoise(random);
  const pixels = Buffer.allocUnsafe(width * height * 3);
  const ridges = hills.map((hill, layer) =>
    Float32Array.from(
      { length: width },
      (_none, x) =>
        (hill.top + hill.swing * (octaves(noise, (x / width) * hill.waves, layer * 17.3, 6) - 0.5)) * height,
    ),
  );
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const layer = ridges.findLastIndex((ridge) => y >= (ridge[x] ?? height));
      const colour = layer < 0 ? skyAt(x, y, noise) : hillAt(x, y, layer, y - (ridges[layer]?.[x] ?? 0), noise);
      const grain = (random() + random() - 1) * 9;
      const at = (y * width + x) * 3;
      for (const channel of [0, 1, 2] as const) {
        pixels[at + channel] = Math.max(0, Math.min(255, Math.round(colour[channel] + grain)));
      }
    }
  }
  return pixels;
}

function skyAt(x: number, y: number, noise: Noise): Colour {
  const [u, v] = [x / width, y / height];
  const base = mix(zenith, horizon, Math.min(1, v / 0.6) ** 1.3);
  const distance = Math.hypot(u - sun.x, (v - sun.y) * (height / width));
  const glow = distance < sun.radius ? 1 : 0.75 * Math.exp(-(distance - sun.radius) * 7);
  const cloud = Math.max(0, octaves(noise, u * 4, v * 14 + 40, 5) - 0.5) * 1.6 * (1 - v);
  return mix(mix(base, [255, 244, 236], Math.min(0.8, cloud)), sun.colour, glow);
}

function hillAt(x: number, y: number, layer: number, depth: number, noise: Noise): Colour {
  const hill = hills[layer];
  if (hill === undefined) return haze;
  // Nearer hills show more detail; the light falls on their upper edge.
  const detail = octaves(noise, x / (120 - layer * 20), y / (50 - layer * 7), 6) - 0.5;
  const light = 1 + detail * (0.25 + layer * 0.22) + 0.25 * Math.exp(-depth / 40);
  const lit: Colour = [hill.colour[0] * light, hill.colour[1] * light, hill.colour[2] * light];
  return mix(lit, haze, hill.haze);
}

function mix(from: Colour, to: Colour, part: number): Colour {
  const between = (channel: 0 | 1 | 2): number => from[channel] + (to[channel] - from[channel]) * part;
  return [between(0), between(1), between(2)];
}

type Noise = (x: number, y: number) => number;

/** Smooth noise in [0, 1): random values on a lattice of 256 × 256, blended between. */
function valueNoise(random: () => number): Noise {
  const lattice = Float32Array.from({ length: 65_536 }, () => random());
  const at = (x: number, y: number): number => lattice[((y & 255) << 8) | (x & 255)] ?? 0;
  const smooth = (part: number): number => part * part * (3 - 2 * part);
  return (x, y) => {
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const [right, down] = [smooth(x - left), smooth(y - top)];
    const upper = at(left, top) + (at(left + 1, top) - at(left, top)) * right;
    const lower = at(left, top + 1) + (at(left + 1, top + 1) - at(left, top + 1)) * right;
    return upper + (lower - upper) * down;
  };
}

/** Several layers of noise, each twice as fine and half as strong; about [0, 1). */
function octaves(noise: Noise, x: number, y: number, count: number): number {
  let sum = 0;
  let weight = 0;
  for (let octave = 0; octave < count; octave += 1) {
    const scale = 2 ** octave;
    sum += noise(x * scale + octave * 31.7, y * scale + octave * 11.9) / scale;
    weight += 1 / scale;
  }
  return sum / weight;
}
