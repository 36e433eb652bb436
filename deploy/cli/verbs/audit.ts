/** `nearcast audit`: who changed what, from the origin's records. */
import { command } from "#base/command-name.ts";
import { nearest } from "#base/did-you-mean.ts";
import { auditKindOf, auditKinds, formerAuditKinds } from "#base/audit-kinds.ts";
import { type Command, InvalidArgumentError } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { auditLines } from "./audit/audit-view.ts";
import { readAudit } from "../origin-answers.ts";
import type { CommonOptions } from "../settings.ts";
import { readSince } from "../times.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../verb.ts";

interface AuditOptions extends CommonOptions {
  since?: (nowMs: number) => number;
  name?: string;
  kind?: string;
  author?: string;
  limit: number;
}

/** @throws InvalidArgumentError that suggests the kind that was probably meant */
function readKind(text: string): string {
  if (auditKinds.some((kind) => kind === text) || formerAuditKinds.some((kind) => kind === text)) {
    return auditKindOf(text);
  }
  const meant = nearest(text, auditKinds);
  const hint = meant === undefined ? "." : `; did you mean ${meant}?`;
  throw new InvalidArgumentError(`It must be one of ${auditKinds.join(", ")}${hint}`);
}

export function addAudit(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "audit",
    summary: "show who changed what and when",
    more: [
      `The origin records each change with the ID of the token used (see \`${command} token list\`), the author that`,
      "the client claims to be, and the client's address. Only the token is proof. Behind a proxy, the address is the",
      "proxy's unless listen.trustedProxies of the origin lists that proxy. If the table is wider than the terminal,",
      "each entry takes several lines; --json prints every detail. --name also finds the purges of a prefix, of a host",
      "or of everything that cover the name.",
    ].join("\n"),
    examples: [
      "audit --since 2h",
      "audit --name shop/chair.jpg --kind purge",
      "audit --since 2026-11-01 --author ada --json",
    ],
  });
  withOrigin(verb)
    .option("--since <time>", "only entries since then: 45m, 2h, 7d, 2026-11-01 or 2026-11-01T08:30", readSince)
    .option("--name <name>", "only entries about this picture, node, host or tag")
    .option("--kind <kind>", `only entries of this kind: ${auditKinds.join(", ")}`, readKind)
    .option("--author <name>", "only entries by this author")
    .option("--limit <count>", "maximum number of entries, newest first", wholeNumber(1, 100_000), 50)
    .action(async ({ since, name, kind, author, limit, ...options }: AuditOptions) => {
      const output = outputOf(cli, options);
      const sinceMs = since?.(cli.clock.wallMs());
      const query = { name, kind, author, since: sinceMs === undefined ? undefined : new Date(sinceMs).toISOString() };
      const { entries, hasMore } = await withClient(
        cli,
        options,
        async (client) => await readAudit(client, query, limit),
      );
      output.answer({ entries, hasMore }, () => [
        ...auditLines(entries, cli.stdout.columns),
        ...(hasMore ? [`there are older entries: --limit ${limit * 2}`] : []),
      ]);
      cli.end(exitCodes.ok);
    });
}
