/** `nearcast origin`: runs one origin in the foreground, for a server's service manager. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { serveProcess } from "../serve-process.ts";
import { type CommonOptions, dataDirOf, exists, originFileOf } from "../settings.ts";
import { addVerb, type Cli, withDataDir } from "../verb.ts";

interface OriginOptions extends CommonOptions {
  config?: string;
  checkConfig?: boolean;
}

export function addOrigin(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "origin",
    summary: "run the origin in the foreground",
    more: [
      `Without --config, the origin reads origin.yaml in --data if \`${command} up\` wrote one, else it uses defaults.`,
      "The origin logs JSON lines to standard error. On SIGTERM it finishes open requests and exits within 5 s.",
    ].join("\n"),
    examples: ["origin --config /etc/nearcast/origin.yaml"],
  });
  withDataDir(verb)
    .option("--config <file>", "configuration file; see deploy/config/origin.example.yaml")
    .option("--check-config", "check the configuration and exit")
    .action(async (options: OriginOptions) => {
      const written = originFileOf(dataDirOf(options, cli.environment));
      const file = options.config ?? ((await exists(written)) ? written : undefined);
      await serveProcess(
        new URL("../../../origin/main.ts", import.meta.url),
        [
          ...(file === undefined ? [] : ["--config", file]),
          ...(options.checkConfig === true ? ["--check-config"] : []),
        ],
        cli.environment,
      );
    });
}
