/**
 * Too many connections: idle ones make room for new ones, first those of the client networks that have the most. So
 * whoever opens connections and leaves them idle loses them, and nobody else is refused. A connection with an
 * incomplete request counts as idle; otherwise, one byte on each would keep them all.
 *
 *   idle connections of   A ████████████      A ██████
 *   each network          B ██████        ─▶  B ██████     none keeps more than the level
 *                         C ██                C ██
 *
 * The connections of all protocols are one crowd.
 */

export interface Crowd {
  readonly connectionsMax: number;
  readonly groups: Group[];
}

/** The connections of one protocol. */
export interface Group {
  readonly size: () => number;
  /** Those without a response in progress, even if a request has begun, the oldest first. */
  readonly idle: () => Idle[];
}

export interface Idle {
  readonly network: () => string;
  /** Closes it; it is no longer counted afterwards. */
  readonly close: () => void;
}

/** This share of all connections is closed at a time, so that they are not all counted for each new one. */
const freedShare = 1 / 16;

/** Whether one more connection may stay: there is room, or room was made. */
export function hasRoom(crowd: Crowd): boolean {
  const { groups, connectionsMax } = crowd;
  if (sizeOf(crowd) < connectionsMax) return true;
  const idle = groups.flatMap((group) => group.idle());
  for (const { close } of crowdOf(idle, () => true, Math.ceil(connectionsMax * freedShare))) close();
  return sizeOf(crowd) < connectionsMax;
}

function sizeOf({ groups }: Crowd): number {
  let size = 0;
  for (const group of groups) size += group.size();
  return size;
}

/**
 * The idle ones to be closed so that there is room for `wanted` others; fewer if there are no more.
 * @param all in the order in which they came
 */
export function crowdOf<One extends { readonly network: () => string }>(
  all: Iterable<One>,
  isIdleOne: (one: One) => boolean,
  wanted: number,
): One[] {
  const idle = [...all].filter(isIdleOne);
  const idleOf = new Map<string, number>();
  for (const one of idle) idleOf.set(one.network(), (idleOf.get(one.network()) ?? 0) + 1);
  const level = levelFor([...idleOf.values()], wanted);
  return idle.filter((one) => {
    const left = idleOf.get(one.network()) ?? 0;
    if (left <= level) return false;
    idleOf.set(one.network(), left - 1);
    return true;
  });
}

/**
 * How many each may keep, so that at least `wanted` go in all; 0 when there are no more than that.
 * @param counts of each; at least one
 */
export function levelFor(counts: readonly number[], wanted: number): number {
  const sorted = counts.toSorted((a, b) => b - a);
  let above = 0;
  for (const [index, count] of sorted.entries()) {
    above += count;
    const next = sorted[index + 1] ?? 0;
    // Down to the next one's count, these go.
    if (above - (index + 1) * next < wanted) continue;
    return Math.floor((above - wanted) / (index + 1));
  }
  return 0;
}
