/**
 * The machine's numbers in each of its processes: a health probe reaches just one of them, and what it is told must
 * hold for all.
 *
 *   own() ──twice a second──▶ supervisor ──the sum of the others──▶ total() = own() + others
 *
 * Alone on its machine a process has no fellows, and total() is what own() says.
 */
import type { Clock } from "#base/clock.ts";
import type { Channel } from "./channel.ts";
import { idle, type Numbers, sumOf } from "./messages.ts";

export interface Fellows {
  /** Processes of this machine, this one and those that are just down included. */
  readonly count: number;
  /** Takes this process' numbers from `own`, twice a second and at each total(), until close(). */
  follow: (own: () => Numbers) => void;
  /** Of all processes: ours as they are now, the others' as they were said last, at most some seconds ago. */
  total: () => Numbers;
  close: () => void;
}

const tellIntervalMs = 500;

/** @param channel absent: there is no supervisor, and this process is alone */
export function openFellows(deps: { count: number; channel?: Channel | undefined; clock: Clock }): Fellows {
  const { count, channel, clock } = deps;
  let own = (): Numbers => idle;
  let others = idle;
  channel?.onOthers((numbers) => {
    others = numbers;
  });
  let close = (): void => undefined;
  return {
    count,
    follow(source) {
      own = source;
      close();
      if (channel === undefined) return;
      close = clock.every(tellIntervalMs, () => {
        channel.tell(own());
      });
    },
    total: () => (channel === undefined ? own() : sumOf([own(), others])),
    close() {
      close();
    },
  };
}
