/** Finds the entry of a list that was probably meant; pure. */

/** Longer words are not compared: the time is quadratic in the length. */
const lengthMax = 200;

/**
 * The entry of `known` that is nearest to `word`, if it is near: at most a third of the letters, and at most three, may
 * differ.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > lengthMax) return undefined;
  let found: string | undefined;
  let least = Math.min(3, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    if (candidate.length > lengthMax || Math.abs(candidate.length - word.length) >= least) continue;
    const distance = distanceOf(word, candidate);
    if (distance < least) [found, least] = [candidate, distance];
  }
  return found;
}

/** Number of letters to insert, delete, replace or swap with their neighbor (optimal string alignment). */
function distanceOf(one: string, other: string): number {
  let [before, last]: [number[], number[]] = [[], Array.from({ length: other.length + 1 }, (_, at) => at)];
  for (let row = 1; row <= one.length; row += 1) {
    const next = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const isSame = one[row - 1] === other[column - 1];
      const isSwapped =
        row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      next[column] = Math.min(
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (before[column - 2] ?? 0) + 1 : Infinity,
      );
    }
    [before, last] = [last, next];
  }
  return last[other.length] ?? 0;
}
