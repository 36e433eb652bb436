/** `nearcast edge`: one edge node in the foreground, for a server's service manager. */
import type { Command } from "commander";
import { serveProcess } from "./serve-process.ts";
import { addVerb } from "./verb.ts";

interface EdgeOptions {
  config: string;
  checkConfig?: boolean;
}

export function addEdge(program: Command): void {
  addVerb(program, {
    usage: "edge",
    summary: "run one edge node in the foreground",
    more: "Its log is JSON lines on standard error; SIGTERM drains and stops it.",
    examples: ["edge --config /etc/nearcast/edge.yaml"],
  })
    .requiredOption("--config <file>", "its settings, see deploy/config/edge.example.yaml")
    .option("--check-config", "say whether the settings are good, and stop")
    .action(async (options: EdgeOptions) => {
      await serveProcess(new URL("../../node/main.ts", import.meta.url), [
        "--config",
        options.config,
        ...(options.checkConfig === true ? ["--check-config"] : []),
      ]);
    });
}
