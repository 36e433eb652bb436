/** Layouts that differ between processors, and what the calls do with those of this one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  EPOLL_CTL_ADD,
  epollEvent,
  epollEventOn,
  EPOLLIN,
  errnoName,
  errnos,
  openStreamCalls,
} from "#base/system-calls.ts";
import { needs } from "../../support/needs.ts";

test("epoll_event is packed on x86-64, and aligned on arm64 (linux/eventpoll.h)", () => {
  assert.deepEqual(epollEventOn("x64"), { sizeBytes: 12, events: 0, data: 4 });
  assert.deepEqual(epollEventOn("arm64"), { sizeBytes: 16, events: 0, data: 8 });
});

test("the kernel returns what was registered, event by event", (t) => {
  const calls = openStreamCalls();
  if (typeof calls === "string") {
    needs(t, false, calls);
    return;
  }
  const arena = calls.viewArena(calls.mapArena(4096));
  const words = new Int32Array(arena.bytes);
  const epoll = calls.openEpoll();
  const events = [calls.openEvent(), calls.openEvent(), calls.openEvent()];
  const dataAt = epollEvent.data / 4;
  for (const [index, event] of events.entries()) {
    words.set([EPOLLIN], 0);
    words.set([event, 1000 + index], dataAt);
    assert.equal(calls.controlEpoll(epoll, EPOLL_CTL_ADD, event, arena.address), 0);
    words.set([1, 0], 256);
    assert.equal(calls.write(event, arena.address + 1024, 8), 8);
  }
  assert.equal(calls.waitEpoll(epoll, arena.address, 8, 1000), 3);
  const got = events.map((_, index) => {
    const at = (index * epollEvent.sizeBytes) / 4;
    return [words[at], words[at + dataAt], words[at + dataAt + 1]];
  });
  assert.deepEqual(
    got.toSorted((a, b) => (a[2] ?? 0) - (b[2] ?? 0)),
    events.map((event, index) => [EPOLLIN, event, 1000 + index]),
  );
  for (const descriptor of [epoll, ...events]) assert.equal(calls.close(descriptor), 0);
  assert.equal(calls.close(epoll), -1);
  assert.equal(calls.errno(), errnos.EBADF);
  assert.equal(errnoName(errnos.EAGAIN), "EAGAIN");
});
