/** `nearcast token`: lists the tokens that the origin accepts, creates new ones, and retires older ones. */
import { command } from "#base/command-name.ts";
import { writeAtomic } from "#base/atomic-file.ts";
import { counted } from "#base/counted.ts";
import type { Command } from "commander";
import { access, constants, readFile, realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { confirm, isAtTerminal } from "../confirm.ts";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { type LateNode, nodesWithoutToken } from "../nodes-without-token.ts";
import { type AcceptedToken, readTokens, retireTokens, rotateToken } from "../origin-answers.ts";
import { tableLines, timeText } from "../output.ts";
import { type CommonOptions, findOrigin } from "../settings.ts";
import { readLength } from "../times.ts";
import { addVerb, type Cli, oneOf, outputOf, withClient, withOrigin } from "../verb.ts";

interface TokenOptions extends CommonOptions {
  overlap?: number;
  now?: boolean;
  byHand?: boolean;
  save?: string;
  yes?: boolean;
}

/** How many nodes are named before the older tokens expire. */
const nodesShownMax = 20;

export function addToken(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "token",
    summary: "list, rotate and retire the origin's tokens",
    more: [
      "list    shows the accepted tokens and the addresses that used them.",
      "rotate  makes a new token. The older one stays valid for 24 hours (tokens.overlapHours of the origin, or",
      "        --overlap). Edges fetch a new edge token within seconds and write it to their token file. A new writer",
      "        token is written to the token file that this command uses.",
      "retire  revokes the older tokens at once. For edge tokens it lists the nodes that may not have the new one and",
      "        asks for confirmation; without a terminal, --yes is required.",
      "",
      "After a break-in, use --now: whoever stole the old edge token could fetch the new one as well. You then need",
      "to copy the new token to the token file of each edge (no restart needed). --by-hand keeps the overlap, but does",
      "not hand out the new token. A token is never printed: --save FILE writes it to a file that only you can read.",
    ].join("\n"),
    examples: [
      "token list",
      "token rotate edge",
      "token rotate edge --now --save edge.token",
      "token rotate writer --overlap 2h",
      "token retire edge",
    ],
  });
  withOrigin(verb)
    .argument("<list|rotate|retire>", "the action", oneOf(["list", "rotate", "retire"]))
    .argument("[edge|writer]", "the token to rotate or retire", oneOf(["edge", "writer"]))
    .option("--overlap <time>", "how long the older token stays valid, such as 2h", readLength)
    .option("--now", "revoke the older token at once")
    .option("--by-hand", "do not let edges fetch the new token; copy it to each of them yourself")
    .option("--save <file>", "write the new token to this file, with mode 600")
    .option("--yes", "retire: do not ask, even if nodes may lack the new token")
    .action(async (action: string, kind: string | undefined, options: TokenOptions) => {
      if (action === "list") await list(cli, options);
      else if (kind === undefined) {
        throw new CommandFailure(
          exitCodes.usage,
          `which token? ${command} token ${action} edge, or ${command} token ${action} writer`,
        );
      } else if (action === "rotate") await rotate(cli, kind, options);
      else await retire(cli, kind, options);
      cli.end(exitCodes.ok);
    });
}

async function list(cli: Cli, options: TokenOptions): Promise<void> {
  const output = outputOf(cli, options);
  const tokens = await withClient(cli, options, readTokens);
  output.answer({ tokens }, () => tableLines(["TOKEN", "ID", "STATE", "MADE", "LAST USED", "FROM"], tokens.map(rowOf)));
}

/** How many addresses one cell shows; --json lists all of them. */
const addressesShownMax = 8;

function rowOf({ kind, id, current, createdAt, expiresAt, lastUsedAt, usedFrom }: AcceptedToken): string[] {
  const state = current ? "current" : `older, until ${timeText(expiresAt ?? "")}`;
  const more = usedFrom.length - addressesShownMax;
  const from = usedFrom.slice(0, addressesShownMax).join(" ") + (more > 0 ? ` and ${more} more` : "");
  return [
    kind,
    id,
    state,
    timeText(createdAt),
    lastUsedAt === undefined ? "not since the origin started" : timeText(lastUsedAt),
    from === "" ? "-" : from,
  ];
}

async function rotate(cli: Cli, kind: string, options: TokenOptions): Promise<void> {
  const { overlap, now = false, byHand = false } = options;
  if (now && overlap !== undefined) {
    throw new CommandFailure(exitCodes.usage, "--now and --overlap exclude each other: give only one");
  }
  const output = outputOf(cli, options);
  const own = kind === "writer" ? (await findOrigin(options, cli.environment)).tokenFile : undefined;
  const file = options.save ?? own;
  // Before anything changes: a token that can't be written would be lost.
  if (file !== undefined) await mustBeWritable(file);
  const overlapMs = now ? 0 : overlap;
  const wanted = {
    ...(overlapMs === undefined ? {} : { overlapSeconds: Math.round(overlapMs / 1000) }),
    handOut: !byHand,
  };
  const { token, id, olderUntil } = await withClient(
    cli,
    options,
    async (client) => await rotateToken(client, kind, wanted),
  );
  if (file !== undefined) await save(file, token);
  const isFetched = kind === "edge" && !byHand && olderUntil !== undefined;
  output.answer({ kind, id, olderUntil: olderUntil ?? null, file: file ?? null, fetched: isFetched }, () => [
    `the ${kind} token is now ${id}; ` +
      (olderUntil === undefined
        ? "older ones are no longer accepted"
        : `older ones are accepted until ${timeText(olderUntil)}`),
    ...(file === undefined ? [] : [`it was written to ${file}`]),
    ...(isFetched
      ? ["the edges fetch it automatically", `to see who still uses an older one: ${command} token list`]
      : []),
    ...(kind === "edge" && !isFetched
      ? [
          `write it into origin.tokenFile of each ` +
            `edge${file === undefined ? ": it is secrets/edge.token at the origin" : ""}`,
        ]
      : []),
  ]);
}

async function retire(cli: Cli, kind: string, options: TokenOptions): Promise<void> {
  const output = outputOf(cli, options);
  const answer = await withClient(cli, options, async (client) => {
    if (kind === "edge" && options.yes !== true) {
      const nodes = await nodesWithoutToken(client);
      if (nodes.length > 0) await mustBeAgreed(cli, options, nodes);
    }
    return await retireTokens(client, kind);
  });
  output.answer(answer, () => [
    answer.retired === 0
      ? `there is no older ${kind} token`
      : `retired ${counted(answer.retired, `older ${kind} token`)}`,
  ]);
}

/** @throws CommandFailure when nobody confirms */
async function mustBeAgreed(cli: Cli, options: TokenOptions, nodes: readonly LateNode[]): Promise<void> {
  const output = outputOf(cli, options);
  for (const { name, why } of nodes.slice(0, nodesShownMax)) output.note(`warning: node ${name} ${why}`);
  if (nodes.length > nodesShownMax) output.note(`and ${nodes.length - nodesShownMax} more nodes`);
  const advice =
    "The origin would refuse such a node until you copy the new token to its token file. " +
    "Start the node and wait until it has fetched the token, or `remove` it from the fleet.";
  const count = counted(nodes.length, "node");
  if (isAtTerminal(cli)) {
    if (await confirm(cli, `Retire the older edge tokens although ${count} may not have the new one?`)) return;
    throw new CommandFailure(exitCodes.failed, "no token was retired", { lines: [advice] });
  }
  throw new CommandFailure(
    exitCodes.usage,
    `no token was retired: ${count} may not have the new one, and there is no terminal to ask for confirmation`,
    { lines: [advice, "Use --yes to retire the older tokens anyway."] },
  );
}

async function mustBeWritable(file: string): Promise<void> {
  try {
    await access(dirname(await realPathOf(file)), constants.W_OK);
  } catch (error) {
    throw new CommandFailure(exitCodes.usage, `${file} can't be written: ${(error as Error).message}`, {
      cause: error,
      lines: ["Nothing was changed. Give another file: --save FILE"],
    });
  }
}

async function save(file: string, token: string): Promise<void> {
  const path = await realPathOf(file);
  // The origin's own file, on its machine: the origin has already written it.
  const there = await readFile(path, "utf8").catch(() => "");
  if (there.trim() === token) return;
  await writeAtomic(path, `${token}\n`, { mode: 0o600, durable: true });
}

/** The target of a link, so that the link stays. */
async function realPathOf(file: string): Promise<string> {
  return await realpath(file).catch(() => file);
}
