import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { before, createLifecycle } from "#base/lifecycle.ts";
import { keptLog } from "../../support/kept-log.ts";

test("parts are stopped in the opposite order of their start, one after the other", async () => {
  const { log, lines } = keptLog();
  const lifecycle = createLifecycle(log);
  const said: string[] = [];
  for (const name of ["a", "b", "c"]) {
    lifecycle.defer(name, async () => {
      await turn();
      said.push(name);
    });
  }
  await lifecycle.stop(1000);
  assert.deepEqual(said, ["c", "b", "a"]);
  assert.deepEqual(lines, []);
});

test("a part that fails, at once or later, does not keep the others from stopping", async () => {
  const { log, lines } = keptLog();
  const lifecycle = createLifecycle(log);
  let isClosed = false;
  lifecycle.defer("first", () => {
    isClosed = true;
  });
  lifecycle.defer("throws", () => {
    throw new Error("no");
  });
  lifecycle.defer("rejects", () => Promise.reject(new Error("no")));
  await lifecycle.stop(1000);
  assert(isClosed);
  assert.deepEqual(
    lines.map(({ facts }) => facts["closing"]),
    ["rejects", "throws"],
  );
});

test("a part that hangs costs the deadline once, and all others are still told to stop", async (t) => {
  const { log, lines } = keptLog();
  const lifecycle = createLifecycle(log);
  const said: string[] = [];
  lifecycle.defer("first", () => {
    said.push("first");
  });
  // Keeps the process alive while the deadline's own timer does not.
  const alive = setInterval(() => undefined, 1000);
  t.after(() => {
    clearInterval(alive);
  });
  lifecycle.defer("hangs", () => new Promise<void>(() => undefined));
  await lifecycle.stop(30);
  assert.deepEqual(said, ["first"]);
  assert.equal(lines[0]?.facts["closing"], "hangs");
});

test("stopping twice is stopping once", async () => {
  const lifecycle = createLifecycle(keptLog().log);
  let count = 0;
  lifecycle.defer("a", () => {
    count += 1;
  });
  await Promise.all([lifecycle.stop(1000), lifecycle.stop(1)]);
  await lifecycle.stop(1);
  assert.equal(count, 1);
});

test("a part that a start brings after the stop is closed at once", async () => {
  const lifecycle = createLifecycle(keptLog().log);
  const said: string[] = [];
  lifecycle.defer("a", () => {
    lifecycle.defer("meanwhile", () => {
      said.push("meanwhile");
    });
  });
  await lifecycle.stop(1000);
  lifecycle.defer("late", () => {
    said.push("late");
  });
  assert.deepEqual(said, ["meanwhile", "late"]);
});

test("before() gives the work's end or the signal's reason, whichever comes first", async () => {
  const ending = new AbortController();
  assert.equal(await before(ending.signal, Promise.resolve(3)), 3);
  await assert.rejects(before(ending.signal, Promise.reject(new Error("work"))), /work/);
  const waiting = before(ending.signal, new Promise(() => undefined));
  ending.abort(new Error("late"));
  await assert.rejects(waiting, /late/);
  await assert.rejects(before(ending.signal, new Promise(() => undefined)), /late/);
});
