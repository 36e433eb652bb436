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
 * First come, first served: who may come is decided before, fairly between clients (render-turns.ts).
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
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import assert from "node:assert/strict";
import { openCrew, type CrewStats, type JobReply, type Worker } from "./crew.ts";
import { ownResidentBytes } from "./decoder-process.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import { mediaTypeOf, sniffPicture, type MediaType, type RenderOrder } from "./picture.ts";

export interface DecoderLimits {
  /** Resident memory of one busy process. 100 megapixels that must be held whole (interlaced) take some 600 MB. */
  readonly memoryBytesMax: number;
  /** Jobs that wait; one more is OVERLOADED. */
  readonly queueMax: number;
  /** How long a job may wait for a process; then it is OVERLOADED: whoever asked has given up or will. */
  readonly queueWaitMs: number;
  /** A process is replaced after that many jobs, so that what libraries leak stays small. */
  readonly jobsPerProcessMax: number;
  /** Bytes of one source. */
  readonly sourceBytesMax: number;
  /** Bytes of one rendering: 8192 × 8192 px of RGBA noise as PNG. */
  readonly bodyBytesMax: number;
  /** From the start of a process to its readiness. */
  readonly startTimeoutMs: number;
}

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

export interface JobOptions {
  /** width × height × frames of the source. */
  readonly pixelsMax: number;
  /** From the moment a process takes the job. */
  readonly timeoutMs: number;
  /**
   * Nobody needs it any more: waiting ends at once, with the signal's reason. A job that runs is stopped, and ends when
   * its process has been replaced: until then it costs as much as one that runs.
   */
  readonly signal?: AbortSignal;
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

export interface DecoderPoolStats extends CrewStats {
  renders: number;
  inspections: number;
  /** Sources whose header alone was read. */
  measurements: number;
  /** Jobs that were stopped while they ran, because nobody needed them any more. */
  stops: number;
  timeouts: number;
  memoryKills: number;
  /** Jobs refused or given up because too many waited. */
  overloads: number;
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

/** A busy process may grow by some hundred MB between two looks; more looks cost the serving thread. */
const memoryWatchMs = 50;
/** libvips stops by itself at whole seconds; the kill comes this much after the deadline. */
const killGraceMs = 250;
/** Ctrl-C ends everything within 5 s; decoders get the first of them. */
const closeGraceMs = 1000;

type Answer = Extract<JobReply, { outcome: "facts" | "picture" }>;
interface Outcome {
  readonly answer: Answer;
  readonly body: Buffer;
  readonly elapsedMs: number;
}

/** What a process is to do with a source. */
type Work = { readonly kind: "inspect" | "measure" } | { readonly kind: "render"; readonly order: RenderOrder };

interface Task {
  readonly work: Work;
  readonly source: Buffer;
  readonly options: JobOptions;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
  cancelWait: Cancel;
  /** Given to a process that died before it looked at the picture. */
  wasReturned: boolean;
}

/** What a worker has in hand. */
interface Running {
  readonly task: Task;
  readonly id: number;
  readonly startedMs: number;
  isTaken: boolean;
  readonly cancel: Cancel;
}

export function openDecoderPool(poolOptions: DecoderPoolOptions): DecoderPool {
  const { size, clock, log } = poolOptions;
  const limits: DecoderLimits = { ...decoderLimits, ...poolOptions.limits };
  const canMeasure = ownResidentBytes() !== undefined;
  if (!canMeasure) log.warn("this system has no /proc: decoder processes run without a memory limit");

  const failures = openFailureLog(log, clock);
  const queue = new Set<Task>();
  const running = new Map<Worker, Running>();
  const jobsDone = new WeakMap<Worker, number>();
  /** Stopped jobs whose processes are being replaced: each ends when a process becomes ready. */
  const replacing = new Set<() => void>();
  const counters = { renders: 0, inspections: 0, measurements: 0, stops: 0, timeouts: 0, memoryKills: 0, overloads: 0 };
  let nextId = 1;
  let isClosed = false;
  let wasHidden = false;

  const crew = openCrew(
    {
      size,
      bodyBytesMax: limits.bodyBytesMax,
      memoryBytesMax: limits.memoryBytesMax,
      startTimeoutMs: limits.startTimeoutMs,
      sandbox: poolOptions.sandbox ?? "auto",
      ...(poolOptions.decoderFile === undefined ? {} : { decoderFile: poolOptions.decoderFile }),
    },
    clock,
    log,
    { onFree: welcome, onReply: readReply, onLost: lose },
  );

  function submit(task: Task): void {
    const idle = [...crew.workers].find((worker) => worker.isReady && !running.has(worker));
    if (idle !== undefined) {
      give(idle, task);
      return;
    }
    if (queue.size >= limits.queueMax) {
      counters.overloads += 1;
      task.reject(new NearcastError("OVERLOADED", `the decoder queue is full: ${queue.size} pictures are waiting`));
      return;
    }
    queue.add(task);
    task.cancelWait = clock.after(limits.queueWaitMs, () => {
      queue.delete(task);
      counters.overloads += 1;
      task.reject(new NearcastError("OVERLOADED", `no decoder was free within ${limits.queueWaitMs} ms`));
    });
  }

  function welcome(worker: Worker): void {
    if (canMeasure && !wasHidden && worker.process.residentBytes() === undefined) {
      wasHidden = true; // proc(5) mounted with hidepid
      log.warn("the memory of decoder processes can't be measured: they run without a memory limit");
    }
    for (const end of replacing) {
      replacing.delete(end);
      end();
      break;
    }
    giveNext(worker);
  }

  function giveNext(worker: Worker): void {
    for (const task of queue) {
      queue.delete(task);
      task.cancelWait();
      give(worker, task);
      return;
    }
  }

  function give(worker: Worker, task: Task): void {
    const { pixelsMax, timeoutMs } = task.options;
    const id = nextId;
    nextId += 1;
    const cancelDeadline = clock.after(timeoutMs + killGraceMs, () => {
      counters.timeouts += 1;
      kill(worker, new NearcastError("DECODER_TIMEOUT", `the picture took longer than ${timeoutMs} ms`));
    });
    const watchMemory = (): void => {
      if ((worker.process.residentBytes() ?? 0) <= limits.memoryBytesMax) return;
      counters.memoryKills += 1;
      kill(
        worker,
        new NearcastError("DECODER_MEMORY", `the picture took more than ${limits.memoryBytesMax} bytes of memory`),
      );
    };
    const cancelWatch = canMeasure ? clock.every(memoryWatchMs, watchMemory) : () => undefined;
    const cancel = (): void => {
      cancelDeadline();
      cancelWatch();
    };
    running.set(worker, { task, id, startedMs: clock.monotonicMs(), isTaken: false, cancel });
    // libvips counts whole seconds; below one, only the kill is left.
    const timeoutSeconds = Math.max(1, Math.floor(timeoutMs / 1000));
    worker.process.give({ id, pixelsMax, timeoutSeconds, ...task.work }, task.source);
  }

  /** What the worker had in hand, which it has no longer. */
  function takeBack(worker: Worker): Running | undefined {
    const had = running.get(worker);
    running.delete(worker);
    had?.cancel();
    return had;
  }

  function kill(worker: Worker, error: NearcastError): void {
    failures.warn(error.code, { pid: worker.process.pid }, "a decoder process was killed");
    const had = takeBack(worker);
    crew.kill(worker);
    had?.task.reject(error);
  }

  /** Ends the job of a process that works for nobody. It is over when another process is ready in its place. */
  function stop(worker: Worker, { task }: Running, reason: Error): void {
    counters.stops += 1;
    takeBack(worker);
    const cancel = clock.after(limits.startTimeoutMs, () => {
      replacing.delete(end);
      task.reject(reason);
    });
    const end = (): void => {
      cancel();
      task.reject(reason);
    };
    replacing.add(end);
    crew.kill(worker);
  }

  function leave(task: Task, reason: Error): void {
    for (const [worker, now] of running) {
      if (now.task !== task) continue;
      stop(worker, now, reason);
      return;
    }
    if (queue.delete(task)) task.cancelWait();
    task.reject(reason);
  }

  function lose(worker: Worker, what: string): void {
    const had = takeBack(worker);
    if (had === undefined) return;
    if (isClosed) {
      had.task.reject(new NearcastError("NOT_READY", "the decoder pool is closed"));
    } else if (had.isTaken || had.task.wasReturned) {
      had.task.reject(new NearcastError("DECODER_CRASHED", `the picture was not decoded: ${what}`));
    } else {
      had.task.wasReturned = true;
      submit(had.task);
    }
  }

  function readReply(worker: Worker, reply: JobReply, body: Buffer): void {
    const now = running.get(worker);
    if (now === undefined || reply.id !== now.id || !isAnswerTo(now.task, reply, body)) {
      crew.distrust(worker, `"${reply.outcome}" to what was not asked`);
      return;
    }
    if (reply.outcome === "taken") {
      now.isTaken = true;
      return;
    }
    takeBack(worker);
    if (reply.outcome === "failed") {
      if (reply.code === "DECODER_TIMEOUT") counters.timeouts += 1;
      now.task.reject(new NearcastError(reply.code, printable(reply.detail)));
    } else {
      now.task.resolve({ answer: reply, body, elapsedMs: clock.monotonicMs() - now.startedMs });
    }
    if (isClosed) return;
    const done = (jobsDone.get(worker) ?? 0) + 1;
    jobsDone.set(worker, done);
    if (done >= limits.jobsPerProcessMax) crew.retire(worker);
    else giveNext(worker);
  }

  function run(work: Work, source: Buffer, options: JobOptions): Promise<Outcome> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(reasonOf(signal));
        return;
      }
      if (isClosed) {
        reject(new NearcastError("NOT_READY", "the decoder pool is closed"));
        return;
      }
      if (source.length > limits.sourceBytesMax) {
        const detail = `the picture has ${source.length} bytes, at most ${limits.sourceBytesMax} are allowed`;
        reject(new NearcastError("BODY_TOO_LARGE", detail));
        return;
      }
      const onAbort = (): void => {
        if (signal !== undefined) leave(task, reasonOf(signal));
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
      submit(task);
    });
  }

  async function factsOf(kind: "inspect" | "measure", source: Buffer, options: JobOptions): Promise<PictureFacts> {
    const { answer } = await run({ kind }, source, options);
    assert(answer.outcome === "facts"); // isAnswerTo() lets nothing else through
    const { type, width, height, frames, hasAlpha, scans } = answer;
    return { type, width, height, frames, hasAlpha, scans };
  }

  return {
    async inspect(source, options) {
      const facts = await factsOf("inspect", source, options);
      counters.inspections += 1;
      return facts;
    },
    async measure(source, options) {
      const facts = await factsOf("measure", source, options);
      counters.measurements += 1;
      return facts;
    },
    async render(source, order, options) {
      const { answer, body, elapsedMs } = await run({ kind: "render", order }, source, options);
      counters.renders += 1;
      const { type, width, height } = answer;
      return { body, type: mediaTypeOf[type], width, height, renderMs: elapsedMs };
    },
    ready: () => crew.ready(),
    stats: () => ({ ...counters, queued: queue.size, busy: running.size, ...crew.stats() }),
    async close(options) {
      isClosed = true;
      for (const task of queue) {
        queue.delete(task);
        task.cancelWait();
        task.reject(new NearcastError("NOT_READY", "the decoder pool is closed"));
      }
      for (const end of replacing) end();
      replacing.clear();
      await crew.close(options?.graceMs ?? closeGraceMs);
    },
  };
}

/** Whether a reply is of the kind that was asked for, and its body what it says. */
function isAnswerTo(task: Task, reply: JobReply, body: Buffer): boolean {
  const isRendering = task.work.kind === "render";
  if (reply.outcome === "picture") return isRendering && sniffPicture(body) === reply.type;
  return body.length === 0 && (reply.outcome !== "facts" || !isRendering);
}

function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason });
}

/** What libvips said, as a line of printable ASCII: it may quote the picture. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e×]/g, "?").slice(0, 300);
}
