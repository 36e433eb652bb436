/**
 * The state of a prober, in one record. prober.ts writes the results of probes, node-judgement.ts the judgements of
 * nodes, site-judgement.ts the states of sites.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteNode } from "#document/schema/sites.ts";
import { type Heard, type Judgement, type Reputation, type Sight, unjudged, unseen } from "./consensus.ts";
import type { Held, HealthAnswer, NodeHealth, ProbeResult, SiteStates } from "./health.ts";
import type { KeptShares, Shedding } from "./load-shedding.ts";

export interface ProberOptions {
  /** This node's name. */
  self: string;
  /**
   * This node's own readiness, as probes are told. While it is starting, it counts itself as up: when its DNS answers,
   * it is ready.
   */
  presence: () => "starting" | "ready" | "draining";
  /** This node's health answer to others; its load counts here, too. */
  answer: () => HealthAnswer;
  /** Probes a node once, or returns when that is allowed; never throws. */
  probe: (node: SiteNode, timeoutMs: number) => Promise<ProbeResult | Held>;
  /** Called after each change of a site's state, live addresses or kept share. */
  changed: () => void;
  /**
   * Called with the soonest changes soon after judgements that altered any of them, once for several judgements: at
   * most ten times per probe interval where that is below 5 s, else twice a second.
   */
  judgedRound: (soonestMs: ReadonlyMap<string, number>) => void;
  clock: Clock;
  random: Random;
  log: Log;
}

/** The state of one node. */
export interface Watched {
  node: SiteNode;
  /** Its host: nodes with the same host share a machine. */
  hostname: string;
  sight: Sight;
  judgement: Judgement;
  /** Mean time of its answers. */
  usualMs: number;
  isHurried: boolean;
  /** When the first and the last of the current attempts began. */
  firstMs: number;
  lastMs: number;
  /** Numbers the attempts until one is answered; of earlier attempts, only the health answers count. */
  series: number;
  /** Cancels its next attempt. */
  cancel: Cancel;
  isStopped: boolean;
  /** Resolves with the first judgement. */
  first: PromiseWithResolvers<void>;
}

export interface ProberState {
  readonly options: ProberOptions;
  readonly watched: Map<string, Watched>;
  /** Judgements by node name. */
  readonly health: Map<string, NodeHealth>;
  /** The last health answer of each node. */
  readonly answers: Map<string, HealthAnswer>;
  /** The same answers in the form that judges other nodes. */
  readonly heard: Map<string, Heard>;
  /** Nodes in trouble, judged until they are well. */
  readonly troubled: Set<Watched>;
  reputation: Reputation;
  /** Names the nodes that are probed (`watchedId`). */
  ownId: string;
  isIsolated: boolean;
  stopRounds: Cancel | undefined;
  stopCollecting: Cancel | undefined;
  stopLooking: Cancel | undefined;
  /** Undefined before the first document, and after the end. */
  fleet: Fleet | undefined;
  live: Fleet | undefined;
  sites: SiteStates;
  shedding: ReadonlyMap<string, Shedding>;
  keptShares: KeptShares;
  soonestMs: ReadonlyMap<string, number>;
  firstJudgements: Promise<void>;
}

export function newProberState(options: ProberOptions): ProberState {
  return {
    options,
    watched: new Map(),
    health: new Map(),
    answers: new Map(),
    heard: new Map(),
    troubled: new Set(),
    reputation: { reachedMs: options.clock.monotonicMs(), heardMs: -Infinity },
    ownId: "",
    isIsolated: false,
    stopRounds: undefined,
    stopCollecting: undefined,
    stopLooking: undefined,
    fleet: undefined,
    live: undefined,
    sites: new Map(),
    shedding: new Map(),
    keptShares: new Map(),
    soonestMs: new Map(),
    firstJudgements: Promise.resolve(),
  };
}

export function newWatched(node: SiteNode): Watched {
  return {
    node,
    hostname: hostnameOf(node),
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
}

export function hostnameOf({ http }: SiteNode): string {
  return new URL(http).hostname;
}

export function forgetAnswer({ answers, heard }: ProberState, name: string): void {
  answers.delete(name);
  heard.delete(name);
}
