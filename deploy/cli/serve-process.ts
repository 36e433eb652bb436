/** Runs the origin's or an edge's main.ts in this very process, so that a service manager's signals reach it alone. */
import { isStartedByNpm } from "#base/npm-parent.ts";
import { fileURLToPath } from "node:url";
import type { Environment } from "./settings.ts";

export async function serveProcess(script: URL, words: readonly string[], environment: Environment): Promise<void> {
  // Its main.ts reads its own arguments, as if it had been started by itself.
  const launcher = isStartedByNpm(environment) ? ["--with-launcher"] : [];
  process.argv = [process.execPath, fileURLToPath(script), ...words, ...launcher];
  await import(script.href);
}
