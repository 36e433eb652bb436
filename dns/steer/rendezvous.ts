/**
 * Weighted rendezvous hashing: each site draws a number from (client network, site), and the best draw wins. A network
 * keeps its site while others come and go, and each site gets networks in proportion to its weight.
 *
 * Each pair also draws a number that decides whether the site keeps this network while it sheds load: the network stays
 * while the number is below the kept share. So as the share falls, the same networks leave, and they return in the
 * opposite order.
 */

/**
 * Networks that are steered as one: the smallest unit of Internet routing, and no finer than what resolvers send (RFC
 * 7871 §11.1 advises /24 and /56).
 */
export const networkBits = { 4: 24, 6: 48 } as const;

/** Different salts for the draws of one pair, so that the draws are independent. */
const keepWhim = 0x3c6ef372;
const againWhim = 0x5851f42d;

/** A hash of the site's name, computed once. */
export function hashSite(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193);
  return mix(hash);
}

/** @param network the first 24 bits of the address, as a number */
export function hashNetwork4(network: number): number {
  return mix(Math.imul(network + 1, 0x9e3779b1));
}

/** @param high the first 32 bits of the address, @param rest the 16 bits after them */
export function hashNetwork6(high: number, rest: number): number {
  return mix(mix(high ^ 0x6a09e667) ^ Math.imul(rest + 1, 0x9e3779b1));
}

/**
 * The site's draw for this network. The greatest wins. With ln(u) / weight, u uniform in (0, 1), each site wins in
 * proportion to its weight.
 * @param weight greater than 0
 */
export function draw(networkHash: number, siteHash: number, weight: number): number {
  return logarithm(mix(networkHash ^ siteHash)) / weight;
}

/** The second draw, for a network that its own site has shed. */
export function drawAgain(networkHash: number, siteHash: number, weight: number): number {
  return logarithm(mix(networkHash ^ siteHash ^ againWhim)) / weight;
}

/** Whether the site keeps this network: true for the share `keptShare` (0 to 1) of all networks. */
export function isKept(networkHash: number, siteHash: number, keptShare: number): boolean {
  return keptShare >= 1 || mix(networkHash ^ siteHash ^ keepWhim) >>> 0 < keptShare * 2 ** 32;
}

const logarithmSteps = 2048;
const logarithms = Float64Array.from({ length: logarithmSteps + 1 }, (_, step) => Math.log(1 + step / logarithmSteps));

/**
 * ln(u), where u is the hash as a fraction of 2^32: by the leading bit and, for the eleven bits after it, a table with
 * linear interpolation. The error is below 0.0000001. Several times as fast as Math.log, which would take most of the
 * time of a draw among many sites.
 */
function logarithm(hash: number): number {
  const value = hash === 0 ? 1 : hash;
  const zeros = Math.clz32(value);
  const fraction = (value << zeros) << 1;
  const step = fraction >>> 21;
  const from = logarithms[step] ?? 0;
  const to = logarithms[step + 1] ?? 0;
  return from + (to - from) * ((fraction & 0x1f_ffff) / 0x20_0000) - (zeros + 1) * Math.LN2;
}

/** The finalizer of MurmurHash3: every input bit changes half of the output bits. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
