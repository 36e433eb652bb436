/**
 * Probing every node of every site over HTTP, and judging what is seen: health.ts says which sites are up and how soon
 * that could change, load.ts which share of its clients each keeps.
 *
 *   node ‥ node      each once per interval
 *     │      │
 *   ready, draining, failed ─▶ judge ─▶ site states ─────┬─▶ changed()
 *   load, kept share ─────────▶ every 5 s ─▶ kept shares ┘
 *                               both ─▶ soonest changes ──▶ judgedRound(), soon after, several at once
 *
 * Each node is asked once per interval, a node that is down twice as often, so that it is back within a second of
 * its return. At most one probe per node is under way: its timeout is never longer than the interval.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Fleet } from "./document.ts";
import {
  judge,
  type NodeHealth,
  type NodeWord,
  type ProbeResult,
  siteLoads,
  type SiteLoads,
  type SiteStates,
  siteStates,
  soonestChangesMs,
  spacingLeast,
  spacingMs,
  toldShares,
  unknownHealth,
} from "./health.ts";
import { type KeptShares, keptSharesOf, loadIntervalMs, nextShedding, restlessSites, type Shedding } from "./load.ts";

/** The path on a node's service listener that answers probes. */
export const probePath = "/.nearcast/health";

/** Judgements are collected for a tenth of the probe interval, at most this, before the soonest changes are told. */
const collectMsMost = 500;

export interface Prober {
  /** Begins to probe the nodes of this document, and forgets those that are no longer in it. */
  watch: (fleet: Fleet) => void;
  health: () => ReadonlyMap<string, NodeHealth>;
  sites: () => SiteStates;
  /** One for each site of the document. */
  keptShares: () => KeptShares;
  loads: () => SiteLoads;
  /** The least time, by site, until what is judged of it could change; absent: it can't. */
  soonestChangesMs: () => ReadonlyMap<string, number>;
  /** Resolves when every node of the document has been judged once. */
  judged: () => Promise<void>;
  close: () => void;
}

/**
 * @param self this node's name
 * @param probe one question to a node's base URL; it never throws
 * @param changed called after each change of any site's state or kept share
 * @param judgedRound called with the soonest changes soon after judgements that altered any of them, several judgements
 *   at once: at most ten times per probe interval where that is below 5 s, else twice a second
 */
export function openProber(options: {
  self: string;
  probe: (baseUrl: string, timeoutMs: number) => Promise<ProbeResult>;
  changed: () => void;
  judgedRound: (soonestMs: ReadonlyMap<string, number>) => void;
  clock: Clock;
  random: Random;
  log: Log;
}): Prober {
  const { self, probe, changed, judgedRound, clock, random, log } = options;
  const health = new Map<string, NodeHealth>();
  /** What each node said last of itself; only of nodes that answer. */
  const words = new Map<string, NodeWord>();
  const stops = new Map<string, () => void>();
  let stopRounds = (): void => undefined;
  let stopCollecting: (() => void) | undefined;
  let fleet: Fleet | undefined;
  let states: SiteStates = new Map();
  let shedding: ReadonlyMap<string, Shedding> = new Map();
  let keptShares: KeptShares = new Map();
  let soonestMs: ReadonlyMap<string, number> = new Map();
  let firstJudgements: Promise<void> = Promise.resolve();

  function settle(): void {
    if (fleet === undefined) return;
    const nextStates = siteStates(fleet, health);
    const nextShares = keptSharesOf(fleet, shedding);
    const isSame = isEqual(states, nextStates) && isEqual(keptShares, nextShares);
    states = nextStates;
    keptShares = nextShares;
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

  function shedRound(): void {
    if (fleet === undefined) return;
    const before = shedding;
    const told = toldShares(fleet, health, words, self);
    shedding = nextShedding(before, fleet, states, siteLoads(fleet, health, words), told);
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
    const restless = restlessSites(fleet, shedding, siteLoads(fleet, health, words));
    soonestMs = soonestChangesMs(fleet, health, restless, loadIntervalMs);
    return !isEqual(before, soonestMs);
  }

  /** Probes one node until it is stopped; resolves after the first judgement. */
  function begin(name: string, baseUrl: string, settings: Fleet["probe"]): Promise<void> {
    let isStopped = false;
    let cancel = (): void => undefined;
    stops.set(name, () => {
      isStopped = true;
      cancel();
    });
    const round = async (): Promise<void> => {
      const startedMs = clock.monotonicMs();
      const result = await probe(baseUrl, Math.min(settings.timeoutMs, settings.intervalMs));
      if (isStopped) return;
      const before = health.get(name) ?? unknownHealth;
      const after = judge(before, result, settings);
      health.set(name, after);
      // Until it is down, a node that failed to answer is taken at the last of its words.
      if (after.state === "down") words.delete(name);
      else if (result.outcome !== "failed") words.set(name, result);
      if (after.state !== before.state) {
        log.info(
          { node: name, before: before.state, state: after.state, reason: after.reason },
          "a node's state changed",
        );
      }
      settle();
      if (after.state !== before.state || after.contraryCount !== before.contraryCount) collect();
      // Spread a little, so that many edges do not ask in step.
      const spread = spacingLeast + random() * (1 - spacingLeast);
      const delayMs = spacingMs(after.state, settings) * spread - (clock.monotonicMs() - startedMs);
      cancel = clock.after(Math.max(delayMs, 10), () => {
        void round();
      });
    };
    return round();
  }

  function stopAll(): void {
    for (const stop of stops.values()) stop();
    stops.clear();
    stopRounds();
    stopCollecting?.();
    stopCollecting = undefined;
  }

  return {
    watch(next) {
      stopAll();
      fleet = next;
      const nodes = next.sites.flatMap((site) => site.nodes);
      const names = new Set(nodes.map((node) => node.name));
      for (const name of health.keys()) if (!names.has(name)) health.delete(name);
      for (const name of words.keys()) if (!names.has(name)) words.delete(name);
      firstJudgements = Promise.all(nodes.map((node) => begin(node.name, node.http, next.probe))).then(() => undefined);
      awaitRound();
      settle();
      if (foresee()) judgedRound(soonestMs);
    },
    health: () => health,
    sites: () => states,
    keptShares: () => keptShares,
    loads: () => (fleet === undefined ? new Map() : siteLoads(fleet, health, words)),
    soonestChangesMs: () => soonestMs,
    judged: () => firstJudgements,
    close: stopAll,
  };
}

function isEqual<Value>(one: ReadonlyMap<string, Value>, other: ReadonlyMap<string, Value>): boolean {
  return one.size === other.size && [...one].every(([name, value]) => other.get(name) === value);
}
