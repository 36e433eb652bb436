/** A source of a fill that does what a test says, when it says so. */
import type { FillSource } from "../../node/cache/fill-state.ts";

export interface ScriptedSource extends FillSource {
  /** Gives these bytes when the fill asks. */
  give: (bytes: Buffer) => void;
  end: () => void;
  fail: (error: Error) => void;
  /** The fill waits for something that was not given yet. */
  isAsked: () => boolean;
  isStopped: () => boolean;
  /** Bytes that were given and not taken. */
  leftBytes: () => number;
}

/** @param hangs stop() does not end a next() that waits, like a connection that is slow to close */
export function scriptedSource({ hangs = false }: { hangs?: boolean } = {}): ScriptedSource {
  type Step = { bytes: Buffer | null } | { error: Error };
  const steps: Step[] = [];
  let waiting: PromiseWithResolvers<Buffer | null> | undefined;
  let isStopped = false;
  const settle = (): void => {
    const step = waiting === undefined ? undefined : steps.shift();
    if (step === undefined || waiting === undefined) return;
    if ("error" in step) waiting.reject(step.error);
    else waiting.resolve(step.bytes);
    waiting = undefined;
  };
  const add = (step: Step): void => {
    steps.push(step);
    settle();
  };
  return {
    next() {
      if (isStopped) return Promise.reject(new Error("the source was stopped"));
      waiting = Promise.withResolvers();
      const { promise } = waiting;
      settle();
      return promise;
    },
    stop() {
      isStopped = true;
      if (!hangs) waiting?.reject(new Error("the source was stopped"));
    },
    give: (bytes) => {
      add({ bytes });
    },
    end: () => {
      add({ bytes: null });
    },
    fail: (error) => {
      add({ error });
    },
    isAsked: () => waiting !== undefined,
    isStopped: () => isStopped,
    leftBytes: () => steps.reduce((sum, step) => sum + ("bytes" in step ? (step.bytes?.length ?? 0) : 0), 0),
  };
}
