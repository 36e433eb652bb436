/**
 * Weighted rendezvous hashing: each site draws a number from (client network, site), the best draw wins. A network
 * keeps its site while others come and go, and each site gets its weight's share of networks.
 */
import { byteAt } from "../wire/bytes.ts";
import { bitsOf, type IpAddress } from "../wire/address.ts";

/**
 * Networks that are steered as one: what Internet routing treats as the smallest unit, and no finer than what
 * resolvers send (RFC 7871 §11.1 advises /24 and /56).
 */
export const networkBits = { 4: 24, 6: 48 } as const;

/** A hash of the site's name, made once. */
export function hashSite(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193);
  return mix(hash);
}

/** A hash of the client's network, as long as networkBits says. */
export function hashNetwork(address: IpAddress): number {
  let hash = 0x9e3779b9 ^ address.family;
  const octets = Math.min(networkBits[address.family], bitsOf(address.family)) / 8;
  for (let i = 0; i < octets; i++) hash = Math.imul(hash ^ byteAt(address.bytes, i), 0x01000193);
  return mix(hash);
}

/** What the site draws for this network: the greatest wins. A site of weight 0 draws -Infinity. */
export function draw(networkHash: number, siteHash: number, weight: number): number {
  if (weight === 0) return Number.NEGATIVE_INFINITY;
  // Uniform in (0, 1); -weight / ln(u) makes the chance to win proportional to the weight.
  const uniform = ((mix(networkHash ^ siteHash) >>> 0) + 0.5) / 0x1_0000_0000;
  return -weight / Math.log(uniform);
}

/** The finalizer of MurmurHash3: every input bit changes half of the output bits. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
