/** `nearcast secret rotate`: makes the origin create a new fleet secret, which every edge gets within a second. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { rotateSecret } from "../origin-answers.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, oneOf, outputOf, withClient, withOrigin } from "../verb.ts";

export function addSecret(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "secret",
    summary: "replace the fleet secret; the previous one stays valid until the next rotation",
    more: [
      "All edges share the fleet secret: they derive DNS cookies and the keys between nodes from it. Rotate it when",
      "you give away a machine that had it. After a break-in, rotate it twice, some minutes apart, and replace the",
      `edge token as well (${command} token rotate edge --now). The secret itself is never shown;`,
      `\`${command} status\` shows the start of its ID for each node.`,
    ].join("\n"),
    examples: ["secret rotate"],
  });
  withOrigin(verb)
    .argument("<rotate>", "the action", oneOf(["rotate"]))
    .action(async (_action: string, options: CommonOptions) => {
      const output = outputOf(cli, options);
      const rotated = await withClient(cli, options, rotateSecret);
      output.answer(rotated, () => [
        `the fleet secret is now ${rotated.id}; ${rotated.previousId} is still accepted, older ones are not ` +
          `(event ${rotated.seq} of the feed; connected edges use it within a second)`,
      ]);
      cli.end(exitCodes.ok);
    });
}
