/**
 * `nearcast fleet apply`: publish a fleet document as the next version; every edge has it within a second.
 * `nearcast fleet diff`: only say what that would change.
 */
import { problemLines, type ValueProblem } from "#base/schema.ts";
import { withLine } from "#base/yaml-lines.ts";
import type { Fleet } from "#document/document.ts";
import { warningsOf } from "#review/warnings.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { readRoster, reviewFleet } from "../origin-api.ts";
import type { OriginClient } from "../origin-client.ts";
import type { Output } from "../output.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";
import { readFleetText, warningLines } from "./check.ts";
import { answerReview, publishReviewed, type PublishingOptions, withPublishing } from "./publishing.ts";
import { readWholeFleet, type WholeFleet } from "./zone-files.ts";

export function addApply(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "apply <file>",
    summary: "publish a fleet document as the next version",
    more: [
      "Shows what changes and asks before it publishes. Without a terminal nobody can be asked: what only adds is",
      "published, anything else needs --yes. A first version is published without a question.",
      "",
      "The origin refuses (status 4) a document that takes the last live address from a name, removes a zone that is",
      "served, or leaves a site with live nodes without any, until you add --force.",
      "",
      "The document is checked here first; nothing is sent while it has problems. Zone files that it names (`file`),",
      "and what they include, are put into it, so each version is whole.",
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
        `version ${version ?? "?"} has this very text already: nothing was published`,
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
    summary: "say what a fleet document would change, and whether the origin would refuse it",
    more: "The same as `fleet apply --dry-run`: status 4 when it would be refused, and nothing is published.",
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

/** Nodes that joined have addresses, too: which of them are missing, only the origin's roster tells. */
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
    `${file} has ${problems.length} problem${problems.length === 1 ? "" : "s"}; nothing was published`,
    { lines: problemLines(problems) },
  );
}
