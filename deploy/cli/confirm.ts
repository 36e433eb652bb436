/** Asking a person at a terminal before something is done. */
import { createInterface } from "node:readline";
import { printable } from "./printable.ts";
import type { Cli } from "./verb.ts";

/** Whether there is somebody to ask: a question is written to standard error and answered on standard input. */
export function isAtTerminal({ stdin, stderr }: Cli): boolean {
  return stdin.isTTY === true && stderr.isTTY === true;
}

/**
 * Asks a question that is answered with y or n. Anything but a clear yes is a no, the end of the input too. Waits as
 * long as the person thinks.
 */
export async function confirm({ stdin, stderr }: Cli, question: string): Promise<boolean> {
  const lines = createInterface({ input: stdin, output: stderr });
  try {
    return await new Promise((resolve) => {
      lines.once("close", () => resolve(false));
      lines.question(`${printable(question)} [y/N] `, (answer) => resolve(/^y(?:es)?$/i.test(answer.trim())));
    });
  } finally {
    lines.close();
  }
}
