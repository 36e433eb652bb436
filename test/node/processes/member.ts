/**
 * A process for the tests of the supervisor: no edge, but the real channel and the real sibling sums.
 *
 *   node member.ts INDEX COUNT WORD…   beats, is ready, answers orders; each further word is one of
 *     status=N   ends with it before it is ready
 *     hang       its event loop stands still once it is ready
 *     deaf       drains only when it is told to hurry
 *
 * What happens is told on standard output, a JSON line each.
 */
import { systemClock } from "#base/clock.ts";
import { openChannel } from "../../../node/processes/supervisor-channel.ts";
import { openSiblings } from "../../../node/processes/machine-load.ts";

const [, , index = "", count = "", ...words] = process.argv;
const tell = (what: string, more: object = {}): void => {
  process.stdout.write(`${JSON.stringify({ index: Number(index), what, ...more })}\n`);
};

const status = words.find((word) => word.startsWith("status="));
if (status !== undefined) process.exit(Number(status.slice("status=".length)));

const quick = {
  ...systemClock,
  every: (intervalMs: number, action: () => void) => systemClock.every(intervalMs / 5, action),
};
const channel = openChannel(process, quick, {
  drain() {
    tell("drain");
    if (!words.includes("deaf")) process.exit(0);
  },
  hurry() {
    tell("hurry");
    process.exit(0);
  },
  gone() {
    process.exit(0);
  },
});
const siblings = openSiblings({ count: Number(count), channel, clock: quick });
siblings.follow(() => ({
  requestsPerSecond: 10 ** Number(index),
  bytesPerSecond: 1000,
  rendersWaiting: Number(index),
  loopDelayMs: 5 - Number(index),
  answersDns: index === "1",
}));
let last = "";
systemClock.every(20, () => {
  const total = JSON.stringify(siblings.total());
  if (total !== last) tell("total", { total: siblings.total() });
  last = total;
});
channel.ready();
if (words.includes("hang")) {
  // Once the messages are in the pipe.
  setTimeout(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }, 200);
}
