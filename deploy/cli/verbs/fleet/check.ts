/** `nearcast fleet check`: validates a fleet document and reports all problems at once; nothing is sent anywhere. */
import { counted } from "#base/counted.ts";
import { problemLines, type ValueProblem } from "#base/schema.ts";
import { withLine } from "#base/yaml-lines.ts";
import { systemReason } from "#base/system-reason.ts";
import type { Fleet } from "#document/document.ts";
import type { FleetWarning } from "#review/fleet-warning.ts";
import { warningsOf } from "#review/warnings.ts";
import type { Command } from "commander";
import { readFile } from "node:fs/promises";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import type { CommonOptions } from "../../settings.ts";
import { addVerb, type Cli, outputOf, withOrigin } from "../../verb.ts";
import { rosterAtHand } from "./known-roster.ts";
import { readWholeFleet } from "./zone-files.ts";

export function addCheck(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "check <file>",
    summary: "check a fleet document and list all its problems",
    more: [
      "Each problem takes one line: its place in the document, the value, and what is allowed. Zone files that the",
      "document names are checked as well; they must be in the document's directory or below it.",
      "The document is not sent anywhere. If an origin is configured, `check` asks it which nodes have joined, so that",
      "their addresses do not cause warnings.",
    ].join("\n"),
    examples: ["fleet check fleet.yaml", "fleet check fleet.yaml --json"],
  });
  return withOrigin(verb).action(async (file: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const { checked, warnings: found, lineOf } = readWholeFleet(file, await readFleetText(file));
    const ofReview = checked.ok ? await reviewWarnings(cli, options, checked.value) : [];
    const warnings = [...found, ...ofReview.map((one) => withLine(one, lineOf))];
    for (const line of warningLines(warnings)) output.note(line);
    if (checked.ok) {
      output.answer({ file, ok: true, problems: [], warnings, ...countsOf(checked.value) }, () => [
        `${file} is valid: ${countsText(checked.value)}`,
      ]);
    } else {
      const { problems } = checked;
      output.answer({ file, ok: false, problems, warnings }, () => [
        `${file} has ${counted(problems.length, "problem")}:`,
        ...problemLines(problems).map((line) => `  ${line}`),
      ]);
    }
    cli.end(checked.ok ? exitCodes.ok : exitCodes.usage);
  });
}

async function reviewWarnings(cli: Cli, options: CommonOptions, fleet: Fleet): Promise<FleetWarning[]> {
  const { roster, problem } = await rosterAtHand(cli, options);
  const warnings = warningsOf(fleet, roster);
  if (problem !== undefined && warnings.length > 0) {
    outputOf(cli, options).note(`note: the nodes that joined are unknown, so some warnings may be wrong: ${problem}`);
  }
  return warnings;
}

/** A thousand lines would hide the answer; the JSON contains all of them. */
const warningsShownMax = 20;

/** Warnings about a document that is valid. */
export function warningLines(warnings: readonly (ValueProblem & { readonly advice?: string })[]): string[] {
  const rest = warnings.length - warningsShownMax;
  const lines = warnings.slice(0, warningsShownMax).map((warning) => {
    const { advice } = warning;
    return `warning: ${problemLines([warning]).join()}${advice === undefined ? "" : ` (${advice})`}`;
  });
  return rest > 0 ? [...lines, `and ${rest} more warnings`] : lines;
}

/** The file's text, or a failure with the reason. */
export async function readFleetText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const says = code === "ENOENT" ? `there is no file "${file}"` : `${file} can't be read: ${systemReason(error)}`;
    throw new CommandFailure(exitCodes.usage, says, { cause: error });
  }
}

function countsOf(fleet: Fleet): Record<"zones" | "sites" | "nodes" | "hosts" | "steered", number> {
  return {
    zones: fleet.zones.length,
    sites: fleet.sites.length,
    nodes: fleet.sites.reduce((sum, site) => sum + site.nodes.length, 0),
    hosts: fleet.hosts.length,
    steered: fleet.steering.length,
  };
}

function countsText(fleet: Fleet): string {
  const counts = countsOf(fleet);
  return [
    counted(counts.zones, "zone"),
    counted(counts.sites, "site"),
    // Nodes that joined are in the roster, not in the document: "0 nodes" would look wrong.
    ...(counts.nodes === 0 ? [] : [counted(counts.nodes, "node")]),
    counted(counts.hosts, "host"),
    counted(counts.steered, "steered name"),
  ].join(", ");
}
