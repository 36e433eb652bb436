/** `nearcast fleet rollback`: publishes an earlier version of the fleet document as the next version. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { noSuchRelease } from "./no-such-version.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../../verb.ts";
import { answerReview, publishReviewed, type PublishingOptions, withPublishing } from "./publishing.ts";

export function addFleetRollback(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "rollback",
    summary: "restore an earlier version of the fleet document",
    more: [
      "Without VERSION, restores the previous version. The restored document becomes a new version: nothing is lost.",
      "Shows the changes and asks for confirmation; without a terminal, it publishes without asking. The origin",
      "refuses (exit status 4) a version that would take down zones, sites or hosts in use. Use --force to publish it.",
    ].join("\n"),
    examples: ["fleet rollback", "fleet rollback 41", "fleet rollback --dry-run"],
  });
  return withPublishing(withOrigin(verb))
    .argument("[version]", `a version from \`${command} fleet releases\``, wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .action(async (version: number | undefined, options: PublishingOptions) => {
      await rollBackFleet(cli, version, options);
    });
}

export async function rollBackFleet(cli: Cli, version: number | undefined, options: PublishingOptions): Promise<void> {
  const output = outputOf(cli, options);
  const done = await withClient(cli, options, async (client) => {
    // A rollback needs no confirmation: it is explicit, and often in a hurry or from a script.
    const goesUnasked = (): boolean => true;
    try {
      return await publishReviewed(cli, options, client, { rollbackTo: version }, goesUnasked);
    } catch (error) {
      const isNone = error instanceof CommandFailure && error.code === "NOT_FOUND";
      if (!isNone) throw error;
      if (version !== undefined) throw await noSuchRelease(client, version);
      throw new CommandFailure(exitCodes.refused, "the fleet document has no earlier version", {
        code: error.code,
        lines: [`\`${command} fleet releases\` lists its versions.`],
      });
    }
  });
  if (done.outcome === "reviewed") {
    answerReview(cli, options, done.review, { what: "fleet" });
    return;
  }
  if (done.outcome === "unchanged") {
    const { version: newest, unchanged } = done.review;
    output.answer({ what: "fleet", version: newest, unchanged }, () => [
      `the fleet document already has this text (version ${newest ?? "?"})`,
    ]);
  } else {
    const { published } = done;
    output.answer({ what: "fleet", ...published }, () => [
      `restored version ${published.fromVersion ?? "?"} of the fleet document ` +
        `as version ${published.version}: ${published.summary}`,
    ]);
  }
  cli.end(exitCodes.ok);
}
