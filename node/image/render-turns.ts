/**
 * Renderings in turn: one per key however many clients wait for it, each begun when fair-queue.ts says so, and none for
 * nobody.
 *
 *   join ──▶ flight ── turn(cost) ──▶ waits ──▶ has its place: the work runs ──▶ all who wait get the result
 *             │ one waiter per client           │
 *             │ leaves: the others stay         │ the last one leaves: the work is stopped, unless finishing
 *             ▼                                 ▼ it costs less than replacing the process that does it
 *           the last one leaves: dropped from the queue
 *
 * A network that asks and leaves gains nothing: what was stopped holds its place until its process is replaced, and the
 * network pays for that time too. What is nearly done is finished and kept, since that is cheaper than to stop it.
 *
 * Each client waits for a place for `waitMsMax` at the most. Who is refused gets NETWORK_OVERLOADED if its own network
 * has too much waiting, and OVERLOADED if everybody together has.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import {
  createFairQueue,
  enqueue,
  type FairJob,
  type FairQueue,
  finish,
  joinJob,
  leaveJob,
  leaveQueue,
  nextInTurn,
  startTimeOf,
} from "./fair-queue.ts";

/** A client that waits. */
export interface Client {
  readonly clientNetwork: string;
  /** Aborted when it has left. */
  readonly signal: AbortSignal;
}

/** One piece of work, as it sees itself. */
export interface Flight {
  /** Aborted when nobody waits any more and the work is to stop. */
  readonly signal: AbortSignal;
  /** One of the networks that it is for. */
  readonly network: () => string;
  /**
   * Waits for a place, and does a part of the work there. One turn at a time.
   * @param costMs estimated, in decoder ms
   * @param work `rank` is for the decoder pool: the lowest goes first
   * @param onWait there is no place at once: what takes memory can be given back
   * @throws NearcastError OVERLOADED, NETWORK_OVERLOADED; `work` has not begun then
   */
  readonly turn: <Part>(costMs: number, work: (rank: number) => Promise<Part>, onWait?: () => void) => Promise<Part>;
}

export interface RenderTurns<Result> {
  /**
   * Joins the work for this key, or begins it.
   * @returns a promise that rejects with the reason of the client's signal when the client leaves
   */
  readonly join: (
    key: string,
    client: Client,
    begin: (flight: Flight) => Promise<Result>,
  ) => { result: Promise<Result>; isCollapsed: boolean };
  readonly counts: () => TurnCounts;
}

export interface TurnCounts {
  readonly waiting: number;
  readonly waitingCostMs: number;
  readonly running: number;
  /** Renderings refused or displaced because the network had too much waiting. */
  readonly networkRefusals: number;
  /** Renderings refused because too many waited, or waited too long. */
  readonly queueRefusals: number;
  /** Renderings that left the queue because nobody waited for them any more. */
  readonly dropped: number;
  /** Renderings that were stopped for the same reason. */
  readonly stopped: number;
}

export interface TurnOptions {
  /** Decoder processes. */
  readonly workers: number;
  /** Called each time, because the fleet document may change it. */
  readonly waitingMax: () => number;
  readonly waitMsMax: number;
  readonly clock: Clock;
}

/**
 * The longest that anybody should stand behind a job that can't be interrupted. A photograph of 24 megapixels takes a
 * third of it at 1600 px as JPEG or WebP, and half of it as AVIF.
 */
const largeCostMs = 1500;
/** Replacing a decoder process: 0.3 s of work on an idle machine, twice as long on a busy one. */
const replaceCostMs = 500;
/** One runs, and the source of the next is read meanwhile. The third is free for a network that has no place. */
const placesPerWorker = 3;
/** What waits may be twice what can be done in time, since estimates may be wrong by as much. */
const waitingPerCapacity = 2;

/** Nobody waits for it any more. */
class NobodyWaits extends Error {
  constructor() {
    super("nobody waits for this rendering any more");
  }
}

interface Waiter<Result> {
  readonly network: string;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
  cancelWait: Cancel;
}

type Phase =
  /** Before, between and after its turns. */
  | { readonly name: "between" }
  | { readonly name: "waiting"; readonly job: FairJob; readonly begin: () => void; readonly refuse: (e: Error) => void }
  | { readonly name: "running"; readonly job: FairJob; readonly sinceMs: number };

interface State {
  readonly queue: FairQueue;
  readonly options: TurnOptions;
  readonly byJob: Map<FairJob, Work<never>>;
  readonly counts: { networkRefusals: number; queueRefusals: number; dropped: number; stopped: number };
}

interface Work<Result> {
  readonly waiters: Set<Waiter<Result>>;
  /** Network → waiters of it. */
  readonly networks: Map<string, number>;
  /** That of the last waiter, when none is left. */
  lastNetwork: string;
  readonly stop: AbortController;
  phase: Phase;
  /** Until when it may go on for nobody. */
  cancelStop: Cancel;
}

export function openRenderTurns<Result>(options: TurnOptions): RenderTurns<Result> {
  const { workers, waitMsMax, clock } = options;
  const limits = {
    workers,
    placesMax: placesPerWorker * workers,
    largeCostMs,
    largeMax: Math.max(1, workers - 1),
    waitingCostMsMax: waitingPerCapacity * workers * waitMsMax,
  };
  const state: State = {
    queue: createFairQueue(limits, clock.monotonicMs()),
    options,
    byJob: new Map(),
    counts: { networkRefusals: 0, queueRefusals: 0, dropped: 0, stopped: 0 },
  };
  const works = new Map<string, Work<Result>>();
  return {
    join(key, client, begin) {
      const present = works.get(key);
      if (present !== undefined && !present.stop.signal.aborted) {
        return { result: wait(state, present, client), isCollapsed: true };
      }
      const work = createWork<Result>(client);
      works.set(key, work);
      const result = wait(state, work, client);
      void settle(state, work, begin, () => {
        if (works.get(key) === work) works.delete(key);
      });
      return { result, isCollapsed: false };
    },
    counts: () => ({
      waiting: state.queue.waiting.size,
      waitingCostMs: state.queue.waitingCostMs,
      running: state.queue.running.size,
      ...state.counts,
    }),
  };
}

function createWork<Result>({ clientNetwork }: Client): Work<Result> {
  return {
    waiters: new Set(),
    networks: new Map(),
    lastNetwork: clientNetwork,
    stop: new AbortController(),
    phase: { name: "between" },
    cancelStop: () => undefined,
  };
}

/** Does the work, and tells all who wait, once nobody can join any more. Never rejects. */
async function settle<Result>(
  state: State,
  work: Work<Result>,
  begin: (flight: Flight) => Promise<Result>,
  close: () => void,
): Promise<void> {
  const flight: Flight = {
    signal: work.stop.signal,
    network: () => work.networks.keys().next().value ?? work.lastNetwork,
    turn: (costMs, part, onWait) => takeTurn(state, work, costMs, part, onWait),
  };
  let tell: (waiter: Waiter<Result>) => void;
  try {
    const result = await begin(flight);
    tell = (waiter) => {
      waiter.resolve(result);
    };
  } catch (error) {
    tell = (waiter) => {
      waiter.reject(error);
    };
  }
  close();
  work.cancelStop();
  for (const waiter of work.waiters) tell(waiter);
}

/** One more client waits for the work. */
function wait<Result>(state: State, work: Work<Result>, { clientNetwork: network, signal }: Client): Promise<Result> {
  return new Promise((resolve, reject) => {
    if (signal.aborted && work.waiters.size > 0) {
      reject(reasonOf(signal));
      return;
    }
    const end = (): void => {
      waiter.cancelWait();
      signal.removeEventListener("abort", onAbort);
      leave(state, work, waiter);
    };
    const onAbort = (): void => {
      if (work.phase.name === "waiting" && work.waiters.size === 1) state.counts.dropped += 1;
      end();
      reject(reasonOf(signal));
    };
    const waiter: Waiter<Result> = {
      network,
      resolve(result) {
        end();
        resolve(result);
      },
      reject(error) {
        end();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
      cancelWait: () => undefined,
    };
    enter(state, work, waiter);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}

function enter<Result>(state: State, work: Work<Result>, waiter: Waiter<Result>): void {
  const { queue, options } = state;
  work.cancelStop();
  work.cancelStop = () => undefined;
  work.waiters.add(waiter);
  work.networks.set(waiter.network, (work.networks.get(waiter.network) ?? 0) + 1);
  if (work.phase.name !== "waiting") return;
  joinJob(queue, work.phase.job, waiter.network, options.clock.monotonicMs());
  limitWait(state, waiter);
  // There may be a place for this network, if not for the others.
  giveTurns(state);
}

function leave<Result>(state: State, work: Work<Result>, waiter: Waiter<Result>): void {
  if (!work.waiters.delete(waiter)) return;
  const { phase } = work;
  const left = (work.networks.get(waiter.network) ?? 1) - 1;
  work.lastNetwork = waiter.network;
  if (work.waiters.size === 0) {
    // The job's line is told by its networks: it leaves the queue before they are forgotten.
    abandon(state, work);
    work.networks.clear();
  } else if (left === 0) {
    if (phase.name === "waiting") leaveJob(state.queue, phase.job, waiter.network);
    work.networks.delete(waiter.network);
  } else {
    work.networks.set(waiter.network, left);
  }
}

/** Nobody waits for the work any more. */
function abandon<Result>(state: State, work: Work<Result>): void {
  const { phase } = work;
  const { clock } = state.options;
  switch (phase.name) {
    case "between":
      work.stop.abort(new NobodyWaits());
      return;
    case "waiting":
      leaveQueue(state.queue, phase.job);
      work.stop.abort(new NobodyWaits());
      phase.refuse(new NobodyWaits());
      return;
    case "running": {
      const leftMs = phase.job.costMs - (clock.monotonicMs() - phase.sinceMs);
      const stop = (): void => {
        state.counts.stopped += 1;
        work.stop.abort(new NobodyWaits());
      };
      if (leftMs > replaceCostMs) stop();
      // An estimate that was too low does not let it go on for long.
      else work.cancelStop = clock.after(Math.max(0, leftMs) + replaceCostMs, stop);
    }
  }
}

async function takeTurn<Result, Part>(
  state: State,
  work: Work<Result>,
  costMs: number,
  part: (rank: number) => Promise<Part>,
  onWait: (() => void) | undefined,
): Promise<Part> {
  const { queue, options } = state;
  if (work.waiters.size === 0) work.stop.abort(new NobodyWaits());
  work.stop.signal.throwIfAborted();
  const job: FairJob = { costMs, networks: work.networks };
  await placeFor(state, work, job, onWait);
  const sinceMs = options.clock.monotonicMs();
  try {
    return await part(startTimeOf(queue, job));
  } finally {
    work.phase = { name: "between" };
    const nowMs = options.clock.monotonicMs();
    finish(queue, job, nowMs - sinceMs, nowMs);
    giveTurns(state);
  }
}

/** @throws NearcastError OVERLOADED, NETWORK_OVERLOADED; NobodyWaits */
async function placeFor<Result>(
  state: State,
  work: Work<Result>,
  job: FairJob,
  onWait: (() => void) | undefined,
): Promise<void> {
  const { queue, options } = state;
  const [network = work.lastNetwork] = work.networks.keys();
  const nowMs = options.clock.monotonicMs();
  const admission = enqueue(queue, job, network, { waitingMax: options.waitingMax(), nowMs });
  if (admission.outcome === "refused") throw refusal(state, admission.because);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const begin = (): void => {
    for (const waiter of work.waiters) waiter.cancelWait();
    work.phase = { name: "running", job, sinceMs: options.clock.monotonicMs() };
    resolve();
  };
  work.phase = { name: "waiting", job, begin, refuse: reject };
  state.byJob.set(job, work);
  for (const victim of admission.displaced) refuse(state, victim, "network");
  giveTurns(state);
  if (queue.waiting.has(job)) {
    onWait?.();
    for (const waiter of work.waiters) limitWait(state, waiter);
  }
  try {
    await promise;
  } finally {
    state.byJob.delete(job);
  }
}

function giveTurns(state: State): void {
  for (;;) {
    const job = nextInTurn(state.queue, state.options.clock.monotonicMs());
    if (job === undefined) return;
    const phase = state.byJob.get(job)?.phase;
    if (phase?.name === "waiting") phase.begin();
  }
}

/** A job has left the queue without a place. */
function refuse(state: State, job: FairJob, because: "network" | "queue"): void {
  const work = state.byJob.get(job);
  if (work?.phase.name !== "waiting") return;
  const { phase } = work;
  work.phase = { name: "between" };
  phase.refuse(refusal(state, because));
}

function refusal({ counts, queue }: State, because: "network" | "queue"): NearcastError {
  if (because === "network") {
    counts.networkRefusals += 1;
    return new NearcastError("NETWORK_OVERLOADED", "the client's network has too many renderings in the queue");
  }
  counts.queueRefusals += 1;
  return new NearcastError("OVERLOADED", `the render queue is full: ${queue.waiting.size} are waiting`);
}

/** Each client has its own deadline for a place; the others may go on waiting. */
function limitWait<Result>(state: State, waiter: Waiter<Result>): void {
  const { clock, waitMsMax } = state.options;
  waiter.cancelWait();
  waiter.cancelWait = clock.after(waitMsMax, () => {
    state.counts.queueRefusals += 1;
    waiter.reject(new NearcastError("OVERLOADED", `the render queue took longer than ${waitMsMax} ms`));
  });
}

function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason });
}
