/** `nearcast edge`: runs an edge in the foreground, for a server's service manager. */
import type { Command } from "commander";
import { serveProcess } from "../serve-process.ts";
import { addVerb, type Cli } from "../verb.ts";

interface EdgeOptions {
  config: string;
  processes: string;
  checkConfig?: boolean;
}

export function addEdge(program: Command, cli: Cli): void {
  addVerb(program, {
    usage: "edge",
    summary: "run an edge in the foreground",
    more: [
      "The edge logs JSON lines to standard error. SIGTERM drains and stops it; a second SIGTERM skips the drain.",
      "With --processes, several processes share the HTTP and DNS ports and divide the caches. A process that dies is",
      "restarted; one that hangs for 10 s is killed. Process i uses admin.port + i, peer.port + i and the directory",
      "process-i. Under systemd, the edge supports sd_notify: Type=notify and WatchdogSec=.",
    ].join("\n"),
    examples: ["edge --config /etc/nearcast/edge.yaml", "edge --config /etc/nearcast/edge.yaml --processes auto"],
  })
    .requiredOption("--config <file>", "configuration file; see deploy/config/edge.example.yaml")
    .option("--processes <count>", "number of processes, 1 to 64; auto: one per core", "1")
    .option("--check-config", "check the configuration and exit")
    .action(async (options: EdgeOptions) => {
      await serveProcess(
        new URL("../../../node/main.ts", import.meta.url),
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
