/**
 * Derives the states of sites from the judgements of nodes: state, live addresses, kept share, and how soon any of them
 * could change.
 *
 *   health of nodes ──▶ settle() ──▶ states, live addresses, kept shares ──▶ changed()
 *   loads, each 5 s ──▶ shedRound() ──▶ settle()
 *   both ──▶ collect() ──a little later──▶ soonest changes ──▶ judgedRound()
 */
import type { Fleet } from "#document/document.ts";
import { type SiteLoads, siteLoads, siteStates, soonestChangesMs, toldShares } from "./health.ts";
import { haveSameAddresses, liveFleet } from "./live-fleet.ts";
import { keptSharesOf, loadIntervalMs, nextShedding, restlessSites } from "./load-shedding.ts";
import { loadsOf, sitePressures } from "./site-pressure.ts";
import type { ProberState } from "./prober-state.ts";

/**
 * Judgements are collected for a tenth of the probe interval, at most this, before the soonest changes are reported.
 */
const collectMsMost = 500;

/** Recomputes the sites for DNS, and calls `changed` if anything differs. */
export function settle(state: ProberState): void {
  const { fleet, health } = state;
  if (fleet === undefined) return;
  const nextStates = siteStates(fleet, health);
  const nextShares = keptSharesOf(fleet, state.shedding);
  const nextLive = liveFleet(fleet, health);
  const isSameLive = state.live !== undefined && haveSameAddresses(state.live, nextLive);
  const isSame = isSameLive && isEqual(state.sites, nextStates) && isEqual(state.keptShares, nextShares);
  state.sites = nextStates;
  state.keptShares = nextShares;
  // The same object while nothing changes, so that it is not compiled again.
  if (!isSameLive) state.live = nextLive;
  if (!isSame) state.options.changed();
}

/** Starts the timer of the load rounds. The rounds of all edges fall on the same moments, if their clocks agree. */
export function awaitRound(state: ProberState): void {
  const { clock } = state.options;
  const untilNextMs = loadIntervalMs - (clock.wallMs() % loadIntervalMs);
  // A timer may fire a little early; the same moment must not have two rounds.
  const delayMs = untilNextMs < loadIntervalMs / 10 ? untilNextMs + loadIntervalMs : untilNextMs;
  state.stopRounds = clock.after(delayMs, () => {
    awaitRound(state);
    shedRound(state);
  });
}

/** Decides the kept share of each site again. */
function shedRound(state: ProberState): void {
  const { fleet, health, answers, options } = state;
  if (fleet === undefined) return;
  const before = state.shedding;
  const told = toldShares(fleet, health, answers, options.self);
  state.shedding = nextShedding(before, fleet, state.sites, weighedLoads(state, fleet), told);
  for (const [site, { kept }] of state.shedding) {
    const keptBefore = before.get(site)?.kept ?? 1;
    if (kept < keptBefore)
      options.log.warn(
        { site, before: keptBefore, kept },
        "site is full: DNS sends part of its clients to other sites",
      );
    else if (kept === 1 && keptBefore < 1)
      options.log.info({ site }, "site is no longer full: DNS sends all its clients to it again");
  }
  settle(state);
  collect(state);
}

/** Each site's load in requests per second, including other shortages of its machines. */
function weighedLoads({ health, answers }: ProberState, fleet: Fleet): SiteLoads {
  return loadsOf(fleet, sitePressures(fleet, health, answers), siteLoads(fleet, health, answers));
}

/** Reports the soonest changes a little later, so that many judgements at one moment are reported once. */
export function collect(state: ProberState): void {
  const { fleet, options } = state;
  if (fleet === undefined || state.stopCollecting !== undefined) return;
  state.stopCollecting = options.clock.after(Math.min(fleet.probe.intervalMs / 10, collectMsMost), () => {
    state.stopCollecting = undefined;
    foresee(state);
  });
}

/** Recomputes the soonest changes, and calls `judgedRound` where any is different. */
export function foresee(state: ProberState): void {
  const { fleet, health } = state;
  if (fleet === undefined) return;
  const before = state.soonestMs;
  const restless = restlessSites(fleet, state.shedding, weighedLoads(state, fleet));
  state.soonestMs = soonestChangesMs(fleet, health, restless, loadIntervalMs);
  if (!isEqual(before, state.soonestMs)) state.options.judgedRound(state.soonestMs);
}

function isEqual<Value>(one: ReadonlyMap<string, Value>, other: ReadonlyMap<string, Value>): boolean {
  return one.size === other.size && [...one].every(([name, value]) => other.get(name) === value);
}
