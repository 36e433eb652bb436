/** The `nearcast` command as a user runs it: a process, its answer, its status; and `up` for as long as a test. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

export const launcher = fileURLToPath(new URL("../../../deploy/nearcast.mjs", import.meta.url));

export interface Ran {
  status: number;
  stdout: string;
  stderr: string;
  /** Standard output as JSON. */
  json: () => unknown;
}

/** Variables that would lead the command elsewhere are taken away. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("NEARCAST_")));

export async function nearcast(
  words: readonly string[],
  options: { cwd?: string; program?: string } = {},
): Promise<Ran> {
  const { cwd, program = launcher } = options;
  return await new Promise((resolve) => {
    const settings = { cwd, env: environment, timeout: 60_000, maxBuffer: 64 * 1024 * 1024 };
    execFile(process.execPath, [program, ...words], settings, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ status, stdout, stderr, json: () => JSON.parse(stdout) as unknown });
    });
  });
}

/** Processes that the tests of one file start at the same time: each takes a second of CPU to begin. */
const atOnceMax = 3;

/** Runs the work for each of these, a few at a time; the results are in their order. */
export async function eachOf<One, Result>(all: readonly One[], work: (one: One) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  const rest = all.entries();
  const take = async (): Promise<void> => {
    for (const [index, one] of rest) results[index] = await work(one);
  };
  await Promise.all(Array.from({ length: atOnceMax }, take));
  return results;
}

export async function temporaryFolder(t: TestContext, name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `nearcast-${name}-`));
  t.after(async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return folder;
}

export interface RunningUp {
  /** What `--address` was: the origin's address. */
  address: string;
  child: ChildProcess;
  /** All that it said so far, both streams. */
  said: () => string;
  saying: (text: string, deadlineMs?: number) => Promise<void>;
  /** Sends the signal and resolves with the status when all is over. */
  stop: (signal?: NodeJS.Signals) => Promise<number | null>;
}

/** An address for a test alone: 127.220.x.1 and up, where nothing else of the tests listens. */
export function ownAddress(): string {
  return `127.${220 + Math.floor(Math.random() * 30)}.${Math.floor(Math.random() * 200)}.1`;
}

/** Starts `nearcast up` and waits until it has said what to paste. */
export async function startUp(
  t: TestContext,
  data: string,
  options: { words?: readonly string[]; address?: string; program?: string } = {},
): Promise<RunningUp> {
  const { words = [], address = ownAddress(), program = launcher } = options;
  const child = spawn(process.execPath, [program, "up", "--data", data, "--address", address, ...words], {
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  const listeners = new Set<() => void>();
  const hear = (chunk: Buffer): void => {
    text += chunk.toString();
    for (const listener of listeners) listener();
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  child.once("close", () => {
    for (const listener of listeners) listener();
  });
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const stop: RunningUp["stop"] = async (signal = "SIGINT") => {
    const ended = hasEnded() ? undefined : once(child, "close");
    child.kill(signal);
    await ended;
    return child.exitCode;
  };
  // Even when it is killed its children end by themselves: their standard input ends.
  t.after(async () => {
    await stop("SIGKILL");
  });
  const saying: RunningUp["saying"] = async (wanted, deadlineMs = 180_000) => {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (text.includes(wanted)) finish(resolve);
        else if (hasEnded()) finish(() => reject(new Error(`it ended before it said "${wanted}":\n${text}`)));
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`it did not say "${wanted}":\n${text}`))),
        deadlineMs,
      );
      const finish = (end: () => void): void => {
        clearTimeout(timer);
        listeners.delete(look);
        end();
      };
      listeners.add(look);
      look();
    });
  };
  await saying("Stop: Ctrl-C");
  return { address, child, said: () => text, saying, stop };
}
