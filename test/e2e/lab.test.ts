/**
 * The lab as a program: three sites with real BIRD, curl at three places; and that nothing of it stays behind, however
 * it ends. Its drills are judged by their times, so they are not a test's matter: `.ci/run` holds them by themselves.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { needs } from "../support/needs.ts";
import { until } from "../support/world.ts";

const script = fileURLToPath(new URL("../lab/main.ts", import.meta.url));

interface Row {
  drill: string;
  title: string;
  group: string;
  isOk: boolean;
}

interface Report {
  isOk: boolean;
  rows: Row[];
}

function startLab(...flags: string[]): { lab: ChildProcess; output: () => string; progress: () => string } {
  const lab = spawn(process.execPath, [script, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  const texts = { output: "", progress: "" };
  lab.stdout.setEncoding("utf8").on("data", (chunk: string) => (texts.output += chunk));
  lab.stderr.setEncoding("utf8").on("data", (chunk: string) => (texts.progress += chunk));
  return { lab, output: () => texts.output, progress: () => texts.progress };
}

/** What a lab that can't be held says of itself; the test is skipped by that, or fails in CI. */
function isHeld(t: TestContext, output: string): boolean {
  const said = (output === "" ? {} : JSON.parse(output)) as { skipped?: string };
  return needs(t, said.skipped === undefined, said.skipped ?? "");
}

/** The names that `ip netns` has made outside, but for those of a test that may run at the same time. */
function namespaces(): string[] {
  const names = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  return names.filter((name) => !name.startsWith("nearcast-guard-"));
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

test("a drill is held in namespaces of its own, and nothing of it stays", { timeout: 300_000 }, async (t) => {
  const before = namespaces();
  const { lab, output, progress } = startLab("--only", "picture", "--json");
  const [status] = (await once(lab, "close")) as [number];
  if (!isHeld(t, output())) return;
  assert.notEqual(output(), "", progress());
  const { isOk, rows } = JSON.parse(output()) as Report;
  assert.deepEqual(
    rows.filter((row) => !row.isOk),
    [],
    progress(),
  );
  assert.deepEqual(
    rows.map(({ drill, group }) => `${drill}: ${group}`),
    ["picture: BGP", "picture: DNS only"],
  );
  assert.deepEqual({ isOk, status }, { isOk: true, status: 0 });
  assert.deepEqual(namespaces(), before);
});

test("of a lab that was killed nothing stays", { timeout: 120_000 }, async (t) => {
  const before = namespaces();
  const { lab, output, progress } = startLab("--only", "nearest-site", "--json");
  const ended = once(lab, "close");
  await Promise.race([
    ended,
    until("the lab has routers", () => Promise.resolve(progress().includes("the origin has"))),
  ]);
  if (lab.exitCode !== null && !isHeld(t, output())) return;
  const inside = descendantsOf(lab.pid ?? 0);
  assert.ok(inside.length > 10, progress());
  lab.kill("SIGKILL");
  await until("all of its processes are gone", () =>
    Promise.resolve(!inside.some((pid) => existsSync(`/proc/${pid}`))),
  );
  assert.deepEqual(namespaces(), before);
});

test("a drill that is not there is refused by name, before anything is started", async () => {
  const { lab, progress } = startLab("--only", "earthquake");
  assert.deepEqual(await once(lab, "close"), [2, null]);
  assert.match(progress(), /there is no drill "earthquake"; there are: nearest-site, /);
});
