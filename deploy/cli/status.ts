/** `nearcast status`: the origin, and the fleet as the nodes see it that are known here. */
import type { Command } from "commander";
import { askAdmin } from "./admin-client.ts";
import { CommandFailure, type ExitCode, exitCodes } from "./exit-codes.ts";
import { createOriginClient } from "./origin-client.ts";
import { readFleet } from "./origin-api.ts";
import { type CommonOptions, findNodes, findOrigin, type NodePlace } from "./settings.ts";
import { type OriginState, type Reached, statusLines } from "./status-view.ts";
import { addVerb, type Cli, outputOf, withAdmin, withOrigin } from "./verb.ts";

type StatusOptions = CommonOptions & { admin?: string[]; map?: boolean };

export function addStatus(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "status",
    summary: "show sites, nodes and their states, load, release, feed position and announcements",
    more: [
      "One node's answer describes the whole fleet as that node sees it; it says where others see a site differently.",
      "Exit code 3 when the origin or an asked node can't be reached, 1 when an asked node is not ready.",
    ].join("\n"),
    examples: ["status", "status --map", "status --admin http://10.0.3.1:8081 --json"],
  });
  withAdmin(withOrigin(verb).option("--map", "draw the sites on a map of the world")).action(
    async (options: StatusOptions) => {
      const output = outputOf(cli, options);
      const nodes = await findNodes(options, cli.environment);
      const [origin, ...reached] = await Promise.all([
        originState(options, cli),
        ...nodes.map(async (place) => ({ place, reached: await reach(place) })),
      ]);
      const value = {
        origin,
        nodes: reached.map(({ place, reached: one }) => ({
          name: place.name,
          adminUrl: place.adminUrl,
          ...(one.ok ? { reached: true, ...one.status } : { reached: false, reason: one.reason }),
        })),
      };
      output.answer(value, () => statusLines(origin, reached, options.map === true));
      if (nodes.length === 0) {
        output.note("No node is known here: name them by --admin URL, or the folder of `nearcast up` by --data DIR.");
      }
      cli.end(endOf(origin, reached));
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

async function reach(node: NodePlace): Promise<Reached> {
  try {
    const { status, body } = await askAdmin(node, "/status");
    return status === 200 ? { ok: true, status: body } : { ok: false, reason: `its admin listener answers ${status}` };
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return { ok: false, reason: error.message };
  }
}

function endOf(origin: OriginState, nodes: readonly { reached: Reached }[]): ExitCode {
  if (!origin.isReached || nodes.some(({ reached }) => !reached.ok)) return exitCodes.unreachable;
  const isReady = nodes.every(({ reached }) => reached.ok && reached.status["ready"] === true);
  return isReady ? exitCodes.ok : exitCodes.failed;
}
