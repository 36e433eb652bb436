/** Shared by the verbs that work on the origin's data directory: progress in bytes, and failures. */
import { SingleBar, Presets } from "cli-progress";
import { NearcastError } from "#base/errors.ts";
import { systemReason } from "#base/system-reason.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { type Output, sizeText } from "./output.ts";

export interface ByteProgress {
  readonly show: (progress: { phase: string; doneBytes: number; totalBytes: number }) => void;
  readonly close: () => void;
}

/** A progress bar on a terminal; nothing elsewhere, since the answer contains the result. */
export function openByteProgress(output: Output): ByteProgress {
  if (!output.isInteractive || output.isJson) return { show: () => {}, close: () => {} };
  const format = "{phase} {bar} {percentage}% | {done} of {all} | {eta_formatted} left";
  const bar = new SingleBar({ format, hideCursor: true, clearOnComplete: true }, Presets.shades_classic);
  let isStarted = false;
  return {
    show: ({ phase, doneBytes, totalBytes }) => {
      const payload = { phase, done: sizeText(doneBytes), all: sizeText(totalBytes) };
      if (!isStarted) bar.start(totalBytes, doneBytes, payload);
      else bar.update(doneBytes, payload);
      isStarted = true;
    },
    close: () => {
      if (isStarted) bar.stop();
    },
  };
}

/**
 * Turns an error of the origin's code, or of the file system, into a sentence without a stack.
 * @param notFoundAdvice what to do next when something does not exist
 */
export function asFailure(error: unknown, notFoundAdvice?: string): unknown {
  if (error instanceof NearcastError) {
    return new CommandFailure(error.code === "CONFLICT" ? exitCodes.refused : exitCodes.failed, error.message, {
      code: error.code,
      cause: error,
      lines: error.code === "NOT_FOUND" && notFoundAdvice !== undefined ? [notFoundAdvice] : [],
    });
  }
  if (error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined) {
    const { path } = error as NodeJS.ErrnoException;
    const message = path === undefined ? error.message : `${path}: ${systemReason(error)}`;
    return new CommandFailure(exitCodes.failed, message, { code: "DISK_FAILED", cause: error });
  }
  return error;
}
