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
import { openFailureLog } from "#base/failure-log.ts";
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

export function openCrew(settings: CrewSettings, clock: Clock, log: Log, listener: CrewListener): Crew {
  const failures = openFailureLog(log, clock);
  const workers = new Set<Worker>();
  const leaving = new Set<Worker>();
  const waitingForReady = new Set<(failure?: NearcastError) => void>();
  const isRequired = settings.sandbox === "required";
  let sandboxMode: DecoderSettings["sandbox"] = settings.sandbox === "off" ? "off" : "auto";
  let sandbox: CrewStats["sandbox"] = "starting";
  let sandboxReason = "";
  let crashes = 0;
  let restarts = 0;
  let failedStarts = 0;
  /** Of those, the ones that died by themselves. A machine that is too busy to start one in time is no such sign. */
  let deaths = 0;
  let cancelRestart: Cancel | undefined;
  let isClosed = false;
  let onAllGone: (() => void) | undefined;

  function refill(): void {
    if (isClosed || cancelRestart !== undefined) return;
    while (workers.size < settings.size) start();
  }

  function start(): void {
    const process = startDecoder(
      { ...settings, sandbox: sandboxMode },
      {
        onReply(reply, body) {
          if (!workers.has(worker)) return;
          if (reply.outcome !== "ready") listener.onReply(worker, reply, body);
          else if (worker.isReady) distrust(worker, "it became ready twice");
          else becomeReady(worker, reply);
        },
        onViolation(what) {
          distrust(worker, what);
        },
        onEnd(how) {
          end(worker, how);
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

  function dismiss(worker: Worker): void {
    worker.cancelStart();
    if (workers.delete(worker)) leaving.add(worker);
  }

  function replace(worker: Worker): void {
    dismiss(worker);
    restarts += 1;
    refill();
  }

  function kill(worker: Worker): void {
    worker.process.kill();
    replace(worker);
  }

  function distrust(worker: Worker, what: string): void {
    if (!workers.has(worker)) return;
    failures.error(
      "DISTRUSTED",
      { pid: worker.process.pid, what },
      "killed a decoder process that sent an invalid message",
    );
    crashes += 1;
    kill(worker);
    listener.onLost(worker, "its answer made no sense");
  }

  function end(worker: Worker, how: string): void {
    const wasInService = workers.has(worker);
    if (isClosed) {
      dismiss(worker);
      if (wasInService) listener.onLost(worker, "the pool is closed");
    } else if (wasInService && worker.isReady) {
      failures.error("DIED", { pid: worker.process.pid, how }, "a decoder process died; it is replaced");
      crashes += 1;
      replace(worker);
      listener.onLost(worker, "its process died");
    } else if (wasInService) {
      dismiss(worker);
      pauseAfterFailedStart(worker, how);
    }
    leaving.delete(worker);
    if (workers.size === 0 && leaving.size === 0) onAllGone?.();
  }

  function pauseAfterFailedStart(worker: Worker, how: string): void {
    failedStarts += 1;
    if (!worker.isLate) deaths += 1;
    crashes += 1;
    restarts += 1;
    const pauseMs = Math.min(restartPauseMaxMs, 100 * 2 ** Math.min(failedStarts, 10));
    const { pid } = worker.process;
    log.error(
      { pid, how, isLate: worker.isLate, pauseMs },
      "a decoder process did not start; trying again after a pause",
    );
    if (deaths >= deathsMax && sandbox === "starting" && sandboxMode === "auto" && !isRequired) {
      // None ever came up: the filter may be what ends them. No picture is involved yet.
      sandboxMode = "off";
      sandboxReason = "decoder processes died while they entered it";
    }
    cancelRestart ??= clock.after(pauseMs, () => {
      cancelRestart = undefined;
      refill();
    });
  }

  /** Ends a process that has no sandbox; its end counts as a failed start, so the next one comes after a pause. */
  function refuse(worker: Worker, reason: string): void {
    sandbox = "none";
    sandboxReason = reason;
    log.error({ reason }, "a decoder process has no sandbox, which the configuration requires: it gets no pictures");
    worker.process.kill();
    for (const settle of waitingForReady)
      settle(new NearcastError("NOT_READY", `the decoder has no sandbox: ${reason}`));
  }

  function becomeReady(worker: Worker, reply: Reply & { outcome: "ready" }): void {
    if (isRequired && reply.sandbox !== "seccomp") {
      refuse(worker, reply.reason);
      return;
    }
    if (reply.sandbox === "broken") {
      // The filter keeps decoders from their work on this system: all start again without it.
      log.error({ reason: reply.reason }, "decoder processes do not work in the sandbox; starting them without it");
      sandboxMode = "off";
      sandboxReason = reply.reason;
      kill(worker);
      return;
    }
    worker.isReady = true;
    worker.cancelStart();
    failedStarts = 0;
    if (isRequired || sandbox === "starting" || reply.sandbox === "none") noteSandbox(reply.sandbox, reply.reason);
    for (const settle of waitingForReady) settle();
    listener.onFree(worker);
  }

  /** Logged once for each change; one unprotected process is enough to say "none". */
  function noteSandbox(seen: "seccomp" | "none", reason: string): void {
    if (sandbox === seen) return;
    sandbox = seen;
    if (seen === "seccomp") {
      sandboxReason = "";
      log.info("decoder processes are sandboxed by a system-call filter");
    } else {
      if (sandboxReason === "") sandboxReason = reason;
      log.warn({ reason: sandboxReason }, "decoder processes are not sandboxed");
    }
  }

  refill();

  return {
    workers,
    kill,
    distrust,
    retire(worker) {
      worker.process.retire();
      replace(worker);
      clock.after(retireGraceMs, () => {
        if (leaving.has(worker)) worker.process.kill();
      });
    },
    ready() {
      return new Promise((resolve, reject) => {
        if ([...workers].some((worker) => worker.isReady)) {
          resolve();
          return;
        }
        const cancel = clock.after(settings.startTimeoutMs, () => {
          waitingForReady.delete(onReady);
          reject(new NearcastError("NOT_READY", `no decoder process started within ${settings.startTimeoutMs} ms`));
        });
        const onReady = (failure?: NearcastError): void => {
          waitingForReady.delete(onReady);
          cancel();
          if (failure === undefined) resolve();
          else reject(failure);
        };
        waitingForReady.add(onReady);
      });
    },
    stats() {
      const pids = [...workers].map((worker) => worker.process.pid).filter((pid) => pid !== undefined);
      return { crashes, restarts, pids, sandbox, sandboxReason };
    },
    async close(graceMs) {
      isClosed = true;
      cancelRestart?.();
      if (workers.size === 0 && leaving.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      onAllGone = resolve;
      // The end of its input lets a process finish the job that it has, and no further one.
      for (const worker of [...workers, ...leaving]) worker.process.retire();
      const cancel = clock.after(graceMs, () => {
        for (const worker of [...workers, ...leaving]) worker.process.kill();
      });
      await promise;
      cancel();
    },
  };
}
