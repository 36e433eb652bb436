/**
 * Questions to nodes, over one of two ways:
 *
 *   admin     their admin listeners, which are on loopback: from the machine of a node, or where --admin names them
 *   origin    the origin asks them over the feed that they hold open: from anywhere, with the writer's token
 *
 * --admin decides for the first, and goes with neither --node nor --site. Without it, nodes of this machine are asked
 * at their admin listeners unless others are selected; where no node is known here, the origin asks.
 */
import type { NodeQuestion } from "#follow/channel/messages.ts";
import { adminTargetOf } from "#follow/channel/admin-target.ts";
import { askAdmin } from "./admin-client.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { askOverOrigin, type RelayedAnswer } from "./origin-answers.ts";
import { type CommonOptions, findNodes, type NodePlace } from "./settings.ts";
import { type Cli, withClient } from "./verb.ts";

export type Way = "admin" | "origin";

export interface NodeOptions extends CommonOptions {
  admin?: string[];
  node?: string[];
  site?: string[];
}

/** What one node, or one of its processes, said. */
export interface Reply {
  /** As the node calls itself, `fra1` or `fra1.2`; its admin URL where only that is known. */
  name: string;
  site: string | undefined;
  /** Where it was asked: the URL of its admin listener, or the origin's. */
  at: string;
  answer: NodeReply;
}

export type NodeReply =
  | { outcome: "answered"; status: number; body: Record<string, unknown> }
  /** `kind`: away, refused, timed-out, too-large, malformed, unproven, or unreachable. */
  | { outcome: "failed"; kind: string; reason: string; cause?: CommandFailure };

export interface Asked {
  way: Way;
  replies: Reply[];
}

/**
 * @param isOne ask the first only of the nodes that are selected
 * @throws CommandFailure when the origin can't be reached or refuses, or a selected node does not exist
 */
export async function askNodes(question: NodeQuestion, options: NodeOptions, cli: Cli, isOne = false): Promise<Asked> {
  const here = await localNodes(options, cli);
  if (here === undefined) return { way: "origin", replies: await askByOrigin(question, options, cli, isOne) };
  return await askThere(question, isOne ? here.slice(0, 1) : here);
}

/** The same, where the origin is known not to answer: only nodes of this machine, and those that --admin names. */
export async function askNodesHere(question: NodeQuestion, options: NodeOptions, cli: Cli): Promise<Asked | undefined> {
  const here = await localNodes(options, cli);
  return here === undefined ? undefined : await askThere(question, here);
}

async function askThere(question: NodeQuestion, nodes: readonly NodePlace[]): Promise<Asked> {
  return { way: "admin", replies: await Promise.all(nodes.map(async (node) => await askByAdmin(question, node))) };
}

/** How the nodes were asked, in words. */
export function wayText({ way, replies }: Asked): string {
  if (way === "admin") return "asked at the admin listeners of the nodes";
  return `asked through the origin at ${replies[0]?.at ?? "?"}`;
}

/** Undefined: ask through the origin. */
async function localNodes(options: NodeOptions, cli: Cli): Promise<NodePlace[] | undefined> {
  const known = await findNodes(options, cli.environment);
  if (options.node === undefined && options.site === undefined) return known.length === 0 ? undefined : known;
  const isSelected = ({ name, site }: NodePlace): boolean =>
    options.node?.includes(name) === true || (site !== undefined && options.site?.includes(site) === true);
  const selected = known.filter(isSelected);
  const isAllHere = options.site === undefined && selected.length === new Set(options.node).size;
  return isAllHere ? selected : undefined;
}

async function askByAdmin(question: NodeQuestion, node: NodePlace): Promise<Reply> {
  const about = { name: node.name, site: node.site, at: node.adminUrl };
  try {
    return { ...about, answer: { outcome: "answered", ...(await askAdmin(node, adminTargetOf(question))) } };
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return { ...about, answer: { outcome: "failed", kind: "unreachable", reason: error.message, cause: error } };
  }
}

async function askByOrigin(question: NodeQuestion, options: NodeOptions, cli: Cli, isOne: boolean): Promise<Reply[]> {
  return await withClient(cli, options, async (client) => {
    const { node: nodes, site: sites } = options;
    const answers = await askOverOrigin(client, {
      question,
      ...(nodes === undefined ? {} : { nodes }),
      ...(sites === undefined ? {} : { sites }),
      first: isOne,
    });
    return answers.map((answer) => ({
      name: processName(answer),
      site: answer.site,
      at: client.url,
      answer: replyOf(answer),
    }));
  });
}

function processName({ node, process }: RelayedAnswer): string {
  return process === undefined || process === 0 ? node : `${node}.${process}`;
}

function replyOf({ outcome, status, body, reason }: RelayedAnswer): NodeReply {
  if (outcome === "answered" && status !== undefined && typeof body === "object" && body !== null) {
    return { outcome, status, body: { ...body } };
  }
  return { outcome: "failed", kind: outcome, reason: reason ?? "its answer can't be read" };
}

/** Why a verb ends that needs the answer of this one node. */
export function failureOf(name: string, answer: NodeReply & { outcome: "failed" }): CommandFailure {
  if (answer.cause !== undefined) return answer.cause;
  const isRefused = ["refused", "unproven", "too-large", "malformed"].includes(answer.kind);
  return new CommandFailure(
    isRefused ? exitCodes.refused : exitCodes.unreachable,
    `node ${name} did not answer (${answer.kind}): ${answer.reason}`,
    { code: answer.kind.toUpperCase().replaceAll("-", "_") },
  );
}
