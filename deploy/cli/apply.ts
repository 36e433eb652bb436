/** `nearcast apply`: publish a fleet document as the next version; every edge has it within a second. */
import { problemLines } from "#base/schema.ts";
import type { Command } from "commander";
import { readFleetText, warningLines } from "./check.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { publishFleet } from "./origin-api.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";
import { readWholeFleet } from "./zone-files.ts";

export function addApply(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "apply <file>",
    summary: "publish a fleet document as the next version",
    more: [
      "The document is checked here first; nothing is sent while it has problems.",
      "Zone files that it names (`file`), and what they include, are put into it: each version is whole.",
    ].join("\n"),
    examples: ["apply fleet.yaml"],
  });
  withOrigin(verb).action(async (file: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const { checked, warnings, text } = readWholeFleet(file, await readFleetText(file));
    for (const line of warningLines(warnings)) output.note(line);
    if (!checked.ok) {
      const { problems } = checked;
      throw new CommandFailure(
        exitCodes.usage,
        `${file} has ${problems.length} problem${problems.length === 1 ? "" : "s"}; nothing was published`,
        { lines: problemLines(problems) },
      );
    }
    const published = await withClient(cli, options, async (client) => await publishFleet(client, text));
    output.answer(published, () => [
      published.unchanged
        ? `version ${published.version} has this very text already: nothing was published`
        : `published as version ${published.version}: ${published.summary}`,
    ]);
    cli.end(exitCodes.ok);
  });
}
