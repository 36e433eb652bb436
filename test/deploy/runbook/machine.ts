/**
 * Debian machines in namespaces: each has its own root, users, network and systemd, and vanishes whole.
 *
 *   the test ─▶ setpriv ─▶ unshare ─▶ boot-machine.sh ─▶ systemd, process 1 of the machine ─▶ sshd, nearcast, BIRD …
 *
 * The root is an overlay: what the machine writes goes to a folder of the test. When process 1 ends, the kernel ends
 * all others of the machine and takes namespaces and mounts away; it ends with the test, however that ends.
 */
import { sleep } from "#base/clock.ts";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { machineClock } from "../../lab/machine-clock.ts";

const bootScript = fileURLToPath(new URL("boot-machine.sh", import.meta.url));
/** A boot takes a second and a half on an idle machine. */
const bootTimeoutMs = 60_000;
/** The longest block installs a release and waits for a drain; ten times as long where others use the machine, too. */
const blockTimeoutMs = 600_000;
const cleanUpMs = 10_000;
const outputBytesMax = 16 * 1024 * 1024;

export interface Ran {
  status: number;
  /** Standard output and standard error, as a terminal shows them. */
  output: string;
}

export interface Machine {
  readonly name: string;
  /** Process 1, as the test's machine counts. */
  readonly pid: number;
  /** Runs a script of bash as root, as one session: variables and the folder stay from one to the next. */
  readonly run: (script: string, timeoutMs?: number) => Promise<Ran>;
  /** Where a file of the machine is on the test's own machine. */
  readonly path: (path: string) => string;
  /** Writes a file, whose folder is made. */
  readonly write: (path: string, text: string, mode?: number) => Promise<void>;
  /** As if the power went: nothing is shut down in order. */
  readonly kill: () => Promise<void>;
}

export interface MachinePlan {
  name: string;
  /** Lays the machine's cable: called once it has a network namespace, before systemd starts. */
  plugIn: (pid: number) => Promise<void>;
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What is written in front of each script: the session goes on where the last script left it. */
const session = `
[ ! -e /run/session ] || . /run/session
trap 'status=$?; { export -p; printf "cd %q\\n" "$PWD"; } >/run/session; exit $status' EXIT
set -euo pipefail
`;

export async function bootMachine({ name, plugIn }: MachinePlan): Promise<Machine> {
  const folder = await mkdtemp(join(tmpdir(), `nearcast-machine-`));
  const unshare = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child"];
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...unshare, "sh", bootScript, folder, name], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let pid = 0;
  const kill = async (): Promise<void> => {
    await end(child, pid);
    await removeControlGroup(basename(folder));
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  };
  try {
    await hasNamespaces(child);
    pid = await firstChildOf(child.pid ?? 0);
    await plugIn(pid);
    child.stdin.end("go\n");
    const machine: Machine = {
      name,
      pid,
      run: async (script, timeoutMs = blockTimeoutMs) => await enter(pid, session + script, timeoutMs),
      path: (path) => `/proc/${pid}/root${path}`,
      async write(at, text, mode = 0o644) {
        await mkdir(dirname(machine.path(at)), { recursive: true });
        await writeFile(machine.path(at), text, { mode });
      },
      kill,
    };
    await hasBooted(machine);
    return machine;
  } catch (error) {
    await kill();
    throw error;
  }
}

/** The kernel takes namespaces and mounts away, but not the control groups that systemd made. */
async function removeControlGroup(name: string): Promise<void> {
  const script = 'mount -t cgroup2 cgroup2 /mnt; find "/mnt/$0" -depth -type d -exec rmdir {} +';
  await promisify(execFile)("unshare", ["--mount", "sh", "-ec", script, name], { timeout: cleanUpMs });
}

/** Process 1 is over when all others of its machine are, and `unshare` when process 1 is. */
async function end(child: ChildProcess, firstPid: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  if (firstPid === 0) child.kill("SIGKILL");
  else process.kill(firstPid, "SIGKILL");
  await ended;
}

async function hasNamespaces(child: ChildProcess): Promise<void> {
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("error", reject);
    child.once("close", () => reject(new Error(`a machine did not start: ${said.trim()}`)));
  });
}

async function firstChildOf(pid: number): Promise<number> {
  return Number((await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim().split(" ")[0]);
}

/** @throws Error past the deadline, or where a unit of the system itself failed */
async function hasBooted(machine: Machine): Promise<void> {
  const deadlineMs = machineClock.monotonicMs() + bootTimeoutMs;
  // Until the machine has its own root, a script would run in that of the test's machine. No session yet, either: it
  // would begin in a folder that is about to go.
  const script = `[ "$(cat /etc/hostname)" = ${machine.name} ] || { echo offline; exit 1; }
    systemctl is-system-running --wait`;
  for (;;) {
    const { status, output } = await enter(machine.pid, script, bootTimeoutMs);
    if (status === 0) return;
    // Before systemd listens, systemctl can only say so.
    const isStarting = /Failed to connect|^offline$/m.test(output);
    if (!isStarting || machineClock.monotonicMs() > deadlineMs) {
      const { output: failed } = await machine.run("systemctl --failed --no-pager");
      throw new Error(`${machine.name} did not boot: ${output}${failed}`);
    }
    await sleep(machineClock, 50);
  }
}

/** Runs a script inside a machine; what is still running after the time ends with the machine. */
async function enter(pid: number, script: string, timeoutMs: number): Promise<Ran> {
  const namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"];
  const environment = ["env", "-i", "HOME=/home/operator", "TERM=dumb", "LANG=C.UTF-8", `PATH=${searchPath}`];
  const shell = ["bash", "-c", `exec 2>&1; cd; ${script}`];
  const words = ["--target", String(pid), ...namespaces, "--", ...environment, ...shell];
  return await new Promise((resolve) => {
    const options = { timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: outputBytesMax } as const;
    const child = execFile("nsenter", words, options, (error, output, said) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      const late = error?.killed === true ? `\nit took longer than ${timeoutMs} ms` : "";
      resolve({ status, output: output + said + late });
    });
    child.stdin?.end();
  });
}
