/**
 * Real processes of a supervisor in this one; its rests are twenty times as short, and beats come five times as often.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { systemClock } from "#base/clock.ts";
import type { Notifier } from "#base/systemd-notify.ts";
import type { Numbers } from "../../../node/processes/supervisor-messages.ts";
import { supervise, whyNoSharing } from "../../../node/processes/supervisor.ts";
import { keptLog } from "../../support/kept-log.ts";

const memberFile = fileURLToPath(new URL("member.ts", import.meta.url));
const restSpeed = 20;
/** As in member.ts. Silence of two seconds is an end then, which a busy machine does not make by itself. */
const beatSpeed = 5;

interface Told {
  index: number;
  what: string;
  total?: Numbers;
}

/** @param wordsOf what process `index` is told to do in its run `run`, from 0 */
function running(t: TestContext, count: number, wordsOf: (index: number, run: number) => string[] = () => []) {
  const { log, lines } = keptLog();
  const rests: number[] = [];
  const clock = {
    ...systemClock,
    every: (intervalMs: number, action: () => void) => systemClock.every(intervalMs / beatSpeed, action),
    after(delayMs: number, action: () => void) {
      rests.push(delayMs);
      return systemClock.after(delayMs / restSpeed, action);
    },
  };
  const launched: ChildProcess[][] = Array.from({ length: count }, () => []);
  const told: Told[] = [];
  const notices: string[] = [];
  const notifier: Notifier = {
    ready: (status) => notices.push(`ready: ${status}`),
    status: (status) => notices.push(status),
    stopping: () => notices.push("stopping"),
    close: () => undefined,
  };
  let readies = 0;
  const supervisor = supervise({
    node: "fra1",
    count,
    launch(index) {
      const words = wordsOf(index, launched[index]?.length ?? 0);
      const child = spawn(process.execPath, [memberFile, String(index), String(count), ...words], {
        stdio: ["ignore", "pipe", "inherit", "ipc"],
      });
      launched[index]?.push(child);
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        for (const line of text.trimEnd().split("\n")) told.push(JSON.parse(line) as Told);
      });
      return child;
    },
    notifier,
    ready: () => (readies += 1),
    clock,
    log,
  });
  t.after(async () => {
    supervisor.drain();
    supervisor.hurry();
    await supervisor.ended;
  });
  const current = (index: number): ChildProcess => launched[index]?.at(-1) as ChildProcess;
  const logged = (message: string) => lines.filter((line) => line.message === message);
  return { supervisor, launched, current, told, notices, rests, logged, readies: () => readies };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!isSo()) {
    assert.ok(performance.now() < deadlineMs, `not so: ${what}`);
    await pause(20);
  }
}

const endedText = "a process ended; it is started again";

test("ports can be shared here", async () => {
  assert.equal(await whyNoSharing(), undefined);
});

test("ready is said once, when all are; a killed process comes back, and the others never notice", async (t) => {
  const { supervisor, launched, current, notices, logged, readies, rests } = running(t, 3);
  await until("all are ready", () => readies() === 1);
  assert.equal(notices.at(-1), "ready: 3 of 3 processes are ready");
  assert.equal(supervisor.isAlive(), true);

  current(1).kill("SIGKILL");
  await until("it is known", () => notices.at(-1) === "2 of 3 processes are ready");
  await until("it is ready again", () => notices.at(-1) === "3 of 3 processes are ready");
  assert.deepEqual(
    launched.map((runs) => runs.length),
    [1, 2, 1],
  );
  assert.deepEqual(rests, [200]);
  const [facts] = logged(endedText).map((line) => line.facts);
  assert.deepEqual([facts?.["process"], facts?.["signal"], facts?.["restMs"]], ["fra1.1", "SIGKILL", 200]);

  current(1).kill("SIGKILL");
  await until("it is back", () => launched[1]?.length === 3);
  assert.deepEqual(rests, [200, 400]);
  assert.equal(readies(), 1);
});

test("one whose event loop stands still is killed and started again", async (t) => {
  const { launched, notices, logged } = running(t, 2, (index, run) => (index === 1 && run === 0 ? ["hang"] : []));
  await until("it is started anew", () => launched[1]?.length === 2);
  const [killed, ...more] = logged("killed a process that hung; it is started again");
  assert.equal(killed?.facts["process"], "fra1.1");
  assert.deepEqual(more, []);
  assert.equal(logged(endedText)[0]?.facts["signal"], "SIGKILL");
  await until("both are ready", () => notices.at(-1) === "2 of 2 processes are ready");
  assert.equal(launched[0]?.length, 1);
});

test("each knows the numbers of all, without those of one that has died", async (t) => {
  const { current, told, readies } = running(t, 3, (index, run) => (index === 2 && run > 0 ? ["status=1"] : []));
  const totals = (index: number): Numbers | undefined =>
    told.findLast((one) => one.index === index && one.what === "total")?.total;
  await until("all are ready", () => readies() === 1);
  await until("all know all", () => [0, 1, 2].every((index) => totals(index)?.requestsPerSecond === 111));
  const all = { requestsPerSecond: 111, bytesPerSecond: 3000, rendersWaiting: 3, loopDelayMs: 5, answersDns: true };
  assert.deepEqual(totals(0), all);
  current(2).kill("SIGKILL");
  await until("its numbers are gone", () => [0, 1].every((index) => totals(index)?.requestsPerSecond === 11));
});

test("drain is said to all and once; nobody is started again, and the end is status 0", async (t) => {
  const { supervisor, launched, told, notices, readies, logged } = running(t, 3);
  await until("all are ready", () => readies() === 1);
  supervisor.drain();
  supervisor.drain();
  assert.equal(await supervisor.ended, 0);
  assert.equal(notices.at(-1), "stopping");
  await until("all have told", () => told.filter(({ what }) => what === "drain").length === 3);
  assert.deepEqual(
    launched.map((runs) => runs.length),
    [1, 1, 1],
  );
  assert.deepEqual(logged(endedText), []);
});

test("a second word hurries those that are still there", async (t) => {
  const { supervisor, told, readies } = running(t, 2, () => ["deaf"]);
  await until("all are ready", () => readies() === 1);
  supervisor.drain();
  await until("all were told", () => told.filter(({ what }) => what === "drain").length === 2);
  supervisor.hurry();
  supervisor.hurry();
  assert.equal(await supervisor.ended, 0);
  await until("all have told", () => told.filter(({ what }) => what === "hurry").length === 2);
});

test("stopping while all rest ends at once", async (t) => {
  const { supervisor, launched, readies, rests } = running(t, 1);
  await until("it is ready", () => readies() === 1);
  const [child] = launched[0] ?? [];
  child?.kill("SIGKILL");
  await until("it rests", () => rests.length === 1);
  supervisor.drain();
  assert.equal(await supervisor.ended, 0);
});

test("when all say that the configuration has to be mended, so does the supervisor, at once", async (t) => {
  const { supervisor, launched } = running(t, 3, () => ["status=2"]);
  assert.equal(await supervisor.ended, 2);
  assert.ok(launched.every((runs) => runs.length <= 3));
});

test("when no process starts in five tries, the supervisor leaves it to its own supervisor", async (t) => {
  const { supervisor, launched, rests } = running(t, 2, () => ["status=1"]);
  assert.equal(await supervisor.ended, 1);
  assert.ok(launched.every((runs) => runs.length >= 5));
  assert.deepEqual([...new Set(rests)].slice(0, 4), [200, 400, 800, 1600]);
});

test("one that never starts is tried on and on while another serves", async (t) => {
  const { supervisor, launched, rests } = running(t, 2, (index) => (index === 1 ? ["status=2"] : []));
  await until("many tries", () => (launched[1]?.length ?? 0) >= 7);
  assert.ok(rests.includes(6400));
  assert.equal(supervisor.isAlive(), true);
  assert.equal(launched[0]?.length, 1);
});

test("a program that can't be started counts as a false start", async () => {
  const { log, lines } = keptLog();
  const supervisor = supervise({
    node: "fra1",
    count: 1,
    launch: () => spawn("/nowhere/node", [], { stdio: ["ignore", "ignore", "ignore", "ipc"] }),
    notifier: { ready: () => 0, status: () => 0, stopping: () => 0, close: () => undefined },
    ready: () => 0,
    clock: { ...systemClock, after: (delayMs, action) => systemClock.after(delayMs / restSpeed, action) },
    log,
  });
  assert.equal(await supervisor.ended, 1);
  assert.ok(lines.some(({ message }) => message === "could not start a process or send it a message"));
});

test("processes end by themselves when their supervisor is gone", { timeout: 60_000 }, async (t) => {
  const child = spawn(process.execPath, [memberFile, "0", "1"], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  t.after(() => child.kill("SIGKILL"));
  await once(child, "message");
  const exited = once(child, "exit");
  child.disconnect();
  assert.deepEqual(await exited, [0, null]);
});
