/**
 * Probing every node of every site over HTTP, and judging (health.ts) what is seen.
 *
 * Each node is asked once per interval, a node that is down twice as often, so that it is back within a second of
 * its return. At most one probe per node is under way: its timeout is never longer than the interval.
 */
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Fleet } from "./document.ts";
import { judge, type NodeHealth, type ProbeResult, type SiteStates, siteStates, unknownHealth } from "./health.ts";

/** The path on a node's service listener that answers probes. */
export const probePath = "/.nearcast/health";

export interface Prober {
  /** Begins to probe the nodes of this document, and forgets those that are no longer in it. */
  watch: (fleet: Fleet) => void;
  health: () => ReadonlyMap<string, NodeHealth>;
  sites: () => SiteStates;
  /** Resolves when every node of the document has been judged once. */
  judged: () => Promise<void>;
  close: () => void;
}

/**
 * @param probe one question to a node's base URL; it never throws
 * @param changed called after each change of any site's state, with all states
 */
export function openProber(options: {
  probe: (baseUrl: string, timeoutMs: number) => Promise<ProbeResult>;
  changed: (states: SiteStates) => void;
  clock: Clock;
  random: Random;
  log: Log;
}): Prober {
  const { probe, changed, clock, random, log } = options;
  const health = new Map<string, NodeHealth>();
  const stops = new Map<string, () => void>();
  let fleet: Fleet | undefined;
  let states: SiteStates = new Map();
  let firstJudgements: Promise<void> = Promise.resolve();

  function settle(): void {
    if (fleet === undefined) return;
    const before = states;
    states = siteStates(fleet, health);
    const isSame = states.size === before.size && [...states].every(([name, state]) => before.get(name) === state);
    if (!isSame) changed(states);
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
      if (after.state !== before.state) {
        log.info(
          { node: name, before: before.state, state: after.state, reason: after.reason },
          "a node's state changed",
        );
      }
      settle();
      const intervalMs = after.state === "down" ? settings.intervalMs / 2 : settings.intervalMs;
      // Spread a little, so that many edges do not ask in step.
      const delayMs = intervalMs * (0.95 + random() * 0.05) - (clock.monotonicMs() - startedMs);
      cancel = clock.after(Math.max(delayMs, 10), () => {
        void round();
      });
    };
    return round();
  }

  return {
    watch(next) {
      for (const stop of stops.values()) stop();
      stops.clear();
      fleet = next;
      const nodes = next.sites.flatMap((site) => site.nodes);
      const names = new Set(nodes.map((node) => node.name));
      for (const name of health.keys()) if (!names.has(name)) health.delete(name);
      firstJudgements = Promise.all(nodes.map((node) => begin(node.name, node.http, next.probe))).then(() => undefined);
      settle();
    },
    health: () => health,
    sites: () => states,
    judged: () => firstJudgements,
    close() {
      for (const stop of stops.values()) stop();
      stops.clear();
    },
  };
}
