/** `nearcast status`: the origin, and the fleet as the nodes see it that are asked. */
import type { Command } from "commander";
import { askNodes, type Asked, type NodeOptions, wayText } from "./ask-nodes.ts";
import { CommandFailure, type ExitCode, exitCodes } from "./exit-codes.ts";
import { type Witness, witnessOf } from "./node-status.ts";
import { createOriginClient } from "./origin-client.ts";
import { readFleet } from "./origin-api.ts";
import { findOrigin } from "./settings.ts";
import { type OriginState, statusLines } from "./status-view.ts";
import { addVerb, type Cli, outputOf, withNodes, withOrigin } from "./verb.ts";

type StatusOptions = NodeOptions & { map?: boolean };

export function addStatus(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "status",
    summary: "show sites, nodes and their states, load, release, feed position and announcements",
    more: [
      "One node's answer describes the whole fleet as that node sees it; the output says where others see a site",
      "differently. On a node its own admin listener is asked; elsewhere the origin asks all nodes.",
      "Exit code 3 when the origin or a node can't be reached, 1 when a node is not ready or does not prove who it is.",
    ].join("\n"),
    examples: ["status", "status --map", "status --site fra", "status --admin http://10.0.3.1:8081 --json"],
  });
  withNodes(withOrigin(verb).option("--map", "draw the sites on a map of the world")).action(
    async (options: StatusOptions) => {
      const output = outputOf(cli, options);
      const origin = await originState(options, cli);
      const asked = await ask(origin, options, cli);
      const witnesses = asked.replies.map((reply) => witnessOf(reply, asked.way));
      const value = {
        origin,
        asked: asked.way,
        nodes: witnesses.map(jsonOf),
      };
      output.answer(value, () => statusLines(origin, witnesses, options.map === true));
      output.note(asked.replies.length === 0 ? "The fleet has no nodes yet." : `(${wayText(asked)})`);
      cli.end(endOf(origin, witnesses));
    },
  );
}

async function originState(options: StatusOptions, cli: Cli): Promise<OriginState> {
  const place = await findOrigin(options, cli.environment);
  const client = createOriginClient(place);
  try {
    // Not the list of versions: with the edges' token, as on a node, only the document may be read.
    const newest = await readFleet(client);
    return { url: place.url, isReached: true, reason: undefined, fleetVersion: newest?.version };
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return { url: place.url, isReached: false, reason: error.message, fleetVersion: undefined };
  } finally {
    await client.close();
  }
}

/** That the origin can't be reached is told in its own line. */
async function ask(origin: OriginState, options: StatusOptions, cli: Cli): Promise<Asked> {
  try {
    return await askNodes({ kind: "status" }, options, cli);
  } catch (error) {
    if (error instanceof CommandFailure && !origin.isReached) return { way: "origin", replies: [] };
    throw error;
  }
}

/** What we know of a node ourselves stands before what it says: it can't take another's name. */
function jsonOf({ name, site, at, answer }: Witness): unknown {
  const isReached = answer.outcome === "answered";
  return {
    ...(isReached ? answer.body : { kind: answer.kind, reason: answer.reason }),
    name,
    site: site ?? (isReached ? answer.status.site : undefined),
    // Where it was asked; programs knew it by this name before nodes could be asked through the origin.
    adminUrl: at,
    reached: isReached,
  };
}

/** Failures of a node that can be reached. */
const reachedKinds = ["unproven", "malformed"];

function endOf(origin: OriginState, witnesses: readonly Witness[]): ExitCode {
  const failures = witnesses.flatMap(({ answer }) => (answer.outcome === "answered" ? [] : [answer.kind]));
  if (!origin.isReached || failures.some((kind) => !reachedKinds.includes(kind))) return exitCodes.unreachable;
  const isReady = witnesses.every(({ answer }) => answer.outcome === "answered" && answer.status.ready === true);
  return isReady ? exitCodes.ok : exitCodes.failed;
}
