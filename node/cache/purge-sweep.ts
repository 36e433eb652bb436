/**
 * Frees the space of purged objects in the background: walks over everything that is stored, in slices, and removes
 * objects that a hard mark covers. After a complete walk, marks can be forgotten, and the counts of objects are ready
 * for the reports of purges.
 *
 *   purge ──▶ mark in force ──▶ walk: disk, memory, records ──▶ removals on disk ──▶ marks forgotten, reports sent
 *
 * The disk comes first: an object that moves to memory during the walk is met there, or was met on disk. Objects stored
 * during a walk were judged by all marks when they were stored.
 *
 * Marks are forgotten two minutes after the walk: a fill that began before a forgotten mark is not stored, and few
 * fills take longer. By then, the removals survive a power failure. Otherwise, an object could come back after its mark
 * is gone.
 *
 * Walks don't overlap. A purge that comes during a walk leads to another walk after it. While soft marks are left, a
 * walk every ten minutes finds out whether they still cover anything.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { ObjectFacts, Tier } from "./object.ts";
import { type Mark, markCount } from "./purge-marks.ts";
import type { Counted, Purges } from "./purges.ts";
import { createSweepJudge } from "./sweep-judge.ts";

/** What a walk does with each object. */
export interface SweepVisitor {
  /** Whether an object of this age can be concerned. */
  isConcernable: (feedSeq: number) => boolean;
  /** For an index that has hashes of tags (disk/key.ts) only; "look" asks for visit() with the facts. */
  judge: (feedSeq: number, tagHashes: readonly number[]) => "keep" | "drop" | "look";
  visit: (facts: ObjectFacts, bytes: number) => "keep" | "drop";
}

/** Something that stores objects. */
export interface Swept {
  readonly tier: Tier;
  /** Shows the visitor each object that was stored before the walk, and removes what it drops. Never rejects. */
  walk: (visitor: SweepVisitor) => Promise<void>;
}

export interface PurgeSweep {
  /** Walks soon. */
  request: () => void;
  /** Counts what a purge that is in force concerns; resolves after the next whole walk, with false if there is none. */
  count: (counted: Counted) => Promise<boolean>;
  /** Walks at once; resolves after the next whole walk, with false if there is none. */
  walk: () => Promise<boolean>;
  close: () => Promise<void>;
}

/** Between two walks that nobody waits for: many purges in a row must not keep a core busy. */
const pauseMs = 1000;
const softIntervalMs = 600_000;
/** How long marks outlive the walk after which nothing needs them. */
const keptMs = 120_000;
/** Results of walks within this time are forgotten together; also how often their age is checked. */
const groupMs = 5000;

/** The findings of a complete walk. */
interface Walked {
  /** Monotonic time of the first walk of the group, and of the last one, from which the rest is. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly upTo: number;
  readonly softInUse: ReadonlySet<Mark>;
  /** If marks were widened since, they are other marks, and the findings about soft ones do not apply to them. */
  readonly widenings: number;
}

interface State {
  readonly purges: Purges;
  /** Disk, memory, records. */
  readonly swept: readonly Swept[];
  /** Resolves to whether all removals so far survive a power failure. */
  readonly sync: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
  isDue: boolean;
  isClosed: boolean;
  waiting: { counted: Counted | null; resolve: (isWhole: boolean) => void }[];
  running: Promise<void> | undefined;
  /** The newest hard mark for which a walk has removed everything that it concerns. */
  sweptUpTo: number;
  /** At most one for each `groupMs` of `keptMs`. */
  walked: Walked[];
  /** Ends a pause early. */
  hurry: (() => void) | undefined;
}

export function openPurgeSweep(parts: Pick<State, "purges" | "swept" | "sync" | "clock" | "log">): PurgeSweep {
  const state: State = {
    ...parts,
    isDue: false,
    isClosed: false,
    waiting: [],
    running: undefined,
    sweptUpTo: 0,
    walked: [],
    hurry: undefined,
  };
  const cancels: readonly Cancel[] = [
    parts.clock.every(softIntervalMs, () => {
      if (parts.purges.marks.newest > 0) request(state);
    }),
    parts.clock.every(groupMs, () => {
      void forgetOld(state);
    }),
  ];
  // Marks from before a restart.
  if (parts.purges.marks.newest > 0) request(state);
  return {
    request: () => {
      request(state);
    },
    count: (counted) => afterWalk(state, counted),
    walk: () => afterWalk(state, null),
    async close() {
      state.isClosed = true;
      for (const cancel of cancels) cancel();
      state.hurry?.();
      await state.running;
      finish(state, state.waiting, false);
    },
  };
}

function afterWalk(state: State, counted: Counted | null): Promise<boolean> {
  if (state.isClosed) return Promise.resolve(false);
  if (counted !== null) state.purges.counting.add(counted);
  return new Promise((resolve) => {
    state.waiting.push({ counted, resolve });
    request(state);
    state.hurry?.();
  });
}

function request(state: State): void {
  if (state.isClosed) return;
  state.isDue = true;
  state.running ??= keepWalking(state);
}

async function keepWalking(state: State): Promise<void> {
  while (state.isDue && !state.isClosed) {
    state.isDue = false;
    await walkAll(state);
    if (state.isDue && !state.isClosed && state.waiting.length === 0) await pause(state);
  }
  // In the same turn as the last look at isDue, so that no request falls in between.
  state.running = undefined;
}

async function pause(state: State): Promise<void> {
  await new Promise<void>((resolve) => {
    const cancel = state.clock.after(pauseMs, resolve);
    state.hurry = () => {
      cancel();
      resolve();
    };
  });
  state.hurry = undefined;
}

async function walkAll(state: State): Promise<void> {
  const { purges, swept } = state;
  const { marks } = purges;
  const { newest: upTo, widenings } = marks;
  const waiting = [...state.waiting];
  const judge = createSweepJudge(purges, state.sweptUpTo);
  for (const { tier, walk } of swept) {
    await walk({
      // A walk that nobody needs any more does nothing.
      isConcernable: (feedSeq) => !state.isClosed && judge.isConcernable(feedSeq),
      judge: judge.judge,
      visit: (facts, bytes) => judge.visit(tier, facts, bytes),
    });
  }
  if (state.isClosed) return;
  const { softInUse } = judge;
  const removed = judge.removed();
  state.sweptUpTo = upTo;
  note(state, { upTo, softInUse, widenings });
  await forgetOld(state);
  if (removed > 0) state.log.debug({ removed, marks: markCount(marks) }, "removed purged objects");
  finish(state, waiting, true);
}

function note({ walked, clock }: State, found: Pick<Walked, "upTo" | "softInUse" | "widenings">): void {
  const nowMs = clock.monotonicMs();
  const last = walked.at(-1);
  const isOfGroup = last !== undefined && nowMs - last.firstMs < groupMs;
  if (isOfGroup) walked.pop();
  walked.push({ firstMs: isOfGroup ? last.firstMs : nowMs, lastMs: nowMs, ...found });
}

async function forgetOld(state: State): Promise<void> {
  const { purges, clock } = state;
  const { marks } = purges;
  // A fill that is not stored costs less than marks that are widened.
  const isFull = markCount(marks) > marks.max / 2;
  const isOld = ({ lastMs }: Walked): boolean => isFull || clock.monotonicMs() - lastMs >= keptMs;
  const old = state.walked.filter(isOld);
  // While the disk refuses, the marks stay.
  if (old.length === 0 || !(await state.sync())) return;
  state.walked = state.walked.filter((one) => !old.includes(one));
  for (const { upTo, softInUse, widenings } of old)
    await purges.forget(upTo, marks.widenings === widenings ? softInUse : null);
}

function finish(state: State, waiting: State["waiting"], isWhole: boolean): void {
  state.waiting = state.waiting.filter((one) => !waiting.includes(one));
  for (const { counted, resolve } of waiting) {
    if (counted !== null) state.purges.counting.delete(counted);
    resolve(isWhole);
  }
}
