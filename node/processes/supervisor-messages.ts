/**
 * Messages between a supervisor and its processes over the IPC channel. Both ends are of the same release, so messages
 * are not validated.
 *
 *   process ──▶ supervisor   beat (each second: its event loop runs) · ready · numbers (twice a second)
 *   supervisor ──▶ process   drain · hurry · others (twice a second: the sum of all the others' numbers)
 *
 * Orders use this channel instead of signals: a terminal's Ctrl-C and systemd's SIGTERM reach the supervisor and the
 * processes alike, and one order that arrives on two paths must not count as two.
 */

/** The load of a process, or of a machine, and what it can answer. */
export interface Numbers {
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Pictures that wait for a decoder. */
  readonly rendersWaiting: number;
  /** The delay of the event loop; for several processes, the longest, since delays don't add up. */
  readonly loopDelayMs: number;
  /** For several processes: any of them answers DNS on the ports that they share. */
  readonly answersDns: boolean;
}

export type FromProcess =
  { readonly kind: "beat" } | { readonly kind: "ready" } | { readonly kind: "numbers"; readonly numbers: Numbers };

export type FromSupervisor =
  { readonly kind: "drain" } | { readonly kind: "hurry" } | { readonly kind: "others"; readonly numbers: Numbers };

export const idle: Numbers = {
  requestsPerSecond: 0,
  bytesPerSecond: 0,
  rendersWaiting: 0,
  loopDelayMs: 0,
  answersDns: false,
};

export function sumOf(all: Iterable<Numbers>): Numbers {
  let sum = idle;
  for (const one of all) {
    sum = {
      requestsPerSecond: sum.requestsPerSecond + one.requestsPerSecond,
      bytesPerSecond: sum.bytesPerSecond + one.bytesPerSecond,
      rendersWaiting: sum.rendersWaiting + one.rendersWaiting,
      loopDelayMs: Math.max(sum.loopDelayMs, one.loopDelayMs),
      answersDns: sum.answersDns || one.answersDns,
    };
  }
  return sum;
}
