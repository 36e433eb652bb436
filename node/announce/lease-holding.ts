/**
 * The state of the lease on the main thread, in one record, and the consequences of each change: an order for the
 * thread that holds the session, and a report to observers. lease-state.ts derives them (pure).
 */
import { isDeepStrictEqual } from "node:util";
import type { Worker } from "node:worker_threads";
import { type Cancel, type Clock, sleep } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { addressAfter } from "#base/ip-text.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { addressText, parseAddress } from "./bgp/prefix.ts";
import { type DampingSettings, fall, firstDamping, usualDamping } from "./damping.ts";
import { sharedSlots } from "./heartbeat.ts";
import { firstFacts, type LeaseFacts, type LeaseSettings, type LeaseState, orderOf, stateOf } from "./lease-state.ts";
import type { LeaseOrder } from "./lease-worker.ts";
import type { SelfCheck } from "./self-check.ts";

export interface LeaseOptions {
  readonly announce: LeaseSettings;
  /** 0 for the first (or only) process of this machine; the session comes from `announce.source` plus this. */
  readonly processIndex: number;
  /** The fleet's AS number; undefined: nothing can be announced. */
  readonly as: number | undefined;
  readonly prefixes: readonly string[];
  readonly selfCheck: () => Promise<SelfCheck>;
  /** Asks over unicast whether another healthy site announces these prefixes. A failure counts as no. */
  readonly mayFall: (prefixes: readonly string[]) => Promise<boolean> | boolean;
  /** Whether, as far as known without asking, no other node announces these prefixes. Called twice a second. */
  readonly isAlone: (prefixes: readonly string[]) => boolean;
  /** Called after each change of the state; the first time before openLease() returns. */
  readonly changed?: (state: LeaseState) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Overrides for tests, such as a shorter `upMs`. */
  readonly damping?: Partial<DampingSettings>;
}

export interface Holding {
  readonly options: LeaseOptions;
  readonly dampingSettings: DampingSettings;
  /** The address that the session comes from. */
  readonly source: string;
  readonly identifier: number;
  /** Shared with the thread (heartbeat.ts). */
  readonly beat: Int32Array<SharedArrayBuffer>;
  readonly facts: LeaseFacts;
  state: LeaseState;
  /** Called after each change of the state while drain() waits for the withdrawal. */
  readonly waiting: Set<() => void>;
  draining: Promise<void> | undefined;
  hurried: AbortController;
  worker: Worker | undefined;
  lastOrder: LeaseOrder | undefined;
  /** The last logged reason for having no session. */
  lastTrouble: string;
  restartAfterMs: number;
  cancelRestart: Cancel | undefined;
  cancelCheck: Cancel | undefined;
}

/** Delay before a dead thread is started again; doubled each time. */
export const restartMs = { first: 1000, most: 30_000 } as const;

/** Time limit for the withdrawal and for the end of the thread. */
export const goodbyeMs = 1000;

export function newHolding(options: LeaseOptions): Holding {
  const dampingSettings = { ...usualDamping, ...options.damping };
  const source = sourceOf(options.announce.source, options.processIndex);
  return {
    options,
    dampingSettings,
    source: addressText(source),
    // The BGP identifier (RFC 4271 §4.2): BIRD's is its router id, a public address, so the two always differ.
    identifier: source.readUInt32BE(source.length - 4),
    beat: new Int32Array(new SharedArrayBuffer(sharedSlots * Int32Array.BYTES_PER_ELEMENT)),
    facts: firstFacts({ prefixes: options.prefixes, as: options.as }, firstDamping(dampingSettings)),
    state: {
      session: "idle",
      announced: [],
      isShuttingDown: false,
      reason: "starting",
      sinceMs: options.clock.wallMs(),
      falls: 0,
      lastNotification: null,
    },
    waiting: new Set(),
    draining: undefined,
    hurried: new AbortController(),
    worker: undefined,
    lastOrder: undefined,
    lastTrouble: "",
    restartAfterMs: restartMs.first,
    cancelRestart: undefined,
    cancelCheck: undefined,
  };
}

function sourceOf(source: string, processIndex: number): Buffer {
  const octets = parseAddress(source) && parseAddress(addressAfter(source, processIndex));
  if (octets === undefined)
    throw new NearcastError("CANNOT_LISTEN", `announce.source must be a plain IP address (got ${source})`);
  return Buffer.from(octets);
}

/** Derives the order from the facts, sends it if it changed, and reports changes. */
export function settle(holding: Holding): void {
  const { options, facts, worker } = holding;
  if (facts.isClosed) return;
  const order = orderOf(facts, options.announce, holding.identifier);
  // Without a thread there is nothing to order; the next one gets the order when it starts.
  if (worker !== undefined && !isDeepStrictEqual(order, holding.lastOrder)) {
    holding.lastOrder = order;
    worker.postMessage(order);
  }
  show(holding);
}

/** Reports changes to the log, to waiting callers and to `changed`. */
export function show(holding: Holding): void {
  const { options, facts, state: before } = holding;
  const next = stateOf(facts, options.announce.nextHops, before, options.clock.wallMs());
  if (isDeepStrictEqual(next, before)) return;
  holding.state = next;
  logAnnounced(options.log, before.announced, next);
  for (const wake of holding.waiting) wake();
  options.changed?.(next);
}

function logAnnounced(log: Log, before: readonly string[], { announced, reason }: LeaseState): void {
  if (isDeepStrictEqual(before, announced)) return;
  if (announced.length > 0) log.info({ announced }, "announced anycast prefixes");
  else log.warn({ withdrawn: before, reason }, "withdrew anycast prefixes");
}

/** Withdraws the announcement; damping.ts decides when it may come back. */
export function down(holding: Holding, reason: string, stalledForMs: number | null): void {
  const { options, facts, dampingSettings } = holding;
  if (!facts.damping.isUp) return;
  facts.damping = fall(facts.damping, stalledForMs, options.clock.monotonicMs(), dampingSettings);
  facts.fellBecause = reason;
  facts.isKept = false;
  const { needsMs, strikes } = facts.damping;
  options.log.warn(
    { reason, needsMs, strikes },
    "lost the lease of the anycast prefixes: they stay withdrawn until the node's own answers have been correct " +
      "for a while",
  );
}

/** The result of `work`, or `otherwise` when it fails or takes too long. */
export async function inTime<Result>(
  { clock, log }: Pick<LeaseOptions, "clock" | "log">,
  limitMs: number,
  work: () => Promise<Result> | Result,
  otherwise: Result,
): Promise<Result> {
  const over = new AbortController();
  const late = sleep(clock, limitMs, over.signal).then(() => otherwise);
  late.catch(() => undefined); // aborted: the work ended in time
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    log.error({ err: error }, "a check of the lease failed; it counts as negative");
    return otherwise;
  } finally {
    over.abort(new Error("over"));
  }
}
