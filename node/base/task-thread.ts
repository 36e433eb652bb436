/**
 * One piece of work in a thread of its own, so that the main thread goes on with what it has to do. The thread lives
 * for that work: what it took of memory goes with it. Its file reads `workerData` and posts one message.
 */
import { Worker } from "node:worker_threads";

/**
 * What the thread posts.
 * @param limits `heapMegabytesMax`: an estimate with some room, past which the thread ends
 * @throws Error with the reason: it failed, took too long or too much memory, or ended without a word
 */
export async function inThread<Result>(
  file: URL,
  workerData: unknown,
  limits: { msMax: number; heapMegabytesMax: number },
): Promise<Result> {
  const thread = new Worker(file, {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: limits.heapMegabytesMax },
  });
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  const deadline = AbortSignal.timeout(limits.msMax);
  deadline.addEventListener("abort", () => {
    reject(new Error(`it takes longer than ${limits.msMax / 1000} s`));
  });
  thread.once("message", resolve);
  thread.once("error", reject);
  thread.once("exit", () => {
    reject(new Error("its thread ended without a word"));
  });
  try {
    return await promise;
  } finally {
    await thread.terminate();
  }
}
