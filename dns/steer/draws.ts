/**
 * Outcomes that are a draw among several sites, by the client's network, instead of one site.
 *
 *   chain   { fra 3, ams 1 } ──shed──▶ { par } ──shed──▶ { lon }       groups in the order of preference
 *              │ rendezvous by weight, then: does that site keep this network?
 *
 * The first group shares its clients by weight. A site that sheds load keeps its share of them, and the others go on to
 * the next group. The last group distributes what it sheds among its own sites again, in proportion to their kept
 * shares, so that every client gets a site. With single sites a, b, c and kept shares ka, kb, kc, the sites get ka,
 * (1-ka) kb and (1-ka)(1-kb) of the clients.
 *
 * Each step depends only on numbers of the pair of network and site. So, as a site's kept share falls, networks leave
 * that site and no other, always in the same order, and they return in the opposite order.
 */
import { draw, drawAgain, hashNetwork4, hashNetwork6, isKept } from "./rendezvous.ts";

/** Nested lists, stored flat: chain → groups → members. */
export interface Draws {
  /** Chain i has the groups from chainStarts[i] to chainStarts[i + 1]. */
  readonly chainStarts: Uint32Array;
  /** Group g has the members from groupStarts[g] to groupStarts[g + 1]. */
  readonly groupStarts: Uint32Array;
  /** Sites, by their index in the fleet document. */
  readonly members: Uint16Array;
  /** Parallel to members; each is greater than 0. */
  readonly weights: Float64Array;
  /** The number of bits by which the scope of chain i may be shorter than a network: see searchBits(). */
  readonly searchBits: Uint8Array;
}

/** What all draws of a fleet depend on, by the index of the site. */
export interface DrawingSites {
  readonly siteHashes: Int32Array;
  /** 0 to 1. */
  readonly keptShares: Float64Array;
}

/**
 * The number of bits above the network at which to look for a shorter scope. Networks that draw among many sites seldom
 * agree with their neighbors, so the search pays off only with few sites. An answer costs at most 64 draws by weight,
 * or one per site.
 */
export function searchBits(membersCount: number): number {
  if (membersCount <= 4) return 4;
  return membersCount <= 8 ? 2 : 0;
}

/** The index, in the fleet document, of the site that chain `chain` gives to this network. */
export function drawSite(draws: Draws, chain: number, sites: DrawingSites, networkHash: number): number {
  const { siteHashes, keptShares } = sites;
  const { members, groupStarts } = draws;
  const end = draws.chainStarts[chain + 1] ?? 0;
  let site = 0;
  for (let group = draws.chainStarts[chain] ?? 0; group < end; group++) {
    const from = groupStarts[group] ?? 0;
    const to = groupStarts[group + 1] ?? 0;
    site = to - from === 1 ? (members[from] ?? 0) : drawMember(draws, from, to, siteHashes, networkHash);
    if (isKept(networkHash, siteHashes[site] ?? 0, keptShares[site] ?? 1)) return site;
    if (group === end - 1 && to - from > 1) return drawShed(draws, from, to, sites, networkHash, site);
  }
  return site;
}

function drawMember(draws: Draws, from: number, to: number, siteHashes: Int32Array, networkHash: number): number {
  const { members, weights } = draws;
  let best = members[from] ?? 0;
  let highest = Number.NEGATIVE_INFINITY;
  for (let at = from; at < to; at++) {
    const site = members[at] ?? 0;
    const drawn = draw(networkHash, siteHashes[site] ?? 0, weights[at] ?? 1);
    if (drawn > highest) {
      highest = drawn;
      best = site;
    }
  }
  return best;
}

/** @param shedding the site that did not keep the network; it gets the network after all if no site keeps anything */
function drawShed(
  draws: Draws,
  from: number,
  to: number,
  sites: DrawingSites,
  networkHash: number,
  shedding: number,
): number {
  const { members, weights } = draws;
  let best = shedding;
  let highest = Number.NEGATIVE_INFINITY;
  for (let at = from; at < to; at++) {
    const site = members[at] ?? 0;
    const weight = (weights[at] ?? 1) * (sites.keptShares[site] ?? 1);
    if (weight <= 0) continue;
    const drawn = drawAgain(networkHash, sites.siteHashes[site] ?? 0, weight);
    if (drawn > highest) {
      highest = drawn;
      best = site;
    }
  }
  return best;
}

/**
 * The scope of a drawn answer: the shortest prefix, at most `searchBits` bits shorter than the network and not shorter
 * than `floor`, in which all networks draw `site`. Each shorter prefix needs the other half to agree.
 * @param network the client's network: 24 bits of IPv4, or the last 16 of the 48 of IPv6
 * @param high the first 32 bits of IPv6
 */
export function drawnScope4(
  draws: Draws,
  chain: number,
  sites: DrawingSites,
  network: number,
  floor: number,
  site: number,
): number {
  const shortest = Math.max(floor, 24 - (draws.searchBits[chain] ?? 0));
  let scope = 24;
  for (; scope > shortest; scope--) {
    const bit = 24 - scope;
    const other = ((network >>> bit) ^ 1) << bit;
    for (let next = other; next < other + (1 << bit); next++) {
      if (drawSite(draws, chain, sites, hashNetwork4(next)) !== site) return scope;
    }
  }
  return scope;
}

/** As drawnScope4(), for IPv6. */
export function drawnScope6(
  draws: Draws,
  chain: number,
  sites: DrawingSites,
  high: number,
  network: number,
  floor: number,
  site: number,
): number {
  const shortest = Math.max(floor, 48 - (draws.searchBits[chain] ?? 0));
  let scope = 48;
  for (; scope > shortest; scope--) {
    const bit = 48 - scope;
    const other = ((network >>> bit) ^ 1) << bit;
    for (let next = other; next < other + (1 << bit); next++) {
      if (drawSite(draws, chain, sites, hashNetwork6(high, next)) !== site) return scope;
    }
  }
  return scope;
}
