/** `nearcast status`: the state of the origin, and the fleet as the asked nodes see it. */
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { askNodes, askNodesHere, type Asked, type NodeOptions, wayText } from "../ask-nodes.ts";
import { CommandFailure, type ExitCode, exitCodes } from "../exit-codes.ts";
import { type Witness, witnessOf } from "../node-status.ts";
import { createOriginClient } from "../origin-client.ts";
import { readFleet } from "../origin-answers.ts";
import { findOrigin } from "../settings.ts";
import { type OriginState, statusLines } from "./status/status-view.ts";
import { addVerb, type Cli, outputOf, withNodes, withOrigin } from "../verb.ts";

/** A status request must not wait long for something that hangs; the origin has this answer at hand. */
const originAnswerTimeoutMs = 4000;

type StatusOptions = NodeOptions & { map?: boolean };

export function addStatus(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "status",
    summary: "show the sites and nodes: state, load, release, feed position and announcements",
    more: [
      "On a node, `status` asks the admin listener of that node; elsewhere, the origin asks all nodes. The answer of",
      "one node describes the whole fleet as that node sees it. `status` reports sites that nodes see differently.",
      "",
      "The nodes that were asked:",
      "  ASKED     the node",
      "  STATE     ready, draining, removed, not ready, or why it did not answer, such as away: not connected to the",
      "            origin",
      "  FLEET     the version of the fleet document in use",
      "  FEED      live, replaying (catching up on missed events) or disconnected",
      "  EVENT     the last event applied",
      "  MEMORY    bytes cached in memory",
      "  DISK      bytes cached on disk",
      "  SECRET    the start of the fleet secret's ID; the same on all nodes",
      "  LEASE     the prefixes announced over BGP, or the state of the session",
      "  HTTPS     the number of certificates, and the day when the first one expires; -: the node serves no HTTPS",
      "  ASKED AT  the admin listener that answered, or the origin that passed the question on",
      "The sites, as the first of these nodes sees them:",
      "  FULL      the load; 100 % is the site's capacity",
      "  REQ/S     requests per second",
      "  KEEPS     the share of its clients that DNS still sends to a full site",
      "  UP        nodes that are up, out of all nodes",
      "  ADDRESSES what DNS returns for the site",
      "The nodes, as that node sees them:",
      "  LOOP      the delay of the main thread or of its lanes; a few ms are normal",
      "  QUEUE     renderings that wait",
      "  RELEASE   the release of nearcast that it runs",
      "  ANNOUNCES the prefixes announced over BGP",
      "  REASON    why the node is in this state",
      "",
      "Exit status 1: a node is not ready or does not prove its identity. Exit status 3: the origin or a node is",
      "unreachable. Exit status 4: the origin refuses the token.",
    ].join("\n"),
    examples: ["status", "status --map", "status --site fra", "status --admin http://10.0.3.1:8081 --json"],
  });
  withNodes(withOrigin(verb).option("--map", "draw the sites on a map of the world")).action(
    async (options: StatusOptions) => {
      const output = outputOf(cli, options);
      const { origin, failure } = await originState(options, cli);
      const asked = await ask(failure, options, cli);
      const witnesses = asked.replies.map((reply) => witnessOf(reply, asked.way));
      const value = {
        origin,
        asked: asked.way,
        nodes: witnesses.map(jsonOf),
      };
      output.answer(value, () => statusLines(origin, witnesses, options.map === true));
      for (const line of closingLines(asked, failure)) output.note(line);
      cli.end(endOf(failure, witnesses));
    },
  );
}

/** Only an origin that answered can report that there are no nodes. */
function closingLines(asked: Asked, failure: CommandFailure | undefined): string[] {
  if (asked.replies.length > 0) return [`(${wayText(asked)})`];
  if (failure === undefined) return ["The fleet has no nodes yet."];
  return [
    `No node could be asked: ${failure.message}`,
    ...failure.lines.map((line) => `  ${line}`),
    `  While the origin is down, run \`${command} status\` on a node: there, it asks the node itself.`,
  ];
}

/** `failure`: why nobody could ask it. */
interface OriginAnswer {
  readonly origin: OriginState;
  readonly failure: CommandFailure | undefined;
}

async function originState(options: StatusOptions, cli: Cli): Promise<OriginAnswer> {
  const place = await findOrigin(options, cli.environment);
  const client = createOriginClient(place, { answerTimeoutMs: originAnswerTimeoutMs });
  try {
    // Not the list of versions: with the edge token, as on a node, only the document is readable.
    const newest = await readFleet(client);
    return {
      origin: { url: place.url, isReached: true, reason: undefined, fleetVersion: newest?.version },
      failure: undefined,
    };
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return {
      origin: { url: place.url, isReached: false, reason: error.message, fleetVersion: undefined },
      failure: error,
    };
  } finally {
    await client.close();
  }
}

/** An unreachable origin is reported in its own line, and not waited for again. */
async function ask(failure: CommandFailure | undefined, options: StatusOptions, cli: Cli): Promise<Asked> {
  if (failure?.exitCode === exitCodes.unreachable) {
    return (await askNodesHere({ kind: "status" }, options, cli)) ?? { way: "origin", replies: [] };
  }
  try {
    return await askNodes({ kind: "status" }, options, cli);
  } catch (error) {
    if (error instanceof CommandFailure && failure !== undefined) return { way: "origin", replies: [] };
    throw error;
  }
}

/** Our own knowledge about a node comes before its answer, so it can't take another node's name. */
function jsonOf({ name, site, at, answer }: Witness): unknown {
  const isReached = answer.outcome === "answered";
  return {
    ...(isReached ? answer.body : { kind: answer.kind, reason: answer.reason }),
    name,
    site: site ?? (isReached ? answer.status.site : undefined),
    // Where the node was asked; the name is from before nodes could be asked through the origin.
    adminUrl: at,
    reached: isReached,
  };
}

/** Failures of nodes that were reachable. */
const reachedKinds = ["unproven", "malformed"];

function endOf(failure: CommandFailure | undefined, witnesses: readonly Witness[]): ExitCode {
  const failures = witnesses.flatMap(({ answer }) => (answer.outcome === "answered" ? [] : [answer.kind]));
  if (failure?.exitCode === exitCodes.refused) return exitCodes.refused;
  if (failure !== undefined || failures.some((kind) => !reachedKinds.includes(kind))) return exitCodes.unreachable;
  const isReady = witnesses.every(({ answer }) => answer.outcome === "answered" && answer.status.ready === true);
  return isReady ? exitCodes.ok : exitCodes.failed;
}
