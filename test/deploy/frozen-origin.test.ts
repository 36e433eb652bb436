/** An origin that stands still (stopped by a signal, or its disk hangs): it accepts connections and says nothing. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { nearcast, startUp, temporaryFolder } from "./support/command.ts";

/** The process that `up` started to run the origin. */
async function originProcess(up: number): Promise<number> {
  const children = (await readFile(`/proc/${up}/task/${up}/children`, "utf8")).trim().split(" ").map(Number);
  for (const pid of children) {
    if ((await readFile(`/proc/${pid}/cmdline`, "utf8")).includes("origin.yaml")) return pid;
  }
  assert.fail(`none of ${children.join(", ")} is the origin`);
}

async function edgeLog(data: string): Promise<string> {
  const files = (await readdir(data)).filter((file) => /^edge-.*\.log$/.test(file));
  return (await Promise.all(files.map(async (file) => await readFile(join(data, file), "utf8")))).join("");
}

test("status tells soon that the origin stands still, and how the nodes here are; the edge says it, too", async (t) => {
  const data = join(await temporaryFolder(t, "frozen"), "data");
  const up = await startUp(t, data);
  const origin = await originProcess(up.child.pid ?? 0);
  process.kill(origin, "SIGSTOP");
  t.after(() => {
    process.kill(origin, "SIGCONT");
  });
  const startedMs = performance.now();
  const { status, stdout, stderr } = await nearcast(["status", "--data", data]);
  const tookMs = performance.now() - startedMs;
  assert.equal(status, 3);
  assert.match(stdout, /^origin {2}\S+ {2}the origin at \S+ accepts connections but did not answer within 4 s\n/);
  assert.match(stdout, /\nlocal1 +local +ready /);
  assert.doesNotMatch(stdout + stderr, /Timeout Error|Is it running/);
  // Four seconds of waiting and the start of the command; without a bound it took 34 s on an idle machine.
  assert.ok(tookMs < 30_000, `${tookMs} ms`);

  const elsewhere = ["--origin", `http://${up.address}:7070`, "--data", join(data, "none")];
  const token = ["--token-file", join(data, "origin", "secrets", "writer.token")];
  const away = await nearcast(["status", ...elsewhere, ...token]);
  assert.equal(away.status, 3);
  assert.match(away.stderr, /^No node could be asked: the origin at \S+ accepts connections but did not answer/);
  assert.match(away.stderr, /\n {2}It is busy or stuck\.\n/);

  // The connection that fell silent, then those that the frozen origin's kernel still accepts.
  await pause(12_000);
  const log = await edgeLog(data);
  assert.match(log, /"reason":"nothing heard for 7 s"/);
  assert.doesNotMatch(log, /Timeout Error/);
});
