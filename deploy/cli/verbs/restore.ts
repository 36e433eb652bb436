/** `nearcast restore`: restores a backup on the origin's machine, before the origin starts. */
import { command } from "#base/command-name.ts";
import { counted } from "#base/counted.ts";
import { resolve } from "node:path";
import type { Command } from "commander";
import { restore, type RestoreReport } from "../../../origin/backup/restore.ts";
import { exitCodes } from "../exit-codes.ts";
import { asFailure, openByteProgress } from "../origin-data-directory.ts";
import { sizeText, timeText } from "../output.ts";
import { type CommonOptions, findOriginSettings } from "../settings.ts";
import { userName } from "../user-name.ts";
import { addVerb, type Cli, outputOf, withOriginFolder } from "../verb.ts";

interface RestoreVerbOptions extends CommonOptions {
  config?: string;
  force?: boolean;
}

export function addRestore(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "restore <directory>",
    summary: "restore the origin from a backup",
    more: [
      `Reads a directory that \`${command} backup\` wrote and checks the hash of every file. The origin must be`,
      "stopped and its data directory empty; with --force, existing data is moved to a directory next to it. The",
      "restored origin has a new identity: edges drop their caches once, then follow it automatically.",
    ].join("\n"),
    examples: ["restore /var/backups/nearcast", "restore backup --data /var/lib/nearcast-origin --force"],
  });
  withOriginFolder(verb)
    .option("--force", "restore even if the data directory is not empty; the existing data is moved aside")
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
        throw asFailure(error, `Give the directory that \`${command} backup\` wrote.`);
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
    `restored to ${dataDir}: ${counted(blobs.count, "picture")} ` +
      `(${sizeText(blobs.sizeBytes)}) as of ${timeText(createdAt)}, event ${latestSeq}; every hash matches`,
    ...(missing.length === 0
      ? []
      : [`${missing.length} pictures were already damaged when the backup was made: \`${command} verify\` lists them`]),
    ...(movedTo === undefined ? [] : [`The previous data is in ${movedTo}: delete it when everything works.`]),
    `The tokens are those of the backup (${timeText(createdAt)}). If you have rotated the edge token since, the origin`,
    "refuses the edges until you copy secrets/edge.token to the origin.tokenFile of each. The writer token is also the",
    "one of the backup.",
    "Next: start the origin: systemctl start nearcast-origin",
    `(not a service: ${command} origin --config FILE, with dataDir ${dataDir}).`,
    "The edges reconnect to it and drop their caches. If its address has changed, set origin.url in each edge.yaml.",
    `Then: ${command} verify`,
  ];
}
