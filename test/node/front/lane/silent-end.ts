/**
 * Run by lane-death.test.ts: ends a lane's thread so that neither the thread nor Node says anything, and tells what
 * becomes of the lane. At the end, Node itself would fail: its record of the thread is wrong.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { systemClock } from "#base/clock.ts";
import { loadKoffi } from "#base/koffi.ts";
import { openLanes } from "../../../../node/front/lane/lanes.ts";
import { keptLog } from "../../../support/kept-log.ts";
import { turnsUntil } from "../../../support/turns-until.ts";
import { listenInLane } from "../../http/both-forms.ts";
import { exchange } from "../../http/raw.ts";
import { get } from "../fronted.ts";

/** exit() of one thread, on x86-64. A signal of this number, handled by syscall(), ends the thread that gets it. */
const exitCall = 60;
const killThreadCall = 234;

function endThread(name: string): void {
  const libc = loadKoffi()?.load(null);
  assert.ok(libc !== undefined);
  const find = libc.func("int64_t dlsym(int64_t, str)") as (handle: number, symbol: string) => number;
  const handle = libc.func("int64_t signal(int, int64_t)") as (signal: number, handler: number) => number;
  const call = libc.func("long syscall(long, long, long, long)") as (...numbers: number[]) => number;
  assert.equal(handle(exitCall, find(0, "syscall")), 0);
  const threads = readdirSync("/proc/self/task");
  const thread = threads.find((id) => readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim() === name);
  assert.ok(thread !== undefined, `no thread ${name}`);
  assert.equal(call(killThreadCall, process.pid, Number(thread), exitCall), 0);
}

const log = keptLog();
const lanes = await openLanes({ count: 1, clock: systemClock, log: log.log });
const listener = await listenInLane(lanes)("127.0.0.1", 0, (_asked, response) => response.end("served"));
const request = get("/", "Connection: close");
assert.ok((await exchange(listener, request)).endsWith("served"));
endThread("lane-1");
await turnsUntil(() => lanes.restarts() === 1, 10);
assert.ok((await exchange(listener, request)).endsWith("served"));
const { err } = log.lines[0]?.facts ?? {};
await listener.close(0);
await lanes.close();
process.send?.(err instanceof Error ? err.message : "nothing was logged");
