/**
 * Queries nodes in one of two ways:
 *
 *   admin     through their admin listeners, which are on loopback: from a node's machine, or as named by --admin
 *   origin    the origin asks them over their feed connection: from anywhere, with the writer token
 *
 * --admin selects the first way, and can't be combined with --node or --site. Without it, the nodes of this machine are
 * asked at their admin listeners unless other nodes are selected; if no node is known here, the origin asks.
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

/** The answer of one node, or of one of its processes. */
export interface Reply {
  /** The node's own name, `fra1` or `fra1.2`; its admin URL if only that is known. */
  name: string;
  site: string | undefined;
  /** Where the node was asked: the URL of its admin listener, or of the origin. */
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
 * @param isOne ask only the first of the selected nodes
 * @throws CommandFailure when the origin can't be reached or refuses, or a selected node does not exist
 */
export async function askNodes(question: NodeQuestion, options: NodeOptions, cli: Cli, isOne = false): Promise<Asked> {
  const here = await localNodes(options, cli);
  if (here === undefined) return { way: "origin", replies: await askByOrigin(question, options, cli, isOne) };
  return await askThere(question, isOne ? here.slice(0, 1) : here);
}

/** Like askNodes(), when the origin does not answer: asks only nodes of this machine, or those that --admin names. */
export async function askNodesHere(question: NodeQuestion, options: NodeOptions, cli: Cli): Promise<Asked | undefined> {
  const here = await localNodes(options, cli);
  return here === undefined ? undefined : await askThere(question, here);
}

async function askThere(question: NodeQuestion, nodes: readonly NodePlace[]): Promise<Asked> {
  return { way: "admin", replies: await Promise.all(nodes.map(async (node) => await askByAdmin(question, node))) };
}

/** How the nodes were asked, for people. */
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

/** The failure of a verb that needs the answer of this node. */
export function failureOf(name: string, answer: NodeReply & { outcome: "failed" }): CommandFailure {
  if (answer.cause !== undefined) return answer.cause;
  const isRefused = ["refused", "unproven", "too-large", "malformed"].includes(answer.kind);
  return new CommandFailure(
    isRefused ? exitCodes.refused : exitCodes.unreachable,
    `node ${name} did not answer (${answer.kind}): ${answer.reason}`,
    { code: answer.kind.toUpperCase().replaceAll("-", "_") },
  );
}
