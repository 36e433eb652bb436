/**
 * The decoder pool: the only door through which bytes of pictures reach a decoder. Edges render through it, the origin
 * looks at uploads through it.
 *
 *   inspect ─┐                          ┌─▶ decoder process 1 ─┐
 *   measure ─┼─▶ queue (bounded) ──▶ give ─▶ decoder process 2 ─┼─▶ facts, picture, or one NearcastError
 *   render ──┘    │ waits at most       └─▶ …                  ─┘
 *                 ▼ queueWaitMs
 *             OVERLOADED
 *
 * First come, first served, unless jobs have ranks: who may come, and with which rank, is decided before, fairly
 * between clients (render-turns.ts).
 *
 * Each process has one picture at a time, so what a picture can harm is itself:
 * - over its time: libvips gives up; if it doesn't, the process is killed (DECODER_TIMEOUT)
 * - over the memory ceiling: the process is killed (DECODER_MEMORY)
 * - nobody needs it any more: the process is killed too, for libvips can't be told to stop
 * - a crash, or an answer without sense: DECODER_CRASHED. It is not tried again here, for the picture is the first
 *   suspect and a second process would die of it too. Only a job whose process died before it had looked at the
 *   picture at all is given to another one, once.
 * crew.ts replaces the processes.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import assert from "node:assert/strict";
import { openCrew, type CrewStats } from "./crew.ts";
import { ownResidentBytes } from "./decoder-process.ts";
import { type MediaType, mediaTypeOf, type RenderOrder } from "./picture.ts";
import {
  closeJobs,
  type DecoderLimits,
  type JobCounts,
  type JobOptions,
  type Jobs,
  leave,
  lose,
  type Outcome,
  poolClosed,
  readReply,
  submit,
  type Task,
  welcome,
  type Work,
} from "./pool-jobs.ts";

const decoderLimits: DecoderLimits = {
  memoryBytesMax: 1_073_741_824,
  queueMax: 1000,
  queueWaitMs: 10_000,
  jobsPerProcessMax: 1000,
  sourceBytesMax: 1_073_741_824,
  bodyBytesMax: 272_629_760,
  startTimeoutMs: 15_000,
};

export interface DecoderPoolOptions {
  /** Decoder processes, each some 90 MB at rest. More than there are cores helps nobody. */
  readonly size: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<DecoderLimits>;
  /**
   * "auto" (default): system calls are filtered where that works. "required": or no picture is decoded. "off": never.
   */
  readonly sandbox?: "auto" | "off" | "required";
  /** The program of the processes. Tests give a hostile one. */
  readonly decoderFile?: URL;
}

export interface RenderedPicture {
  readonly body: Buffer;
  readonly type: MediaType;
  /** In px, of one frame. */
  readonly width: number;
  readonly height: number;
  /** In a decoder, without the wait before. */
  readonly renderMs: number;
}

export interface DecoderPoolStats extends CrewStats, JobCounts {
  queued: number;
  busy: number;
}

export interface DecoderPool {
  /**
   * Tells what a picture is, after decoding all of it.
   * @throws NearcastError UNSUPPORTED_IMAGE, BROKEN_IMAGE, TOO_MANY_PIXELS, BODY_TOO_LARGE, OVERLOADED, DECODER_*
   */
  inspect: (source: Buffer, options: JobOptions) => Promise<PictureFacts>;
  /** Tells what a picture is by its header alone; takes some ms. Throws what `inspect` throws. */
  measure: (source: Buffer, options: JobOptions) => Promise<PictureFacts>;
  /** Makes a variant. Throws what `inspect` throws. */
  render: (source: Buffer, order: RenderOrder, options: JobOptions) => Promise<RenderedPicture>;
  /**
   * Resolves when the first process can work.
   * @throws NearcastError NOT_READY after startTimeoutMs, or where a required sandbox is not to be had
   */
  ready: () => Promise<void>;
  stats: () => DecoderPoolStats;
  /** Refuses and drops what waits, lets what runs finish within `graceMs`, ends all processes. */
  close: (options?: { graceMs?: number }) => Promise<void>;
}

/** Ctrl-C ends everything within 5 s; decoders get the first of them. */
const closeGraceMs = 1000;

export function openDecoderPool(options: DecoderPoolOptions): DecoderPool {
  const jobs = openJobs(options);
  const { crew, counts, queue, running } = jobs;
  return {
    async inspect(source, jobOptions) {
      const facts = await factsOf(jobs, "inspect", source, jobOptions);
      counts.inspections += 1;
      return facts;
    },
    async measure(source, jobOptions) {
      const facts = await factsOf(jobs, "measure", source, jobOptions);
      counts.measurements += 1;
      return facts;
    },
    async render(source, order, jobOptions) {
      const { answer, body, elapsedMs } = await run(jobs, { kind: "render", order }, source, jobOptions);
      counts.renders += 1;
      const { type, width, height } = answer;
      return { body, type: mediaTypeOf[type], width, height, renderMs: elapsedMs };
    },
    ready: () => crew.ready(),
    stats: () => ({ ...counts, queued: queue.size, busy: running.size, ...crew.stats() }),
    async close({ graceMs = closeGraceMs } = {}) {
      closeJobs(jobs);
      await crew.close(graceMs);
    },
  };
}

function openJobs({ size, clock, log, sandbox = "auto", decoderFile, ...options }: DecoderPoolOptions): Jobs {
  const limits: DecoderLimits = { ...decoderLimits, ...options.limits };
  const { bodyBytesMax, memoryBytesMax, startTimeoutMs } = limits;
  const canMeasure = ownResidentBytes() !== undefined;
  if (!canMeasure) log.warn("this system has no /proc: decoder processes run without a memory limit");
  const file = decoderFile === undefined ? {} : { decoderFile };
  // A process tells nothing before it has started, and so not before `jobs` is there.
  const crew = openCrew({ size, bodyBytesMax, memoryBytesMax, startTimeoutMs, sandbox, ...file }, clock, log, {
    onFree: (worker) => {
      welcome(jobs, worker);
    },
    onReply: (worker, reply, body) => {
      readReply(jobs, worker, reply, body);
    },
    onLost: (worker, what) => {
      lose(jobs, worker, what);
    },
  });
  const jobs: Jobs = {
    limits,
    clock,
    log,
    failures: openFailureLog(log, clock),
    crew,
    canMeasure,
    queue: new Set(),
    running: new Map(),
    jobsDone: new WeakMap(),
    replacing: new Set(),
    counts: { renders: 0, inspections: 0, measurements: 0, stops: 0, timeouts: 0, memoryKills: 0, overloads: 0 },
    nextId: 1,
    isClosed: false,
    wasHidden: false,
  };
  return jobs;
}

function run(jobs: Jobs, work: Work, source: Buffer, options: JobOptions): Promise<Outcome> {
  const { sourceBytesMax } = jobs.limits;
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(reasonOf(signal));
      return;
    }
    if (jobs.isClosed) {
      reject(poolClosed());
      return;
    }
    if (source.length > sourceBytesMax) {
      const detail = `the picture has ${source.length} bytes, at most ${sourceBytesMax} are allowed`;
      reject(new NearcastError("BODY_TOO_LARGE", detail));
      return;
    }
    const onAbort = (): void => {
      if (signal !== undefined) leave(jobs, task, reasonOf(signal));
    };
    const task: Task = {
      work,
      source,
      options,
      resolve(outcome) {
        signal?.removeEventListener("abort", onAbort);
        resolve(outcome);
      },
      reject(error) {
        signal?.removeEventListener("abort", onAbort);
        reject(error);
      },
      cancelWait: () => undefined,
      wasReturned: false,
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    submit(jobs, task);
  });
}

async function factsOf(
  jobs: Jobs,
  kind: "inspect" | "measure",
  source: Buffer,
  options: JobOptions,
): Promise<PictureFacts> {
  const { answer } = await run(jobs, { kind }, source, options);
  assert(answer.outcome === "facts"); // isAnswerTo() lets nothing else through
  const { type, width, height, frames, hasAlpha, scans } = answer;
  return { type, width, height, frames, hasAlpha, scans };
}

function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason });
}
