/**
 * The main thread's heartbeat, judged by the thread that holds the lease. The main thread adds one to a shared number
 * each 50 ms; this side looks each 25 ms, and a number that has stood still for more than 250 ms is stale.
 *
 * Time counts only as far as this thread could look. When it was kept waiting itself (a busy machine, a paused virtual
 * one), the main thread was too: of a gap between two looks no more than two looks' worth is held against it. But a
 * gap of a second was felt by clients, and perhaps by the peer's hold timer: that is stale whatever the number says.
 */

export interface Beat {
  readonly value: number;
  readonly lookedAtMs: number;
  /** When the number was last seen to change. */
  readonly movedAtMs: number;
  /** How long it has stood still, by the rule above. */
  readonly stillMs: number;
}

/** What stands where in the numbers that both threads share. */
export const beatSlot = 0;
export const aloneSlot = 1;
export const sharedSlots = 2;

/** How often the main thread beats, and how often this side looks. */
export const beatMs = 50;
export const lookMs = 25;
const staleMs = 250;
const frozenMs = 1000;

export function firstBeat(value: number, nowMs: number): Beat {
  return { value, lookedAtMs: nowMs, movedAtMs: nowMs, stillMs: 0 };
}

/** The next look. */
export function nextBeat(beat: Beat, value: number, nowMs: number): Beat {
  const gapMs = nowMs - beat.lookedAtMs;
  if (gapMs >= frozenMs) return { ...beat, value, lookedAtMs: nowMs, stillMs: beat.stillMs + gapMs };
  if (value !== beat.value) return { value, lookedAtMs: nowMs, movedAtMs: nowMs, stillMs: 0 };
  return { ...beat, lookedAtMs: nowMs, stillMs: beat.stillMs + Math.min(gapMs, 2 * lookMs) };
}

export function isStale(beat: Beat): boolean {
  return beat.stillMs > staleMs;
}
