/**
 * `nearcast remove`: takes a node that joined out of the fleet, without a client noticing.
 *
 *   drain ──▶ wait until no resolver has an answer with it ──▶ out of the roster ──▶ "now stop it"
 *
 * Stopped on the way it leaves the node drained; run again, it begins with the wait.
 */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { setTimeout as pause } from "node:timers/promises";
import { longestTtlSeconds } from "./drain.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { readRoster, removeNode, setDraining } from "./origin-api.ts";
import type { OriginClient } from "./origin-client.ts";
import type { CommonOptions } from "./settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "./verb.ts";

/** Until the last edge has heard of it by the feed and gives new answers. */
const hearingSeconds = 2;

interface RemoveOptions extends CommonOptions {
  now?: boolean;
}

export function addRemove(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "remove <node>",
    summary: "take a node that joined out of the fleet",
    more: [
      "Drains it, waits until no resolver has an answer with its address any more, and only then takes it out; what",
      "runs on the machine is stopped there, afterwards. A node of the fleet document is taken out of that instead.",
    ].join("\n"),
    examples: ["remove fra2", "remove fra2 --now"],
  });
  withOrigin(verb)
    .option("--now", "do not wait: the machine is dead, or nobody asks it")
    .action(async (node: string, options: RemoveOptions) => {
      const output = outputOf(cli, options);
      const removed = await withClient(cli, options, async (client) => {
        await mustHaveJoined(client, node);
        if (options.now !== true) await letClientsLeave(cli, options, client, node);
        return await removeNode(client, node);
      });
      output.answer(removed, () => [
        `${node} is out of the fleet (revision ${removed.revision} of the roster); stop nearcast on its machine now`,
      ]);
      cli.end(exitCodes.ok);
    });
}

/** Asked before anything is drained. @throws CommandFailure with what there is */
async function mustHaveJoined(client: OriginClient, node: string): Promise<void> {
  const { nodes } = await readRoster(client);
  if (nodes.some(({ name }) => name === node)) return;
  const joined = nodes.map(({ name }) => name);
  throw new CommandFailure(exitCodes.refused, `no node of the name ${node} joined by itself`, {
    code: "NOT_FOUND",
    lines: [
      joined.length === 0 ? "None did." : `These did: ${joined.slice(0, 100).join(", ")}`,
      `A node of the fleet document is taken out there: edit fleet.yaml, then \`${command} fleet apply fleet.yaml\`.`,
    ],
  });
}

async function letClientsLeave(cli: Cli, options: RemoveOptions, client: OriginClient, node: string): Promise<void> {
  const output = outputOf(cli, options);
  await setDraining(client, node, true);
  const waitSeconds = (await longestTtlSeconds(client)) + hearingSeconds;
  const line = (seconds: number): string => `${node} is drained; clients with old answers come for ${seconds} s more`;
  if (!output.isInteractive) {
    output.note(line(waitSeconds));
    await pause(waitSeconds * 1000);
    return;
  }
  for (let left = waitSeconds; left > 0; left -= 1) {
    cli.stderr.write(`\r${line(left)} `);
    await pause(1000);
  }
  cli.stderr.write(`\r\u001b[K`); // the line is done with
}
