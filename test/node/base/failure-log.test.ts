import assert from "node:assert/strict";
import { test } from "node:test";
import { openFailureLog } from "#base/failure-log.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";

test("a code has five lines a second; the rest is one line with their number", () => {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const failures = openFailureLog(log, clock);
  for (let count = 0; count < 1000; count += 1) failures.warn("ORIGIN_TIMEOUT", { count }, "a request failed");
  assert.deepEqual(
    lines.map(({ level, facts }) => [level, facts["code"], facts["count"]]),
    [0, 1, 2, 3, 4].map((count) => ["warn", "ORIGIN_TIMEOUT", count]),
  );
  clock.advance(999);
  assert.equal(lines.length, 5);
  clock.advance(1);
  assert.deepEqual(lines[5]?.facts, { code: "ORIGIN_TIMEOUT", omitted: 995, windowMs: 1000 });
  failures.warn("ORIGIN_TIMEOUT", {}, "a request failed");
  assert.equal(lines.length, 7, "the next second has its own");
  clock.advance(1000);
  assert.equal(lines.length, 7, "nothing was omitted in it");
});

test("a flood of one code hides no other", () => {
  const { log, lines } = keptLog();
  const failures = openFailureLog(log, fakeClock());
  for (let count = 0; count < 1000; count += 1) failures.warn("OVERLOADED", {}, "a request failed");
  failures.error("INTERNAL", { err: new Error("x") }, "a request failed");
  assert.deepEqual([lines.length, lines[5]?.level, lines[5]?.facts["code"]], [6, "error", "INTERNAL"]);
});

test("each address has lines of its own: one that causes a thousand hides nobody else's", () => {
  const { log, lines } = keptLog();
  const clock = fakeClock();
  const failures = openFailureLog(log, clock);
  for (let count = 0; count < 1000; count += 1) failures.of("192.0.2.1", "info", "HELLO", { count }, "hello");
  failures.of("192.0.2.2", "info", "HELLO", {}, "hello");
  const of = (address: string): number => lines.filter(({ facts }) => facts["address"] === address).length;
  assert.deepEqual([of("192.0.2.1"), of("192.0.2.2")], [20, 1]);
  clock.advance(60_000);
  assert.deepEqual(lines.at(-1)?.facts, { code: "HELLO", address: "192.0.2.1", omitted: 980, windowMs: 60_000 });
  for (let count = 0; count < 1000; count += 1) failures.of(`2001:db8::${count}`, "warn", "HELLO", {}, "hello");
  const lately = lines.slice(22);
  assert.deepEqual([lately.length, lately.every(({ level }) => level === "warn")], [64 + 20, true]);
});
