/**
 * One origin as this edge sees it: its connections, the places for requests, the breaker, the budgets for extra
 * requests, and what is known about its speed and its URLs. All of it is one record; the files next to this one have
 * the functions that change it.
 *
 *   request.ts ──▶ admission.ts (breaker, places) ──▶ hedge.ts ──▶ exchange.ts ──▶ connections.ts ──▶ connect.ts
 *       │               └──▶ recovery-check.ts, overdue.ts                                              origin
 *       └── retries within a budget; failures per URL
 */
import type { Clock } from "#base/clock.ts";
import type { NearcastError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { createFailingUrls, type FailingUrls } from "../failing-urls.ts";
import type { AddressPolicy } from "./addresses.ts";
import { type Breaker, createBreaker } from "./breaker.ts";
import { type Budget, createBudget } from "./budget.ts";
import { createConnect } from "./connect.ts";
import { closeConnections, type Connections, createConnections } from "./connections.ts";
import { createHeadTimes, type HeadTimes } from "./head-times.ts";
import type { HeldBody, PlacedBody } from "./held-bodies.ts";
import { type Awaited, giveWayBudget, type Suspects } from "./overdue.ts";
import { createReadTurns, type ReadTurns } from "./read-turns.ts";
import { createPlaces, type Places } from "#base/places.ts";

/** Requests in progress at one origin. */
export const placesPerOrigin = 64;
/** Requests that wait for a place at one origin; each holds a client's request and a few hundred bytes. */
const waitingMax = 1000;
/**
 * One retry for ten requests: it is rare that an origin closes a kept connection at the moment of its next use. An idle
 * host saves up a few.
 */
const retryBudget = { perRequest: 0.1, perSecond: 0.1, savedMax: 10, savedAtStart: 3 } as const;
/** Hedges cost the origin at most 5 % more requests. */
const hedgeBudget = { perRequest: 0.05, perSecond: 0, savedMax: 10, savedAtStart: 1 } as const;

/** A request that waits for a place. */
export interface Waiter {
  readonly grant: () => void;
  readonly refuse: (error: NearcastError) => void;
}

/** A request that got a response a while ago; repeated as a probe. */
export interface GoodRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface UpstreamCounts {
  requests: number;
  retries: number;
  hedges: number;
  /** Hedges whose head arrived first. */
  hedgesWon: number;
  probes: number;
  /** Requests that got no place in time. */
  refused: number;
  /** Requests that hung, and gave way to others. */
  gaveWay: number;
}

export interface Upstream {
  readonly url: URL;
  /** For messages: `static.example.com`, with the port if it is not the default. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly places: Places<Waiter>;
  readonly connections: Connections;
  /** Bodies in progress without a place. */
  readonly held: Set<HeldBody>;
  /** Bodies in progress with a place. */
  readonly placed: Set<PlacedBody>;
  readonly breaker: Breaker;
  readonly retries: Budget;
  readonly hedges: Budget;
  readonly giveWays: Budget;
  /** Requests whose head has not arrived, the oldest first. */
  readonly awaited: Set<Awaited>;
  readonly suspects: Suspects;
  readonly headTimes: HeadTimes;
  readonly failing: FailingUrls<NearcastError>;
  /** The latest last; several, because one of them may have been removed since. */
  readonly good: GoodRequest[];
  readonly counts: UpstreamCounts;
  /** Stops the timer that gives out places while the origin recovers. */
  cancelPump: (() => void) | undefined;
  /** Stops the timer that looks for requests that hang. */
  cancelLook: (() => void) | undefined;
  isClosed: boolean;
}

/** @param parts `failing`, `turns`: may be shared by several origins, for one limit */
export function openUpstream(
  origin: string,
  parts: {
    policy: AddressPolicy;
    clock: Clock;
    random: Random;
    failing?: FailingUrls<NearcastError>;
    turns?: ReadTurns;
  },
): Upstream {
  const { policy, clock, random, failing = createFailingUrls(), turns = createReadTurns(clock) } = parts;
  const url = new URL(origin);
  const nowMs = clock.monotonicMs();
  return {
    url,
    name: url.host,
    clock,
    random,
    places: createPlaces({ placesMax: placesPerOrigin, waitingMax }),
    connections: createConnections(url.origin, createConnect({ policy, clock }), clock, turns),
    held: new Set(),
    placed: new Set(),
    breaker: createBreaker(nowMs),
    retries: createBudget(retryBudget, nowMs),
    hedges: createBudget(hedgeBudget, nowMs),
    giveWays: createBudget(giveWayBudget, nowMs),
    awaited: new Set(),
    suspects: new Map(),
    headTimes: createHeadTimes(nowMs),
    failing,
    good: [],
    counts: { requests: 0, retries: 0, hedges: 0, hedgesWon: 0, probes: 0, refused: 0, gaveWay: 0 },
    cancelPump: undefined,
    cancelLook: undefined,
    isClosed: false,
  };
}

/** Ends all connections; requests under way fail. */
export function closeUpstream(upstream: Upstream): void {
  upstream.isClosed = true;
  upstream.cancelPump?.();
  upstream.cancelLook?.();
  closeConnections(upstream.connections, new Error("the edge is stopping"));
}

/** What metrics report about an origin. */
export interface UpstreamStats extends UpstreamCounts {
  name: string;
  placesInUse: number;
  placesWaiting: number;
  bodiesHeld: number;
  connectionsOpened: number;
  breaker: Breaker["phase"];
}

export function statsOf({ name, places, held, connections, breaker, counts }: Upstream): UpstreamStats {
  return {
    ...counts,
    name,
    placesInUse: places.inUse,
    placesWaiting: places.waiting,
    bodiesHeld: held.size,
    connectionsOpened: connections.opened,
    breaker: breaker.phase,
  };
}
