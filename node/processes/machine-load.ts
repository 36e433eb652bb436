/**
 * Gives each process the load of the whole machine: a probe reaches only one process, whose health answer counts for
 * all.
 *
 *   own() ──twice a second──▶ supervisor ──the sum of the others──▶ total() = own() + others
 *
 * A process that is alone on its machine has no sibling processes, and total() is own().
 */
import type { Clock } from "#base/clock.ts";
import type { Channel } from "./supervisor-channel.ts";
import { idle, type Numbers, sumOf } from "./supervisor-messages.ts";

export interface Siblings {
  /** Processes of this machine, including this one and those that are down at the moment. */
  readonly count: number;
  /** Reads this process's numbers from `own`, twice a second and at each total(), until close(). */
  follow: (own: () => Numbers) => void;
  /** The sum over all processes: ours is current, the others' are as last reported, at most a few seconds ago. */
  total: () => Numbers;
  close: () => void;
}

const tellIntervalMs = 500;

/** @param channel absent: there is no supervisor, and this process is alone */
export function openSiblings(deps: { count: number; channel?: Channel | undefined; clock: Clock }): Siblings {
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
