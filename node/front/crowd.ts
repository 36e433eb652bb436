/**
 * Too many connections: some make room for new ones.
 *
 *   1. Idle ones, first those of the client networks that have the most; two of each network stay. So whoever opens
 *      connections and leaves them idle loses them. A connection with an incomplete request counts as idle; otherwise,
 *      one byte on each would keep them all.
 *   2. If these are too few, those with a response in progress, but only of networks that clearly have more than the
 *      newcomer's, and more than a share that nobody loses. First go the ones whose clients do not read. So whoever
 *      opens many connections, and reads nothing, keeps nobody out but itself.
 *   3. If there are none, all idle ones.
 *
 *   connections of    A ████████████      A ██████
 *   each network      B ██████        ─▶  B ██████     none keeps more than the level
 *                     C ██                C ██
 *
 * The connections of all protocols are one crowd.
 */

export interface Crowd {
  readonly connectionsMax: number;
  readonly groups: Group[];
  /** The last time that nobody could make room for a newcomer. */
  census: Census | null;
}

/** The connections of one protocol. */
export interface Group {
  readonly size: () => number;
  /** The oldest first. */
  readonly members: () => Member[];
}

export interface Member {
  readonly network: () => string;
  /** Without a response in progress, even if a request has begun; with one that its client does not read; any other. */
  readonly is: "idle" | "stalled" | "busy";
  /** Closes it; it is no longer counted afterwards. */
  readonly close: () => void;
}

/** How many connections each network had. */
export interface Census {
  readonly takenMs: number;
  readonly counts: ReadonlyMap<string, number>;
  /** Of the largest. */
  readonly most: number;
}

/** This share of all connections is closed at a time, so that they are not all counted for each new one. */
const freedShare = 1 / 16;
/** This many idle connections of a network stay as long as others can make room: they are about to be used. */
const sparedIdle = 2;
/** A network does not lose responses in progress while it has no more than this share of all connections. */
const securedShare = 1 / 64;
/** Until then, nobody is looked for again on behalf of those for whom there was nobody. */
const censusMs = 100;

/** Whether one more connection may stay: there is room, or room was made. */
export function hasRoom(crowd: Crowd, newcomer: () => string, nowMs: number): boolean {
  if (sizeOf(crowd) < crowd.connectionsMax) return true;
  makeRoom(crowd, newcomer(), nowMs);
  return sizeOf(crowd) < crowd.connectionsMax;
}

function sizeOf({ groups }: Crowd): number {
  let size = 0;
  for (const group of groups) size += group.size();
  return size;
}

/** @param newcomer a client network; undefined: it is not known, and only idle ones make room */
export function makeRoom(crowd: Crowd, newcomer: string | undefined, nowMs: number): void {
  const { groups, connectionsMax, census } = crowd;
  if (census !== null && nowMs - census.takenMs < censusMs && census.most <= keptBy(census, newcomer, connectionsMax)) {
    return;
  }
  crowd.census = null;
  const all = groups.flatMap((group) => group.members());
  const wanted = Math.ceil(connectionsMax * freedShare);
  const idle = all.filter(({ is }) => is === "idle");
  const idleLevel = levelFor([...countsOf(idle).values()], wanted);
  const leaving = new Set(above(idle, Math.max(idleLevel, sparedIdle)));
  const staying = all.filter((one) => !leaving.has(one));
  const taken = censusOf(staying, nowMs);
  if (leaving.size < wanted) {
    const kept = keptBy(taken, newcomer, connectionsMax);
    const large = [...taken.counts.values()].filter((count) => count > kept);
    const level = Math.max(kept, levelFor(large, wanted - leaving.size));
    for (const one of above(staying.toSorted(idleFirst), level)) leaving.add(one);
  }
  if (leaving.size === 0) for (const one of above(idle, idleLevel)) leaving.add(one);
  if (leaving.size === 0) crowd.census = taken;
  for (const { close } of leaving) close();
}

const order = ["idle", "stalled", "busy"];
const idleFirst = (a: Member, b: Member): number => order.indexOf(a.is) - order.indexOf(b.is);

/** How many connections no network loses to this newcomer. */
function keptBy({ counts }: Census, newcomer: string | undefined, connectionsMax: number): number {
  if (newcomer === undefined) return Infinity;
  return Math.max(2 * ((counts.get(newcomer) ?? 0) + 1), Math.ceil(connectionsMax * securedShare));
}

function censusOf(all: readonly Member[], takenMs: number): Census {
  const counts = countsOf(all);
  let most = 0;
  for (const count of counts.values()) most = Math.max(most, count);
  return { takenMs, counts, most };
}

function countsOf(all: readonly Member[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { network } of all) counts.set(network(), (counts.get(network()) ?? 0) + 1);
  return counts;
}

/** Those that have to go so that no network has more than the level: of each network the first ones. */
function above(all: readonly Member[], level: number): Member[] {
  const left = countsOf(all);
  return all.filter(({ network }) => {
    const count = left.get(network()) ?? 0;
    if (count <= level) return false;
    left.set(network(), count - 1);
    return true;
  });
}

/**
 * How many each may keep, so that at least `wanted` go in all; 0 when there are no more than that.
 * @param counts of each
 */
export function levelFor(counts: readonly number[], wanted: number): number {
  const sorted = counts.toSorted((a, b) => b - a);
  let over = 0;
  for (const [index, count] of sorted.entries()) {
    over += count;
    const next = sorted[index + 1] ?? 0;
    // Down to the next one's count, these go.
    if (over - (index + 1) * next < wanted) continue;
    return Math.floor((over - wanted) / (index + 1));
  }
  return 0;
}
