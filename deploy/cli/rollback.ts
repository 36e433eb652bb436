/**
 * `nearcast rollback`: bring an earlier version of a picture back.
 *
 *   rollback NAME          a picture, to the version before
 *   rollback NAME 3        a picture, to version 3                 (with --picture, NAME may be a number, too)
 *
 * Before there was `fleet rollback`, this verb brought back the fleet document as well; scripts may still say so:
 *
 *   rollback               now `fleet rollback`
 *   rollback 3             now `fleet rollback 3`                  (a bare number is never a picture's name here)
 */
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { type PublishingOptions, withPublishing } from "./fleet/publishing.ts";
import { rollBackFleet } from "./fleet/rollback.ts";
import { rollbackImage } from "./origin-api.ts";
import { addVerb, type Cli, noteOldSpelling, outputOf, withClient, withOrigin } from "./verb.ts";

export type RollbackTarget =
  { what: "fleet"; version: number | undefined } | { what: "picture"; name: string; version: number | undefined };

type RollbackOptions = PublishingOptions & { picture?: boolean };

export function addRollback(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "rollback [name] [version]",
    summary: "bring an earlier version of a picture back",
    more: [
      "Without a version, the one before the newest. What comes back becomes the next version, so nothing is lost.",
      "Without a name, and with a bare number, this is the old spelling of `fleet rollback`; the options of publishing",
      "(--yes, --dry-run, --force, --if-version) are for that alone.",
    ].join("\n"),
    examples: ["rollback shop/chair.jpg", "rollback shop/chair.jpg 2"],
  });
  withPublishing(withOrigin(verb))
    .option("--picture", "NAME is a picture's, even if it is a number")
    .action(async (name: string | undefined, version: string | undefined, options: RollbackOptions) => {
      const target = rollbackTarget(name, version, options.picture === true);
      if (target.what === "fleet") {
        const number = target.version === undefined ? "" : ` ${target.version}`;
        noteOldSpelling(cli, `rollback${number}`, `fleet rollback${number}`);
        await rollBackFleet(cli, target.version, options);
        return;
      }
      const output = outputOf(cli, options);
      const image = await withClient(
        cli,
        options,
        async (client) => await rollbackImage(client, target.name, target.version),
      );
      output.answer({ what: "picture", ...image }, () => [
        image.unchanged
          ? `${image.name} has these bytes already (version ${image.version})`
          : `${image.name} is that of version ${image.fromVersion ?? "?"} again, as version ${image.version}`,
      ]);
      cli.end(exitCodes.ok);
    });
}

/** Which of the two is meant; see the head of this file. */
export function rollbackTarget(
  name: string | undefined,
  version: string | undefined,
  isPicture: boolean,
): RollbackTarget {
  if (isPicture && name === undefined) throw new CommandFailure(exitCodes.usage, "--picture needs a name");
  if (name === undefined) return { what: "fleet", version: undefined };
  if (version === undefined && !isPicture && /^\d+$/.test(name)) return { what: "fleet", version: versionOf(name) };
  return { what: "picture", name, version: version === undefined ? undefined : versionOf(version) };
}

function versionOf(text: string): number {
  const version = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (version >= 1) return version;
  throw new CommandFailure(exitCodes.usage, `"${text}" is not a version: it must be a whole number from 1 on`);
}
