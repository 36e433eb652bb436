/**
 * The jobs of the decoder pool: who waits, what each process has in hand, and what ends it. pool.ts opens it, crew.ts
 * reports what the processes do.
 *
 *   submit ──▶ a process is free? ──▶ give ──▶ reply ──▶ settled; the process takes the next
 *        └──▶ queue ──────────────────▲  │
 *                                        ├─ over its time or memory ──▶ kill
 *                                        ├─ nobody needs it ──────────▶ stop, over when the process is replaced
 *                                        └─ the process died ─────────▶ lose: failed, or given once more
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { FailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import type { Crew, JobReply, Worker } from "./crew.ts";
import { type RenderOrder, sniffPicture } from "./picture.ts";

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

export interface JobOptions {
  /** width × height × frames of the source. */
  readonly pixelsMax: number;
  /** From the moment a process takes the job. */
  readonly timeoutMs: number;
  /** Of the jobs that wait, the one with the lowest goes first, and of equal ones the oldest. Default: 0. */
  readonly rank?: number;
  /**
   * Nobody needs it any more: waiting ends at once, with the signal's reason. A job that runs is stopped, and ends when
   * its process has been replaced: until then it costs as much as one that runs.
   */
  readonly signal?: AbortSignal;
}

/** A busy process may grow by some hundred MB between two looks; more looks cost the serving thread. */
const memoryWatchMs = 50;
/** libvips stops by itself at whole seconds; the kill comes this much after the deadline. */
const killGraceMs = 250;
export type Answer = Extract<JobReply, { outcome: "facts" | "picture" }>;

export interface Outcome {
  readonly answer: Answer;
  readonly body: Buffer;
  readonly elapsedMs: number;
}

/** What a process is to do with a source. */
export type Work = { readonly kind: "inspect" | "measure" } | { readonly kind: "render"; readonly order: RenderOrder };

export interface Task {
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

export interface JobCounts {
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
}

export interface Jobs {
  readonly limits: DecoderLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly failures: FailureLog;
  readonly crew: Crew;
  /** This system tells how much memory a process has. */
  readonly canMeasure: boolean;
  readonly queue: Set<Task>;
  readonly running: Map<Worker, Running>;
  readonly jobsDone: WeakMap<Worker, number>;
  /** Stopped jobs whose processes are being replaced: each ends when a process becomes ready. */
  readonly replacing: Set<() => void>;
  readonly counts: JobCounts;
  nextId: number;
  isClosed: boolean;
  wasHidden: boolean;
}

export function submit(jobs: Jobs, task: Task): void {
  const { crew, running, queue, limits, counts, clock } = jobs;
  const idle = [...crew.workers].find((worker) => worker.isReady && !running.has(worker));
  if (idle !== undefined) {
    give(jobs, idle, task);
    return;
  }
  if (queue.size >= limits.queueMax) {
    counts.overloads += 1;
    task.reject(new NearcastError("OVERLOADED", `the decoder queue is full: ${queue.size} pictures are waiting`));
    return;
  }
  queue.add(task);
  task.cancelWait = clock.after(limits.queueWaitMs, () => {
    queue.delete(task);
    counts.overloads += 1;
    task.reject(new NearcastError("OVERLOADED", `no decoder was free within ${limits.queueWaitMs} ms`));
  });
}

/** A process has become ready. */
export function welcome(jobs: Jobs, worker: Worker): void {
  if (jobs.canMeasure && !jobs.wasHidden && worker.process.residentBytes() === undefined) {
    jobs.wasHidden = true; // proc(5) mounted with hidepid
    jobs.log.warn("the memory of decoder processes can't be measured: they run without a memory limit");
  }
  const [end] = jobs.replacing;
  if (end !== undefined) {
    jobs.replacing.delete(end);
    end();
  }
  giveNext(jobs, worker);
}

function giveNext(jobs: Jobs, worker: Worker): void {
  let task: Task | undefined;
  for (const one of jobs.queue) {
    if (task === undefined || (one.options.rank ?? 0) < (task.options.rank ?? 0)) task = one;
  }
  if (task === undefined) return;
  jobs.queue.delete(task);
  task.cancelWait();
  give(jobs, worker, task);
}

function give(jobs: Jobs, worker: Worker, task: Task): void {
  const { clock, counts, running } = jobs;
  const { pixelsMax, timeoutMs } = task.options;
  const id = jobs.nextId;
  jobs.nextId += 1;
  const cancelDeadline = clock.after(timeoutMs + killGraceMs, () => {
    counts.timeouts += 1;
    kill(jobs, worker, new NearcastError("DECODER_TIMEOUT", `the picture took longer than ${timeoutMs} ms`));
  });
  const cancelWatch = watchMemory(jobs, worker);
  const cancel = (): void => {
    cancelDeadline();
    cancelWatch();
  };
  running.set(worker, { task, id, startedMs: clock.monotonicMs(), isTaken: false, cancel });
  // libvips counts whole seconds; below one, only the kill is left.
  const timeoutSeconds = Math.max(1, Math.floor(timeoutMs / 1000));
  worker.process.give({ id, pixelsMax, timeoutSeconds, ...task.work }, task.source);
}

function watchMemory(jobs: Jobs, worker: Worker): Cancel {
  const { memoryBytesMax } = jobs.limits;
  if (!jobs.canMeasure) return () => undefined;
  return jobs.clock.every(memoryWatchMs, () => {
    if ((worker.process.residentBytes() ?? 0) <= memoryBytesMax) return;
    jobs.counts.memoryKills += 1;
    const detail = `the picture took more than ${memoryBytesMax} bytes of memory`;
    kill(jobs, worker, new NearcastError("DECODER_MEMORY", detail));
  });
}

/** What the worker had in hand, which it has no longer. */
function takeBack({ running }: Jobs, worker: Worker): Running | undefined {
  const had = running.get(worker);
  running.delete(worker);
  had?.cancel();
  return had;
}

function kill(jobs: Jobs, worker: Worker, error: NearcastError): void {
  jobs.failures.warn(error.code, { pid: worker.process.pid }, "a decoder process was killed");
  const had = takeBack(jobs, worker);
  jobs.crew.kill(worker);
  had?.task.reject(error);
}

/** Ends the job of a process that works for nobody. It is over when another process is ready in its place. */
function stop(jobs: Jobs, worker: Worker, { task }: Running, reason: Error): void {
  const { replacing, clock, limits } = jobs;
  jobs.counts.stops += 1;
  takeBack(jobs, worker);
  const cancel = clock.after(limits.startTimeoutMs, () => {
    replacing.delete(end);
    task.reject(reason);
  });
  const end = (): void => {
    cancel();
    task.reject(reason);
  };
  replacing.add(end);
  jobs.crew.kill(worker);
}

/** Nobody needs this task any more, for this reason. */
export function leave(jobs: Jobs, task: Task, reason: Error): void {
  for (const [worker, now] of jobs.running) {
    if (now.task !== task) continue;
    stop(jobs, worker, now, reason);
    return;
  }
  if (jobs.queue.delete(task)) task.cancelWait();
  task.reject(reason);
}

/** A process has died, or was found out. */
export function lose(jobs: Jobs, worker: Worker, what: string): void {
  const had = takeBack(jobs, worker);
  if (had === undefined) return;
  if (jobs.isClosed) {
    had.task.reject(poolClosed());
  } else if (had.isTaken || had.task.wasReturned) {
    had.task.reject(new NearcastError("DECODER_CRASHED", `the picture was not decoded: ${what}`));
  } else {
    had.task.wasReturned = true;
    submit(jobs, had.task);
  }
}

export function readReply(jobs: Jobs, worker: Worker, reply: JobReply, body: Buffer): void {
  const { clock, counts, crew, limits, jobsDone } = jobs;
  const now = jobs.running.get(worker);
  if (now === undefined || reply.id !== now.id || !isAnswerTo(now.task, reply, body)) {
    crew.distrust(worker, `"${reply.outcome}" to what was not asked`);
    return;
  }
  if (reply.outcome === "taken") {
    now.isTaken = true;
    return;
  }
  takeBack(jobs, worker);
  if (reply.outcome === "failed") {
    if (reply.code === "DECODER_TIMEOUT") counts.timeouts += 1;
    now.task.reject(new NearcastError(reply.code, printable(reply.detail)));
  } else {
    now.task.resolve({ answer: reply, body, elapsedMs: clock.monotonicMs() - now.startedMs });
  }
  if (jobs.isClosed) return;
  const done = (jobsDone.get(worker) ?? 0) + 1;
  jobsDone.set(worker, done);
  if (done >= limits.jobsPerProcessMax) crew.retire(worker);
  else giveNext(jobs, worker);
}

/** Refuses and drops what waits; what runs goes on. */
export function closeJobs(jobs: Jobs): void {
  jobs.isClosed = true;
  for (const task of jobs.queue) {
    jobs.queue.delete(task);
    task.cancelWait();
    task.reject(poolClosed());
  }
  for (const end of jobs.replacing) end();
  jobs.replacing.clear();
}

export function poolClosed(): NearcastError {
  return new NearcastError("NOT_READY", "the decoder pool is closed");
}

/** Whether a reply is of the kind that was asked for, and its body what it says. */
function isAnswerTo(task: Task, reply: JobReply, body: Buffer): boolean {
  const isRendering = task.work.kind === "render";
  if (reply.outcome === "picture") return isRendering && sniffPicture(body) === reply.type;
  return body.length === 0 && (reply.outcome !== "facts" || !isRendering);
}

/** What libvips said, as a line of printable ASCII: it may quote the picture. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e×]/g, "?").slice(0, 300);
}
