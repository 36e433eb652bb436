/**
 * How long clients wait for a lane: the counterpart of the event loop's delay (observe/loop-meter.ts). A busy lane
 * rings its own bell and measures how long it takes to hear it. epoll returns events in their order, so the bell waits
 * behind every client that was ready before.
 *
 *   lane          ring ── clients that were ready before ──▶ hear: counts one more delay
 *   main thread   every second, reads the counts; the mean of the last ten seconds
 *
 * A lane without events does not ring, so it can sleep.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { count, type Counts, read } from "./counts.ts";

const ringMs = 100;
const readMs = 1000;
const readings = 10;

export interface LaneDelay {
  /** After a turn with events. */
  readonly look: () => void;
  /** The bell was heard, whoever rang it. */
  readonly heard: () => void;
}

/** A lane's own side. */
export function openLaneDelay(counts: Counts, { ring, nowMs }: { ring: () => void; nowMs: () => number }): LaneDelay {
  let rangMs = -Infinity;
  let isRinging = false;
  return {
    look() {
      const now = nowMs();
      if (isRinging || now - rangMs < ringMs) return;
      rangMs = now;
      isRinging = true;
      ring();
    },
    heard() {
      if (!isRinging) return;
      isRinging = false;
      count(counts, "delays");
      count(counts, "delayMs", nowMs() - rangMs);
    },
  };
}

/** The main thread's side: the mean over all lanes, 0 for lanes that had nothing to do. */
export function openLaneDelays(lanes: readonly Counts[], clock: Clock): { delayMs: () => number; close: Cancel } {
  const look = (): readonly { readonly delays: number; readonly delayMs: number }[] =>
    lanes.map((counts) => ({ delays: read(counts, "delays"), delayMs: read(counts, "delayMs") }));
  const looks = [look()];
  const close = clock.every(readMs, () => {
    looks.push(look());
    if (looks.length > readings) looks.shift();
  });
  return {
    delayMs() {
      const [before] = looks;
      const means = look().map(({ delays, delayMs }, index) => {
        const { delays: delaysBefore = 0, delayMs: delayMsBefore = 0 } = before?.[index] ?? {};
        return delays === delaysBefore ? 0 : (delayMs - delayMsBefore) / (delays - delaysBefore);
      });
      return means.reduce((sum, one) => sum + one, 0) / means.length;
    },
    close,
  };
}
