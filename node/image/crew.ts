/**
 * The decoder processes of a pool: so many are kept alive, each is idle or has one job, and one that is lost is
 * replaced.
 *
 *   start ─▶ starting ──ready──▶ in service ──lost, dismissed, retired──▶ leaving ──▶ gone
 *                └──died──▶ (growing pause, then another)
 *
 * What a worker works on is the pool's business (pool.ts); the crew tells it who is free and who was lost.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { startDecoder, type DecoderProcess, type DecoderSettings } from "./decoder-process.ts";
import type { Reply } from "./messages.ts";

export interface CrewSettings extends Omit<DecoderSettings, "sandbox"> {
  readonly size: number;
  /** "required": a process that has no sandbox gets no picture. "auto": it is used where there is one. */
  readonly sandbox: "auto" | "off" | "required";
  readonly startTimeoutMs: number;
}

/** One decoder process in service. */
export interface Worker {
  readonly process: DecoderProcess;
  isReady: boolean;
  /** It was ended because it did not start in time. */
  isLate: boolean;
  cancelStart: Cancel;
}

export type JobReply = Exclude<Reply, { outcome: "ready" }>;

export interface CrewListener {
  /** This worker can take its first job. */
  onFree: (worker: Worker) => void;
  onReply: (worker: Worker, reply: JobReply, body: Buffer) => void;
  /** It died, or wrote what it may not. It is out of service and its successor is starting. */
  onLost: (worker: Worker, what: string) => void;
}

export interface CrewStats {
  /** Processes that died by themselves, or were killed for an answer that made no sense. */
  crashes: number;
  /** Processes replaced for whatever reason. */
  restarts: number;
  pids: number[];
  sandbox: "starting" | "seccomp" | "none";
  /** Why there is no sandbox; empty with one. */
  sandboxReason: string;
}

export interface Crew {
  /** Workers in service, ready or not. */
  workers: ReadonlySet<Worker>;
  /** Ends a process at once and replaces it. Nothing more is heard of it. */
  kill: (worker: Worker) => void;
  /** As `kill`, for one that wrote what it may not; `onLost` follows. */
  distrust: (worker: Worker, what: string) => void;
  /** Lets an idle process end and replaces it. */
  retire: (worker: Worker) => void;
  /** Rejects with NOT_READY after startTimeoutMs, and as soon as a sandbox that is required is not to be had. */
  ready: () => Promise<void>;
  stats: () => CrewStats;
  /** Lets processes finish their jobs within `graceMs`; resolves when all are gone. `onLost` is told of each. */
  close: (graceMs: number) => Promise<void>;
}

/** A process that was told to end and does not is killed. */
const retireGraceMs = 2000;
const restartPauseMaxMs = 10_000;
/** After this many processes that died while they started, before any success, the sandbox is suspected. */
const deathsMax = 3;

interface State {
  readonly settings: CrewSettings;
  readonly clock: Clock;
  readonly log: Log;
  readonly failures: FailureLog;
  readonly listener: CrewListener;
  readonly workers: Set<Worker>;
  /** Out of service, and not gone yet. */
  readonly leaving: Set<Worker>;
  readonly waitingForReady: Set<(failure?: NearcastError) => void>;
  /** How the next process starts. */
  sandboxMode: DecoderSettings["sandbox"];
  sandbox: CrewStats["sandbox"];
  sandboxReason: string;
  crashes: number;
  restarts: number;
  failedStarts: number;
  /** Of those, the ones that died by themselves. A machine that is too busy to start one in time is no such sign. */
  deaths: number;
  cancelRestart: Cancel | undefined;
  isClosed: boolean;
  onAllGone: (() => void) | undefined;
}

export function openCrew(settings: CrewSettings, clock: Clock, log: Log, listener: CrewListener): Crew {
  const state: State = {
    settings,
    clock,
    log,
    failures: openFailureLog(log, clock),
    listener,
    workers: new Set(),
    leaving: new Set(),
    waitingForReady: new Set(),
    sandboxMode: settings.sandbox === "off" ? "off" : "auto",
    sandbox: "starting",
    sandboxReason: "",
    crashes: 0,
    restarts: 0,
    failedStarts: 0,
    deaths: 0,
    cancelRestart: undefined,
    isClosed: false,
    onAllGone: undefined,
  };
  refill(state);
  return {
    workers: state.workers,
    kill: (worker) => {
      kill(state, worker);
    },
    distrust: (worker, what) => {
      distrust(state, worker, what);
    },
    retire: (worker) => {
      retire(state, worker);
    },
    ready: () => ready(state),
    stats() {
      const { crashes, restarts, sandbox, sandboxReason, workers } = state;
      const pids = [...workers].map((worker) => worker.process.pid).filter((pid) => pid !== undefined);
      return { crashes, restarts, pids, sandbox, sandboxReason };
    },
    close: (graceMs) => close(state, graceMs),
  };
}

function refill(state: State): void {
  if (state.isClosed || state.cancelRestart !== undefined) return;
  while (state.workers.size < state.settings.size) start(state);
}

function start(state: State): void {
  const { settings, sandboxMode, workers, listener, clock } = state;
  const process = startDecoder(
    { ...settings, sandbox: sandboxMode },
    {
      onReply(reply, body) {
        if (!workers.has(worker)) return;
        if (reply.outcome !== "ready") listener.onReply(worker, reply, body);
        else if (worker.isReady) distrust(state, worker, "it became ready twice");
        else becomeReady(state, worker, reply);
      },
      onViolation(what) {
        distrust(state, worker, what);
      },
      onEnd(how) {
        end(state, worker, how);
      },
    },
  );
  const worker: Worker = {
    process,
    isReady: false,
    isLate: false,
    cancelStart: clock.after(settings.startTimeoutMs, () => {
      worker.isLate = true;
      process.kill(); // end() counts it as a failed start
    }),
  };
  workers.add(worker);
}

function dismiss({ workers, leaving }: State, worker: Worker): void {
  worker.cancelStart();
  if (workers.delete(worker)) leaving.add(worker);
}

function replace(state: State, worker: Worker): void {
  dismiss(state, worker);
  state.restarts += 1;
  refill(state);
}

function kill(state: State, worker: Worker): void {
  worker.process.kill();
  replace(state, worker);
}

function distrust(state: State, worker: Worker, what: string): void {
  if (!state.workers.has(worker)) return;
  state.failures.error(
    "DISTRUSTED",
    { pid: worker.process.pid, what },
    "killed a decoder process that sent an invalid message",
  );
  state.crashes += 1;
  kill(state, worker);
  state.listener.onLost(worker, "its answer made no sense");
}

function retire(state: State, worker: Worker): void {
  worker.process.retire();
  replace(state, worker);
  state.clock.after(retireGraceMs, () => {
    if (state.leaving.has(worker)) worker.process.kill();
  });
}

function end(state: State, worker: Worker, how: string): void {
  const { workers, leaving, listener, failures } = state;
  const wasInService = workers.has(worker);
  if (state.isClosed) {
    dismiss(state, worker);
    if (wasInService) listener.onLost(worker, "the pool is closed");
  } else if (wasInService && worker.isReady) {
    failures.error("DIED", { pid: worker.process.pid, how }, "a decoder process died; it is replaced");
    state.crashes += 1;
    replace(state, worker);
    listener.onLost(worker, "its process died");
  } else if (wasInService) {
    dismiss(state, worker);
    pauseAfterFailedStart(state, worker, how);
  }
  leaving.delete(worker);
  if (workers.size === 0 && leaving.size === 0) state.onAllGone?.();
}

function pauseAfterFailedStart(state: State, worker: Worker, how: string): void {
  state.failedStarts += 1;
  if (!worker.isLate) state.deaths += 1;
  state.crashes += 1;
  state.restarts += 1;
  const pauseMs = Math.min(restartPauseMaxMs, 100 * 2 ** Math.min(state.failedStarts, 10));
  const facts = { pid: worker.process.pid, how, isLate: worker.isLate, pauseMs };
  state.log.error(facts, "a decoder process did not start; trying again after a pause");
  const neverWorked = state.deaths >= deathsMax && state.sandbox === "starting";
  if (neverWorked && state.sandboxMode === "auto" && state.settings.sandbox !== "required") {
    // None ever came up: the filter may be what ends them. No picture is involved yet.
    state.sandboxMode = "off";
    state.sandboxReason = "decoder processes died while they entered it";
  }
  state.cancelRestart ??= state.clock.after(pauseMs, () => {
    state.cancelRestart = undefined;
    refill(state);
  });
}

function becomeReady(state: State, worker: Worker, reply: Reply & { outcome: "ready" }): void {
  const isRequired = state.settings.sandbox === "required";
  if (isRequired && reply.sandbox !== "seccomp") {
    refuse(state, worker, reply.reason);
    return;
  }
  if (reply.sandbox === "broken") {
    // The filter keeps decoders from their work on this system: all start again without it.
    state.log.error({ reason: reply.reason }, "decoder processes do not work in the sandbox; starting them without it");
    state.sandboxMode = "off";
    state.sandboxReason = reply.reason;
    kill(state, worker);
    return;
  }
  worker.isReady = true;
  worker.cancelStart();
  state.failedStarts = 0;
  if (isRequired || state.sandbox === "starting" || reply.sandbox === "none")
    noteSandbox(state, reply.sandbox, reply.reason);
  for (const settle of state.waitingForReady) settle();
  state.listener.onFree(worker);
}

/** Ends a process that has no sandbox; its end counts as a failed start, so the next one comes after a pause. */
function refuse(state: State, worker: Worker, reason: string): void {
  state.sandbox = "none";
  state.sandboxReason = reason;
  state.log.error(
    { reason },
    "a decoder process has no sandbox, which the configuration requires: it gets no pictures",
  );
  worker.process.kill();
  for (const settle of state.waitingForReady)
    settle(new NearcastError("NOT_READY", `the decoder has no sandbox: ${reason}`));
}

/** Logged once for each change; one unprotected process is enough to say "none". */
function noteSandbox(state: State, seen: "seccomp" | "none", reason: string): void {
  if (state.sandbox === seen) return;
  state.sandbox = seen;
  if (seen === "seccomp") {
    state.sandboxReason = "";
    state.log.info("decoder processes are sandboxed by a system-call filter");
  } else {
    if (state.sandboxReason === "") state.sandboxReason = reason;
    state.log.warn({ reason: state.sandboxReason }, "decoder processes are not sandboxed");
  }
}

function ready({ workers, waitingForReady, clock, settings: { startTimeoutMs } }: State): Promise<void> {
  return new Promise((resolve, reject) => {
    if ([...workers].some((worker) => worker.isReady)) {
      resolve();
      return;
    }
    const cancel = clock.after(startTimeoutMs, () => {
      waitingForReady.delete(onReady);
      reject(new NearcastError("NOT_READY", `no decoder process started within ${startTimeoutMs} ms`));
    });
    const onReady = (failure?: NearcastError): void => {
      waitingForReady.delete(onReady);
      cancel();
      if (failure === undefined) resolve();
      else reject(failure);
    };
    waitingForReady.add(onReady);
  });
}

async function close(state: State, graceMs: number): Promise<void> {
  const { workers, leaving, clock } = state;
  state.isClosed = true;
  state.cancelRestart?.();
  if (workers.size === 0 && leaving.size === 0) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  state.onAllGone = resolve;
  // The end of its input lets a process finish the job that it has, and no further one.
  for (const worker of [...workers, ...leaving]) worker.process.retire();
  const cancel = clock.after(graceMs, () => {
    for (const worker of [...workers, ...leaving]) worker.process.kill();
  });
  await promise;
  cancel();
}
