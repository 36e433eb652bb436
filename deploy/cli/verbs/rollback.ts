/**
 * `nearcast rollback`: restores an earlier version of a picture.
 *
 *   rollback NAME          a picture, to the previous version
 *   rollback NAME 3        a picture, to version 3                 (with --picture, NAME may be a number, too)
 *
 * Before `fleet rollback` existed, this verb also restored the fleet document; scripts may still use it:
 *
 *   rollback               now `fleet rollback`
 *   rollback 3             now `fleet rollback 3`                  (a bare number is never a picture's name here)
 */
import { command } from "#base/command-name.ts";
import { Command } from "commander";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { type PublishingOptions, withPublishing } from "./fleet/publishing.ts";
import { rollBackFleet } from "./fleet/rollback.ts";
import { readVersions, rollbackImage } from "../origin-answers.ts";
import type { OriginClient } from "../origin-client.ts";
import { withPicture, withPictureVersion } from "../missing-picture.ts";
import { addVerb, type Cli, noteOldSpelling, outputOf, withClient, withOrigin } from "../verb.ts";

export type RollbackTarget =
  { what: "fleet"; version: number | undefined } | { what: "picture"; name: string; version: number | undefined };

type RollbackOptions = PublishingOptions & { picture?: boolean };

export function addRollback(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "rollback [name] [version]",
    summary: "restore an earlier version of a picture",
    more: [
      "Without VERSION, restores the previous version. The restored picture becomes a new version, so nothing is lost.",
      `\`${command} versions NAME\` lists the versions of a picture.`,
      "",
      `To roll back the fleet document, use \`${command} fleet rollback [version]\`.`,
    ].join("\n"),
    examples: ["rollback shop/chair.jpg", "rollback shop/chair.jpg 2", "rollback 2024 --picture"],
  });
  withOldPublishing(withOrigin(verb).usage("[options] <name> [version]"))
    .option("--picture", "treat NAME as the name of a picture even if it is a number")
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
        async (client) => await rollBackPicture(client, target.name, target.version),
      );
      output.answer({ what: "picture", ...image }, () => [
        image.unchanged
          ? `${image.name} already has these bytes (version ${image.version})`
          : `${image.name}: restored version ${image.fromVersion ?? "?"} as version ${image.version}`,
      ]);
      cli.end(exitCodes.ok);
    });
}

async function rollBackPicture(
  client: OriginClient,
  name: string,
  version: number | undefined,
): Promise<Awaited<ReturnType<typeof rollbackImage>>> {
  const work = async (): ReturnType<typeof rollbackImage> => await rollbackImage(client, name, version);
  if (version !== undefined) return await withPictureVersion(client, name, version, work);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CommandFailure && error.code === "NOT_FOUND")) throw error;
    // Either the name does not exist, or it has no previous version: this call finds out which.
    await withPicture(client, name, async () => await readVersions(client, name));
    throw error;
  }
}

/** The options of `fleet rollback`, for scripts that still use the old spelling: accepted but undocumented. */
function withOldPublishing(verb: Command): Command {
  for (const option of withPublishing(new Command()).options) verb.addOption(option.hideHelp());
  return verb;
}

/** Decides which of the two is meant; see the header of this file. */
export function rollbackTarget(
  name: string | undefined,
  version: string | undefined,
  isPicture: boolean,
): RollbackTarget {
  if (isPicture && name === undefined) throw new CommandFailure(exitCodes.usage, "--picture requires a name");
  if (name === undefined) return { what: "fleet", version: undefined };
  if (version === undefined && !isPicture && /^\d+$/.test(name)) return { what: "fleet", version: versionOf(name) };
  return { what: "picture", name, version: version === undefined ? undefined : versionOf(version) };
}

function versionOf(text: string): number {
  const version = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (version >= 1) return version;
  throw new CommandFailure(exitCodes.usage, `"${text}" is not a version: a version is a whole number, 1 or greater`);
}
