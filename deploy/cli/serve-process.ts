/** Runs the main.ts of the origin or an edge in this process, so that a service manager's signals reach it directly. */
import { isStartedByNpm } from "#base/npm-parent.ts";
import { fileURLToPath } from "node:url";
import type { Environment } from "./settings.ts";

export async function serveProcess(script: URL, words: readonly string[], environment: Environment): Promise<void> {
  // Its main.ts reads these arguments as if it had been started directly.
  const launcher = isStartedByNpm(environment) ? ["--with-launcher"] : [];
  process.argv = [process.execPath, fileURLToPath(script), ...words, ...launcher];
  await import(script.href);
}
