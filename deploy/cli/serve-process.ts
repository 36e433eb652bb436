/** Runs the origin's or an edge's main.ts in this very process, so that a service manager's signals reach it alone. */
import { fileURLToPath } from "node:url";

export async function serveProcess(script: URL, words: readonly string[]): Promise<void> {
  // Its main.ts reads its own arguments, as if it had been started by itself.
  process.argv = [process.execPath, fileURLToPath(script), ...words];
  await import(script.href);
}
