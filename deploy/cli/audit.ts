/** `nearcast audit`: who changed what, as the origin recorded it. */
import { command } from "#base/command-name.ts";
import { type Command, Option } from "commander";
import { auditKinds } from "#base/audit-kinds.ts";
import { exitCodes } from "./exit-codes.ts";
import { type AuditEntry, readAudit } from "./origin-api.ts";
import { tableLines, timeText } from "./output.ts";
import type { CommonOptions } from "./settings.ts";
import { readSince } from "./times.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "./verb.ts";

interface AuditOptions extends CommonOptions {
  since?: (nowMs: number) => number;
  name?: string;
  kind?: string;
  author?: string;
  limit: number;
}

/** The origin's kinds, origin/catalogue/audit.ts; an origin of another release says itself which it knows. */
const kindsHint = auditKinds.join(", ");

export function addAudit(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "audit",
    summary: "show who changed what, and when",
    more: [
      `The origin records each change with the token that was used (its id, as \`${command} token list\` shows it),`,
      "the author that the client named, and the client's address. The author proves nothing; the token does. Behind",
      "a proxy the address is the proxy's, unless listen.trustedProxies of the origin names it.",
      "--name finds purges by prefix, by host and of everything, too, when they cover the name.",
    ].join("\n"),
    examples: [
      "audit --since 2h",
      "audit --name shop/chair.jpg --kind purge",
      "audit --since 2026-11-01 --author ada --json",
    ],
  });
  withOrigin(verb)
    .option("--since <time>", "no older ones: 45m, 2h, 7d, 2026-11-01 or 2026-11-01T08:30", readSince)
    .option("--name <name>", "about this picture, node, host or tag")
    .addOption(new Option("--kind <kind>", `only this kind: ${kindsHint}`))
    .option("--author <name>", "only by this author")
    .option("--limit <count>", "how many, newest first", wholeNumber(1, 100_000), 50)
    .action(async ({ since, name, kind, author, limit, ...options }: AuditOptions) => {
      const output = outputOf(cli, options);
      const sinceMs = since?.(cli.clock.wallMs());
      const query = { name, kind, author, since: sinceMs === undefined ? undefined : new Date(sinceMs).toISOString() };
      const { entries, hasMore } = await withClient(
        cli,
        options,
        async (client) => await readAudit(client, query, limit),
      );
      output.answer({ entries, hasMore }, () => linesOf(entries, hasMore, limit));
      cli.end(exitCodes.ok);
    });
}

function linesOf(entries: readonly AuditEntry[], hasMore: boolean, limit: number): string[] {
  if (entries.length === 0) return ["no entry matches"];
  const rows = entries.map((entry) => [
    timeText(entry.at),
    entry.kind,
    targetText(entry),
    entry.author,
    entry.token === undefined ? "-" : `${entry.token.kind} ${entry.token.id}`,
    entry.address ?? "-",
    factsText(entry.facts),
  ]);
  const table = tableLines(["TIME", "KIND", "NAME", "AUTHOR", "TOKEN", "ADDRESS", "CHANGE"], rows);
  return hasMore ? [...table, `there are older ones: --limit ${limit * 2}`] : table;
}

function targetText({ targets, targetCount, facts }: AuditEntry): string {
  const [first] = targets;
  if (facts["all"] === true) return "everything";
  if (first === undefined) return facts["prefix"] === undefined ? "-" : `${factText("prefix", facts["prefix"])}*`;
  return targetCount === 1 ? first : `${first} and ${targetCount - 1} more`;
}

/** `version 4 (before: 3), sha256 9f86d081884c`. */
function factsText(facts: AuditEntry["facts"]): string {
  return Object.entries(facts)
    .flatMap(([key, value]) => factPart(facts, key, value))
    .join(", ");
}

function factPart(facts: AuditEntry["facts"], key: string, value: AuditEntry["facts"][string]): string[] {
  const isToldElsewhere = key.endsWith("Before") && key.slice(0, -"Before".length) in facts;
  if (isToldElsewhere || value === false) return [];
  const words = key.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  if (value === true) return [words];
  const before = facts[`${key}Before`];
  return [`${words} ${factText(key, value)}${before === undefined ? "" : ` (before: ${factText(key, before)})`}`];
}

function factText(key: string, value: AuditEntry["facts"][string]): string {
  if (key.startsWith("sha256")) return String(value).slice(0, 12);
  return Array.isArray(value) ? value.join(" ") : String(value);
}
