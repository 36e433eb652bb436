/** `nearcast restore`: puts a backup back on the origin's machine, before the origin starts. */
import { command } from "#base/command-name.ts";
import { resolve } from "node:path";
import type { Command } from "commander";
import { restore, type RestoreReport } from "../../origin/backup/restore.ts";
import { exitCodes } from "./exit-codes.ts";
import { asFailure, openByteProgress } from "./origin-folder.ts";
import { sizeText, timeText } from "./output.ts";
import { type CommonOptions, findOriginSettings } from "./settings.ts";
import { userName } from "./user-name.ts";
import { addVerb, type Cli, outputOf, withOriginFolder } from "./verb.ts";

interface RestoreVerbOptions extends CommonOptions {
  config?: string;
  force?: boolean;
}

export function addRestore(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "restore <folder>",
    summary: "put a backup of the origin back, before it starts",
    more: [
      `FOLDER is what \`${command} backup\` wrote. Every file is checked by its hash. The origin must be stopped, and`,
      "its data directory empty; with --force what is there is moved into a folder beside it, not deleted.",
      "The restored origin has a new identity: edges drop what they cached, once, and follow it by themselves.",
    ].join("\n"),
    examples: ["restore /var/backups/nearcast", "restore backup --data /var/lib/nearcast-origin --force"],
  });
  withOriginFolder(verb)
    .option("--force", "even if the folder already holds an origin's data: they are moved aside")
    .action(async (word: string, options: RestoreVerbOptions) => {
      const output = outputOf(cli, options);
      const settings = await findOriginSettings(options, cli.environment);
      const dataDir = resolve(settings.dataDir);
      const progress = openByteProgress(output);
      let report: RestoreReport;
      try {
        report = await restore(resolve(word), dataDir, {
          clock: cli.clock,
          keep: settings.keep,
          author: userName(),
          isForced: options.force === true,
          onProgress: progress.show,
        });
      } catch (error) {
        throw asFailure(error, `Name the folder that \`${command} backup\` wrote.`);
      } finally {
        progress.close();
      }
      output.answer({ dataDir, ...report }, () => linesOf(dataDir, report));
      cli.end(exitCodes.ok);
    });
}

function linesOf(dataDir: string, { manifest, movedTo }: RestoreReport): string[] {
  const { blobs, createdAt, latestSeq, missing } = manifest;
  return [
    `restored to ${dataDir}: ${blobs.count} picture${blobs.count === 1 ? "" : "s"} ` +
      `(${sizeText(blobs.sizeBytes)}) as of ${timeText(createdAt)}, event ${latestSeq}; every hash is right`,
    ...(missing.length === 0
      ? []
      : [`${missing.length} pictures were damaged before the backup: ${command} verify names them`]),
    ...(movedTo === undefined ? [] : [`What was there before is in ${movedTo}: delete it when all is well.`]),
    `The tokens are those of the backup, of ${timeText(createdAt)}. If you rotated one after that, edges are refused`,
    "until each origin.tokenFile holds this origin's secrets/edge.token; your own writer token is the old one, too.",
    `Next: start the origin (as a service: systemctl start nearcast-origin; else: ${command} origin --config FILE,`,
    `whose dataDir is ${dataDir}). Edges find it at its address, drop what they cached, and`,
    `follow. If the address is another one, set origin.url in each edge.yaml. Then: ${command} verify`,
  ];
}
