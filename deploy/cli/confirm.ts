/** Asks for confirmation at a terminal. */
import { createInterface } from "node:readline";
import { printable } from "./printable.ts";
import type { Cli } from "./verb.ts";

/** Whether a person can be asked: the question goes to standard error, the answer comes from standard input. */
export function isAtTerminal({ stdin, stderr }: Cli): boolean {
  return stdin.isTTY === true && stderr.isTTY === true;
}

/**
 * Asks a yes-or-no question. Anything but a clear yes counts as no, and so does the end of the input. There is no time
 * limit.
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
