/**
 * The main thread's heartbeat, watched by the lease thread. The main thread increments a shared number every 50 ms. The
 * lease thread reads it every 25 ms; a number that has not changed for more than 250 ms is stale.
 *
 * Only time during which the lease thread itself ran counts. If it was delayed (a busy machine, a paused virtual
 * machine), the main thread was, too: a gap between two reads counts as at most two intervals. But clients notice a gap
 * of a second, and it may exceed the peer's hold timer: such a gap is stale whatever the number says.
 *
 * Before work that it can't divide, the main thread announces how long it will be silent. The return of 2 GiB of memory
 * to the system takes 0.3 s, for example after a purge of everything, which all nodes do at the same time. Such a
 * silence may last for up to a second in all.
 */

export interface Beat {
  readonly value: number;
  readonly lookedAtMs: number;
  /** When the number was last seen to change. */
  readonly movedAtMs: number;
  /** How long it has not changed, by the rule above. */
  readonly stillMs: number;
}

/** Slots of the array that both threads share. */
export const beatSlot = 0;
export const aloneSlot = 1;
/** How many ms of silence the main thread has announced; 0: none. */
export const silenceSlot = 2;
export const sharedSlots = 3;

/** How often the main thread beats, and how often the lease thread reads. */
export const beatMs = 50;
export const lookMs = 25;
const staleMs = 250;
const frozenMs = 1000;
const silenceMsMax = frozenMs - staleMs;

export function firstBeat(value: number, nowMs: number): Beat {
  return { value, lookedAtMs: nowMs, movedAtMs: nowMs, stillMs: 0 };
}

/** One read of the heartbeat. */
export function nextBeat(beat: Beat, value: number, nowMs: number): Beat {
  const gapMs = nowMs - beat.lookedAtMs;
  if (gapMs >= frozenMs) return { ...beat, value, lookedAtMs: nowMs, stillMs: beat.stillMs + gapMs };
  if (value !== beat.value) return { value, lookedAtMs: nowMs, movedAtMs: nowMs, stillMs: 0 };
  return { ...beat, lookedAtMs: nowMs, stillMs: beat.stillMs + Math.min(gapMs, 2 * lookMs) };
}

/** @param silenceMs as announced */
export function isStale(beat: Beat, silenceMs = 0): boolean {
  return beat.stillMs > staleMs + Math.min(silenceMs, silenceMsMax);
}
