/**
 * A process's end of the IPC channel to its supervisor.
 *
 * Nothing accumulates: while the pipe is full (a debugger has stopped the supervisor), messages are dropped; beats and
 * numbers are sent again anyway, and `ready` waits.
 */
import type { Clock } from "#base/clock.ts";
import { type FromProcess, type FromSupervisor, type Numbers } from "./supervisor-messages.ts";

/** The supervisor considers a process hung that is silent for ten of these. */
export const beatIntervalMs = 1000;

export interface Channel {
  ready: () => void;
  tell: (numbers: Numbers) => void;
  /** Called for each message about the others; one listener. */
  onOthers: (listener: (others: Numbers) => void) => void;
}

/** The part of a child process's own `process` that is needed here. */
export type Parent = Pick<NodeJS.Process, "on" | "once"> & { send?: NodeJS.Process["send"] };

/** Sends beats from now on. `gone` is called when the supervisor has ended, however it did. */
export function openChannel(
  parent: Parent,
  clock: Clock,
  orders: { drain: () => void; hurry: () => void; gone: () => void },
): Channel {
  let isSending = false;
  let isReadyUnsaid = false;
  let others: (numbers: Numbers) => void = () => undefined;

  function say(message: FromProcess): boolean {
    if (isSending) return false;
    isSending = true;
    parent.send?.(message, undefined, {}, (error) => {
      // A closed channel is reported by `disconnect`.
      isSending = error !== null;
      if (!isSending && isReadyUnsaid) isReadyUnsaid = !say({ kind: "ready" });
    });
    return true;
  }

  parent.on("message", (message: FromSupervisor) => {
    switch (message.kind) {
      case "drain":
        orders.drain();
        return;
      case "hurry":
        orders.hurry();
        return;
      case "others":
        others(message.numbers);
        return;
    }
  });
  parent.once("disconnect", orders.gone);
  say({ kind: "beat" });
  clock.every(beatIntervalMs, () => say({ kind: "beat" }));
  return {
    ready() {
      isReadyUnsaid = !say({ kind: "ready" });
    },
    tell(numbers) {
      say({ kind: "numbers", numbers });
    },
    onOthers(listener) {
      others = listener;
    },
  };
}
