/**
 * Several rounds of one drill, judged as one. Pure but for `inRounds()`, which holds them one after the other.
 *
 *   round 1: 14 ms, 1 lost ┐
 *   round 2: 31 ms, 4 lost ├─▶ 18 ms, 2 lost    the median, with all rounds in the remark
 *   round 3: 18 ms, 2 lost ┘
 *
 * One round says as much about the machine as about us, because the kernel may be busy at that moment. The median says
 * what we do. A guarantee is no matter of chance: where nothing at all may be lost, the losses of all rounds count.
 */
import type { Drill, Measured } from "./drill.ts";

/** A drill of several rounds, such as the same fault in several sites. */
export function inRounds(name: string, rounds: readonly Drill[]): Drill {
  return {
    name,
    async run(lab) {
      const measured: (readonly Measured[])[] = [];
      for (const round of rounds) measured.push(await round.run(lab));
      return ofRounds(measured);
    },
  };
}

/**
 * One row for each title.
 * @param rounds the same titles in each
 */
export function ofRounds(rounds: readonly (readonly Measured[])[]): Measured[] {
  const [first = []] = rounds;
  return first.map((row) => {
    const same = rounds.map((round) => {
      const found = round.find(({ title, group }) => title === row.title && group === row.group);
      if (found === undefined) throw new Error(`a round has no row "${row.title}"`);
      return found;
    });
    return {
      ...row,
      recoveryMs: row.recoveryMsMax === null ? row.recoveryMs : median(same.map(({ recoveryMs }) => recoveryMs)),
      lost: row.lostMax === 0 ? sum(same.map(({ lost }) => lost)) : median(same.map(({ lost }) => lost)),
      asked: sum(same.map(({ asked }) => asked)),
      n: same.reduce((all, { n }) => all + n, 0),
      isOver: same.every(({ isOver }) => isOver),
      note: `rounds: ${same.map(figures).join(" | ")}`,
    };
  });
}

/** Of an odd number: the one in the middle; of an even number: the worse of the two. null: it never recovered. */
function median(values: readonly (number | null)[]): number | null {
  const sorted = values.toSorted((a, b) => (a ?? Infinity) - (b ?? Infinity));
  return sorted[sorted.length >> 1] ?? null;
}

function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((all, value) => all + value, 0);
}

function figures({ recoveryMs, recoveryMsMax, lost, note }: Measured): string {
  const words = [
    ...(recoveryMs === null || recoveryMsMax === null ? [] : [`${Math.round(recoveryMs)} ms`]),
    ...(lost === null ? [] : [`${lost} lost`]),
    ...(note === "" ? [] : [note]),
  ];
  return words.join(", ");
}
