/** `nearcast secret rotate`: have the origin make a new fleet secret, which every edge takes within a second. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { exitCodes } from "./exit-codes.ts";
import { rotateSecret } from "./origin-api.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, oneOf, outputOf, withClient, withOrigin } from "./verb.ts";

export function addSecret(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "secret",
    summary: "make a new fleet secret; the one before is accepted until the next time",
    more: [
      "The fleet secret is what all edges share and nobody else knows; DNS cookies are made from it. Rotate it when a",
      "machine that had it is given away or was broken into: twice then, some minutes apart, and give the edges a new",
      `token, too (${command} token rotate edge --now). The secret is never shown, only its id, whose beginning`,
      `\`${command} status\` shows for each node.`,
    ].join("\n"),
    examples: ["secret rotate"],
  });
  withOrigin(verb)
    .argument("<rotate>", "what to do", oneOf(["rotate"]))
    .action(async (_action: string, options: CommonOptions) => {
      const output = outputOf(cli, options);
      const rotated = await withClient(cli, options, rotateSecret);
      output.answer(rotated, () => [
        `the fleet secret is now ${rotated.id}; ${rotated.previousId} is still accepted, older ones are not ` +
          `(event ${rotated.seq} of the feed, connected edges follow within a second)`,
      ]);
      cli.end(exitCodes.ok);
    });
}
