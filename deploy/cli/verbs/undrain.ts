/** `nearcast undrain`: a drained node gets clients again. */
import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { setDraining } from "../origin-answers.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

export function addUndrain(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "undrain <node>",
    summary: "send clients to a drained node again",
    examples: ["undrain fra2"],
  });
  withOrigin(verb).action(async (node: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const undrained = await withClient(cli, options, async (client) => await setDraining(client, node, false));
    output.answer(undrained, () => [
      `${node} is no longer drained (roster revision ${undrained.revision}): ` +
        "DNS hands out its address again as soon as the other nodes find it up",
    ]);
    cli.end(exitCodes.ok);
  });
}
