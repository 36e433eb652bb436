/**
 * The edge process: arguments, signals, exit status.
 *
 *   node node/main.ts --config FILE [--check-config] [--with-parent]
 *
 * Status 0: stopped in order. 1: could not start, or failed. 2: the configuration has problems.
 */
import { parseArgs } from "node:util";
import { systemClock } from "#base/clock.ts";
import { ConfigError, loadConfig } from "#base/config.ts";
import { onStopSignal } from "#base/lifecycle.ts";
import { openLog } from "#base/log.ts";
import { systemRandom } from "#base/random.ts";
import { startDns } from "../dns/start.ts";
import { edgeConfigSchema } from "./config.ts";
import { startEdge } from "./edge.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      "check-config": { type: "boolean", default: false },
      // Ends when standard input does: set by who starts an edge as a child.
      "with-parent": { type: "boolean", default: false },
    },
  });
  const config = await loadConfig(edgeConfigSchema, values.config, "NEARCAST_EDGE", process.env);
  if (values["check-config"]) return;
  const log = openLog(`edge ${config.node}`, config.logLevel);
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "a fault in this program; the process ends, so that its supervisor can start it anew");
    process.exit(1);
  });
  const deps = { clock: systemClock, random: systemRandom, log };
  const edge = await startEdge(config, { ...deps, startDns: (options) => startDns({ ...options, ...deps }) });
  onStopSignal({
    withParent: values["with-parent"],
    stop(reason) {
      log.info({ reason }, "stopping");
      if (reason === "parent gone") edge.hurry();
      void edge.drain().then(() => process.exit(0));
    },
    hurry: edge.hurry,
  });
  await edge.ready;
  log.info({ http: edge.http, admin: edge.admin, dns: edge.dns() }, "ready");
}

try {
  await main();
} catch (error) {
  process.stderr.write(`nearcast edge: ${(error as Error).message}\n`);
  process.exit(
    error instanceof ConfigError || (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS") === true
      ? 2
      : 1,
  );
}
