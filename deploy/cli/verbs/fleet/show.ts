/** `nearcast fleet show`: prints the fleet document as it was published. */
import { parseFleet } from "#document/read-document.ts";
import type { Command } from "commander";
import { exitCodes } from "../../exit-codes.ts";
import { readFleet } from "../../origin-answers.ts";
import type { CommonOptions } from "../../settings.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../../verb.ts";
import { noSuchRelease } from "./no-such-version.ts";

export function addShow(parent: Command, cli: Cli): Command {
  const verb = addVerb(parent, {
    usage: "show",
    summary: "print the current fleet document, or an earlier version",
    more: [
      "Prints the text as its author wrote it, with the zone files included. --json adds the version, time, author and",
      "`document`: the parsed document with all defaults, or null if this release can no longer read it.",
    ].join("\n"),
    examples: ["fleet show", "fleet show --version 41 > fleet.yaml", "fleet show --json"],
  });
  return withOrigin(verb)
    .option("--version <number>", "version to print (default: the newest)", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .action(async (options: CommonOptions & { version?: number }) => {
      const output = outputOf(cli, options);
      const { version } = options;
      const found = await withClient(cli, options, async (client) => {
        const text = await readFleet(client, version);
        // If there is no version at all, the requested number does not matter.
        if (text === undefined) throw await noSuchRelease(client, version ?? 1);
        return text;
      });
      const parsed = parseFleet(found.text);
      output.document({ ...found, document: parsed.ok ? parsed.value : null }, found.text);
      cli.end(exitCodes.ok);
    });
}
