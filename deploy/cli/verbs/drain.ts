/** `nearcast drain`: a node gets no new clients, and continues to serve those that still come. */
import { command } from "#base/command-name.ts";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { namesDrainedInVain } from "#review/drained-in-vain.ts";
import { withRoster } from "#document/roster.ts";
import type { Command } from "commander";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { askOverOrigin, readFleet, readRoster, setDraining } from "../origin-answers.ts";
import type { OriginClient } from "../origin-client.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

/** Used when the document can't be read: the default TTL of a steered name. */
const ttlSecondsDefault = 30;

export function addDrain(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "drain <node>",
    summary: "stop sending new clients to a node",
    more: [
      "Use this before you work on a machine: DNS stops handing out the node's address, its peers stop asking it, and",
      `it still serves every request that arrives. \`${command} undrain\` ends it. You can drain nodes that joined and`,
      "nodes in the fleet document.",
    ].join("\n"),
    examples: ["drain fra2", "drain fra2 && sleep 30 && ssh fra2 sudo systemctl restart nearcast-edge"],
  });
  withOrigin(verb).action(async (node: string, options: CommonOptions) => {
    const output = outputOf(cli, options);
    const answer = await withClient(cli, options, async (client) => {
      const { revision } = await setDraining(client, node, true);
      const document = await newestDocument(client);
      const oldAnswersSeconds = longestTtlSecondsOf(document);
      const stillNamedFor = document === undefined ? [] : await namesInVain(client, document, node);
      return { name: node, draining: true, revision, oldAnswersSeconds, stillNamedFor };
    });
    const { stillNamedFor } = answer;
    if (stillNamedFor.length > 0) output.note(warningOf(node, stillNamedFor));
    output.answer(answer, () => [
      `${node} is drained (roster revision ${answer.revision})` +
        (stillNamedFor.length > 0 ? "" : ": within a second, DNS stops handing out its address"),
      `clients with cached answers may still arrive for up to ${answer.oldAnswersSeconds} s`,
      `to undo this: ${command} undrain ${node}`,
    ]);
    cli.end(exitCodes.ok);
  });
}

/** How many names the warning lists; --json lists all of them. */
const namesShownMax = 3;

function warningOf(node: string, names: readonly string[]): string {
  const more = names.length - namesShownMax;
  const shown = names.slice(0, namesShownMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
  return (
    `warning: DNS still hands out ${node} for ${shown}: as far as the origin knows, no other node there is up ` +
    "(start another node, or let one join, before you stop this one)"
  );
}

/** The node is already drained, so this verb does not fail if it can't find out which nodes are up. */
async function namesInVain(client: OriginClient, document: Fleet, node: string): Promise<string[]> {
  try {
    const fleet = withRoster(document, await readRoster(client));
    const answers = await askOverOrigin(client, { question: { kind: "status" } });
    const away = new Set(answers.flatMap((one) => (one.outcome === "away" ? [one.node] : [])));
    return namesDrainedInVain(fleet, node, (name) => !away.has(name));
  } catch (error) {
    if (error instanceof CommandFailure) return [];
    throw error;
  }
}

/** Resolvers may give old answers for this long: the longest TTL of the fleet's steered names. */
export async function longestTtlSeconds(client: OriginClient): Promise<number> {
  return longestTtlSecondsOf(await newestDocument(client));
}

function longestTtlSecondsOf(document: Fleet | undefined): number {
  if (document === undefined) return ttlSecondsDefault;
  return document.steering.reduce((longest, { ttlSeconds }) => Math.max(longest, ttlSeconds), 0);
}

/** Undefined: there is none, or this release can't read it. */
async function newestDocument(client: OriginClient): Promise<Fleet | undefined> {
  const newest = await readFleet(client);
  const parsed = newest === undefined ? undefined : parseFleet(newest.text);
  return parsed?.ok === true ? parsed.value : undefined;
}
