/**
 * `nearcast explain`: why a node answers as it does. For a URL: host, variant, key and tier. For a name: which
 * addresses DNS gives to a client, and by which rule.
 */
import type { Command } from "commander";
import { nearest } from "#base/did-you-mean.ts";
import { askNodes, failureOf, type NodeOptions, wayText } from "../ask-nodes.ts";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { nameLines } from "./explain/explain-name.ts";
import { unknownPicture, urlLines } from "./explain/explain-url.ts";
import { hasImage, someNames } from "../origin-answers.ts";
import { withDates } from "../output.ts";
import { addVerb, type Cli, outputOf, withClient, withNodes, withOrigin } from "../verb.ts";

/** The Accept field of Chrome for a picture; Firefox and Safari list the same formats. */
const browserAccept = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";

interface ExplainOptions extends NodeOptions {
  from?: string;
  type: string;
  accept?: string;
}

export function addExplain(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "explain <URL|NAME>",
    summary: "explain how a node answers a URL or a DNS name",
    more: [
      "A URL is explained for a common browser, unless --accept gives another Accept field. A name is explained for",
      "the client --from, or for this machine. `explain` asks one node: the one selected by --node, --site or --admin,",
      "else the node on this machine, else the first node that is connected to the origin.",
      "",
      "For a name, the table has one row per site:",
      "  KM      distance from the client",
      "  KEEPS   the share of its clients that the site still gets (100 % unless it is full)",
      "  WEIGHT  the weight, where sites share clients",
      "  CHOICE  chosen; or its rank (2 is where clients go when rank 1 sheds them); or not a candidate (the site is",
      "          down, or not allowed for this name)",
      "The scope is the client network that gets the same answer; the TTL is how long resolvers may cache it.",
    ].join("\n"),
    examples: [
      "explain 'http://img.cdn.test/sample.jpg?w=640' --accept image/avif",
      "explain img.cdn.test --from 133.11.1.1 --site nyc",
    ],
  }).usage("[options] <URL|NAME>");
  withNodes(withOrigin(verb))
    .option("--from <ip>", "for a name: address or network of the client")
    .option("--type <type>", "for a name: record type", "A")
    .option("--accept <value>", "for a URL: Accept field of the client (default: that of a common browser)")
    .action(async (target: string, options: ExplainOptions) => {
      const output = outputOf(cli, options);
      const isUrl = /^https?:\/\//i.test(target);
      if (!isUrl && target.includes("/")) {
        throw new CommandFailure(
          exitCodes.usage,
          `"${target}" is neither a URL that starts with http:// nor a DNS name`,
        );
      }
      const { accept = browserAccept, type, from: ip } = options;
      const question = isUrl
        ? { kind: "explain-url" as const, url: target, accept }
        : { kind: "explain-name" as const, name: target, type, ...(ip === undefined ? {} : { ip }) };
      const asked = await askNodes(question, options, cli, true);
      const [reply] = asked.replies;
      if (reply === undefined) throw new CommandFailure(exitCodes.failed, "the fleet has no node to ask");
      if (reply.answer.outcome === "failed") throw failureOf(reply.name, reply.answer);
      const { status } = reply.answer;
      const body = withDates(reply.answer.body) as Readonly<Record<string, unknown>>;
      if (status >= 400) {
        const [detail, title, code] = [body["detail"], body["title"], body["code"]].map((text) =>
          typeof text === "string" ? text : undefined,
        );
        throw new CommandFailure(
          status >= 500 ? exitCodes.failed : exitCodes.refused,
          `node ${reply.name}: ${detail ?? title ?? `status ${status}`}`,
          code === undefined ? {} : { code },
        );
      }
      const { reason } = body;
      if (body["outcome"] === "invalid" && typeof reason === "string") {
        throw new CommandFailure(exitCodes.usage, `node ${reply.name}: ${reason}`);
      }
      const client = isUrl
        ? { accept, acceptIs: options.accept === undefined ? "a common browser's" : "as given" }
        : {};
      // Our own knowledge comes last, so that the node can't override it.
      output.answer({ ...body, ...client, node: reply.name, asked: asked.way }, () => [
        ...(isUrl && options.accept === undefined
          ? [`for a common browser, which sends Accept: ${accept} (use --accept for another client)`, ""]
          : []),
        ...(isUrl ? urlLines(body) : nameLines(body)),
        `(answered by node ${reply.name}, ${wayText(asked)})`,
      ]);
      const hint = isUrl ? await hintOfPicture(unknownPicture(body), options, cli) : undefined;
      if (hint !== undefined) output.note(hint);
      cli.end(exitCodes.ok);
    });
}

/** How many names are searched for a similar one. */
const namesMax = 1000;

/** Says that the origin has no such picture, and which one was probably meant; empty if the origin can't be asked. */
async function hintOfPicture(name: string | undefined, options: ExplainOptions, cli: Cli): Promise<string | undefined> {
  if (name === undefined) return undefined;
  try {
    return await withClient(cli, options, async (client) => {
      if (await hasImage(client, name)) return undefined;
      const folder = name.slice(0, name.lastIndexOf("/") + 1);
      const names = await someNames(client, folder, namesMax);
      const alike = nearest(name, names) ?? nearest(name, await someNames(client, "", namesMax));
      return `the origin has no picture "${name}"${alike === undefined ? "" : `; did you mean "${alike}"?`}`;
    });
  } catch (error) {
    if (error instanceof CommandFailure) return undefined;
    throw error;
  }
}
