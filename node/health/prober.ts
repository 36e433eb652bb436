/**
 * Probes every node of every site over HTTP, and judges the results: consensus.ts says which nodes are up and by which
 * rules, health.ts what that makes of the sites and how soon it could change, load-shedding.ts which share of its
 * clients each site keeps, live-fleet.ts which addresses it has now.
 *
 *   node ‥ node      each once per interval, more often while it does not answer
 *     │      │
 *   ready, draining, failed ─▶ sight ┐
 *   health answers of nodes reached ─┴▶ judge ─▶ site states, live addresses ─┬─▶ changed()
 *   their loads, kept shares ─────────▶ every 5 s ─▶ kept shares ─────────────┘
 *                                       all ─▶ soonest changes ──▶ judgedRound(), soon after, several at once
 *
 * A node is judged again when it answers or fails. Nodes in trouble are judged 20 times per interval, since witnesses
 * come and go. This node does not probe itself; it uses its own readiness. While it is starting, it counts itself as
 * up: it will be when its DNS answers, and others can't reach it yet.
 *
 * Attempts at one node overlap while it does not answer: one each tenth of the interval, each cut off after an interval
 * at most, so some ten are under way. That bounds the timers; health-answer.ts bounds the answers. An attempt that is
 * held, because many nodes share an address, has not begun: that node is judged later, not worse.
 *
 * The state is one record (prober-state.ts). This file schedules attempts and takes their results, node-judgement.ts
 * judges nodes, site-judgement.ts judges sites.
 */
import type { Fleet } from "#document/document.ts";
import type { ProbeSettings } from "#document/schema/probes.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import {
  afterAnswer,
  afterBegin,
  afterHold,
  afterResult,
  heardOf,
  hurriedOf,
  isForsaken,
  type Sight,
  spacingMs,
  timeoutMs,
  unseen,
  watchedId,
} from "./consensus.ts";
import {
  type HealthAnswer,
  type Held,
  type NodeHealth,
  type ProbeResult,
  siteLoads,
  type SiteLoads,
  type SiteStates,
  spacingLeast,
} from "./health.ts";
import type { View } from "./health-answer.ts";
import { liveFleet } from "./live-fleet.ts";
import type { KeptShares } from "./load-shedding.ts";
import { judgeIsolation, judgeNode, publish, viewOf } from "./node-judgement.ts";
import {
  forgetAnswer,
  hostnameOf,
  newProberState,
  newWatched,
  type ProberOptions,
  type ProberState,
  type Watched,
} from "./prober-state.ts";
import { awaitRound, foresee, settle } from "./site-judgement.ts";

/** The path on a node's service listener that answers probes. */
export const probePath = "/.nearcast/health";

/** Number of times per interval that nodes in trouble are judged. */
const looksPerInterval = 20;
/** A node that did not answer this many attempts is in trouble: its witnesses may have to be probed next. */
const troubledAttempts = 2;
/** Between an answer that took longer than an interval and the next attempt. */
const leastPauseMs = 10;
/** Weight of the newest response time in the mean. */
const usualStep = 0.2;

export interface Prober {
  /**
   * Begins to probe the nodes of this document, and forgets those that are no longer in it. `changed` reports only the
   * resulting changes of judgements, since the caller knows about the new document.
   */
  watch: (fleet: Fleet) => void;
  /** Reads this node's own readiness again, for instance because it is now draining. */
  refresh: () => void;
  /** Judgements by node name; this node's own among them. */
  health: () => ReadonlyMap<string, NodeHealth>;
  /** The last health answer of each node, by its name; only of nodes that answer with proof. */
  answers: () => ReadonlyMap<string, HealthAnswer>;
  sites: () => SiteStates;
  /** The document with the addresses that are answered now (live-fleet.ts); undefined before the first. */
  live: () => Fleet | undefined;
  /** One for each site of the document. */
  keptShares: () => KeptShares;
  loads: () => SiteLoads;
  /** Whether this node reaches no other machine, and hears of no node that does. */
  isIsolated: () => boolean;
  /** What this node's health answer says of other nodes. */
  view: () => View;
  /** The shortest time, by site, until its judgement could change; absent: it can't. */
  soonestChangesMs: () => ReadonlyMap<string, number>;
  /** Resolves when every node of the document has been judged once. */
  judged: () => Promise<void>;
  close: () => void;
}

export function openProber(options: ProberOptions): Prober {
  const state = newProberState(options);
  return {
    watch: (fleet) => {
      watch(state, fleet);
    },
    refresh: () => {
      refresh(state);
    },
    health: () => state.health,
    answers: () => state.answers,
    sites: () => state.sites,
    live: () => state.live,
    keptShares: () => state.keptShares,
    loads: () => (state.fleet === undefined ? new Map() : siteLoads(state.fleet, state.health, state.answers)),
    isIsolated: () => state.isIsolated,
    view: () => viewOf(state),
    soonestChangesMs: () => state.soonestMs,
    judged: () => state.firstJudgements,
    close: () => {
      close(state);
    },
  };
}

function watch(state: ProberState, fleet: Fleet): void {
  stopTimers(state);
  state.fleet = fleet;
  const nodes = new Map(fleet.sites.flatMap((site) => site.nodes.map((node) => [node.name, node] as const)));
  for (const one of state.watched.values()) if (!nodes.has(one.node.name)) stop(state, one);
  state.ownId = watchedId(nodes.keys());
  const added: Watched[] = [];
  for (const node of nodes.values()) {
    const known = state.watched.get(node.name);
    if (known === undefined) added.push(begin(state, node));
    else Object.assign(known, { node, hostname: hostnameOf(node) });
  }
  state.firstJudgements = Promise.all([...state.watched.values()].map(({ first }) => first.promise)).then(
    () => undefined,
  );
  for (const one of state.watched.values()) judgeNode(state, one, fleet.probe);
  for (const one of added) attempt(state, one);
  judgeIsolation(state, fleet.probe);
  lookLater(state, fleet.probe);
  state.live = liveFleet(fleet, state.health);
  awaitRound(state);
  settle(state);
  foresee(state);
}

function begin(state: ProberState, node: SiteNode): Watched {
  const one = newWatched(node);
  state.watched.set(node.name, one);
  return one;
}

function stop(state: ProberState, one: Watched): void {
  one.isStopped = true;
  one.cancel();
  // Release anything that waits for its first judgement.
  one.first.resolve();
  const { name } = one.node;
  state.watched.delete(name);
  state.troubled.delete(one);
  state.health.delete(name);
  forgetAnswer(state, name);
}

function stopTimers(state: ProberState): void {
  state.stopRounds?.();
  state.stopCollecting?.();
  state.stopLooking?.();
  state.stopRounds = undefined;
  state.stopCollecting = undefined;
  state.stopLooking = undefined;
}

function close(state: ProberState): void {
  for (const one of state.watched.values()) stop(state, one);
  stopTimers(state);
  state.fleet = undefined;
}

function refresh(state: ProberState): void {
  const one = state.watched.get(state.options.self);
  if (one !== undefined && state.fleet !== undefined) lookAtSelf(state, one, state.fleet.probe);
}

/** Begins an attempt and schedules the next one. */
function attempt(state: ProberState, one: Watched): void {
  const { self, probe, clock } = state.options;
  if (state.fleet === undefined || one.isStopped) return;
  const { probe: settings } = state.fleet;
  const beganMs = clock.monotonicMs();
  one.lastMs = beganMs;
  if (one.node.name === self) {
    lookAtSelf(state, one, settings);
    one.cancel = clock.after(settings.intervalMs, () => {
      attempt(state, one);
    });
    return;
  }
  if (one.sight.begun === 0) one.firstMs = beganMs;
  one.sight = afterBegin(one.sight);
  if (one.sight.begun > troubledAttempts) {
    state.troubled.add(one);
    lookLater(state, settings);
  }
  if (one.sight.begun > 1) publish(state, one, settings);
  const { series } = one;
  const ended = (result: ProbeResult | Held): void => {
    takeResult(state, one, result, { series, beganMs });
  };
  void probe(one.node, timeoutMs(settings)).then(ended);
  scheduleNext(state, one, settings);
}

function scheduleNext(state: ProberState, one: Watched, settings: ProbeSettings): void {
  const { clock, random } = state.options;
  one.cancel();
  const { sight, usualMs, isHurried } = one;
  // Add jitter, so that many edges don't probe in step; but not to overlapping attempts, where every moment counts.
  const isRegular = sight.begun === 0 || sight.reach === "lost";
  const spread = isRegular ? spacingLeast + random() * (1 - spacingLeast) : 1;
  const fromMs = sight.begun === 0 && sight.reach !== "lost" ? one.firstMs : one.lastMs;
  const dueMs = fromMs + spacingMs(sight, usualMs, isHurried, settings) * spread;
  one.cancel = clock.after(Math.max(dueMs - clock.monotonicMs(), leastPauseMs), () => {
    attempt(state, one);
  });
}

/** An attempt has ended. Of one that began before another was answered, only the health answer counts. */
function takeResult(
  state: ProberState,
  one: Watched,
  result: ProbeResult | Held,
  { series, beganMs }: { series: number; beganMs: number },
): void {
  if (one.isStopped) return;
  if (result.outcome === "held") hold(state, one, series, result.waitMs);
  else if (one.series === series) take(state, one, result, beganMs);
  else if (result.outcome !== "failed") hear(state, one.node.name, result.answer, beganMs);
}

/** Retries when the address may be probed. Meanwhile nothing waits for its first judgement. */
function hold(state: ProberState, one: Watched, series: number, waitMs: number): void {
  if (one.series === series) one.sight = afterHold(one.sight);
  one.first.resolve();
  one.cancel();
  one.cancel = state.options.clock.after(waitMs, () => {
    attempt(state, one);
  });
}

function take(state: ProberState, one: Watched, result: ProbeResult, beganMs: number): void {
  if (state.fleet === undefined) return;
  const { probe: settings } = state.fleet;
  one.sight = afterResult(one.sight, result, beganMs, settings);
  if (result.outcome !== "failed") {
    one.series += 1;
    const tookMs = state.options.clock.monotonicMs() - beganMs;
    one.usualMs = one.usualMs === 0 ? tookMs : one.usualMs + (tookMs - one.usualMs) * usualStep;
    hear(state, one.node.name, result.answer, beganMs);
  }
  scheduleNext(state, one, settings);
  judgeAndSettle(state, one, settings);
}

/** Keeps a node's health answer; without one, the previous answer is dropped. */
function hear(state: ProberState, name: string, answer: HealthAnswer | undefined, askedMs: number): void {
  // When attempts overlap, the later one may be answered first.
  if (askedMs < (state.heard.get(name)?.askedMs ?? -Infinity)) return;
  if (answer === undefined) {
    forgetAnswer(state, name);
    return;
  }
  const heard = heardOf(answer, askedMs);
  state.answers.set(name, answer);
  state.heard.set(name, heard);
  state.reputation = afterAnswer(state.reputation, heard, state.options.self, state.ownId);
}

/** This node's own readiness serves as its probe. */
function lookAtSelf(state: ProberState, one: Watched, settings: ProbeSettings): void {
  const { self, presence, answer, clock } = state.options;
  const nowMs = clock.monotonicMs();
  const now = presence();
  state.answers.set(self, answer());
  let result: ProbeResult = { outcome: now === "draining" ? "draining" : "ready" };
  // What others see of it while it starts says nothing about its links.
  if (now === "starting") state.reputation = { reachedMs: nowMs, heardMs: nowMs };
  else if (!state.isIsolated && isForsaken(state.reputation, nowMs, settings)) {
    result = { outcome: "failed", reason: "other nodes do not reach it, though it reaches them" };
  }
  // One look is as good as several probes: nothing is lost on the way.
  const fresh: Sight = { ...one.sight, failures: settings.failuresDown, successes: settings.successesUp };
  one.sight = afterResult(fresh, result, nowMs, settings);
  judgeAndSettle(state, one, settings);
}

function judgeAndSettle(state: ProberState, one: Watched, settings: ProbeSettings): void {
  const isOther = judgeNode(state, one, settings);
  if (isOther) judgeIsolation(state, settings);
  lookLater(state, settings);
  if (isOther) settle(state);
}

/** While some node is in trouble, looks at those that are, again and again. */
function lookLater(state: ProberState, settings: ProbeSettings): void {
  if (state.troubled.size === 0) return;
  state.stopLooking ??= state.options.clock.after(settings.intervalMs / looksPerInterval, () => {
    look(state);
  });
}

/** Judges the nodes in trouble, and has their witnesses asked more often. */
function look(state: ProberState): void {
  state.stopLooking = undefined;
  if (state.fleet === undefined) return;
  const { probe: settings } = state.fleet;
  let isAnyOther = false;
  const lost: string[] = [];
  const looked = [...state.troubled];
  state.troubled.clear();
  for (const one of looked) {
    if (one.isStopped) continue;
    if (one.sight.begun > troubledAttempts) state.troubled.add(one);
    if (judgeNode(state, one, settings)) isAnyOther = true;
    if (state.troubled.has(one) && one.node.name !== state.options.self) lost.push(one.node.name);
  }
  hurry(state, lost, settings);
  if (isAnyOther) judgeIsolation(state, settings);
  lookLater(state, settings);
  if (isAnyOther) settle(state);
}

/** Asks the witnesses of lost nodes more often, and others as usual. */
function hurry(state: ProberState, lost: readonly string[], settings: ProbeSettings): void {
  // A node that is silent just now comes last, or a part of the fleet that is cut off would keep the places.
  const quicknessMs = (name: string): number => {
    const { sight = unseen, usualMs = Infinity } = state.watched.get(name) ?? {};
    return sight.begun > troubledAttempts ? Infinity : usualMs;
  };
  const hurried = hurriedOf(lost, state.heard, state.ownId, quicknessMs);
  for (const one of state.watched.values()) {
    const isHurried = hurried.has(one.node.name);
    if (one.isHurried === isHurried) continue;
    one.isHurried = isHurried;
    if (isHurried && one.node.name !== state.options.self) scheduleNext(state, one, settings);
  }
}
