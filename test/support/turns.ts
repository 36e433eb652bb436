/**
 * How long the main thread is kept busy in one go. Counted in its own CPU time and not by the clock, so that a machine
 * on which others are at work as well gives the same answer.
 */

/** Between two looks; a turn that takes longer counts whole. */
const lookMs = 5;

/** Resolves with what `work` gives and with the longest time of CPU between two looks, while it ran. */
export async function longestTurn<Result>(
  work: () => Promise<Result>,
): Promise<{ result: Result; longestMs: number; totalMs: number }> {
  let longestMs = 0;
  const begun = process.threadCpuUsage();
  let last = begun;
  const look = (): void => {
    const { user, system } = process.threadCpuUsage(last);
    last = process.threadCpuUsage();
    longestMs = Math.max(longestMs, (user + system) / 1000);
  };
  const looking = setInterval(look, lookMs);
  try {
    const result = await work();
    look();
    const { user, system } = process.threadCpuUsage(begun);
    return { result, longestMs, totalMs: (user + system) / 1000 };
  } finally {
    clearInterval(looking);
  }
}
