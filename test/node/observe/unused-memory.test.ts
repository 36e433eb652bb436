import assert from "node:assert/strict";
import { test } from "node:test";
import { openCMemory } from "#base/c-memory.ts";
import { silentLog } from "#base/log.ts";
import { returnUnusedMemory } from "../../../node/observe/unused-memory.ts";
import { fakeClock } from "../../support/fake-clock.ts";

const mebibyte = 1024 * 1024;

/** A process with 100 MiB of code, whose allocator keeps what is freed. */
function startProcess() {
  const clock = fakeClock();
  const now = { heap: 50, allocated: 20, free: 0, returned: 0, announcedMs: 0, isOutOfFiles: false };
  const cancel = returnUnusedMemory({
    memory: {
      allocatedBytes: () => now.allocated * mebibyte,
      returnFree() {
        now.free = 0;
        now.returned += 1;
      },
    },
    usage() {
      if (now.isOutOfFiles) throw Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" });
      return { rss: (100 + now.heap + now.allocated + now.free) * mebibyte, heapTotal: now.heap * mebibyte };
    },
    silently(expectedMs, work) {
      now.announcedMs = Math.round(expectedMs);
      work();
    },
    clock,
    log: silentLog,
  });
  return { clock, now, cancel };
}

test("what the start has left behind is returned; after that, only large amounts are", () => {
  const { clock, now, cancel } = startProcess();
  now.free = 30;
  clock.advance(1000);
  assert.deepEqual([now.free, now.returned], [0, 1]);
  now.free = 60;
  clock.advance(10_000);
  assert.equal(now.returned, 1);
  now.free = 70;
  clock.advance(1000);
  assert.deepEqual([now.free, now.returned], [0, 2]);
  cancel();
  now.free = 700;
  clock.advance(10_000);
  assert.equal(now.returned, 2);
});

test("the silence of the main thread is announced, as long as it may be", () => {
  const { clock, now, cancel } = startProcess();
  clock.advance(1000);
  now.free = 2048;
  clock.advance(1000);
  assert.deepEqual([now.free, now.announcedMs], [0, 614]);
  cancel();
});

test("while no file can be opened, the memory can't be read: nothing happens, and it is read again", () => {
  const { clock, now, cancel } = startProcess();
  clock.advance(1000);
  now.free = 100;
  now.isOutOfFiles = true;
  clock.advance(5000);
  assert.deepEqual([now.free, now.returned], [100, 1]);
  now.isOutOfFiles = false;
  clock.advance(1000);
  assert.deepEqual([now.free, now.returned], [0, 2]);
  cancel();
});

test("memory in use is not returned, whether JavaScript or C uses it", () => {
  const { clock, now, cancel } = startProcess();
  clock.advance(1000);
  now.heap = 900;
  now.allocated = 2000;
  clock.advance(10_000);
  assert.equal(now.returned, 1);
  [now.allocated, now.free] = [20, 1980];
  clock.advance(1000);
  assert.deepEqual([now.free, now.returned], [0, 2]);
  cancel();
});

test("the C library reports what is allocated, and returns what is free", (t) => {
  const memory = openCMemory();
  if (memory === undefined) {
    t.skip("no koffi, or no glibc");
    return;
  }
  const before = memory.allocatedBytes();
  const kept = Array.from({ length: 2000 }, () => Buffer.allocUnsafeSlow(60_000).fill(1));
  const allocated = memory.allocatedBytes() - before;
  assert.ok(allocated > 100 * mebibyte && allocated < 200 * mebibyte, `${allocated}`);
  assert.equal(kept.length, 2000);
  memory.limitArenas(2);
  memory.returnFree();
});
