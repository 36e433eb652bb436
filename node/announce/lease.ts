/**
 * The main thread's side of the lease: decides whether this node may announce the anycast prefixes, and why.
 *
 *   self-check, each second ─▶ damping ─▶ may it? ──order──▶ lease-worker.ts ──BGP──▶ BIRD ──▶ routers
 *   roster, SIGTERM ─▶ drain ──────────────┘    ──beat───▶
 *
 * What withdraws the announcement, and how soon:
 *
 *   the process is killed, or exits       the kernel closes the connection, after it has freed the memory: some
 *                                         milliseconds, and 0.1 to 0.3 s for each GB in pages of 4 KiB
 *   the main thread is blocked            the worker sees no heartbeat for 250 ms
 *   the worker dies                       its sockets close with it: at once
 *   the whole process is frozen           BIRD's hold time, 3 s
 *   own answers are wrong                 1 to 2.5 s (damping.ts), if another site is well
 *   drain()                               GRACEFUL_SHUTDOWN at once, withdrawn after `shutdownMs`
 *
 * In the first four cases the node withdraws without asking anyone. A node that knows of no other announcer stays
 * announced while its main thread is blocked, and after a drain: its DNS threads still answer, and its packets have
 * nowhere else to go. When its answers are wrong, the check itself may be at fault. So the node first asks over unicast
 * (`mayFall`) whether another site that announces the same prefixes is healthy. If none is, or none can be asked, the
 * announcement stays: bad service is better than none. For the same reason a node whose answers are correct again skips
 * its back-off while no other site is healthy.
 *
 * The state is one record, `Holding`. Events change its facts and call settle(), which gives orders and reports what
 * follows (lease-state.ts).
 */
import { isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import { type Cancel, type Clock, sleep } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { addressAfter } from "#base/ip-text.ts";
import { aloneSlot, beatMs, beatSlot, sharedSlots } from "./heartbeat.ts";
import { addressText, parseAddress } from "./bgp/prefix.ts";
import { checked, type DampingSettings, fall, firstDamping, isWrong, rise, usualDamping } from "./damping.ts";
import {
  firstFacts,
  type LeaseFacts,
  type LeaseSettings,
  type LeaseState,
  noReport,
  orderOf,
  stateOf,
} from "./lease-state.ts";
import type { FromLeaseWorker, LeaseOrder, LeaseReport, LeaseWorkerStart } from "./lease-worker.ts";
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

export interface Lease {
  readonly state: () => LeaseState;
  readonly setPrefixes: (prefixes: readonly string[], as: number | undefined) => void;
  /**
   * GRACEFUL_SHUTDOWN (RFC 8326) for `shutdownMs`, then the withdrawal; resolves after it, at once when nothing is
   * announced. A node that is alone stays announced so until another announces, or until close(); this resolves all
   * the same.
   */
  readonly drain: () => Promise<void>;
  /** Announces again as soon as the node's answers have been correct for long enough, perhaps at once. */
  readonly undrain: () => void;
  /** Ends the wait of drain(). */
  readonly hurry: () => void;
  /** Ends the session (NOTIFICATION 6/2), which withdraws everything, and the thread. */
  readonly close: () => Promise<void>;
}

/** From the start of one check to the start of the next; how much that is spread, so that processes are not in step. */
const checkMs = { right: 1000, wrong: 500, spread: 0.1 } as const;
/** A check that has not ended by then is wrong, whatever it waits for. */
const checkMsMost = 900;
const aloneEveryBeats = 10;
/** How long the others may take to say whether they are well. */
const askMsMost = 500;
/** Delay before a dead thread is started again; doubled each time. */
const restartMs = { first: 1000, most: 30_000 } as const;
/** Time limit for the withdrawal and for the end of the thread. */
const goodbyeMs = 1000;
const takenBack = new Error("taken back");

interface Holding {
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

/** @throws NearcastError CANNOT_LISTEN when `announce.source` can't be the source of a session */
export function openLease(options: LeaseOptions): Lease {
  const holding = newHolding(options);
  const stopBeat = options.clock.every(beatMs, () => {
    beatOnce(holding);
  });
  startWorker(holding);
  void keepChecking(holding);
  return {
    state: () => holding.state,
    setPrefixes(prefixes, as) {
      setPrefixes(holding, prefixes, as);
    },
    drain: () => (holding.draining ??= shutDown(holding, holding.hurried.signal)),
    undrain() {
      undrain(holding);
    },
    hurry() {
      holding.hurried.abort(new Error("hurried"));
    },
    async close() {
      if (holding.facts.isClosed) return;
      holding.facts.isClosed = true;
      holding.hurried.abort(new Error("closed"));
      holding.cancelCheck?.();
      holding.cancelRestart?.();
      stopBeat();
      await endWorker(holding);
      show(holding);
    },
  };
}

function newHolding(options: LeaseOptions): Holding {
  const dampingSettings = { ...usualDamping, ...options.damping };
  const source = sourceOf(options.announce.source, options.processIndex);
  return {
    options,
    dampingSettings,
    source: addressText(source),
    // The BGP identifier (RFC 4271 §4.2): BIRD's is its router id, a public address, so they never are the same.
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

/** Gives the orders that follow from the facts, and reports changes. */
function settle(holding: Holding): void {
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
function show(holding: Holding): void {
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
function down(holding: Holding, reason: string, stalledForMs: number | null): void {
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

/** Checks now, and again and again until the lease is closed. */
async function keepChecking(holding: Holding): Promise<void> {
  const { options, facts } = holding;
  const { clock, random } = options;
  const startedMs = clock.monotonicMs();
  if (facts.wanted.prefixes.length > 0) await check(holding);
  if (facts.isClosed) return;
  const least = facts.wrong === undefined ? checkMs.right : checkMs.wrong;
  const everyMs = least * (1 + checkMs.spread * (random() - 0.5));
  holding.cancelCheck = clock.after(Math.max(everyMs - (clock.monotonicMs() - startedMs), 10), () => {
    void keepChecking(holding);
  });
}

/** One check, and what follows from it. */
async function check(holding: Holding): Promise<void> {
  const { options, facts, dampingSettings } = holding;
  const late = { ok: false, reason: "the self-check did not finish in time" } as const;
  const result = await inTime<SelfCheck>(options, checkMsMost, options.selfCheck, late);
  if (facts.isClosed) return;
  facts.damping = checked(facts.damping, result.ok, options.clock.monotonicMs());
  facts.wrong = result.ok ? undefined : result.reason;
  if (result.ok) facts.isKept = false;
  const isIll = facts.damping.isUp && isWrong(facts.damping, dampingSettings);
  const isBack = !facts.damping.isUp && result.ok && facts.damping.falls > 0;
  // A node that announces nothing need not ask others.
  if (isIll && facts.phase === "withdrawn") down(holding, facts.wrong ?? "", null);
  else if (isIll || isBack) await askOthers(holding, isIll);
  settle(holding);
}

/**
 * Whether a failing node withdraws, and whether a recovered one may skip its back-off, depends on the other sites.
 * @param isIll its answers are wrong and it is announced; false: its answers are correct again after a withdrawal
 */
async function askOthers(holding: Holding, isIll: boolean): Promise<void> {
  const { options, facts } = holding;
  const { prefixes } = facts.wanted;
  const hasOthers = await inTime(options, askMsMost, () => options.mayFall(prefixes), false);
  // Meanwhile another document may have arrived, to which the answer does not apply.
  if (prefixes !== facts.wanted.prefixes) return;
  if (isIll && hasOthers) down(holding, facts.wrong ?? "", null);
  // A stall may have happened meanwhile.
  else if (isIll && facts.damping.isUp) keep(holding);
  else if (!isIll && !hasOthers && facts.damping.rights > 0) {
    facts.damping = rise(facts.damping, options.clock.monotonicMs());
  }
}

function keep({ options, facts }: Holding): void {
  if (!facts.isKept) {
    options.log.warn(
      { reason: facts.wrong },
      "the node's own answers are wrong, but no other site is healthy: the prefixes stay announced",
    );
  }
  facts.isKept = true;
}

/** The work's result, or `otherwise` when it fails or takes too long. */
async function inTime<Result>(
  { clock, log }: Pick<LeaseOptions, "clock" | "log">,
  limitMs: number,
  work: () => Promise<Result> | Result,
  otherwise: Result,
): Promise<Result> {
  const over = new AbortController();
  const late = sleep(clock, limitMs, over.signal).then(() => otherwise);
  late.catch(() => undefined); // aborted: the work was there in time
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    log.error({ err: error }, "a check of the lease failed; it counts as negative");
    return otherwise;
  } finally {
    over.abort(new Error("over"));
  }
}

/** Sends the heartbeat to the lease thread, and at times whether this node is the only announcer. */
function beatOnce(holding: Holding): void {
  const { options, facts, beat } = holding;
  const beats = Atomics.add(beat, beatSlot, 1);
  if (beats % aloneEveryBeats !== 0) return;
  const alone = options.isAlone(facts.wanted.prefixes);
  Atomics.store(beat, aloneSlot, Number(alone));
  if (facts.isStaying && !alone) void withdraw(holding);
}

function startWorker(holding: Holding): void {
  const { options, facts, source, beat } = holding;
  const { neighbor: peer, keyFile } = options.announce;
  const workerData: LeaseWorkerStart = { peer, source, keyFile, beat };
  const worker = new Worker(new URL("./lease-worker.ts", import.meta.url), {
    workerData,
    // Its work is a socket and a timer; a little heap keeps collections short.
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
  });
  holding.worker = worker;
  worker.unref();
  facts.stalls = 0;
  worker.on("message", (message: FromLeaseWorker) => {
    if (message.kind === "report") takeReport(holding, message.report);
    else takeStall(holding, message);
  });
  worker.on("error", (error: Error) => {
    options.log.error({ err: error }, "the lease thread failed; it is started again");
  });
  worker.on("exit", () => {
    workerEnded(holding);
  });
  settle(holding);
}

/** Handles the thread's report about BIRD; logs the same problem once. */
function takeReport(holding: Holding, report: LeaseReport): void {
  const { options, facts, source } = holding;
  const wasEstablished = facts.report.session === "established";
  facts.report = report;
  if (report.session === "established") {
    holding.restartAfterMs = restartMs.first;
    holding.lastTrouble = "";
    if (!wasEstablished) options.log.info({ source }, "BGP session with BIRD established");
  } else if (report.session === "connecting" && report.reason !== holding.lastTrouble) {
    holding.lastTrouble = report.reason;
    const message = wasEstablished ? "BGP session with BIRD ended; retrying" : "no BGP session with BIRD; retrying";
    options.log.warn({ reason: report.reason }, message);
  }
  show(holding);
}

/** The thread saw no heartbeat and has withdrawn everything. */
function takeStall(holding: Holding, { stalls, forMs }: { stalls: number; forMs: number }): void {
  holding.facts.stalls = stalls;
  down(holding, `the main thread was blocked for ${forMs} ms`, forMs);
  settle(holding);
}

function workerEnded(holding: Holding): void {
  const { options, facts } = holding;
  facts.report = noReport;
  holding.worker = undefined;
  holding.lastOrder = undefined;
  show(holding);
  if (facts.isClosed) return;
  down(holding, "the lease thread died", null);
  settle(holding);
  holding.cancelRestart = options.clock.after(holding.restartAfterMs, () => {
    startWorker(holding);
  });
  holding.restartAfterMs = Math.min(2 * holding.restartAfterMs, restartMs.most);
}

async function endWorker({ options, worker }: Holding): Promise<void> {
  if (worker === undefined) return;
  const ended = new Promise<void>((resolve) => {
    worker.once("exit", () => {
      resolve();
    });
  });
  worker.postMessage({ kind: "close" } satisfies LeaseOrder);
  await inTime(options, goodbyeMs, () => ended, undefined);
  await worker.terminate();
}

function setPrefixes(holding: Holding, prefixes: readonly string[], as: number | undefined): void {
  const { facts } = holding;
  if (isDeepStrictEqual(facts.wanted, { prefixes, as })) return;
  // A node with nothing to announce is not checked, so the last result is obsolete.
  if (prefixes.length === 0) {
    facts.damping = firstDamping(holding.dampingSettings);
    facts.wrong = undefined;
    facts.fellBecause = undefined;
    facts.isKept = false;
  }
  facts.wanted = { prefixes: [...prefixes], as };
  settle(holding);
}

/** @param signal of this drain: aborted when it is hurried, cancelled or closed */
async function shutDown(holding: Holding, signal: AbortSignal): Promise<void> {
  const { options, facts } = holding;
  const isAnnounced = holding.state.announced.length > 0;
  facts.phase = isAnnounced ? "shutting-down" : "withdrawn";
  settle(holding);
  if (!isAnnounced) return;
  await sleep(options.clock, options.announce.shutdownMs, signal).catch(() => undefined); // hurried: go on at once
  // Cancelled meanwhile: undrain() has already set the new state.
  if (signal.reason === takenBack) return;
  if (options.isAlone(facts.wanted.prefixes)) {
    options.log.warn(
      {},
      "drained, but no other node announces the anycast prefixes: they stay announced with GRACEFUL_SHUTDOWN",
    );
    facts.isStaying = true;
    return;
  }
  await withdraw(holding);
}

async function withdraw(holding: Holding): Promise<void> {
  holding.facts.isStaying = false;
  holding.facts.phase = "withdrawn";
  settle(holding);
  await withdrawn(holding);
}

/** Resolves when nothing is announced, or after a time limit. */
async function withdrawn(holding: Holding): Promise<void> {
  let wake = (): void => undefined;
  const gone = new Promise<void>((resolve) => {
    wake = () => {
      if (holding.state.announced.length === 0) resolve();
    };
  });
  holding.waiting.add(wake);
  wake();
  await inTime(holding.options, goodbyeMs, () => gone, undefined);
  holding.waiting.delete(wake);
}

function undrain(holding: Holding): void {
  if (holding.draining === undefined) return;
  holding.hurried.abort(takenBack);
  holding.hurried = new AbortController();
  holding.draining = undefined;
  holding.facts.isStaying = false;
  holding.facts.phase = "serving";
  settle(holding);
}
