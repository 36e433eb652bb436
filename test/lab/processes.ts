/**
 * Processes in the lab's namespaces: commands that end by themselves, and programs that run until they are told to end.
 *
 * What a program prints goes to a file of its own, so that nothing it says can fill this process, and whoever keeps a
 * lab standing (--keep) reads it with `less`. Standard input of each is closed or a pipe; nobody waits at a terminal.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A command of the lab takes milliseconds; one that hangs must not hang the lab. */
const commandTimeoutMs = 20_000;
const outputBytesMax = 16 * 1024 * 1024;
const tailLines = 15;

/** Runs a command to its end and gives its output. @throws Error with what it said on standard error */
export function run(program: string, args: readonly string[], input = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const settings = { timeout: commandTimeoutMs, maxBuffer: outputBytesMax };
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${args.join(" ")}: ${stderr.trim() || error.message}`));
    });
    // One that ends before it has read everything says why by its exit status.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}

/** The command line that runs `command` inside a namespace; the process is the command itself, with its own pid. */
export function inNamespace(namespace: string | null, command: readonly string[]): [string, string[]] {
  const [program = "", ...args] = namespace === null ? command : ["ip", "netns", "exec", namespace, ...command];
  return [program, args];
}

export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** The last lines that it printed, for whoever wants to know why it failed. */
  readonly lastWords: () => string;
  readonly isRunning: () => boolean;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Resolves when it is gone. */
  readonly gone: Promise<void>;
  readonly kill: () => Promise<void>;
}

export interface ProgramPlan {
  readonly name: string;
  /** null: where the lab itself runs. */
  readonly namespace: string | null;
  readonly command: readonly string[];
  /**
   * Before everybody else, where the system lets us: routers, cables and observers, which out there have a machine of
   * their own each. On a busy machine the lab would otherwise measure who is waiting for whom.
   */
  readonly isFirst?: boolean;
  /** What its standard output becomes; `ipc` is a channel for messages beside it. */
  readonly output?: "log" | "pipe" | "ipc";
}

export interface Crew {
  readonly start: (plan: ProgramPlan) => Program;
  /** Ends everything that is still there, and resolves when it is gone. */
  readonly close: () => Promise<void>;
}

/** @param logDirectory where NAME.log is written; it is there */
export function createCrew(logDirectory: string): Crew {
  const running = new Set<Program>();
  return {
    start({ name, namespace, command, output = "log", isFirst = false }) {
      const logFile = join(logDirectory, `${name}.log`);
      const log = openSync(logFile, "a");
      // Without the right to it, nice says so in the log and goes on.
      const [program, args] = inNamespace(namespace, isFirst ? ["nice", "-n", "-10", ...command] : command);
      const child = spawn(program, args, {
        stdio: ["ignore", output === "pipe" ? "pipe" : log, log, ...(output === "ipc" ? (["ipc"] as const) : [])],
      });
      closeSync(log);
      const gone = new Promise<void>((resolve) => {
        child.once("exit", () => resolve());
        child.once("error", () => resolve());
      });
      const isRunning = (): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
      const signal = (name_: NodeJS.Signals): void => {
        if (isRunning()) child.kill(name_);
      };
      const started: Program = {
        name,
        pid: child.pid ?? 0,
        child,
        lastWords: () => readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-tailLines).join("\n"),
        isRunning,
        signal,
        gone,
        async kill() {
          signal("SIGKILL");
          await gone;
        },
      };
      running.add(started);
      void gone.then(() => running.delete(started));
      return started;
    },
    async close() {
      await Promise.all([...running].map((program) => program.kill()));
    },
  };
}
