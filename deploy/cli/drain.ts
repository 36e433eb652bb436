/** `nearcast drain`: a node gets no new clients, whoever runs it; it goes on to serve those that still come. */
import { command } from "#base/command-name.ts";
import { parseFleet } from "#fleet/read-document.ts";
import type { Command } from "commander";
import { exitCodes } from "./exit-codes.ts";
import { readFleet, setDraining } from "./origin-api.ts";
import type { OriginClient } from "./origin-client.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";

/** Where the document can't be read: the default of a steered name. */
const ttlSecondsDefault = 30;

export function addDrain(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "drain <node>",
    summary: "stop sending new clients to a node, until `undrain`",
    more: [
      "For work on one machine: DNS stops answering with the node, its peers ask others, and it still serves whoever",
      "comes. Nodes of the fleet document can be drained as well as those that joined.",
    ].join("\n"),
    examples: ["drain fra2", "drain fra2 && sleep 30 && ssh fra2 sudo systemctl restart nearcast-edge"],
  });
  withOrigin(verb).action(async (node: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const answer = await withClient(cli, options, async (client) => {
      const { revision } = await setDraining(client, node, true);
      return { name: node, draining: true, revision, oldAnswersSeconds: await longestTtlSeconds(client) };
    });
    output.answer(answer, () => [
      `${node} is drained (revision ${answer.revision} of the roster): edges hear of it within a second, and DNS ` +
        "then gives it to no new clients",
      `those with old answers come for up to ${answer.oldAnswersSeconds} s more`,
      `afterwards: ${command} undrain ${node}`,
    ]);
    cli.end(exitCodes.ok);
  });
}

/** So long resolvers may still give an answer of before: the longest TTL of the fleet's steered names. */
export async function longestTtlSeconds(client: OriginClient): Promise<number> {
  const newest = await readFleet(client);
  const parsed = newest === undefined ? undefined : parseFleet(newest.text);
  if (parsed?.ok !== true) return ttlSecondsDefault;
  return parsed.value.steering.reduce((longest, { ttlSeconds }) => Math.max(longest, ttlSeconds), 0);
}
