/**
 * The environment of a measurement: a temporary folder, addresses on loopback, cores, and every process that it starts.
 * All of it is removed at the end, processes by pid, however the measurement ends.
 *
 *   core A: the server under test, with all its processes        core B: the driver
 *
 * With one core, or without taskset, nothing is pinned, and the report says so.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { systemRandom } from "#base/random.ts";
import { cpuTimeMs, processTree, survivors } from "./cpu-time.ts";

export interface Program {
  name: string;
  pid: number;
  /** The tail of its output, standard output and standard error. */
  log: () => string;
  cpuMs: () => number;
  /** Asks the program to end; if it does not, kills it with all its descendants. */
  stop: () => Promise<void>;
}

export type Pin = "server" | "driver" | "none";

export interface Command {
  name: string;
  command: string;
  args: readonly string[];
  pin: Pin;
  env?: Readonly<Record<string, string>>;
}

export interface Lab {
  directory: string;
  rounds: number;
  /** Duration of one run of a driver, in whole seconds. */
  seconds: number;
  isPinned: boolean;
  /** An address of 127.0.0.0/8 that nothing else of this lab uses. */
  address: () => string;
  /** Starts a server and waits until it is ready. */
  start: (command: Command, isReady: () => Promise<boolean>) => Promise<Program>;
  /** Runs a program to its end and returns its standard output; if it fails, the error contains its output. */
  run: (command: Command, timeoutMs: number) => Promise<string>;
  /** Registers a cleanup for the end; the last one registered runs first. */
  defer: (close: () => Promise<void> | void) => void;
  say: (text: string) => void;
  close: () => Promise<void>;
}

/** A server that shares a core may take this long to read a city database. */
const startMs = 60_000;
const stopMs = 4000;
const logLengthMax = 20_000;

export async function openLab(options: { rounds: number; seconds: number; say: (text: string) => void }): Promise<Lab> {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-bench-"));
  const closers: (() => Promise<void> | void)[] = [];
  const running = new Set<Program>();
  const taskset = findProgram("taskset") ?? "";
  const [serverCore, driverCore] = allowedCores();
  const isPinned = taskset !== "" && serverCore !== undefined && driverCore !== undefined;
  const net = `127.${20 + Math.floor(systemRandom() * 200)}.${Math.floor(systemRandom() * 256)}`;
  let lastHost = 0;
  let closing: Promise<void> | undefined;

  function launch({ name, command, args, pin, env }: Command): { child: ChildProcess; program: Program } {
    assert.ok(closing === undefined, "the lab is closing");
    const core = pin === "server" ? serverCore : driverCore;
    const isBound = isPinned && pin !== "none";
    const [file, ...rest] = isBound ? [taskset, "-c", String(core), command, ...args] : [command, ...args];
    const child = spawn(file, rest, {
      // Standard input stays open as long as this process lives: our own servers stop when it closes.
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let text = "";
    const append = (more: unknown): void => {
      text = (text + String(more)).slice(-logLengthMax);
    };
    child.on("error", append);
    child.stdout.on("data", append);
    child.stderr.on("data", append);
    const pid = child.pid ?? 0;
    const program = { name, pid, log: () => text, cpuMs: () => cpuTimeMs(pid), stop: () => stop(child, pid) };
    if (pid !== 0) running.add(program);
    child.once("exit", () => running.delete(program));
    return { child, program };
  }

  const lab: Lab = {
    directory,
    rounds: options.rounds,
    seconds: options.seconds,
    isPinned,
    say: options.say,
    address() {
      lastHost += 1;
      assert.ok(lastHost < 255, "a lab has 254 addresses");
      return `${net}.${lastHost}`;
    },
    async start(command, isReady) {
      const { child, program } = launch(command);
      const deadlineMs = performance.now() + startMs;
      for (;;) {
        if (await isReady().catch(() => false)) return program;
        const isGone = program.pid === 0 || child.exitCode !== null || child.signalCode !== null;
        if (isGone || performance.now() > deadlineMs) {
          await program.stop();
          throw new Error(`${command.name} ${isGone ? "ended" : "was not ready in time"}: ${lastLines(program.log())}`);
        }
        await pause(50);
      }
    },
    async run(command, timeoutMs) {
      const { child, program } = launch(command);
      const chunks: string[] = [];
      child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
      const closed = once(child, "close");
      const timer = setTimeout(() => void program.stop(), timeoutMs);
      await closed.finally(() => {
        clearTimeout(timer);
      });
      if (child.exitCode !== 0) throw new Error(`${command.name} failed: ${lastLines(program.log())}`);
      return chunks.join("");
    },
    defer(close) {
      closers.push(close);
    },
    close: () => (closing ??= closeAll()),
  };

  async function closeAll(): Promise<void> {
    await Promise.all([...running].map((program) => program.stop()));
    for (const close of closers.toReversed()) await close();
    await rm(directory, { recursive: true, force: true });
  }
  return lab;
}

async function stop(child: ChildProcess, pid: number): Promise<void> {
  if (pid === 0 || child.exitCode !== null || child.signalCode !== null) return;
  const tree = processTree(pid);
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await Promise.race([exited, pause(stopMs, undefined, { ref: false })]);
  // A server that ended normally has waited for its workers.
  for (const { pid: left } of survivors(tree)) {
    try {
      process.kill(left, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it has already ended
    }
  }
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-12).join("\n  ");
}

/** The cores that this process may use, at most two. */
function allowedCores(): number[] {
  const [, list = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  const cores = list.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_none, index) => first + index);
  });
  return cores.slice(0, 2);
}

/** The path of a program; servers are often in folders that are not in every user's PATH. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** @throws an error that names the Debian package if a driver is missing: without it nothing can be measured */
export function needDriver(name: string, debianPackage: string): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new Error(`${name} is not on this machine, and it drives this measurement: apt-get install ${debianPackage}`);
}
