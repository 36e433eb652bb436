/**
 * A small request to the origin of this fleet (the fleet document, secrets, the roster), under a deadline, tried once
 * more if that may help. Its callers ask again later by themselves, so there is neither a breaker nor a budget.
 */
import { type Clock, sleep } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { before } from "#base/lifecycle.ts";
import type { Random } from "#base/random.ts";
import { originFailure } from "./origin-failure.ts";

/** Two: a kept connection that broke costs one try. */
const attemptsMax = 2;
const pauseMsMin = 50;

export interface AttemptSettings {
  clock: Clock;
  random: Random;
  /** The origin's name, for messages. */
  name: string;
  /** For all attempts together, however they fail: the caller's longest wait, and what the error says. */
  timeoutMs: number;
}

/** @throws NearcastError ORIGIN_UNREACHABLE, ORIGIN_TIMEOUT, or what `work` threw */
export async function attempt<Result>(
  { clock, random, name, timeoutMs }: AttemptSettings,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const deadline = new AbortController();
  const late = new NearcastError("ORIGIN_TIMEOUT", `${name}: no response within ${timeoutMs} ms`);
  const cancel = clock.after(timeoutMs, () => {
    deadline.abort(late);
  });
  const { signal } = deadline;
  try {
    for (let tries = 1; ; tries += 1) {
      try {
        // undici does not look at the signal of a request that still waits for a connection.
        return await before(signal, work(signal));
      } catch (thrown) {
        // After the deadline, the deadline is the failure, whatever error the work reports.
        const error = signal.aborted && !(thrown instanceof NearcastError) ? late : originFailure(thrown, name);
        if (error.source !== "origin" || !error.retryable || signal.aborted || tries >= attemptsMax) throw error;
        await sleep(clock, pauseMsMin + random() * pauseMsMin);
      }
    }
  } finally {
    cancel();
  }
}
