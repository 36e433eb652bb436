/**
 * What a drill is, and how it is judged.
 *
 *   drill ──runs──▶ rows: measured beside their targets
 *
 * A drill is held once. One whose figures depend on chance measures several rounds and is judged by their median
 * (rounds.ts).
 */
import type { Random } from "#base/random.ts";
import type { Cdn } from "./cdn.ts";
import type { Network } from "./network.ts";
import type { Places, Watch } from "./vantage-points.ts";
import type { Crew } from "./processes.ts";

export interface Lab {
  readonly crew: Crew;
  readonly network: Network;
  readonly cdn: Cdn;
  readonly places: Places;
  readonly random: Random;
  readonly isShort: boolean;
  /** Every target times this is what a row is judged by; 1: the target itself. */
  readonly ceilings: number;
  /** A line of progress. */
  readonly say: (line: string) => void;
}

/** `BGP`: over the clouds that nodes announce; `DNS only`: over their own addresses, as in a fleet without BGP. */
export type Group = "BGP" | "DNS only";

export interface Measured {
  readonly title: string;
  readonly group: Group;
  /** null: not what this row is about. */
  readonly recoveryMs: number | null;
  readonly recoveryMsMax: number | null;
  readonly lost: number | null;
  readonly lostMax: number | null;
  /** Of so many. */
  readonly asked: number | null;
  /** How often the fault was made. */
  readonly n: number;
  /** Whether everything went well again at the end. */
  readonly isOver: boolean;
  /** What figures alone don't say. */
  readonly note: string;
}

export interface Row extends Measured {
  readonly drill: string;
  readonly isOk: boolean;
}

export interface Drill {
  /** For --only. */
  readonly name: string;
  /** Rows in their order; throws when the drill could not be held. */
  readonly run: (lab: Lab) => Promise<readonly Measured[]>;
}

/** A row of what is given; the rest is not what it is about. */
export function measured(given: Pick<Measured, "title" | "group"> & Partial<Measured>): Measured {
  const nothing = { recoveryMs: null, recoveryMsMax: null, lost: null, lostMax: null, asked: null };
  return { ...nothing, n: 1, isOver: true, note: "", ...given };
}

/**
 * @param ceilings 1: the targets as they stand. On a machine that others use as well, such as one that runs CI, times
 * say more of the machine than of us: there a multiple catches what hangs, and a target of 0 lost stays 0
 */
export function isMet({ recoveryMs, recoveryMsMax, lost, lostMax, isOver }: Measured, ceilings: number): boolean {
  const isIn = (value: number | null, most: number | null): boolean =>
    most === null || (value ?? Infinity) <= ceilings * most;
  return isOver && isIn(recoveryMs, recoveryMsMax) && isIn(lost, lostMax);
}

export async function hold(drill: Drill, lab: Lab): Promise<Row[]> {
  lab.say(drill.name);
  const rows = (await attempt(drill, lab)).map((row) => ({
    drill: drill.name,
    ...row,
    isOk: isMet(row, lab.ceilings),
  }));
  for (const row of rows) if (!row.isOk) lab.say(`${drill.name} missed: ${inWords(row)}`);
  return rows;
}

/** A drill that could not be held is a row that missed; its watches end. */
async function attempt(drill: Drill, lab: Lab): Promise<readonly Measured[]> {
  const watches = new Set<Watch>();
  const places: Places = {
    watch(...wanted) {
      const watch = lab.places.watch(...wanted);
      watches.add(watch);
      const end: Watch["end"] = () => {
        watches.delete(watch);
        return watch.end();
      };
      return { ...watch, end };
    },
  };
  try {
    return await drill.run({ ...lab, places });
  } catch (error) {
    await Promise.all([...watches].map((watch) => watch.end()));
    return [measured({ title: drill.name, group: "BGP", n: 0, isOver: false, note: (error as Error).message })];
  }
}

function inWords({ title, recoveryMs, lost, isOver, note }: Measured): string {
  const figures = [
    ...(recoveryMs === null ? [] : [`${Math.round(recoveryMs)} ms`]),
    ...(lost === null ? [] : [`${lost} lost`]),
    ...(isOver ? [] : ["not over"]),
  ];
  return `${title}: ${[...figures, ...(note === "" ? [] : [note])].join(", ")}`;
}
