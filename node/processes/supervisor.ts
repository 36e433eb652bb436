/**
 * The supervisor of several edge processes on one machine. It serves nothing itself.
 *
 *   starting ──ready──▶ serving ──ends, or silent for 10 s and killed──▶ resting (0.2 … 30 s) ──▶ starting
 *      └──ends before it is ready: a false start──────────────────────────▶ resting
 *
 *   drain()   all are ordered at once to drain, and none is restarted; hurry() orders them to hurry
 *   all gone  `ended` resolves; also when restarting is hopeless (restart-delay.ts)
 *
 * The sockets of a dead process close at once, and the kernel gives new clients to the others. A process whose event
 * loop hangs keeps its share of new clients waiting, so it is killed. Silence is counted in ticks of the supervisor's
 * own clock, so that a supervisor that was stopped itself (a debugger, a suspended machine) does not kill all others.
 *
 * When the supervisor itself dies, its channels close, and its processes end by themselves.
 */
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import type { Cancel, Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import type { Notifier } from "#base/systemd-notify.ts";
import { memberName } from "../peer/members.ts";
import { beatIntervalMs } from "./supervisor-channel.ts";
import { type FromProcess, type FromSupervisor, idle, type Numbers, sumOf } from "./supervisor-messages.ts";

import { afterRun, atReady, hopelessStatus, noRuns, restMs, type Runs } from "./restart-delay.ts";

export interface Supervisor {
  /** The exit status to end with: 0 after drain(). */
  ended: Promise<number>;
  /** The event loop of at least one process runs. */
  isAlive: () => boolean;
  drain: () => void;
  hurry: () => void;
}

export interface SupervisorDeps {
  node: string;
  count: number;
  /** Starts a process of this index with an IPC channel. */
  launch: (index: number) => ChildProcess;
  /** Notified when all are ready for the first time, and of every change after that. */
  notifier: Notifier;
  /** Called when all are ready for the first time. */
  ready: () => void;
  clock: Clock;
  log: Log;
}

/** A process that misses this many beats hangs. */
const missedBeatsMax = 10;
/** Before its first beat a process loads its files, which takes many seconds on a busy machine. */
const missedAtStartMax = 60;
const numbersIntervalMs = 500;

/** One run of a process. */
interface Run {
  readonly child: ChildProcess;
  readyAtMs: number | null;
  missedBeats: number;
  /** No beat was received yet. */
  isSilent: boolean;
  /** The system has not accepted a message to it yet. */
  isSending: boolean;
  numbers: Numbers;
}

interface Member {
  readonly index: number;
  readonly name: string;
  run: Run | undefined;
  runs: Runs;
  cancelRest: Cancel | undefined;
}

/** One record: the processes, and the supervisor's progress. */
interface Supervision {
  readonly deps: SupervisorDeps;
  readonly members: readonly Member[];
  readonly ended: PromiseWithResolvers<number>;
  /** Set once nothing is restarted: the exit status. */
  endStatus: number | undefined;
  isHurried: boolean;
  wasReady: boolean;
  stopTimers: () => void;
}

export function supervise(deps: SupervisorDeps): Supervisor {
  const members = Array.from({ length: deps.count }, (_, index): Member => {
    return { index, name: memberName(deps.node, index), run: undefined, runs: noRuns, cancelRest: undefined };
  });
  const supervision: Supervision = {
    deps,
    members,
    ended: Promise.withResolvers<number>(),
    endStatus: undefined,
    isHurried: false,
    wasReady: false,
    stopTimers: () => undefined,
  };
  const stopBeats = deps.clock.every(beatIntervalMs, () => {
    countBeats(supervision);
  });
  const stopNumbers = deps.clock.every(numbersIntervalMs, () => {
    sendNumbers(supervision);
  });
  // The clock's timers do not keep the process alive, and between two runs there may be nothing else that does.
  const stayAlive = setInterval(() => undefined, 3_600_000);
  supervision.stopTimers = () => {
    stopBeats();
    stopNumbers();
    clearInterval(stayAlive);
  };
  for (const member of members) start(supervision, member);
  return {
    ended: supervision.ended.promise,
    isAlive: () => runsOf(supervision).some(({ isSilent, missedBeats }) => !isSilent && missedBeats <= 2),
    drain() {
      stop(supervision, 0);
    },
    hurry() {
      hurry(supervision);
    },
  };
}

function runsOf({ members }: Supervision): Run[] {
  return members.flatMap(({ run }) => (run === undefined ? [] : [run]));
}

function start(supervision: Supervision, member: Member): void {
  const { deps } = supervision;
  const child = deps.launch(member.index);
  const run: Run = { child, readyAtMs: null, missedBeats: 0, isSilent: true, isSending: false, numbers: idle };
  member.run = run;
  child.on("message", (message: FromProcess) => {
    heard(supervision, member, run, message);
  });
  child.once("exit", (status, signal) => {
    atEnd(supervision, member, run, { status, signal });
  });
  child.on("error", (error) => {
    deps.log.error({ err: error, process: member.name }, "could not start a process or send it a message");
    if (child.pid === undefined) atEnd(supervision, member, run, { status: null, signal: null });
  });
}

function heard(supervision: Supervision, member: Member, run: Run, message: FromProcess): void {
  run.missedBeats = 0;
  run.isSilent = false;
  switch (message.kind) {
    case "beat":
      return;
    case "numbers":
      run.numbers = message.numbers;
      return;
    case "ready":
      run.readyAtMs = supervision.deps.clock.monotonicMs();
      member.runs = atReady(member.runs);
      atReadiness(supervision);
      return;
  }
}

function atReadiness(supervision: Supervision): void {
  const { count, notifier, ready } = supervision.deps;
  if (supervision.endStatus !== undefined) return;
  const readyCount = runsOf(supervision).filter(({ readyAtMs }) => readyAtMs !== null).length;
  const status = `${readyCount} of ${count} processes are ready`;
  if (supervision.wasReady || readyCount < count) {
    notifier.status(status);
    return;
  }
  supervision.wasReady = true;
  notifier.ready(status);
  ready();
}

function atEnd(
  supervision: Supervision,
  member: Member,
  run: Run,
  how: { status: number | null; signal: string | null },
): void {
  const { clock, log } = supervision.deps;
  if (member.run !== run) return;
  member.run = undefined;
  const facts = { process: member.name, pid: run.child.pid, ...how };
  if (supervision.endStatus !== undefined) {
    if (how.status !== 0) log.warn(facts, "a process did not stop cleanly");
    if (runsOf(supervision).length === 0) finish(supervision, supervision.endStatus);
    return;
  }
  const readyMs = run.readyAtMs === null ? null : clock.monotonicMs() - run.readyAtMs;
  member.runs = afterRun(member.runs, { readyMs, status: how.status });
  const hopeless = hopelessStatus(supervision.members.map(({ runs }) => runs));
  if (hopeless !== undefined) {
    log.error(facts, "no process can start; the supervisor ends");
    stop(supervision, hopeless);
    hurry(supervision);
    return;
  }
  const delayMs = restMs(member.runs);
  log.error({ ...facts, readyMs, restMs: delayMs }, "a process ended; it is started again");
  atReadiness(supervision);
  member.cancelRest = clock.after(delayMs, () => {
    member.cancelRest = undefined;
    start(supervision, member);
  });
}

function send(run: Run, message: FromSupervisor): void {
  if (!run.child.connected) return;
  run.isSending = true;
  run.child.send(message, (error) => {
    // After a broken channel, the process ends.
    run.isSending = error !== null;
  });
}

/** Kills processes that were silent for too long. */
function countBeats({ deps, members }: Supervision): void {
  for (const { run, name } of members) {
    if (run === undefined) continue;
    run.missedBeats += 1;
    const max = run.isSilent ? missedAtStartMax : missedBeatsMax;
    if (run.missedBeats <= max) continue;
    const facts = { process: name, pid: run.child.pid, silentMs: max * beatIntervalMs };
    deps.log.error(facts, "killed a process that hung; it is started again");
    run.child.kill("SIGKILL");
    run.missedBeats = 0; // the next check is whether it has ended
  }
}

/** Sends each process the sum of its siblings' numbers. */
function sendNumbers(supervision: Supervision): void {
  const all = runsOf(supervision);
  for (const run of all) {
    if (run.isSending || run.isSilent) continue; // it will get the next message
    send(run, { kind: "others", numbers: sumOf(all.filter((one) => one !== run).map(({ numbers }) => numbers)) });
  }
}

function stop(supervision: Supervision, status: number): void {
  if (supervision.endStatus !== undefined) return;
  supervision.endStatus = status;
  supervision.deps.notifier.stopping();
  for (const member of supervision.members) member.cancelRest?.();
  const all = runsOf(supervision);
  for (const run of all) send(run, { kind: "drain" });
  if (all.length === 0) finish(supervision, status);
}

function hurry(supervision: Supervision): void {
  if (supervision.isHurried) return;
  supervision.isHurried = true;
  for (const run of runsOf(supervision)) send(run, { kind: "hurry" });
}

function finish(supervision: Supervision, status: number): void {
  supervision.stopTimers();
  supervision.ended.resolve(status);
}

/** Why processes can't share a port on this system; undefined: they can. */
export async function whyNoSharing(): Promise<string | undefined> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: "127.0.0.1", port: 0, reusePort: true }, resolve);
    });
  } catch (error) {
    // Any other problem with that address is irrelevant here.
    if ((error as NodeJS.ErrnoException).code !== "ENOTSUP") return undefined;
    return "this system has no SO_REUSEPORT that spreads clients over processes; run one process";
  } finally {
    server.close();
  }
  return undefined;
}
