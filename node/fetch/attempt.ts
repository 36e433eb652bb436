/**
 * One piece of work towards an origin: through the breaker, under a deadline, tried once more where that may help.
 *
 * Only what is safe to repeat goes through here (GET and HEAD).
 */
import { type Clock, sleep } from "#base/clock.ts";
import { asNearcastError, NearcastError } from "#base/errors.ts";
import { before } from "#base/lifecycle.ts";
import type { Random } from "#base/random.ts";
import type { Breaker } from "./breaker.ts";

/**
 * Two: a broken keep-alive connection costs one try; more would triple the load on an origin in trouble. A connection
 * that does not come about is no load, and is tried until the deadline.
 */
const attemptsMax = 2;
/** TCP repeats its first packet after 1 s and 3 s. A new connection takes another port then, and maybe another path. */
export const connectTimeoutMs = 3000;
const pauseMsMin = 50;

export interface AttemptSettings {
  breaker: Breaker;
  clock: Clock;
  random: Random;
  /** For all attempts together, however they fail: what the caller waits at the most, and what the error says. */
  timeoutMs: number;
}

/** @throws NearcastError ORIGIN_UNREACHABLE, ORIGIN_TIMEOUT, or what `work` threw */
export async function attempt<Result>(
  settings: AttemptSettings,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { breaker, clock, random, timeoutMs } = settings;
  const signal = AbortSignal.timeout(timeoutMs);
  let lastError = new NearcastError(
    "ORIGIN_UNREACHABLE",
    "the origin failed repeatedly, so it is not asked for a few seconds",
  );
  let tries = 0;
  let isConnecting = false;
  for (;;) {
    if (!isConnecting) {
      if (!breaker.tryPass()) throw lastError;
      tries += 1;
    }
    try {
      // undici does not look at the signal of a request that still waits for a connection.
      const result = await before(signal, work(signal));
      breaker.succeeded();
      return result;
    } catch (thrown) {
      // Past the deadline it is the deadline that failed, in whatever words the work noticed it.
      const isLate = signal.aborted && !(thrown instanceof NearcastError);
      const error = originFailure(isLate ? signal.reason : thrown, timeoutMs);
      // An answer that is refused here, such as one too large, is a sign of life all the same, and so is a refusal of
      // the origin's: an open breaker would hold requests back after the token was put right.
      if (error.source === "client" || error.code === "ORIGIN_REFUSED") {
        breaker.succeeded();
        throw error;
      }
      if (error.source !== "origin") throw error;
      lastError = error;
      // The breaker hears of each connection that does not come about, so that others need not wait as long.
      breaker.failed();
      isConnecting = (thrown as { code?: string }).code === "UND_ERR_CONNECT_TIMEOUT";
      if (!error.retryable || signal.aborted || (tries >= attemptsMax && !isConnecting)) throw error;
      await sleep(clock, pauseMsMin + random() * pauseMsMin);
    }
  }
}

/** Names of undici's and the system's errors, in our catalogue's words. */
function originFailure(thrown: unknown, timeoutMs: number): NearcastError {
  if (thrown instanceof NearcastError) return thrown;
  const error = thrown as { name?: string; code?: string; message?: string };
  const code = error.code ?? "";
  if (error.name === "TimeoutError" || error.name === "AbortError") {
    return new NearcastError("ORIGIN_TIMEOUT", `no answer within ${timeoutMs} ms`, { cause: thrown });
  }
  if (/TIMED?OUT|ABORTED/.test(code)) {
    return new NearcastError("ORIGIN_TIMEOUT", `${code}: ${error.message ?? ""}`, { cause: thrown });
  }
  // What the parser of undici refuses is no HTTP; this error has no code.
  if (error.name === "HTTPParserError") {
    return new NearcastError("ORIGIN_BAD_ANSWER", error.message ?? "", { cause: thrown });
  }
  // UND_ERR_INVALID_ARG is a slip of ours, which must not be put down to the origin.
  if ((code !== "" && code !== "UND_ERR_INVALID_ARG") || error.name === "SocketError") {
    return new NearcastError("ORIGIN_UNREACHABLE", `${code}: ${error.message ?? ""}`, { cause: thrown });
  }
  return asNearcastError(thrown);
}
