/**
 * `nearcast rollback`: bring an earlier version back, of the fleet document or of a picture.
 *
 *   rollback               the fleet document, to the version before
 *   rollback 3             the fleet document, to version 3        (a bare number is never a picture's name here)
 *   rollback NAME          a picture, to the version before
 *   rollback NAME 3        a picture, to version 3                 (with --picture, NAME may be a number, too)
 */
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { rollbackFleet, rollbackImage } from "./origin-api.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";

export type RollbackTarget =
  { what: "fleet"; version: number | undefined } | { what: "picture"; name: string; version: number | undefined };

export function addRollback(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "rollback [name] [version]",
    summary: "bring an earlier version back: of the fleet document, or of a picture",
    more: [
      "Without a name it is the fleet document that is brought back: `rollback` to the version before, `rollback 3` to",
      "version 3. With a name it is that picture. What comes back becomes the next version, so nothing is lost.",
    ].join("\n"),
    examples: ["rollback", "rollback 3", "rollback shop/chair.jpg", "rollback shop/chair.jpg 2"],
  });
  withOrigin(verb)
    .option("--picture", "the first word is a picture's name although it is a number")
    .action(
      async (name: string | undefined, version: string | undefined, options: CommonOptions & { picture?: boolean }) => {
        const output = outputOf(cli, options);
        const target = rollbackTarget(name, version, options.picture === true);
        await withClient(cli, options, async (client) => {
          if (target.what === "fleet") {
            const fleet = await rollbackFleet(client, target.version).catch((error: unknown) => {
              const isNone = error instanceof CommandFailure && error.code === "NOT_FOUND";
              if (target.version !== undefined || !isNone) throw error;
              throw new CommandFailure(exitCodes.refused, "the fleet document has no version before the newest one", {
                code: error.code,
                lines: ["`nearcast releases` lists its versions."],
              });
            });
            output.answer({ what: "fleet", ...fleet }, () => [
              fleet.unchanged
                ? `the fleet document has this text already (version ${fleet.version})`
                : `the fleet document is that of version ${fleet.fromVersion ?? "?"} again, ` +
                  `as version ${fleet.version}: ${fleet.summary}`,
            ]);
            return;
          }
          const image = await rollbackImage(client, target.name, target.version);
          output.answer({ what: "picture", ...image }, () => [
            image.unchanged
              ? `${image.name} has these bytes already (version ${image.version})`
              : `${image.name} is that of version ${image.fromVersion ?? "?"} again, as version ${image.version}`,
          ]);
        });
        cli.end(exitCodes.ok);
      },
    );
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
