/**
 * The README, followed: every block of commands, in its order, in a fresh clone, on a network of its own that has
 * nothing but loopback. None may fail, and none may leave a file that git does not know.
 *
 * A block whose fence says `foreground` ends with a program that stays, as in a terminal of its own; it is stopped by
 * Ctrl-C when the next such block begins.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { findSpace } from "../lab/space.ts";
import { type Block, blocksIn } from "../support/documents.ts";
import { freshClone } from "../support/fresh-clone.ts";
import { needs, needsProgram } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const blockMs = 240_000;
const stopMs = 60_000;
const guides = ["README.md", "bench/README.md", "bench/peers.md"];
/** What `nearcast up` says when everything runs. */
const stays = "Stop: Ctrl-C";

test("every command of the README works in a fresh clone, and leaves no file behind", async (t) => {
  const space = findSpace();
  if (!needs(t, space.ok, space.ok ? "" : space.reason)) return;
  for (const program of ["git", "npm", "dig", "curl"]) if (!needsProgram(t, program)) return;
  const clone = join(await temporaryDirectory(t), "nearcast");
  await freshClone(clone);
  const terminals = await openTerminals(t, space.ok ? space.unshare : [], clone);
  const blocks = blocksIn(await readFile(join(clone, "README.md"), "utf8")).filter(isToRun);
  assert.ok(blocks.length >= 3, "the README has blocks of commands");
  const outputs: string[] = [];
  for (const block of blocks) outputs.push(await terminals.type(block));
  await terminals.interrupt();
  // What a comment promises.
  assert.match(outputs.join("\n"), /^127\.0\.3\.1$/m);
  const { stdout: left } = await run("git", ["-C", clone, "status", "--porcelain"]);
  assert.equal(left, "", "files that git does not know: write them into data/, or into .gitignore");
});

test("in the README and the guides every block of commands is run here, or says why it is not", async () => {
  for (const file of guides) {
    const blocks = blocksIn(await readFile(new URL(`../../${file}`, import.meta.url), "utf8"));
    const others = blocks.filter((block) => {
      if (block.language === "text" || block.notRun !== undefined) return false;
      return block.language !== "sh" || file !== "README.md";
    });
    assert.deepEqual(
      others.map(({ line }) => `${file}:${line}`),
      [],
      "fences are ```sh for commands and ```text for all else; <!-- not run: WHY --> before what is not run",
    );
  }
});

const isToRun = (block: Block): boolean => block.language === "sh" && block.notRun === undefined;

interface Terminals {
  /** Types a block: to its end, or (`foreground`) until what stays has started. @returns what was printed */
  type: (block: Block) => Promise<string>;
  /** Ctrl-C to what stays, if anything does. */
  interrupt: () => Promise<void>;
}

async function openTerminals(t: TestContext, unshare: readonly string[], cwd: string): Promise<Terminals> {
  // Process 1 of the namespaces; with it everything in them ends.
  const first = spawn("unshare", [...unshare, "sh", "-c", "ip link set lo up; echo ready; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(async () => await end(first, "SIGKILL", first.pid ?? 0));
  await once(first.stdout, "data");
  const pid = await onlyChildOf(first.pid ?? 0);
  const env = { ...process.env, npm_config_offline: "true", npm_config_cache: await npmCache() };
  const enter = ["--target", String(pid), "--net", "--pid", "--mount"];
  const user = unshare.includes("--user") ? ["--user", "--preserve-credentials"] : [];
  let staying: ChildProcess | undefined;

  const interrupt = async (): Promise<void> => {
    // As a terminal does it: to the whole group of processes.
    if (staying !== undefined) await end(staying, "SIGINT", -(staying.pid ?? 0));
    staying = undefined;
  };
  return {
    interrupt,
    async type({ text, words, line }) {
      const isForeground = words.includes("foreground");
      if (isForeground) await interrupt();
      const shell = spawn("nsenter", [...enter, ...user, "--", "bash", "-euc", `cd '${cwd}'; exec 2>&1; ${text}`], {
        env,
        detached: true,
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      let timer: NodeJS.Timeout | undefined;
      const ended = once(shell, "close");
      const staysNow = new Promise<void>((resolve, reject) => {
        shell.stdout.on("data", (chunk: Buffer) => {
          output += chunk.toString();
          if (isForeground && output.includes(stays)) resolve();
        });
        timer = setTimeout(() => reject(new Error(`line ${line}: not over within ${blockMs} ms:\n${output}`)), blockMs);
      });
      await Promise.race([ended, staysNow]);
      clearTimeout(timer);
      if (isForeground) {
        assert.equal(shell.exitCode, null, `line ${line} ended:\n${output}`);
        staying = shell;
      } else {
        assert.equal(shell.exitCode, 0, `line ${line}:\n${text}\n${output}`);
      }
      return output;
    },
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals, target: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  process.kill(target, signal);
  const timer = setTimeout(() => process.kill(target, "SIGKILL"), stopMs);
  await ended;
  clearTimeout(timer);
}

async function onlyChildOf(pid: number): Promise<number> {
  return Number((await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim());
}

/** npm's cache, which the namespaces' npm takes every package from. */
async function npmCache(): Promise<string> {
  const { stdout } = await run("npm", ["config", "get", "cache"]);
  return stdout.trim() || join(homedir(), ".npm");
}
