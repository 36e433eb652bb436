/**
 * `nearcast remove`: removes a node that joined, without clients noticing.
 *
 *   drain ──▶ wait until no resolver has an answer with it ──▶ out of the roster ──▶ "now stop it"
 *
 * If interrupted, it leaves the node drained; the next run continues with the wait.
 */
import { command } from "#base/command-name.ts";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { dangersOf, type FleetDanger } from "#review/dangers.ts";
import type { FleetWarning } from "#review/fleet-warning.ts";
import { warningsOf } from "#review/warnings.ts";
import { type Roster, withRoster } from "#document/roster.ts";
import type { Command } from "commander";
import { setTimeout as pause } from "node:timers/promises";
import { confirm, isAtTerminal } from "../confirm.ts";
import { longestTtlSeconds } from "./drain.ts";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { warningLines } from "./fleet/check.ts";
import { dangerLines } from "./fleet/publishing.ts";
import { readFleet, readRoster, removeNode, setDraining } from "../origin-answers.ts";
import type { OriginClient } from "../origin-client.ts";
import type { CommonOptions } from "../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../verb.ts";

/** Until the last edge has received the event and gives new answers. */
const hearingSeconds = 2;

interface RemoveOptions extends CommonOptions {
  now?: boolean;
  yes?: boolean;
}

export function addRemove(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "remove <node>",
    summary: "remove a node that joined from the fleet",
    more: [
      "First lists the sites, names and nameservers that would lose their last address, and asks for confirmation;",
      "without a terminal, --yes is required. Then drains the node, waits until resolvers have dropped its address,",
      "and removes it. Stop nearcast on its machine afterwards. To remove a node of the fleet document, edit it.",
    ].join("\n"),
    examples: ["remove fra2", "remove fra2 --now", "remove nyc1 --yes"],
  });
  withOrigin(verb)
    .option("--now", "do not wait for resolvers: the machine is dead or has no clients")
    .option("--yes", "do not ask, even if something loses its last address")
    .action(async (node: string, options: RemoveOptions) => {
      const output = outputOf(cli, options);
      const { removed, losses } = await withClient(cli, options, async (client) => {
        const roster = await mustHaveJoined(client, node);
        const newest = await readFleet(client);
        const parsed = newest === undefined ? undefined : parseFleet(newest.text);
        const document = parsed?.ok === true ? parsed.value : undefined;
        mustNotStandIn(document, node);
        const found = document === undefined ? { dangers: [], warnings: [] } : lossesOf(document, roster, node);
        const lines = [...dangerLines(found.dangers), ...warningLines(found.warnings)];
        for (const line of lines) output.note(line);
        if (lines.length > 0) await mustBeAgreed(cli, options, node);
        if (options.now !== true) await letClientsLeave(cli, options, client, node);
        return { removed: await removeNode(client, node), losses: found };
      });
      output.answer({ ...removed, ...losses }, () => [
        `removed ${node} from the fleet (roster revision ${removed.revision}); now stop nearcast on its machine`,
      ]);
      cli.end(exitCodes.ok);
    });
}

interface Losses {
  readonly dangers: readonly FleetDanger[];
  readonly warnings: readonly FleetWarning[];
}

/** What breaks only once the node is gone: names without an address, nameservers that lead nowhere. */
function lossesOf(document: Fleet, roster: Roster, node: string): Losses {
  const without = { ...roster, nodes: roster.nodes.filter(({ name }) => name !== node) };
  const before = new Set(warningsOf(document, roster).map(({ path, message }) => `${path} ${message}`));
  return {
    dangers: dangersOf(withRoster(document, roster), withRoster(document, without), () => true),
    warnings: warningsOf(document, without).filter(({ path, message }) => !before.has(`${path} ${message}`)),
  };
}

/** @throws CommandFailure when nobody confirms */
async function mustBeAgreed(cli: Cli, options: RemoveOptions, node: string): Promise<void> {
  if (options.yes === true) return;
  const advice = "Let another node join first, or remove what depends on this node from the fleet document.";
  if (isAtTerminal(cli)) {
    if (await confirm(cli, `Remove ${node} from the fleet anyway?`)) return;
    throw new CommandFailure(exitCodes.failed, `${node} was not removed`, { lines: [advice] });
  }
  throw new CommandFailure(
    exitCodes.usage,
    `${node} was not removed: something would lose its last address, and there is no terminal to ask for confirmation`,
    { lines: [advice, "Use --yes to remove it anyway."] },
  );
}

/** Checked before anything is drained. @throws CommandFailure with the existing nodes */
async function mustHaveJoined(client: OriginClient, node: string): Promise<Roster> {
  const roster = await readRoster(client);
  const { nodes } = roster;
  if (nodes.some(({ name }) => name === node)) return roster;
  const joined = nodes.map(({ name }) => name);
  throw new CommandFailure(exitCodes.refused, `no node named "${node}" has joined`, {
    code: "NOT_FOUND",
    lines: [
      joined.length === 0 ? "No node has joined." : `Nodes that joined: ${joined.slice(0, 100).join(", ")}`,
      `To remove a node of the fleet document, edit fleet.yaml and run \`${command} fleet apply fleet.yaml\`.`,
    ],
  });
}

/**
 * A node in the fleet document would continue to serve without its roster entry. @throws CommandFailure with what to do
 */
function mustNotStandIn(document: Fleet | undefined, node: string): void {
  const at = document?.sites.findIndex((site) => site.nodes.some(({ name }) => name === node)) ?? -1;
  if (at === -1) return;
  throw new CommandFailure(exitCodes.refused, `${node} has joined and is also in the fleet document`, {
    code: "NODE_CONFLICT",
    lines: [
      `Remove it from sites[${at}].nodes in fleet.yaml and run \`${command} fleet apply fleet.yaml\`.`,
      `It then keeps serving as a node that joined: run \`${command} remove ${node}\` again.`,
    ],
  });
}

async function letClientsLeave(cli: Cli, options: RemoveOptions, client: OriginClient, node: string): Promise<void> {
  const output = outputOf(cli, options);
  await setDraining(client, node, true);
  const waitSeconds = (await longestTtlSeconds(client)) + hearingSeconds;
  const line = (seconds: number): string =>
    `${node} is drained; clients with cached answers may still arrive for ${seconds} s`;
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
