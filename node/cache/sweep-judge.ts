/**
 * What a walk of the sweep does with each object: keeps it, or removes it because a hard mark covers it. It also notes
 * which soft marks still cover something, and reports what is counted.
 *
 * The index of the disk tier has only hashes of tags. They decide, unless a mark is for a prefix or objects are being
 * counted: then the head of the object must be read ("look"). Two tags with the same hash may cost an object its place,
 * or keep a soft mark longer than necessary. That costs a fetch, but never misses a purge.
 */
import { tagHash } from "./disk/key.ts";
import type { ObjectFacts, Tier } from "./object.ts";
import { collectSoft, type Mark, verdictOf } from "./purge-marks.ts";
import { type Purges, tellCounting } from "./purges.ts";

export interface SweepJudge {
  readonly softInUse: ReadonlySet<Mark>;
  /** Objects that were to be removed. */
  readonly removed: () => number;
  /** Whether an object of this age can be concerned. */
  readonly isConcernable: (feedSeq: number) => boolean;
  /** By age and hashes of tags. */
  readonly judge: (feedSeq: number, tagHashes: readonly number[]) => "keep" | "drop" | "look";
  readonly visit: (tier: Tier, facts: ObjectFacts, bytes: number) => "keep" | "drop";
}

/** @param sweptUpTo of hard marks up to here, a walk before this one has removed all that they concern */
export function createSweepJudge(purges: Pick<Purges, "marks" | "counting">, sweptUpTo: number): SweepJudge {
  const { marks } = purges;
  const isCounting = purges.counting.size > 0;
  const softInUse = new Set<Mark>();
  const byHash = new Map<number, Mark[]>();
  for (const [tag, mark] of marks.tags) {
    const hash = tagHash(tag);
    const others = byHash.get(hash);
    if (others === undefined) byHash.set(hash, [mark]);
    else others.push(mark);
  }
  const prefixMarks = [...marks.prefixes.values()];
  const newestHardPrefix = Math.max(0, ...prefixMarks.map(({ hard }) => (hard > sweptUpTo || isCounting ? hard : 0)));
  let softPrefixes = prefixMarks.filter(({ soft }) => soft > 0);
  let removed = 0;

  function mustLook(feedSeq: number): boolean {
    if (feedSeq < newestHardPrefix) return true;
    if (!isCounting) softPrefixes = softPrefixes.filter((mark) => !softInUse.has(mark));
    return softPrefixes.some(({ soft }) => soft > feedSeq);
  }

  return {
    softInUse,
    removed: () => removed,
    isConcernable: (feedSeq) => feedSeq < marks.newest,
    judge(feedSeq, tagHashes) {
      if (mustLook(feedSeq)) return "look";
      let isHard = false;
      let isConcerned = false;
      const weigh = (mark: Mark): void => {
        isHard ||= mark.hard > feedSeq;
        if (mark.soft > feedSeq) softInUse.add(mark);
        isConcerned ||= mark.hard > feedSeq || mark.soft > feedSeq;
      };
      weigh(marks.all);
      for (const hash of tagHashes) for (const mark of byHash.get(hash) ?? []) weigh(mark);
      if (isConcerned && isCounting) return "look";
      if (isHard) removed += 1;
      return isHard ? "drop" : "keep";
    },
    visit(tier, facts, bytes) {
      tellCounting(purges, tier, facts, bytes);
      if (verdictOf(marks, facts) === "hard") {
        removed += 1;
        return "drop";
      }
      collectSoft(marks, facts, softInUse);
      return "keep";
    },
  };
}
