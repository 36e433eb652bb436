/**
 * `nearcast remove`: takes a node that joined out of the fleet, without a client noticing.
 *
 *   drain ──▶ wait until no resolver has an answer with it ──▶ out of the roster ──▶ "now stop it"
 *
 * Stopped on the way it leaves the node drained; run again, it begins with the wait.
 */
import { command } from "#base/command-name.ts";
import { parseFleet } from "#fleet/read-document.ts";
import { dangersOf } from "#fleet/review/dangers.ts";
import { type FleetWarning, warningsOf } from "#fleet/review/warnings.ts";
import { type Roster, withRoster } from "#fleet/roster.ts";
import type { Command } from "commander";
import { setTimeout as pause } from "node:timers/promises";
import { longestTtlSeconds } from "./drain.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { warningLines } from "./fleet/check.ts";
import { readFleet, readRoster, removeNode, setDraining } from "./origin-api.ts";
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
      "It first says which nameservers and names would lose their last address. Then it drains the node, waits until",
      "no resolver has an answer with its address any more, and takes it out. Then stop nearcast on its machine.",
      "A node of the fleet document is taken out of that instead.",
    ].join("\n"),
    examples: ["remove fra2", "remove fra2 --now"],
  });
  withOrigin(verb)
    .option("--now", "do not wait: the machine is dead, or nobody asks it")
    .action(async (node: string, options: RemoveOptions) => {
      const output = outputOf(cli, options);
      const { removed, warnings } = await withClient(cli, options, async (client) => {
        const left = await whatIsLeft(client, await mustHaveJoined(client, node), node);
        for (const line of warningLines(left)) output.note(line);
        if (options.now !== true) await letClientsLeave(cli, options, client, node);
        return { removed: await removeNode(client, node), warnings: left };
      });
      output.answer({ ...removed, warnings }, () => [
        `${node} is out of the fleet (revision ${removed.revision} of the roster); stop nearcast on its machine now`,
      ]);
      cli.end(exitCodes.ok);
    });
}

/** What is wrong once the node is gone and was not before: nameservers that point nowhere, names without an address. */
async function whatIsLeft(client: OriginClient, roster: Roster, node: string): Promise<FleetWarning[]> {
  const newest = await readFleet(client);
  const parsed = newest === undefined ? undefined : parseFleet(newest.text);
  if (parsed?.ok !== true) return [];
  const document = parsed.value;
  const without = { ...roster, nodes: roster.nodes.filter(({ name }) => name !== node) };
  const before = new Set(warningsOf(document, roster).map(({ path, message }) => `${path} ${message}`));
  const lost = dangersOf(withRoster(document, roster), withRoster(document, without), () => true);
  return [
    ...warningsOf(document, without).filter(({ path, message }) => !before.has(`${path} ${message}`)),
    ...lost.map(({ kind, name, message }) => ({
      path: kind,
      value: name,
      message,
      advice: "let another node join first, or take it out of the fleet document",
    })),
  ];
}

/** Asked before anything is drained. @throws CommandFailure with what there is */
async function mustHaveJoined(client: OriginClient, node: string): Promise<Roster> {
  const roster = await readRoster(client);
  const { nodes } = roster;
  if (nodes.some(({ name }) => name === node)) return roster;
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
    output.redraw(line(left));
    await pause(1000);
  }
  output.redraw(undefined);
}
