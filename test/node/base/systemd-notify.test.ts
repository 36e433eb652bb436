import assert from "node:assert/strict";
import { test } from "node:test";
import { type NotifyEnvironment, openNotifier } from "#base/systemd-notify.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";
import { needs } from "../../support/needs.ts";
import { notifySocket } from "../../support/notify-socket.ts";

function opened(environment: NotifyEnvironment) {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const well = { isWell: true };
  const notifier = openNotifier(environment, { pid: 4711, isWell: () => well.isWell, clock, log });
  return { notifier, clock, lines, well };
}

for (const kind of ["path", "abstract"] as const) {
  test(`systemd hears of readiness, states and the end (${kind})`, async (t) => {
    if (!needs(t, process.platform === "linux", "sd_notify is of Linux")) return;
    const socket = await notifySocket(t, kind);
    const { notifier, lines } = opened({ socket: socket.name });
    notifier.status("waiting for the origin");
    notifier.ready("3 of 3 processes are ready");
    notifier.status(`two\nlines ${"x".repeat(300)}`);
    notifier.stopping();
    const [waiting, ready, long = "", stopping] = socket.heard();
    assert.equal(waiting, "STATUS=waiting for the origin\n");
    assert.equal(ready, "READY=1\nSTATUS=3 of 3 processes are ready\n");
    assert.match(long, /^STATUS=two lines x+\n$/);
    assert.equal(long.length, "STATUS=".length + 200 + 1);
    assert.equal(stopping, "STOPPING=1\nSTATUS=stopping\n");
    assert.deepEqual(lines, []);
  });
}

test("the watchdog is notified at half of its interval, while all is well and until the end", async (t) => {
  if (!needs(t, process.platform === "linux", "sd_notify is of Linux")) return;
  const socket = await notifySocket(t);
  const { notifier, clock, well } = opened({
    socket: socket.name,
    watchdogMicroseconds: "10000000",
    watchdogPid: "4711",
  });
  const told = (): number => socket.heard().filter((datagram) => datagram === "WATCHDOG=1\n").length;
  clock.advance(4999);
  assert.equal(told(), 0);
  clock.advance(1);
  assert.equal(told(), 1);
  well.isWell = false;
  clock.advance(20_000);
  assert.equal(told(), 1);
  well.isWell = true;
  clock.advance(10_000);
  assert.equal(told(), 3);
  notifier.close();
  clock.advance(60_000);
  assert.equal(told(), 3);
});

test("a watchdog for somebody else, none, or nonsense is left alone", async (t) => {
  if (!needs(t, process.platform === "linux", "sd_notify is of Linux")) return;
  const socket = await notifySocket(t);
  const rows: NotifyEnvironment[] = [
    { watchdogMicroseconds: "1000000", watchdogPid: "1" },
    {},
    { watchdogMicroseconds: "0" },
    { watchdogMicroseconds: "-5" },
    { watchdogMicroseconds: "often" },
  ];
  for (const row of rows) opened({ socket: socket.name, ...row }).clock.advance(60_000);
  assert.deepEqual(socket.heard(), []);
});

test("without a socket nothing is said, also not to the log", () => {
  for (const socket of [undefined, ""]) {
    const { notifier, clock, lines } = opened({ socket, watchdogMicroseconds: "1000000" });
    notifier.ready("ready");
    notifier.stopping();
    clock.advance(60_000);
    assert.deepEqual(lines, []);
  }
});

test("a socket that can't be is one warning", () => {
  for (const socket of ["relative/path", `/${"x".repeat(108)}`, "@", "vsock:2:1"]) {
    const { notifier, lines } = opened({ socket });
    notifier.ready("ready");
    notifier.status("on");
    assert.deepEqual(
      lines.map(({ level }) => level),
      ["warn"],
      socket,
    );
  }
});

test("a socket that nobody has is one warning", () => {
  const { notifier, lines } = opened({ socket: "/nowhere/notify" });
  notifier.ready("ready");
  notifier.status("on");
  assert.deepEqual(
    lines.map(({ level, facts }) => [level, facts["reason"]]),
    [["warn", "ENOENT"]],
  );
});

test("what a busy systemd does not take is said again, once, in its last wording; nobody waits for it", async (t) => {
  if (!needs(t, process.platform === "linux", "sd_notify is of Linux")) return;
  const socket = await notifySocket(t);
  const { notifier, clock, lines } = opened({ socket: socket.name });
  // The kernel's queue is some ten to some hundred datagrams long.
  for (let times = 1; times <= 5000; times++) notifier.status(`${times}`);
  notifier.ready("5001");
  notifier.status("5002");
  const taken = socket.heard().length;
  assert.ok(taken < 5000, `${taken}`);
  clock.advance(200);
  assert.deepEqual(socket.heard().slice(taken), ["STATUS=5002\nREADY=1\n"]);
  clock.advance(10_000);
  assert.equal(socket.heard().length, taken + 1);
  assert.deepEqual(lines, []);
});
