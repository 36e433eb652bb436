/** `nearcast fleet releases`: the versions of the fleet document, their publishers and their changes. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { exitCodes } from "../../exit-codes.ts";
import { readFleetVersions } from "../../origin-answers.ts";
import { tableLines, timeText } from "../../output.ts";
import type { CommonOptions } from "../../settings.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../../verb.ts";

export function addReleases(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "releases",
    summary: "list the versions of the fleet document",
    more: `\`${command} fleet rollback VERSION\` restores one of them.`,
    examples: ["fleet releases", "fleet releases --limit 5"],
  });
  return withOrigin(verb)
    .option("--limit <count>", "maximum number of versions, newest first", wholeNumber(1, 1000), 20)
    .action(async (options: CommonOptions & { limit: number }) => {
      const output = outputOf(cli, options);
      const versions = await withClient(cli, options, async (client) => await readFleetVersions(client, options.limit));
      output.answer({ versions }, () =>
        versions.length === 0
          ? [`no fleet document has been published yet; publish one with: ${command} fleet apply FILE`]
          : tableLines(
              ["VERSION", "TIME", "AUTHOR", "CHANGE"],
              versions.map(({ version, createdAt, author, summary, fromVersion }) => [
                version,
                timeText(createdAt),
                author,
                fromVersion === undefined ? summary : `back to version ${fromVersion}: ${summary}`,
              ]),
            ),
      );
      cli.end(exitCodes.ok);
    });
}
