/**
 * `nearcast explain`: why a node answers as it does. A URL: which host, variant and key, from which tier. A name:
 * which addresses DNS gives to a client, and by which rule.
 */
import type { Command } from "commander";
import { askAdmin } from "./admin-client.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { nameLines } from "./explain-name.ts";
import { type CommonOptions, findNodes, type NodePlace } from "./settings.ts";
import { addVerb, type Cli, outputOf, withAdmin, withDataDir } from "./verb.ts";

interface ExplainOptions extends CommonOptions {
  admin?: string[];
  node?: string;
  from?: string;
  type: string;
  accept?: string;
}

export function addExplain(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "explain <target>",
    summary: "say why a node answers a URL or a DNS name as it does",
    more: [
      "A URL is explained by the HTTP side, a name by DNS: for the client --from, else for this machine.",
      "The first node in --data is asked, or the one that --node or --admin names.",
    ].join("\n"),
    examples: [
      "explain 'http://img.cdn.test/sample.jpg?w=640' --accept image/avif",
      "explain img.cdn.test --from 133.11.1.1",
    ],
  }).usage("[options] <URL|NAME>");
  withAdmin(withDataDir(verb))
    .option("--node <name>", "which node of --data to ask")
    .option("--from <ip>", "for a name: the client's address or network")
    .option("--type <type>", "for a name: the record type", "A")
    .option("--accept <value>", "for a URL: the client's Accept header")
    .action(async (target: string, options: ExplainOptions) => {
      const output = outputOf(cli, options);
      const node = await pickNode(options, cli);
      const isUrl = /^https?:\/\//i.test(target);
      if (!isUrl && target.includes("/")) {
        throw new CommandFailure(exitCodes.usage, `"${target}" is neither a whole URL (http://…) nor a DNS name`);
      }
      const { status, body } = isUrl
        ? await askAdmin(node, "/explain", { url: target, accept: options.accept })
        : await askAdmin(node, "/explain/dns", { name: target, type: options.type, ip: options.from });
      if (status >= 400) {
        const [detail, title, code] = [body["detail"], body["title"], body["code"]].map((text) =>
          typeof text === "string" ? text : undefined,
        );
        throw new CommandFailure(
          status >= 500 ? exitCodes.failed : exitCodes.refused,
          `node ${node.name}: ${detail ?? title ?? `status ${status}`}`,
          code === undefined ? {} : { code },
        );
      }
      output.answer({ node: node.name, ...body }, () => [
        ...(isUrl ? treeLines(body) : nameLines(body)),
        `(said by node ${node.name})`,
      ]);
      cli.end(body["outcome"] === "invalid" ? exitCodes.usage : exitCodes.ok);
    });
}

async function pickNode(options: ExplainOptions, cli: Cli): Promise<NodePlace> {
  const nodes = await findNodes(options, cli.environment);
  const node = options.node === undefined ? nodes[0] : nodes.find(({ name }) => name === options.node);
  if (node !== undefined) return node;
  throw new CommandFailure(
    exitCodes.usage,
    options.node === undefined ? "no node is known here" : `there is no node "${options.node}" in the folder`,
    {
      lines: [
        ...(nodes.length === 0 ? [] : [`Known: ${nodes.map(({ name }) => name).join(", ")}`]),
        "Name one by --admin URL, or the folder of `nearcast up` by --data DIR.",
      ],
    },
  );
}

/** Nested values as indented lines, `key  value`. */
function treeLines(value: Readonly<Record<string, unknown>>, indent = ""): string[] {
  const isShown = (inner: unknown): boolean =>
    inner !== null && inner !== undefined && !(Array.isArray(inner) && inner.length === 0);
  const shown = Object.entries(value).filter(([, inner]) => isShown(inner));
  const width = Math.max(0, ...shown.map(([key]) => key.length));
  return shown.flatMap(([key, inner]) => {
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
      return [`${indent}${key}`, ...treeLines(inner as Record<string, unknown>, `${indent}  `)];
    }
    const text = Array.isArray(inner)
      ? inner.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")
      : String(inner);
    return [`${indent}${key.padEnd(width)}  ${text}`];
  });
}
