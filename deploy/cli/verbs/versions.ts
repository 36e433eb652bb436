/** `nearcast versions`: lists everything that was ever stored under a name. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { readVersions } from "../origin-answers.ts";
import { sizeText, tableLines, timeText } from "../output.ts";
import { withPicture } from "../missing-picture.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

export function addVersions(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "versions <name>",
    summary: "list the versions of a picture",
    more: `\`${command} rollback NAME VERSION\` restores one of them.`,
    examples: ["versions shop/chair.jpg"],
  });
  withOrigin(verb).action(async (name: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const found = await withClient(
      cli,
      options,
      async (client) => await withPicture(client, name, async () => await readVersions(client, name)),
    );
    output.answer(found, () =>
      tableLines(
        ["VERSION", "HOW", "TYPE", "PIXELS", "SIZE", "STORED", "BY"],
        found.versions.map(({ version, reason, fromVersion, type, width, height, sizeBytes, createdAt, author }) => [
          version,
          fromVersion === undefined ? reason : `${reason} to ${fromVersion}`,
          type,
          width === undefined ? undefined : `${width}×${height ?? "?"}`,
          sizeBytes === undefined ? undefined : sizeText(sizeBytes),
          timeText(createdAt),
          author,
        ]),
      ),
    );
    cli.end(exitCodes.ok);
  });
}
