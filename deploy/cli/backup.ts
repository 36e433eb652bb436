/** `nearcast backup`: copies the origin of this machine into a folder, while it runs. */
import { command } from "#base/command-name.ts";
import { resolve } from "node:path";
import type { Command } from "commander";
import { backUp, type BackupReport } from "../../origin/backup/back-up.ts";
import { exitCodes } from "./exit-codes.ts";
import { asFailure, openByteProgress } from "./origin-folder.ts";
import { sizeText } from "./output.ts";
import { type CommonOptions, findOriginSettings, originFolderAdvice } from "./settings.ts";
import { addVerb, type Cli, outputOf, withOriginFolder } from "./verb.ts";

interface BackupOptions extends CommonOptions {
  config?: string;
  check?: boolean;
}

export function addBackup(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "backup <folder>",
    summary: "back up the origin of this machine while it runs",
    more: [
      "FOLDER gets a snapshot of the catalogue, every picture that it names, the tokens and the fleet secret. A second",
      "backup into the same folder copies only what is new. Copy the folder to another machine afterwards, " +
        "with rsync or",
      "scp. It runs on the origin's machine, as root or as the origin's user, since a backup holds secrets " +
        "that the API",
      "does not tell. Exit status 1: the origin itself has damaged or missing pictures, and the backup lacks them.",
    ].join("\n"),
    examples: ["backup /var/backups/nearcast", "backup /var/backups/nearcast --check"],
  });
  withOriginFolder(verb)
    .option("--check", "also read and hash again what the folder has from before")
    .action(async (word: string, options: BackupOptions) => {
      const output = outputOf(cli, options);
      const dataDir = resolve((await findOriginSettings(options, cli.environment)).dataDir);
      const folder = resolve(word);
      const progress = openByteProgress(output);
      let report: BackupReport;
      try {
        const isChecked = options.check === true;
        report = await backUp(dataDir, folder, {
          nowMs: cli.clock.wallMs(),
          isChecked,
          onProgress: progress.show,
        });
      } catch (error) {
        throw asFailure(error, originFolderAdvice);
      } finally {
        progress.close();
      }
      output.answer({ folder, dataDir, ...report }, () => linesOf(folder, report, options.check === true));
      cli.end(report.missing.length === 0 ? exitCodes.ok : exitCodes.failed);
    });
}

function linesOf(folder: string, report: BackupReport, isChecked: boolean): string[] {
  const { manifest, copied, missing } = report;
  const { blobs } = manifest;
  const lacking = missing.map(({ sha256, fault }) => `  ${sha256} is ${fault} at the origin`);
  return [
    `backed up to ${folder}: ${blobs.count} picture${blobs.count === 1 ? "" : "s"} (${sizeText(blobs.sizeBytes)}), ` +
      `${copied.count} of them new (${sizeText(copied.sizeBytes)}), up to event ${manifest.latestSeq}`,
    ...(isChecked ? [checkedLine(report)] : []),
    ...(lacking.length === 0
      ? []
      : [
          `${lacking.length} could not be backed up:`,
          ...lacking,
          `Next: ${command} verify names the pictures; put them again.`,
        ]),
    `Next: copy it to another machine (rsync -a ${folder}/ …). It holds tokens and the fleet secret.`,
    `To put it back: ${command} restore ${folder}`,
  ];
}

function checkedLine({ checked }: BackupReport): string {
  const { count, sizeBytes, damaged } = checked;
  if (count === 0)
    return "checked: the folder had no picture from before; those that were copied are checked as they come";
  const read = `${count} picture${count === 1 ? "" : "s"} from before (${sizeText(sizeBytes)})`;
  const found =
    damaged === 0 ? "all are good" : `${damaged} had gone bad, and each was copied anew if the origin has it`;
  return `checked: ${read} read and hashed again: ${found}`;
}
