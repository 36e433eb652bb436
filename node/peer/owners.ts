/**
 * Which member of a site owns a key: rendezvous hashing, highest random weight (Thaler and Ravishankar, "Using
 * name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998); pure.
 *
 *   weight(key, member) = mix(hash(key) ⊕ seed(member))          the member with the highest weight owns the key
 *
 *   key "shop/a.jpg"     fra1 ▇▇▇▇▇     fra2 ▇▇▇▇▇▇▇▇ owner     fra3 ▇▇▇▇▇▇▇ next
 *   without fra2         fra1 ▇▇▇▇▇                             fra3 ▇▇▇▇▇▇▇ owner
 *
 * Every node computes the same order from the same names, in whatever order it learned them, with no table to agree on.
 * When a member leaves, only its own keys move, each to the next member in that key's order, so its load spreads over
 * all; a new member takes its share from each. The keys that move are 1/N of all, the minimum.
 *
 * The key is hashed once, to two lanes of 32 bits, and mixed once for each member: some nanoseconds each, no BigInt.
 * The hash is not keyed: someone who chooses names can aim many of them at one member, which is then passed over
 * because of its load (directory.ts), like any busy one.
 */

interface Lanes {
  readonly high: number;
  readonly low: number;
}

/** FNV-like over UTF-16 code units in two lanes with different odd multipliers, finished by murmur3's fmix32. */
function hashText(text: string): Lanes {
  let high = 0x9e3779b9;
  let low = 0x85ebca6b ^ text.length;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    high = Math.imul(high ^ unit, 0x9e3779b1);
    low = Math.imul(low ^ unit, 0x5f356495);
    // A multiplication carries upwards only; this folds the high bits down again.
    high ^= high >>> 15;
    low ^= low >>> 13;
  }
  return { high: mix32(high ^ Math.imul(low, 0x27d4eb2f)), low: mix32(low ^ Math.imul(high, 0x165667b1)) };
}

/** The finaliser of MurmurHash3: each input bit flips each output bit in about half of all cases. */
function mix32(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

export interface Ranking<Ranked> {
  /** Returns the members for this key one by one, best first; undefined after the last. */
  bestFirst: (key: string) => () => Ranked | undefined;
}

/** Prepares the members' seeds; keep the result for as long as the members stay the same. */
export function createRanking<Ranked extends { readonly name: string }>(unsorted: readonly Ranked[]): Ranking<Ranked> {
  // Sorted by name, so that even equal weights (one pair of 2⁵³) have the same order on every node.
  const members = unsorted.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const seeds = members.map(({ name }) => hashText(name));
  return {
    bestFirst(key) {
      const { high, low } = hashText(key);
      const weights = new Float64Array(members.length);
      for (let at = 0; at < seeds.length; at += 1) {
        const seed = seeds[at] as Lanes;
        const first = mix32((high ^ seed.high) + Math.imul(low ^ seed.low, 0x9e3779b1));
        const second = mix32((low ^ seed.low) + first);
        // 32 and 21 bits: all that a double holds exactly.
        weights[at] = (first >>> 0) * 0x20_0000 + (second >>> 11);
      }
      // Callers mostly need only the first one or two, so each is searched for instead of sorting all.
      return () => {
        let best = -1;
        let bestWeight = -1;
        for (let at = 0; at < weights.length; at += 1) {
          const weight = weights[at] as number;
          if (weight <= bestWeight) continue;
          best = at;
          bestWeight = weight;
        }
        if (best < 0) return undefined;
        weights[best] = -1;
        return members[best];
      };
    },
  };
}

/** All members in this key's order, best first. */
export function rankOwners<Ranked extends { readonly name: string }>(
  key: string,
  members: readonly Ranked[],
): Ranked[] {
  const next = createRanking(members).bestFirst(key);
  const ranked: Ranked[] = [];
  for (let member = next(); member !== undefined; member = next()) ranked.push(member);
  return ranked;
}
