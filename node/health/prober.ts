/**
 * Probing every node of every site over HTTP, and judging what is seen and heard: consensus.ts says which nodes are up
 * and by which rules, health.ts what that makes of the sites and how soon it could change, load.ts which share of its
 * clients each site keeps, live.ts which addresses it has now.
 *
 *   node ‥ node      each once per interval, more often while it does not answer
 *     │      │
 *   ready, draining, failed ─▶ sight ┐
 *   words of those reached ──────────┴▶ judge ─▶ site states, live addresses ─┬─▶ changed()
 *   their loads, kept shares ─────────▶ every 5 s ─▶ kept shares ─────────────┘
 *                                       all ─▶ soonest changes ──▶ judgedRound(), soon after, several at once
 *
 * A judgement is made anew when its node answers or fails, and, while some node is in trouble, 20 times per interval
 * for those that are: witnesses come and go meanwhile. This node itself is not probed; it is asked what it says of
 * itself.
 *
 * Attempts at one node overlap while it does not answer: one each tenth of the interval, each cut off after an interval
 * at most, so some ten are under way. The timers are bounded by that; the words by what an answer may hold (word.ts).
 * An attempt that is held, because many nodes share an address, has not begun: that node is judged later, not worse.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import {
  afterBegin,
  afterHold,
  afterResult,
  afterWord,
  type Heard,
  healthOf,
  heardOf,
  hurriedOf,
  isForsaken,
  isUnreachable,
  judge,
  type Judgement,
  noTestimony,
  type Reputation,
  type Sight,
  spacingMs,
  testimonyOf,
  timeoutMs,
  unjudged,
  unseen,
  watchedId,
} from "./consensus.ts";
import type { Fleet, ProbeSettings, SiteNode } from "#document/document.ts";
import {
  type Held,
  type NodeHealth,
  type NodeWord,
  type ProbeResult,
  siteLoads,
  type SiteLoads,
  type SiteStates,
  siteStates,
  soonestChangesMs,
  spacingLeast,
  toldShares,
} from "./health.ts";
import { haveSameAddresses, liveFleet } from "./live-fleet.ts";
import { type KeptShares, keptSharesOf, loadIntervalMs, nextShedding, restlessSites, type Shedding } from "./load.ts";
import { loadsOf, type SitePressures, sitePressures } from "./pressure.ts";
import { boundedView, type View } from "./health-answer.ts";

/** The path on a node's service listener that answers probes. */
export const probePath = "/.nearcast/health";

/** Judgements are collected for a tenth of the probe interval, at most this, before the soonest changes are told. */
const collectMsMost = 500;
/** Looks at nodes in trouble per interval. */
const looksPerInterval = 20;
/** A node that did not answer for so many attempts is in trouble: the next to be asked may be its witnesses. */
const troubledAttempts = 2;
/** Between an answer that took longer than an interval and the next attempt. */
const leastPauseMs = 10;
/** Of a mean of answer times, the part of the newest one. */
const usualStep = 0.2;

export interface Prober {
  /**
   * Begins to probe the nodes of this document, and forgets those that are no longer in it. `changed` tells what that
   * alters in the judgements; that there is another document, the caller knows.
   */
  watch: (fleet: Fleet) => void;
  /** Asks this node anew what it says of itself, such as that it drains now. */
  refresh: () => void;
  /** Judgements by node name; this node's own among them. */
  health: () => ReadonlyMap<string, NodeHealth>;
  /** What each node said last of itself, by its name; only of nodes that answer with proof. */
  words: () => ReadonlyMap<string, NodeWord>;
  sites: () => SiteStates;
  /** The document with the addresses that are answered now (live.ts); undefined before the first. */
  live: () => Fleet | undefined;
  /** One for each site of the document. */
  keptShares: () => KeptShares;
  loads: () => SiteLoads;
  pressures: () => SitePressures;
  /** This node reaches no other machine, and hears of nobody who does. */
  isIsolated: () => boolean;
  /** Names of the nodes that this node does not reach by its own probes. */
  unreachable: () => readonly string[];
  /** What this node's word says of others. */
  view: () => View;
  /** The least time, by site, until what is judged of it could change; absent: it can't. */
  soonestChangesMs: () => ReadonlyMap<string, number>;
  /** Resolves when every node of the document has been judged once. */
  judged: () => Promise<void>;
  close: () => void;
}

/** What is kept of one node. */
interface Watched {
  node: SiteNode;
  /** Where it stands: nodes of one host share a machine. */
  hostname: string;
  sight: Sight;
  judgement: Judgement;
  /** Mean time of its answers. */
  usualMs: number;
  isHurried: boolean;
  /** When the first of the present attempts began, and the last. */
  firstMs: number;
  lastMs: number;
  /** Numbers the attempts until an answer; of those before, only the words count. */
  series: number;
  cancel: Cancel;
  isStopped: boolean;
  /** Resolves with the first judgement. */
  first: PromiseWithResolvers<void>;
}

/**
 * @param self this node's name
 * @param presence this node's own readiness
 * @param word what this node says to others; here its load counts
 * @param probe one question to a node, or when it may be asked; it never throws
 * @param changed called after each change of any site's state, live addresses or kept share
 * @param judgedRound called with the soonest changes soon after judgements that altered any of them, several judgements
 *   at once: at most ten times per probe interval where that is below 5 s, else twice a second
 */
export function openProber(options: {
  self: string;
  presence: () => "starting" | "ready" | "draining";
  word: () => NodeWord;
  probe: (node: SiteNode, timeoutMs: number) => Promise<ProbeResult | Held>;
  changed: () => void;
  judgedRound: (soonestMs: ReadonlyMap<string, number>) => void;
  clock: Clock;
  random: Random;
  log: Log;
}): Prober {
  const { self, presence, word, probe, changed, judgedRound, clock, random, log } = options;
  const watched = new Map<string, Watched>();
  const health = new Map<string, NodeHealth>();
  const words = new Map<string, NodeWord>();
  /** The same words as they are used to judge others. */
  const heard = new Map<string, Heard>();
  const troubled = new Set<Watched>();
  let reputation: Reputation = { reachedMs: clock.monotonicMs(), heardMs: -Infinity };
  let ownId = "";
  let isIsolated = false;
  let stopRounds: Cancel = () => undefined;
  let stopCollecting: Cancel | undefined;
  let stopLooking: Cancel | undefined;
  let fleet: Fleet | undefined;
  let live: Fleet | undefined;
  let states: SiteStates = new Map();
  let shedding: ReadonlyMap<string, Shedding> = new Map();
  let keptShares: KeptShares = new Map();
  let soonestMs: ReadonlyMap<string, number> = new Map();
  let firstJudgements: Promise<void> = Promise.resolve();

  function settle(): void {
    if (fleet === undefined) return;
    const nextStates = siteStates(fleet, health);
    const nextShares = keptSharesOf(fleet, shedding);
    const nextLive = liveFleet(fleet, health);
    const isSameLive = live !== undefined && haveSameAddresses(live, nextLive);
    const isSame = isSameLive && isEqual(states, nextStates) && isEqual(keptShares, nextShares);
    states = nextStates;
    keptShares = nextShares;
    // The same object as long as it says the same: whoever compiles it need not do so again.
    if (!isSameLive) live = nextLive;
    if (!isSame) changed();
  }

  /** The rounds of all edges fall on the same moments, as far as their clocks agree. */
  function awaitRound(): void {
    const untilNextMs = loadIntervalMs - (clock.wallMs() % loadIntervalMs);
    // A timer may fire a little early; the same moment must not have two rounds.
    const delayMs = untilNextMs < loadIntervalMs / 10 ? untilNextMs + loadIntervalMs : untilNextMs;
    stopRounds = clock.after(delayMs, () => {
      awaitRound();
      shedRound();
    });
  }

  /** Each site's load in requests per second, with what else its machines are short of. */
  function weighedLoads(of: Fleet): SiteLoads {
    return loadsOf(of, sitePressures(of, health, words), siteLoads(of, health, words));
  }

  function shedRound(): void {
    if (fleet === undefined) return;
    const before = shedding;
    const told = toldShares(fleet, health, words, self);
    shedding = nextShedding(before, fleet, states, weighedLoads(fleet), told);
    for (const [site, { kept }] of shedding) {
      const keptBefore = before.get(site)?.kept ?? 1;
      if (kept < keptBefore) log.warn({ site, before: keptBefore, kept }, "a site is full and sheds clients");
      else if (kept === 1 && keptBefore < 1) log.info({ site }, "a site has taken back all its clients");
    }
    settle();
    collect();
  }

  /** Tells the soonest changes a little later, so that many judgements of one moment are told once. */
  function collect(): void {
    if (fleet === undefined || stopCollecting !== undefined) return;
    stopCollecting = clock.after(Math.min(fleet.probe.intervalMs / 10, collectMsMost), () => {
      stopCollecting = undefined;
      if (foresee()) judgedRound(soonestMs);
    });
  }

  /** True when some value is another one now. */
  function foresee(): boolean {
    if (fleet === undefined) return false;
    const before = soonestMs;
    const restless = restlessSites(fleet, shedding, weighedLoads(fleet));
    soonestMs = soonestChangesMs(fleet, health, restless, loadIntervalMs);
    return !isEqual(before, soonestMs);
  }

  /** Judges one node anew; true when its state is another one now. */
  function judgeAgain(one: Watched, settings: ProbeSettings): boolean {
    const nowMs = clock.monotonicMs();
    const { name, state: wanted } = one.node;
    const before = one.judgement;
    const { isUnproven } = one.sight;
    const testimony =
      one.sight.reach === "lost" && name !== self
        ? testimonyOf({ name, isUnproven }, heard, ownId, nowMs, settings)
        : noTestimony;
    const evidence = { sight: one.sight, testimony, isToDrain: wanted === "draining", isIsolated };
    one.judgement = judge(before, evidence, nowMs, settings);
    // Until it is lost, a node that failed to answer is taken at the last of its words.
    if (one.sight.reach === "lost" && one.sight.successes === 0) {
      words.delete(name);
      heard.delete(name);
    }
    if (one.sight.reach !== "reached" || one.judgement.state === "down") trouble(one, settings);
    publish(one, settings);
    const { state, reason } = one.judgement;
    if (state === before.state) return false;
    log.info({ node: name, before: before.state, state, reason }, "a node's state changed");
    if (before.state === "unknown") one.first.resolve();
    return true;
  }

  /** Writes down what the rest of the program is told of a node. */
  function publish(one: Watched, settings: ProbeSettings): void {
    const { name } = one.node;
    const before = health.get(name);
    const after = healthOf(one.judgement, one.sight, settings);
    const isSame = before?.state === after.state && before.contraryCount === after.contraryCount;
    if (isSame && before.reason === after.reason && before.isUnproven === after.isUnproven) return;
    health.set(name, after);
    if (!isSame) collect();
  }

  function judgeAndSettle(one: Watched, settings: ProbeSettings): void {
    if (judgeAgain(one, settings)) {
      judgeIsolation(settings);
      settle();
    }
  }

  /** Rule 8, after any node's state changed: what it makes of the others is only their reasons. */
  function judgeIsolation(settings: ProbeSettings): void {
    const here = watched.get(self)?.hostname;
    const others = [...watched.values()].filter((one) => one.hostname !== here);
    const isAlone = ({ sight, judgement }: Watched): boolean =>
      sight.reach === "lost" && judgement.wellSinceMs === undefined;
    const next = others.length > 0 && others.every(isAlone);
    if (next === isIsolated) return;
    isIsolated = next;
    if (isIsolated) log.warn({}, "this node reaches no other machine: it answers with its own site");
    else log.info({}, "this node reaches others again");
    for (const one of others) {
      one.judgement = { ...one.judgement, falls: 0, fellMs: -Infinity };
      judgeAgain(one, settings);
    }
  }

  /** From now on it is looked at, until it is well. */
  function trouble(one: Watched, settings: ProbeSettings): void {
    troubled.add(one);
    stopLooking ??= clock.after(settings.intervalMs / looksPerInterval, look);
  }

  /** Judges the nodes in trouble, and has their witnesses asked more often. */
  function look(): void {
    stopLooking = undefined;
    if (fleet === undefined) return;
    const { probe: settings } = fleet;
    let isAnyOther = false;
    const lost: string[] = [];
    const looked = [...troubled];
    troubled.clear();
    for (const one of looked) {
      if (one.isStopped) continue;
      if (one.sight.begun > troubledAttempts) trouble(one, settings);
      if (judgeAgain(one, settings)) isAnyOther = true;
      if (troubled.has(one) && one.node.name !== self) lost.push(one.node.name);
    }
    hurry(lost, settings);
    if (!isAnyOther) return;
    judgeIsolation(settings);
    settle();
  }

  function hurry(lost: readonly string[], settings: ProbeSettings): void {
    // Who is silent just now comes last, or a part of the fleet that is cut off would keep the places.
    const quicknessMs = (name: string): number => {
      const { sight = unseen, usualMs = Infinity } = watched.get(name) ?? {};
      return sight.begun > troubledAttempts ? Infinity : usualMs;
    };
    const hurried = hurriedOf(lost, heard, ownId, quicknessMs);
    for (const one of watched.values()) {
      const isHurried = hurried.has(one.node.name);
      if (one.isHurried === isHurried) continue;
      one.isHurried = isHurried;
      if (isHurried && one.node.name !== self) scheduleNext(one, settings);
    }
  }

  /** What this node says of itself stands for its own probe. */
  function lookAtSelf(one: Watched, settings: ProbeSettings): void {
    const nowMs = clock.monotonicMs();
    const now = presence();
    words.set(self, word());
    let result: ProbeResult = { outcome: now === "draining" ? "draining" : "ready" };
    if (now === "starting") result = { outcome: "failed", reason: "starting" };
    else if (!isIsolated && isForsaken(reputation, nowMs, settings)) {
      result = { outcome: "failed", reason: "no other node reaches this one" };
    }
    // One look is as good as several probes: nothing is lost on the way.
    const { sight } = one;
    const fresh: Sight = { ...sight, failures: settings.failuresDown, successes: settings.successesUp };
    one.sight = afterResult(fresh, result, nowMs, settings);
    judgeAndSettle(one, settings);
  }

  /** Begins one more attempt, and has the next one begin in time. */
  function attempt(one: Watched): void {
    if (fleet === undefined || one.isStopped) return;
    const { probe: settings } = fleet;
    const beganMs = clock.monotonicMs();
    one.lastMs = beganMs;
    if (one.node.name === self) {
      lookAtSelf(one, settings);
      one.cancel = clock.after(settings.intervalMs, () => {
        attempt(one);
      });
      return;
    }
    if (one.sight.begun === 0) one.firstMs = beganMs;
    one.sight = afterBegin(one.sight);
    if (one.sight.begun > troubledAttempts) trouble(one, settings);
    if (one.sight.begun > 1) publish(one, settings);
    const { series } = one;
    const told = (result: ProbeResult | Held): void => {
      if (one.isStopped) return;
      if (result.outcome === "held") hold(one, series, result.waitMs);
      else if (one.series === series) take(one, result, beganMs);
      else if (result.outcome !== "failed") hear(one.node.name, result.word, beganMs);
    };
    void probe(one.node, timeoutMs(settings)).then(told);
    scheduleNext(one, settings);
  }

  /** Comes back when the address may be asked; nobody waits for its first judgement meanwhile. */
  function hold(one: Watched, series: number, waitMs: number): void {
    if (one.series === series) one.sight = afterHold(one.sight);
    one.first.resolve();
    one.cancel();
    one.cancel = clock.after(waitMs, () => {
      attempt(one);
    });
  }

  function take(one: Watched, result: ProbeResult, beganMs: number): void {
    if (fleet === undefined) return;
    const { probe: settings } = fleet;
    const { name } = one.node;
    one.sight = afterResult(one.sight, result, beganMs, settings);
    if (result.outcome !== "failed") {
      one.series += 1;
      const tookMs = clock.monotonicMs() - beganMs;
      one.usualMs = one.usualMs === 0 ? tookMs : one.usualMs + (tookMs - one.usualMs) * usualStep;
      hear(name, result.word, beganMs);
    }
    scheduleNext(one, settings);
    judgeAndSettle(one, settings);
  }

  function hear(name: string, said: NodeWord | undefined, askedMs: number): void {
    // Of attempts that overlap, the later one may be answered first.
    if (askedMs < (heard.get(name)?.askedMs ?? -Infinity)) return;
    if (said === undefined) {
      words.delete(name);
      heard.delete(name);
      return;
    }
    const one = heardOf(said, askedMs);
    words.set(name, said);
    heard.set(name, one);
    reputation = afterWord(reputation, one, self, ownId);
  }

  function scheduleNext(one: Watched, settings: ProbeSettings): void {
    one.cancel();
    const { sight, usualMs, isHurried } = one;
    // Spread a little, so that many edges do not ask in step; not where attempts overlap, there each moment counts.
    const isRegular = sight.begun === 0 || sight.reach === "lost";
    const spread = isRegular ? spacingLeast + random() * (1 - spacingLeast) : 1;
    const fromMs = sight.begun === 0 && sight.reach !== "lost" ? one.firstMs : one.lastMs;
    const dueMs = fromMs + spacingMs(sight, usualMs, isHurried, settings) * spread;
    one.cancel = clock.after(Math.max(dueMs - clock.monotonicMs(), leastPauseMs), () => {
      attempt(one);
    });
  }

  function begin(node: SiteNode): Watched {
    const one: Watched = {
      node,
      hostname: new URL(node.http).hostname,
      sight: unseen,
      judgement: unjudged,
      usualMs: 0,
      isHurried: false,
      firstMs: 0,
      lastMs: 0,
      series: 0,
      cancel: () => undefined,
      isStopped: false,
      first: Promise.withResolvers(),
    };
    watched.set(node.name, one);
    return one;
  }

  function stop(one: Watched): void {
    one.isStopped = true;
    one.cancel();
    // Whoever waits for its first judgement need not any more.
    one.first.resolve();
    const { name } = one.node;
    watched.delete(name);
    troubled.delete(one);
    for (const map of [health, words, heard]) map.delete(name);
  }

  function stopTimers(): void {
    stopRounds();
    stopCollecting?.();
    stopLooking?.();
    stopCollecting = undefined;
    stopLooking = undefined;
  }

  function view(): View {
    if (fleet === undefined) return {};
    const { probe: settings } = fleet;
    const draining = [...watched.values()].filter(
      ({ node, sight }) => node.name !== self && sight.reach === "reached" && sight.answer === "draining",
    );
    return boundedView({
      unreachable: unreachable(settings),
      ...(draining.length > 0 ? { draining: draining.map(({ node }) => node.name) } : {}),
      watched: ownId,
      asksProof: true,
      ...(isIsolated ? { isIsolated } : {}),
    });
  }

  function unreachable(settings: ProbeSettings): string[] {
    const nowMs = clock.monotonicMs();
    const names: string[] = [];
    for (const [name, { sight }] of watched) {
      if (name !== self && isUnreachable(sight, nowMs, settings)) names.push(name);
    }
    return names;
  }

  return {
    watch(next) {
      stopTimers();
      fleet = next;
      const nodes = new Map(next.sites.flatMap((site) => site.nodes.map((node) => [node.name, node] as const)));
      for (const one of watched.values()) if (!nodes.has(one.node.name)) stop(one);
      ownId = watchedId(nodes.keys());
      const added: Watched[] = [];
      for (const node of nodes.values()) {
        const known = watched.get(node.name);
        if (known === undefined) added.push(begin(node));
        else Object.assign(known, { node, hostname: new URL(node.http).hostname });
      }
      firstJudgements = Promise.all([...watched.values()].map(({ first }) => first.promise)).then(() => undefined);
      for (const one of watched.values()) judgeAgain(one, next.probe);
      for (const one of added) attempt(one);
      judgeIsolation(next.probe);
      live = liveFleet(next, health);
      awaitRound();
      settle();
      if (foresee()) judgedRound(soonestMs);
    },
    refresh() {
      const one = watched.get(self);
      if (one !== undefined && fleet !== undefined) lookAtSelf(one, fleet.probe);
    },
    health: () => health,
    words: () => words,
    sites: () => states,
    live: () => live,
    keptShares: () => keptShares,
    loads: () => (fleet === undefined ? new Map() : siteLoads(fleet, health, words)),
    pressures: () => (fleet === undefined ? new Map() : sitePressures(fleet, health, words)),
    isIsolated: () => isIsolated,
    unreachable: () => (fleet === undefined ? [] : unreachable(fleet.probe)),
    view,
    soonestChangesMs: () => soonestMs,
    judged: () => firstJudgements,
    close() {
      for (const one of watched.values()) stop(one);
      stopTimers();
      fleet = undefined;
    },
  };
}

function isEqual<Value>(one: ReadonlyMap<string, Value>, other: ReadonlyMap<string, Value>): boolean {
  return one.size === other.size && [...one].every(([name, value]) => other.get(name) === value);
}
