/**
 * Runs one task in its own thread, so that the main thread stays responsive. The thread ends with the task and frees
 * its memory. Its file reads `workerData` and posts one message.
 */
import { Worker } from "node:worker_threads";

/**
 * Resolves with the message that the thread posts.
 * @param limits `heapMegabytesMax`: an estimate plus a margin; beyond it the thread ends
 * @throws Error with the reason: it failed, took too long or too much memory, or ended without a message
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
    reject(new Error(`it took longer than ${limits.msMax / 1000} s`));
  });
  thread.once("message", resolve);
  thread.once("error", reject);
  thread.once("exit", () => {
    reject(new Error("its thread ended without a result"));
  });
  try {
    return await promise;
  } finally {
    await thread.terminate();
  }
}
