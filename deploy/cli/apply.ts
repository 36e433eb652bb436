/** `nearcast apply`: publish a fleet document as the next version; every edge has it within a second. */
import { problemLines, type ValueProblem } from "#base/schema.ts";
import { inlineZoneFiles } from "#fleet/inline-zone-files.ts";
import { parseFleet } from "#fleet/read-document.ts";
import type { Command } from "commander";
import { readFleetText, warningLines } from "./check.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { publishFleet } from "./origin-api.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";
import { zoneTextReader } from "./zone-files.ts";

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
    const text = wholeFleetText(file, await readFleetText(file), output.note);
    const published = await withClient(cli, options, async (client) => await publishFleet(client, text));
    output.answer(published, () => [
      published.unchanged
        ? `version ${published.version} has this very text already: nothing was published`
        : `published as version ${published.version}: ${published.summary}`,
    ]);
    cli.end(exitCodes.ok);
  });
}

/**
 * The document with its zone files in it.
 * @throws CommandFailure with all its problems
 */
function wholeFleetText(file: string, written: string, note: (line: string) => void): string {
  const readZoneText = zoneTextReader(file);
  const warnings: ValueProblem[] = [];
  const checked = parseFleet(written, { readZoneText, warn: (warning) => warnings.push(warning) });
  warningLines(warnings).forEach(note);
  if (!checked.ok) throw hasProblems(file, checked.problems);
  const whole = inlineZoneFiles(written, readZoneText);
  if (whole === written) return written;
  // What the origin will say of it: too large, for one, which it was not without the files.
  const again = parseFleet(whole);
  if (!again.ok) throw hasProblems(`${file}, with its zone files in it,`, again.problems);
  return whole;
}

function hasProblems(what: string, problems: readonly ValueProblem[]): CommandFailure {
  const message = `${what} has ${problems.length} problem${problems.length === 1 ? "" : "s"}; nothing was published`;
  return new CommandFailure(exitCodes.usage, message, { lines: problemLines(problems) });
}
