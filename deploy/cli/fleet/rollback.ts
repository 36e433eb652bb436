/** `nearcast fleet rollback`: publish an earlier version of the fleet document again, as the next version. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { noSuchRelease } from "./no-such-release.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../verb.ts";
import { answerReview, publishReviewed, type PublishingOptions, withPublishing } from "./publishing.ts";

export function addFleetRollback(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "rollback",
    summary: "bring an earlier version of the fleet document back",
    more: [
      "Without a version, the one before the newest. What comes back becomes the next version, so nothing is lost.",
      "Shows what changes and asks on a terminal; without one it goes ahead. The origin refuses (status 4) a version",
      "that would take down what is being served, until you add --force.",
    ].join("\n"),
    examples: ["fleet rollback", "fleet rollback 41", "fleet rollback --dry-run"],
  });
  return withPublishing(withOrigin(verb))
    .argument("[version]", `a version of \`${command} fleet releases\``, wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .action(async (version: number | undefined, options: PublishingOptions) => {
      await rollBackFleet(cli, version, options);
    });
}

export async function rollBackFleet(cli: Cli, version: number | undefined, options: PublishingOptions): Promise<void> {
  const output = outputOf(cli, options);
  const done = await withClient(cli, options, async (client) => {
    // Who rolls back has said what is wanted, often in a hurry and from a script.
    const goesUnasked = (): boolean => true;
    try {
      return await publishReviewed(cli, options, client, { rollbackTo: version }, goesUnasked);
    } catch (error) {
      const isNone = error instanceof CommandFailure && error.code === "NOT_FOUND";
      if (!isNone) throw error;
      if (version !== undefined) throw await noSuchRelease(client, version);
      throw new CommandFailure(exitCodes.refused, "the fleet document has no version before the newest one", {
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
      `the fleet document has this text already (version ${newest ?? "?"})`,
    ]);
  } else {
    const { published } = done;
    output.answer({ what: "fleet", ...published }, () => [
      `the fleet document is that of version ${published.fromVersion ?? "?"} again, ` +
        `as version ${published.version}: ${published.summary}`,
    ]);
  }
  cli.end(exitCodes.ok);
}
