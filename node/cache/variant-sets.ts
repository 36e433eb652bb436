/**
 * Which variants of each source are stored, and a limit on their number: whoever requests a picture in thousands of
 * sizes replaces other sizes of that picture, and nothing else. Pure, except for its memory.
 *
 *   first use ─▶ on trial ──used again──▶ kept, up to three quarters ──too many──▶ on trial again
 *                   └──too many──▶ to be removed
 *
 * Variants that were requested only once go first (segmented LRU: Karedla, Love and Wherry, 1994), so junk pushes out
 * junk. If nothing were stored beyond the limit instead, the first junk would keep useful sizes out forever.
 *
 * A source whose uses are forgotten here keeps what is stored of it, and begins anew with the next use.
 */

/** Used again, and not to be pushed out by what is requested once. */
const keptShare = 0.75;
/** Of all sources together: some 150 B each. */
const keysMax = 100_000;

interface Variants {
  /** The first was used first. */
  readonly onTrial: Set<string>;
  readonly kept: Set<string>;
}

export interface VariantSets {
  /**
   * A variant is used: it was stored, or found.
   * @param source the hash of its bytes
   * @param variantsMax of one source
   * @returns the key of another variant of this source, which must go
   */
  readonly use: (source: string, key: string, variantsMax: number) => string | undefined;
  readonly counts: () => { sources: number; keys: number };
}

export function createVariantSets(): VariantSets {
  const sources = new Map<string, Variants>();
  let keys = 0;

  /** The sources that had a new variant least recently are forgotten first. */
  function forget(): void {
    for (const [source, { onTrial, kept }] of sources) {
      if (keys <= keysMax) return;
      sources.delete(source);
      keys -= onTrial.size + kept.size;
    }
  }

  return {
    use(source, key, variantsMax) {
      const variants = sources.get(source) ?? { onTrial: new Set<string>(), kept: new Set<string>() };
      const { onTrial, kept } = variants;
      if (kept.has(key)) return undefined;
      if (onTrial.delete(key)) {
        kept.add(key);
        const [oldest] = kept.size > variantsMax * keptShare ? kept : [];
        if (oldest !== undefined) {
          kept.delete(oldest);
          onTrial.add(oldest);
        }
        return undefined;
      }
      sources.delete(source);
      sources.set(source, variants);
      onTrial.add(key);
      keys += 1;
      const [first] = onTrial.size + kept.size > variantsMax ? onTrial : [];
      if (first !== undefined) {
        onTrial.delete(first);
        keys -= 1;
      }
      forget();
      return first === key ? undefined : first;
    },
    counts: () => ({ sources: sources.size, keys }),
  };
}
