/** A program of ours as a process of its own, and what it says on both streams. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";

export interface Ran {
  child: ChildProcess;
  said: () => string;
  /** Resolves with true when it has said so, with false when it ended before. */
  saying: (text: string) => Promise<boolean>;
  ended: Promise<number | null>;
}

/** @param program the words after `node`; killed when the test ends */
export function start(t: TestContext, program: readonly string[]): Ran {
  const child = spawn(process.execPath, program, { stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 });
  t.after(() => child.kill("SIGKILL"));
  let text = "";
  const ended = once(child, "close").then(([status]) => status as number | null);
  const more = new EventTarget();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      more.dispatchEvent(new Event("text"));
    });
  }
  return {
    child,
    said: () => text,
    ended,
    saying: async (wanted) =>
      await new Promise((resolve) => {
        const look = (): void => {
          if (text.includes(wanted)) resolve(true);
        };
        more.addEventListener("text", look);
        look();
        void ended.then(() => resolve(text.includes(wanted)));
      }),
  };
}
