/** `nearcast undrain`: a drained node gets clients again. */
import type { Command } from "commander";
import { exitCodes } from "./exit-codes.ts";
import { setDraining } from "./origin-api.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";

export function addUndrain(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "undrain <node>",
    summary: "let a drained node have clients again",
    examples: ["undrain fra2"],
  });
  withOrigin(verb).action(async (node: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const undrained = await withClient(cli, options, async (client) => await setDraining(client, node, false));
    output.answer(undrained, () => [
      `${node} gets clients again (revision ${undrained.revision} of the roster): ` +
        "edges hear of it within a second, and DNS names it again once their probes find it up",
    ]);
    cli.end(exitCodes.ok);
  });
}
