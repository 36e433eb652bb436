/**
 * The processes that `nearcast up` runs, and their states.
 *
 *   start ──ready: keep()──▶ running ──ends by itself──▶ resting (10 s) ──address free──▶ running
 *     └──ends before──▶ ended     │                        └──address taken──▶ left alone: started by hand
 *                                 └──stop(): SIGTERM, then SIGKILL at the deadline──▶ ended
 *
 * Each child leads its own process group, so that a terminal's Ctrl-C reaches only `up`, which then stops the children
 * in order. A child's standard input is a pipe that nobody writes to: when `up` is killed, even by kill -9, the pipe
 * closes, and the child stops.
 */
import { command } from "#base/command-name.ts";
import type { Cancel, Clock } from "#base/clock.ts";
import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, open, readFile, rename, stat, truncate } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { findTaken, type Listen } from "./free-addresses.ts";

/** Long enough for a person to start the process by hand instead, or to see that the fleet works without it. */
const restartDelayMs = 10_000;
/** A log that reaches this size is moved aside, so that each process has at most twice this much on disk. */
const logBytesMax = 16 * 1024 * 1024;
const logCheckMs = 60_000;

export interface ChildPlan {
  /** For people: `origin`, `edge fra1`. */
  name: string;
  /** The verb that runs it in the foreground. */
  verb: "origin" | "edge";
  script: URL;
  configFile: string;
  logFile: string;
  listens: readonly Listen[];
}

export interface Child {
  readonly plan: ChildPlan;
  readonly pid: () => number | undefined;
  /** How the process ended, if it has; cleared by a restart. */
  readonly ended: () => string | undefined;
  /** The process has started successfully: from now on it is restarted when it ends. */
  readonly keep: () => void;
  /** Resolves when the process is gone; kills it if it is still there after `deadlineMs`. */
  readonly stop: (deadlineMs: number) => Promise<void>;
  readonly kill: () => void;
}

export interface ChildrenDeps {
  clock: Clock;
  /** One line for the person at the terminal. */
  say: (line: string) => void;
}

export async function startChild(plan: ChildPlan, deps: ChildrenDeps): Promise<Child> {
  const { clock, say } = deps;
  let running: ChildProcess | undefined;
  let ended: string | undefined;
  let isStopping = false;
  let isKept = false;
  let cancelRestart: Cancel | undefined;
  let gone = Promise.resolve();

  async function launch(): Promise<void> {
    const log = await open(plan.logFile, "a");
    const words = [fileURLToPath(plan.script), "--config", plan.configFile, "--with-parent"];
    const child = spawn(process.execPath, words, { stdio: ["pipe", log.fd, log.fd], detached: true });
    await log.close();
    running = child;
    ended = undefined;
    // A child that ends closes its end of the pipe; nobody writes there, so the error is irrelevant.
    child.stdin?.on("error", () => {});
    gone = new Promise((resolve) => {
      const end = (how: string): void => {
        if (running !== child) return;
        running = undefined;
        ended = how;
        resolve();
        if (isKept && !isStopping) rest(how);
      };
      child.once("error", (error) => {
        end(`could not be started: ${error.message}`);
      });
      child.once("exit", (code, signal) => {
        end(signal === null ? `exited with status ${code ?? "?"}` : `was killed by ${signal}`);
      });
    });
  }

  function rest(how: string): void {
    say(`${plan.name} ${how} (log: ${plan.logFile}). It restarts in ${restartDelayMs / 1000} s; to start it yourself:`);
    say(`  ${command} ${plan.verb} --config ${plan.configFile}`);
    cancelRestart = clock.after(restartDelayMs, () => {
      restart().catch((error: unknown) => {
        say(`${plan.name} could not be restarted: ${error instanceof Error ? error.message : String(error)}`);
      });
    });
  }

  async function restart(): Promise<void> {
    const taken = await findTaken(plan.listens);
    if (isStopping) return;
    if (taken.length > 0) {
      say(`${plan.name}: its address is in use, so someone started it by hand; \`up\` no longer manages it.`);
      return;
    }
    await launch();
    say(`${plan.name} was restarted (process ${running?.pid ?? "?"}).`);
  }

  await rotate(plan.logFile);
  await launch();
  const cancelLogCheck = clock.every(logCheckMs, () => {
    cutLog(plan.logFile).catch((error: unknown) => {
      say(`${plan.logFile} can't be rotated: ${error instanceof Error ? error.message : String(error)}`);
    });
  });
  return {
    plan,
    pid: () => running?.pid,
    ended: () => ended,
    keep: () => {
      isKept = true;
    },
    kill: () => {
      isStopping = true;
      running?.kill("SIGKILL");
    },
    async stop(deadlineMs) {
      isStopping = true;
      cancelRestart?.();
      cancelLogCheck();
      const child = running;
      if (child === undefined) return;
      child.kill("SIGTERM");
      const cancel = clock.after(deadlineMs, () => child.kill("SIGKILL"));
      await gone;
      cancel();
    },
  };
}

/** One previous log is kept, next to the new one. */
async function rotate(logFile: string): Promise<void> {
  await rename(logFile, `${logFile}.1`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

/** The process keeps its file handle, which appends: after the truncation it continues at the new end. */
async function cutLog(logFile: string): Promise<void> {
  const { size } = await stat(logFile);
  if (size <= logBytesMax) return;
  await copyFile(logFile, `${logFile}.1`);
  await truncate(logFile, 0);
}

/** The last lines of a log, for an error message. */
export async function lastLines(logFile: string, count: number): Promise<string[]> {
  const text = await readFile(logFile, "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-count);
}
