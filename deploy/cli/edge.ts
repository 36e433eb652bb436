/** `nearcast edge`: one edge node in the foreground, for a server's service manager. */
import type { Command } from "commander";
import { serveProcess } from "./serve-process.ts";
import { addVerb, type Cli } from "./verb.ts";

interface EdgeOptions {
  config: string;
  processes: string;
  checkConfig?: boolean;
}

export function addEdge(program: Command, cli: Cli): void {
  addVerb(program, {
    usage: "edge",
    summary: "run one edge node in the foreground",
    more: [
      "Its log is JSON lines on standard error; SIGTERM drains and stops it, a second one hurries.",
      "Several processes share the HTTP and DNS ports and divide the caches; one that dies is started again, one that",
      "hangs for 10 s is killed. Process i takes admin.port + i, peer.port + i and the directory process-i.",
      "Under systemd it speaks sd_notify: Type=notify, WatchdogSec=.",
    ].join("\n"),
    examples: ["edge --config /etc/nearcast/edge.yaml", "edge --config /etc/nearcast/edge.yaml --processes auto"],
  })
    .requiredOption("--config <file>", "its settings, see deploy/config/edge.example.yaml")
    .option("--processes <count>", "how many share this machine, 1 to 64; auto: one per core", "1")
    .option("--check-config", "say whether the settings are good, and stop")
    .action(async (options: EdgeOptions) => {
      await serveProcess(
        new URL("../../node/main.ts", import.meta.url),
        [
          "--config",
          options.config,
          "--processes",
          options.processes,
          ...(options.checkConfig === true ? ["--check-config"] : []),
        ],
        cli.environment,
      );
    });
}
