/**
 * Who may render next: a queue that is shared fairly between client networks, by cost. Pure: the time is passed in.
 * render-turns.ts calls it.
 *
 *   network ─▶ its own time ─▶ its jobs, oldest first
 *     A         1200 ms         ▪▪▪▪▪▪▪▪▪▪▪▪
 *     B          340 ms         ▪                ◀── next: the network whose time is earliest
 *
 * Each network has a time of its own, and a job's cost moves it on when the job gets its place. What the job took in
 * the end corrects it (start-time fair queueing: Goyal, Vin and Cheng, 1996; the same idea as Linux's CFS). The time of
 * the whole queue goes on by what each active network can expect: real time × workers ÷ active networks. A network that
 * comes starts there, or at its own time if that is later: so nobody saves up a claim, and who has had more than a fair
 * share stands behind the others until time has caught up.
 *
 * A job that several networks wait for is in the line of each. It gets its place by the one that is first in turn,
 * which pays for it.
 *
 * A job above `largeCostMs` is large. Large jobs never have more places than `largeMax`, one fewer than there are
 * workers: a job can't be interrupted, so without this rule a few large ones, of one network or many, would make
 * everybody wait for seconds. With a single worker there is nothing to keep free.
 *
 * There are more places than workers, since sources are read meanwhile. A network gets one more place while it has
 * fewer than twice the free ones: one that is alone leaves a third of them free, so that others need not wait for a
 * place. Of the jobs with a place, the next free worker is for the one with the earliest start time (`startTimeOf`): so
 * another network comes before all jobs that a busy one has prepared, and waits for one running job.
 *
 * Two bounds keep the queue short, in jobs and in cost. A network may have half of it. When all of it is full, the
 * network with the most waiting loses its newest job: never its neighbors. The bound in cost is what can be done before
 * those who wait give up: more would be refused later anyway.
 */
import assert from "node:assert/strict";

export interface FairLimits {
  /** Jobs that make progress at the same time. */
  readonly workers: number;
  /** Jobs that may have a place at the same time: those that make progress, and those that are being prepared. */
  readonly placesMax: number;
  readonly largeCostMs: number;
  readonly largeMax: number;
  /** Cost of all that waits. */
  readonly waitingCostMsMax: number;
}

/** A piece of work that waits, or has its place. */
export interface FairJob {
  readonly costMs: number;
  /** Network → how many of its clients wait for this. */
  readonly networks: ReadonlyMap<string, number>;
}

interface Waiting {
  readonly job: FairJob;
  /** In the order of arrival. */
  readonly number: number;
}

interface Network {
  /** Its own time, in ms of the queue's time. */
  timeMs: number;
  readonly small: Map<FairJob, Waiting>;
  readonly large: Map<FairJob, Waiting>;
  waitingCostMs: number;
  running: number;
}

interface Running {
  readonly network: string;
  /** The network's own time when the job got its place. */
  readonly startTimeMs: number;
}

export interface FairQueue {
  readonly limits: FairLimits;
  timeMs: number;
  /** When `timeMs` was last moved on. */
  readAtMs: number;
  readonly networks: Map<string, Network>;
  /** Networks with a job that waits or runs. */
  active: number;
  readonly waiting: Map<FairJob, Waiting>;
  waitingCostMs: number;
  readonly running: Map<FairJob, Running>;
  largeRunning: number;
  arrivals: number;
}

export type Admission =
  | { outcome: "waits"; displaced: readonly FairJob[] }
  /** network: this one has too much waiting. queue: all together have, and no network more than this one. */
  | { outcome: "refused"; because: "network" | "queue" };

/** Of the queue, in jobs and in cost. */
const networkShare = 0.5;
/** A network may hold this many times the free places. */
const freeShare = 2;
/** Networks whose time is remembered, though they have nothing here: some 200 B each. */
const networksMax = 10_000;

export function createFairQueue(limits: FairLimits, nowMs: number): FairQueue {
  return {
    limits,
    timeMs: 0,
    readAtMs: nowMs,
    networks: new Map(),
    active: 0,
    waiting: new Map(),
    waitingCostMs: 0,
    running: new Map(),
    largeRunning: 0,
    arrivals: 0,
  };
}

/**
 * Puts a job into the line of each network that waits for it.
 * @param network that brings it, and is refused if it has too much waiting
 * @param waitingMax jobs that may wait
 * @returns whether it waits; `displaced` jobs lost their places in the queue to it
 */
export function enqueue(
  queue: FairQueue,
  job: FairJob,
  network: string,
  { waitingMax, nowMs }: { waitingMax: number; nowMs: number },
): Admission {
  advance(queue, nowMs);
  const { waitingCostMsMax } = queue.limits;
  const own = queue.networks.get(network);
  if (own !== undefined && waitingOf(own) > 0) {
    const isLong = waitingOf(own) >= Math.max(1, waitingMax * networkShare);
    if (isLong || own.waitingCostMs + job.costMs > waitingCostMsMax * networkShare) {
      return { outcome: "refused", because: "network" };
    }
  }
  const displaced: Waiting[] = [];
  const isFull = (): boolean =>
    queue.waiting.size > 0 && (queue.waiting.size >= waitingMax || queue.waitingCostMs + job.costMs > waitingCostMsMax);
  while (isFull()) {
    const victim = newestOfLargest(queue, (own?.waitingCostMs ?? 0) + job.costMs);
    if (victim === undefined) {
      // Nobody loses a place for one who gets none.
      for (const entry of displaced.toReversed()) enterQueue(queue, entry);
      return { outcome: "refused", because: "queue" };
    }
    displaced.push(victim);
    leaveQueue(queue, victim.job);
  }
  queue.arrivals += 1;
  enterQueue(queue, { job, number: queue.arrivals });
  return { outcome: "waits", displaced: displaced.map((entry) => entry.job) };
}

function enterQueue(queue: FairQueue, entry: Waiting): void {
  queue.waiting.set(entry.job, entry);
  queue.waitingCostMs += entry.job.costMs;
  for (const network of entry.job.networks.keys()) addTo(queue, network, entry);
}

/** One more network waits for a job. Ignored unless the job waits in the queue. */
export function joinJob(queue: FairQueue, job: FairJob, network: string, nowMs: number): void {
  const entry = queue.waiting.get(job);
  if (entry === undefined) return;
  advance(queue, nowMs);
  addTo(queue, network, entry);
}

/** A network no longer waits for a job. */
export function leaveJob(queue: FairQueue, job: FairJob, network: string): void {
  if (queue.waiting.has(job)) removeFrom(queue, network, job);
}

/** Takes a job out of the queue; nobody waits for it any more, or it waited too long. */
export function leaveQueue(queue: FairQueue, job: FairJob): void {
  if (!queue.waiting.delete(job)) return;
  queue.waitingCostMs = queue.waiting.size === 0 ? 0 : queue.waitingCostMs - job.costMs;
  for (const network of job.networks.keys()) removeFrom(queue, network, job);
}

/** Gives a place to the job whose turn it is; undefined: none waits, or no place is free for those that do. */
export function nextInTurn(queue: FairQueue, nowMs: number): FairJob | undefined {
  const { placesMax, largeMax } = queue.limits;
  if (queue.waiting.size === 0 || queue.running.size >= placesMax) return undefined;
  advance(queue, nowMs);
  const mayBeLarge = queue.largeRunning < largeMax;
  const runningMax = freeShare * (placesMax - queue.running.size);
  let first: { name: string; network: Network; entry: Waiting } | undefined;
  for (const [name, network] of queue.networks) {
    if (network.running >= runningMax) continue;
    const entry = oldestOf(network, mayBeLarge);
    if (entry === undefined) continue;
    const isEarlier =
      first === undefined ||
      network.timeMs < first.network.timeMs ||
      (network.timeMs === first.network.timeMs && entry.number < first.entry.number);
    if (isEarlier) first = { name, network, entry };
  }
  if (first === undefined) return undefined;
  const { job } = first.entry;
  assert(queue.waiting.has(job), "a line holds only jobs that wait");
  first.network.running += 1; // before it leaves the line, so that its network stays active
  leaveQueue(queue, job);
  queue.running.set(job, { network: first.name, startTimeMs: first.network.timeMs });
  first.network.timeMs += job.costMs;
  if (isLarge(queue, job)) queue.largeRunning += 1;
  return job;
}

/** The network that pays for a job that has its place. */
export function payerOf(queue: FairQueue, job: FairJob): string | undefined {
  return queue.running.get(job)?.network;
}

/** Of jobs that have their places, the one with the lowest goes first: in ms of the queue's time. */
export function startTimeOf(queue: FairQueue, job: FairJob): number {
  return queue.running.get(job)?.startTimeMs ?? queue.timeMs;
}

/** A job gives its place back. @param tookMs what it cost in the end, which its network pays */
export function finish(queue: FairQueue, job: FairJob, tookMs: number, nowMs: number): void {
  const now = queue.running.get(job);
  if (now === undefined) return;
  advance(queue, nowMs);
  queue.running.delete(job);
  if (isLarge(queue, job)) queue.largeRunning -= 1;
  const network = queue.networks.get(now.network);
  if (network === undefined) return;
  network.timeMs += tookMs - job.costMs;
  network.running -= 1;
  settle(queue, now.network, network);
}

export function isLarge({ limits }: FairQueue, { costMs }: FairJob): boolean {
  return costMs > limits.largeCostMs;
}

/** Moves the queue's time on by what each active network could have had since. */
function advance(queue: FairQueue, nowMs: number): void {
  const passedMs = Math.max(0, nowMs - queue.readAtMs);
  queue.readAtMs = nowMs;
  queue.timeMs += (passedMs * queue.limits.workers) / Math.max(1, queue.active);
}

function waitingOf({ small, large }: Network): number {
  return small.size + large.size;
}

function isActive(network: Network): boolean {
  return network.running > 0 || waitingOf(network) > 0;
}

function lineOf(queue: FairQueue, network: Network, job: FairJob): Map<FairJob, Waiting> {
  return isLarge(queue, job) ? network.large : network.small;
}

function addTo(queue: FairQueue, name: string, entry: Waiting): void {
  let network = queue.networks.get(name);
  if (network === undefined) {
    forgetSettled(queue);
    network = { timeMs: queue.timeMs, small: new Map(), large: new Map(), waitingCostMs: 0, running: 0 };
    queue.networks.set(name, network);
  }
  const line = lineOf(queue, network, entry.job);
  if (line.has(entry.job)) return;
  if (!isActive(network)) {
    queue.active += 1;
    network.timeMs = Math.max(network.timeMs, queue.timeMs);
  }
  line.set(entry.job, entry);
  network.waitingCostMs += entry.job.costMs;
}

function removeFrom(queue: FairQueue, name: string, job: FairJob): void {
  const network = queue.networks.get(name);
  if (network === undefined || !lineOf(queue, network, job).delete(job)) return;
  network.waitingCostMs = waitingOf(network) === 0 ? 0 : network.waitingCostMs - job.costMs;
  settle(queue, name, network);
}

/** A network that has nothing here any more is remembered as long as it is ahead of the queue's time. */
function settle(queue: FairQueue, name: string, network: Network): void {
  if (isActive(network)) return;
  queue.active -= 1;
  if (network.timeMs <= queue.timeMs) queue.networks.delete(name);
}

/** Makes room for another network: those go whose time has come, and if need be those that came first. */
function forgetSettled(queue: FairQueue): void {
  if (queue.networks.size < networksMax) return;
  for (const isForced of [false, true]) {
    for (const [name, network] of queue.networks) {
      if (!isActive(network) && (isForced || network.timeMs <= queue.timeMs)) queue.networks.delete(name);
      if (isForced && queue.networks.size < networksMax / 2) return;
    }
    if (queue.networks.size < networksMax / 2) return;
  }
}

function oldestOf({ small, large }: Network, mayBeLarge: boolean): Waiting | undefined {
  const [firstSmall] = small.values();
  const [firstLarge] = mayBeLarge ? large.values() : [];
  if (firstSmall === undefined || firstLarge === undefined) return firstSmall ?? firstLarge;
  return firstSmall.number < firstLarge.number ? firstSmall : firstLarge;
}

/** Of the network with the most waiting, if it has more than `aboveMs`: the newest job that no other waits for. */
function newestOfLargest(queue: FairQueue, aboveMs: number): Waiting | undefined {
  let largest: Network | undefined;
  for (const network of queue.networks.values()) {
    if (network.waitingCostMs > (largest?.waitingCostMs ?? aboveMs)) largest = network;
  }
  let newest: Waiting | undefined;
  for (const line of largest === undefined ? [] : [largest.small, largest.large]) {
    for (const entry of line.values()) {
      if (entry.job.networks.size === 1 && entry.number > (newest?.number ?? 0)) newest = entry;
    }
  }
  return newest;
}
