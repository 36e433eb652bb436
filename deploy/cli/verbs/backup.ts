/** `nearcast backup`: copies the data of this machine's origin into a folder, while the origin runs. */
import { command } from "#base/command-name.ts";
import { counted } from "#base/counted.ts";
import { resolve } from "node:path";
import type { Command } from "commander";
import { backUp, type BackupReport } from "../../../origin/backup/back-up.ts";
import { exitCodes } from "../exit-codes.ts";
import { asFailure, openByteProgress } from "../origin-data-directory.ts";
import { sizeText } from "../output.ts";
import { type CommonOptions, findOriginSettings, originFolderAdvice } from "../settings.ts";
import { addVerb, type Cli, outputOf, withOriginFolder } from "../verb.ts";

interface BackupOptions extends CommonOptions {
  config?: string;
  check?: boolean;
}

export function addBackup(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "backup <directory>",
    summary: "back up the origin on this machine while it runs",
    more: [
      "Writes a copy of the catalogue, every picture in it, the tokens and the fleet secret to the directory. The",
      "next backup into the same directory copies only what is new. Copy the directory to another machine afterwards,",
      "with rsync or scp. Run this on the origin's machine, as root or as the origin's user: a backup holds secrets",
      "that the API does not reveal. Exit status 1: pictures at the origin are damaged or missing.",
    ].join("\n"),
    examples: ["backup /var/backups/nearcast", "backup /var/backups/nearcast --check"],
  });
  withOriginFolder(verb)
    .option("--check", "also verify the hashes of pictures copied by earlier backups")
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
    `backed up to ${folder}: ${counted(blobs.count, "picture")} (${sizeText(blobs.sizeBytes)}), ` +
      `${copied.count} of them new (${sizeText(copied.sizeBytes)}), up to event ${manifest.latestSeq}`,
    ...(isChecked ? [checkedLine(report)] : []),
    ...(lacking.length === 0
      ? []
      : [
          `${counted(lacking.length, "picture")} could not be backed up:`,
          ...lacking,
          `Next: \`${command} verify\` lists the pictures; store them again.`,
        ]),
    `Next: copy it to another machine (rsync -a ${folder}/ …). It contains the tokens and the fleet secret.`,
    `To restore it: ${command} restore ${folder}`,
  ];
}

function checkedLine({ checked }: BackupReport): string {
  const { count, sizeBytes, damaged } = checked;
  if (count === 0) return "checked: no picture from an earlier backup; new ones are checked as they are copied";
  const read = `${counted(count, "picture")} from earlier backups (${sizeText(sizeBytes)})`;
  const found = damaged === 0 ? "all are intact" : `${damaged} damaged; those that the origin has were copied again`;
  return `checked: ${read}: ${found}`;
}
