/**
 * `nearcast fleet apply`: publishes a fleet document as the next version; every edge has it within a second.
 * `nearcast fleet diff`: only shows what that would change.
 */
import { counted } from "#base/counted.ts";
import { problemLines, type ValueProblem } from "#base/schema.ts";
import { withLine } from "#base/yaml-lines.ts";
import type { Fleet } from "#document/document.ts";
import { warningsOf } from "#review/warnings.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { readRoster, reviewFleet } from "../../origin-answers.ts";
import type { OriginClient } from "../../origin-client.ts";
import type { Output } from "../../output.ts";
import type { CommonOptions } from "../../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../../verb.ts";
import { readFleetText, warningLines } from "./check.ts";
import { answerReview, publishReviewed, type PublishingOptions, withPublishing } from "./publishing.ts";
import { readWholeFleet, type WholeFleet } from "./zone-files.ts";

export function addApply(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "apply <file>",
    summary: "publish a fleet document as the next version",
    more: [
      "Shows the changes and asks for confirmation. Without a terminal, changes that only add something are published;",
      "all others require --yes. The first version is published without confirmation.",
      "",
      "The origin refuses (exit status 4) a document that takes the last live address from a name, removes a zone that",
      "is being served, or removes the last live node of a site. Use --force to publish it anyway.",
      "",
      "The document is checked on this machine first; a document with problems is not sent. Zone files that it names",
      "(`file`), and the files that those include, are published as part of the document.",
    ].join("\n"),
    examples: [
      "fleet apply fleet.yaml",
      "fleet apply fleet.yaml --dry-run",
      "fleet apply fleet.yaml --yes --if-version 41",
    ],
  });
  return withPublishing(withOrigin(verb)).action(async (file: string, options: PublishingOptions) => {
    const output = outputOf(cli, options);
    const valid = await readValid(file);
    const { done, warnings } = await withClient(cli, options, async (client) => {
      const told = await tellWarnings(output, valid, client);
      const { text } = valid;
      return {
        done: await publishReviewed(cli, options, client, { text }, ({ additive }) => additive),
        warnings: told,
      };
    });
    if (done.outcome === "reviewed") {
      answerReview(cli, options, done.review, { file, warnings });
      return;
    }
    if (done.outcome === "unchanged") {
      const { version, unchanged } = done.review;
      output.answer({ version, unchanged, warnings }, () => [
        `version ${version ?? "?"} already has this text: nothing was published`,
      ]);
    } else {
      const { changes, dangers } = done.review;
      output.answer({ ...done.published, changes, dangers, warnings }, () => [
        `published as version ${done.published.version} (${done.published.summary})`,
      ]);
    }
    cli.end(exitCodes.ok);
  });
}

export function addDiff(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "diff <file>",
    summary: "show what a fleet document would change, without publishing it",
    more: "The same as `fleet apply --dry-run`. Exit status 4: the origin would refuse the document.",
    examples: ["fleet diff fleet.yaml", "fleet diff fleet.yaml --json"],
  });
  return withOrigin(verb).action(async (file: string, options: CommonOptions) => {
    const valid = await readValid(file);
    const { review, warnings } = await withClient(cli, options, async (client) => {
      const told = await tellWarnings(outputOf(cli, options), valid, client);
      return { review: await reviewFleet(client, { text: valid.text }, undefined), warnings: told };
    });
    answerReview(cli, options, review, { file, warnings });
  });
}

interface ValidFleet extends Pick<WholeFleet, "text" | "warnings" | "lineOf"> {
  readonly fleet: Fleet;
}

/** Nodes that joined have addresses, too: only the origin's roster shows which are missing. */
async function tellWarnings(output: Output, valid: ValidFleet, client: OriginClient): Promise<ValueProblem[]> {
  const ofReview = warningsOf(valid.fleet, await readRoster(client));
  const warnings = [...valid.warnings, ...ofReview.map((one) => withLine(one, valid.lineOf))];
  for (const line of warningLines(warnings)) output.note(line);
  return warnings;
}

/** @throws CommandFailure with all problems */
async function readValid(file: string): Promise<ValidFleet> {
  const { checked, warnings, text, lineOf } = readWholeFleet(file, await readFleetText(file));
  if (checked.ok) return { text, warnings, lineOf, fleet: checked.value };
  const { problems } = checked;
  throw new CommandFailure(
    exitCodes.usage,
    `${file} has ${counted(problems.length, "problem")}; nothing was published`,
    { lines: problemLines(problems) },
  );
}
