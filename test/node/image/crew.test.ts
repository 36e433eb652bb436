/** What a crew of decoder processes makes of starts that fail. The processes are real; the time is the test's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openCrew } from "../../../node/image/crew.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";
import { needs } from "../../support/needs.ts";
import { until } from "../../support/world.ts";

test("processes that a busy machine starts too late are no sign against the sandbox", async (t) => {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const settings = {
    size: 1,
    sandbox: "auto",
    startTimeoutMs: 1000,
    bodyBytesMax: 1024 * 1024,
    memoryBytesMax: 1024 ** 3,
  } as const;
  let isFree = false;
  const listener = {
    onFree: () => {
      isFree = true;
    },
    onReply: () => undefined,
    onLost: () => undefined,
  };
  const crew = openCrew(settings, clock, log, listener);
  t.after(() => crew.close(0));
  for (let late = 1; late <= 4; late += 1) {
    clock.advance(settings.startTimeoutMs);
    await until("the late process is gone", () => Promise.resolve(crew.stats().restarts === late));
    const { isLate, pauseMs } = lines.at(-1)?.facts ?? {};
    assert.equal(isLate, true);
    clock.advance(Number(pauseMs));
  }
  await until("one starts in time", () => Promise.resolve(isFree));
  const { sandbox, sandboxReason } = crew.stats();
  assert.doesNotMatch(sandboxReason, /died/);
  if (!needs(t, sandboxReason === "", `there is no sandbox here: ${sandboxReason}`)) return;
  assert.equal(sandbox, "seccomp");
});
