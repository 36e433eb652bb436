/**
 * Decides the kept share of each site; pure. A site above its capacity sheds the rest of its clients to their next best
 * site.
 *
 *   load / capacity
 *     1.00 ┬ ▲ sheds: kept ← kept × 0.95 ÷ (load / capacity), at most half of it, then waits until clients followed
 *          │
 *     0.95 ┼ ◀ where shedding aims           nothing changes between 0.85 and 1.00
 *          │
 *     0.85 ┴ ▼ takes back: kept ← kept + 0.05 at most, and not beyond what is foreseen to make 0.90;
 *              kept + 0.35 where all clients are foreseen to fit: then the rush is over
 *
 *   kept      1 ─────┐                                    ┌──┘  the share that DNS answers give
 *                    └────────────────────────┐ ┌──┌──┌──┘
 *   followed  1 ─────╲___                      ╲__╱‾‾         what clients follow so far: they cache answers for a TTL
 *                        ‾‾‾──────────────────
 *
 * One node decides a site's share: the first of its nodes that is up. It reports the share in its health answer, with
 * its load, and all edges use it, so the same client gets the same site from each of them. If no node reports it
 * (`told`), every edge decides by itself, from loads that all measure in the same way; no rule requires them to agree.
 *
 *   - Clients move only as fast as TTLs let them, so the current load results from earlier answers. `followed` is a
 *     low-pass of kept over that time, and all forecasts use it: demand = load ÷ followed.
 *   - After a site has shed, it changes nothing until its clients have had time to move (`settleMs`).
 *   - It takes back only after some quiet rounds, and after twice as many whenever it took back too much: clients come
 *     in lumps, and what does not fit between 0.85 and 1.00 would go to and fro for ever. If all fit, this can't
 *     happen.
 *   - Together, sites shed no more than the others have room for (up to 0.90 of their capacity), minus what has been
 *     shed already and has not arrived yet. If all are full, none sheds: moving clients would help nobody.
 *   - A site without a stated capacity is never full and has unlimited room. One whose load is not known neither sheds
 *     nor counts as room; it takes back step by step.
 *   - kept is never below 0.05, so that there is always some load to measure. A site that is not up keeps all, also
 *     when it comes up: until then, no answer names it.
 */
import type { Fleet } from "#document/document.ts";
import type { SiteLoads, SiteStates } from "./health.ts";
import { capacityOf } from "./site-pressure.ts";

/** Share of its clients that each site keeps, 0.05 … 1, by its name. */
export type KeptShares = ReadonlyMap<string, number>;

/** Time between two rounds. */
export const loadIntervalMs = 5000;

export const keptLeast = 0.05;
/** Parts of a site's capacity. */
const full = 1;
const shedAim = 0.95;
const roomUpTo = 0.9;
const quietBelow = 0.85;
/** One change sheds at most this part of what is kept, and takes back at most this share of all. */
const shedStep = 0.5;
const takeBackStep = 0.05;
/** The same when all of the clients are foreseen to fit: a rush that is over is over within a minute. */
const takeBackStride = 0.35;
/** All clients fit if the forecast share is at least this. */
const fitAllFrom = 1.1;
/** A dip shorter than the measurement is a dip of the measurement; 15 s. */
const patienceLeast = 3;
/** 5 min. */
const patienceMost = 60;
/** A smaller change moves no client and only costs a compilation of the answers. */
const changeLeast = 0.005;

/** Loads are measured over ten seconds (load-meter.ts), and probed once per interval. */
const measureMs = 10_000;
/** Resolvers keep no shorter TTLs; and a long one must not leave a site overloaded for longer than this. */
const ttlMsLeast = 5000;
const ttlMsMost = 120_000;

/** What is remembered of one site between rounds. */
export interface Shedding {
  readonly kept: number;
  /** The share that clients follow by now: the measured load results from it. */
  readonly followed: number;
  /** Time during which it changes nothing; 0 if it may change. */
  readonly settleMs: number;
  /** Rounds in a row in which its load was below what lets it take back. */
  readonly quietRounds: number;
  /** Number of quiet rounds that it needs; more each time that it took back too much. */
  readonly patienceRounds: number;
  /** Whether its last change was to take back. */
  readonly hasTakenBack: boolean;
}

const keepsAll: Shedding = {
  kept: 1,
  followed: 1,
  settleMs: 0,
  quietRounds: 0,
  patienceRounds: patienceLeast,
  hasTakenBack: false,
};

/**
 * One more round of all sites.
 * @param told the shares of sites that decide for themselves; used unchanged
 */
export function nextShedding(
  before: ReadonlyMap<string, Shedding>,
  fleet: Fleet,
  states: SiteStates,
  loads: SiteLoads,
  told: KeptShares,
): Map<string, Shedding> {
  const ttlMs = longestTtlMs(fleet);
  // Clients leave evenly over one TTL, and the measurement looks back evenly over its window: half of both is the lag.
  const followedStep = Math.min(1, loadIntervalMs / ((ttlMs + measureMs) / 2));
  const sites = fleet.sites.map((site) => {
    const { name } = site;
    const isUp = states.get(name) === "up";
    const last = (isUp ? before.get(name) : undefined) ?? keepsAll;
    const load = loads.get(name);
    const capacity = capacityOf(site);
    const now: Shedding = {
      ...last,
      followed: last.followed + (last.kept - last.followed) * followedStep,
      settleMs: Math.max(0, last.settleMs - loadIntervalMs),
      quietRounds: (load ?? 0) < quietBelow * capacity ? Math.min(last.quietRounds + 1, patienceMost) : 0,
    };
    return { name, isUp, load, capacity, now, isOver: load !== undefined && load > full * capacity };
  });

  let room = 0;
  let wanted = 0;
  for (const { isUp, load, capacity, now, isOver } of sites) {
    if (!isUp) continue;
    if (capacity === Infinity) room = Infinity;
    if (load === undefined) continue;
    room += Math.max(0, roomUpTo * capacity - load);
    // Shed before and still to come: it will take up room.
    room -= Math.max(0, 1 - now.kept / now.followed) * load;
    if (isOver && now.settleMs === 0) wanted += load - shedAim * capacity;
  }
  const granted = wanted === 0 ? 0 : Math.min(1, Math.max(0, room) / wanted);

  const after = new Map<string, Shedding>();
  for (const { name, isUp, load, capacity, now, isOver } of sites) {
    const { kept, followed } = now;
    const decided = isUp ? told.get(name) : undefined;
    let next = now;
    if (decided !== undefined) {
      // If this edge has to decide from now on, it waits as its predecessor would have.
      next = { ...now, kept: decided, settleMs: decided < kept ? ttlMs + measureMs : now.settleMs };
    } else if (isUp && isOver && now.settleMs === 0) {
      const part = granted * (1 - (shedAim * capacity) / (load ?? 0));
      const goal = Math.max(keptLeast, round(Math.max(kept * shedStep, Math.min(kept, followed) * (1 - part))));
      if (goal <= kept - changeLeast) {
        const patienceRounds = now.hasTakenBack ? Math.min(2 * now.patienceRounds, patienceMost) : now.patienceRounds;
        next = { ...now, kept: goal, settleMs: ttlMs + measureMs, patienceRounds, hasTakenBack: false };
      }
    } else if (isUp && now.settleMs === 0 && now.quietRounds >= patienceLeast) {
      // With infinite capacity or no load this is infinite: only the step bounds it.
      const foreseen = load === undefined || load === 0 ? Infinity : (followed * roomUpTo * capacity) / load;
      const fitAll = load !== undefined && foreseen >= fitAllFrom;
      const step = fitAll ? takeBackStride : takeBackStep;
      const isPatient = fitAll || now.quietRounds >= now.patienceRounds;
      const goal = isPatient ? round(Math.min(1, kept + step, foreseen)) : kept;
      // With all of them back, only a long quiet shows that they fit.
      if (goal > kept) next = { ...now, kept: goal, quietRounds: goal === 1 ? 0 : now.quietRounds, hasTakenBack: true };
      else if (now.quietRounds === patienceMost) next = { ...now, patienceRounds: patienceLeast, hasTakenBack: false };
    }
    after.set(name, next);
  }
  return after;
}

/** The shares alone, one for each site of the document. */
export function keptSharesOf(fleet: Fleet, shedding: ReadonlyMap<string, Shedding>): KeptShares {
  return new Map(fleet.sites.map(({ name }) => [name, shedding.get(name)?.kept ?? 1]));
}

/** The sites whose share may change in the next round: those that shed, and those close to their capacity. */
export function restlessSites(fleet: Fleet, shedding: ReadonlyMap<string, Shedding>, loads: SiteLoads): Set<string> {
  const restless = new Set<string>();
  for (const site of fleet.sites) {
    const { name } = site;
    const isShedding = (shedding.get(name)?.kept ?? 1) < 1;
    const isClose = (loads.get(name) ?? 0) > shedAim * capacityOf(site);
    if (isShedding || isClose) restless.add(name);
  }
  return restless;
}

function longestTtlMs(fleet: Fleet): number {
  const longest = fleet.steering.reduce((most, { ttlSeconds }) => Math.max(most, ttlSeconds), 0);
  return Math.min(Math.max(longest * 1000, ttlMsLeast), ttlMsMost);
}

/** To thousandths, so that edges whose measurements differ a little mostly arrive at the same. */
function round(share: number): number {
  return Math.round(share * 1000) / 1000;
}
