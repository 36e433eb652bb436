/** `nearcast zone delegation`: the records to enter at the parent zone, and whether they are there. */
import { command } from "#base/command-name.ts";
import { nearest } from "#base/did-you-mean.ts";
import { problemLines } from "#base/schema.ts";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { canonicalName } from "#record/domain-names.ts";
import { isPublicName } from "#review/special-addresses.ts";
import type { Command } from "commander";
import { getServers } from "node:dns";
import { CommandFailure, type ExitCode, exitCodes } from "../../exit-codes.ts";
import { readFleetText } from "../fleet/check.ts";
import { readWholeFleet } from "../fleet/zone-files.ts";
import { readFleet } from "../../origin-answers.ts";
import { type CommonOptions, hostPort } from "../../settings.ts";
import { addVerb, type Cli, outputOf, withClient, withOrigin } from "../../verb.ts";
import { type DnsServer, queryTimeoutMs } from "../../dns-query.ts";
import { type AskDns, askDns } from "./ask-dns.ts";
import { type CheckedDelegation, checkDelegation } from "./check-delegation.ts";
import { parseServer } from "./dns-server.ts";
import { budgetMs, withinBudget } from "./query-budget.ts";
import { type Delegation, delegationOf, recordLines } from "./wanted-delegation.ts";

interface DelegationOptions extends CommonOptions {
  file?: string;
  resolver?: string;
  check: boolean;
}

interface ZoneAnswer extends Delegation {
  records: readonly string[];
  /** Undefined: no check was requested, or the name is not in the public DNS. */
  checked: CheckedDelegation | undefined;
  /** Why it was not checked, if it can't be. */
  unchecked: string | undefined;
}

const dnsPort = 53;

export function addDelegation(parent: Command, cli: Cli): void {
  const verb = addVerb(parent, {
    usage: "delegation [zone]",
    summary: "print the NS records and glue that the parent zone needs, and check them",
    more: [
      "Without ZONE, covers every zone of the fleet document. Reads the document from the origin, or from --file.",
      "Finds the parent zone through the resolver of this machine and queries its nameservers for the delegation;",
      "then queries each nameserver of the zone itself. The records are printed even if a query fails.",
      "Exit status 1: something is missing or wrong. Exit status 3: the check is not complete.",
    ].join("\n"),
    examples: ["zone delegation", "zone delegation cdn.example.com --file fleet.yaml --no-check"],
  });
  withOrigin(verb)
    .option("--file <file>", "fleet document to use instead of the origin's")
    .option("--resolver <address>", "resolver that finds the parent zone (default: that of this machine)")
    .option("--no-check", "print the records without checking them")
    .action(async (name: string | undefined, options: DelegationOptions) => {
      const resolver = options.check ? resolverOf(options.resolver) : undefined;
      const zones = zonesOf(await fleetOf(cli, options), name);
      const output = outputOf(cli, options);
      const isAnyPublic = zones.some(({ zone }) => isPublicName(zone));
      if (resolver !== undefined && isAnyPublic) output.note(checkingLine(zones.length, resolver));
      const ask = withinBudget(askDns, cli.clock);
      const answers = await Promise.all(zones.map(async (zone) => await answerOf(zone, resolver, ask)));
      output.answer({ zones: answers, ok: answers.every(isRight) }, () => answers.flatMap(linesOf));
      cli.end(exitCodeOf(answers));
    });
}

async function answerOf(wanted: Delegation, resolver: DnsServer | undefined, ask: AskDns): Promise<ZoneAnswer> {
  const base = { ...wanted, records: recordLines(wanted), checked: undefined };
  if (resolver === undefined) return { ...base, unchecked: undefined };
  if (!isPublicName(wanted.zone)) {
    return {
      ...base,
      unchecked: `not checked: ${wanted.zone} is a reserved name, which nobody can delegate in the public DNS`,
    };
  }
  const checked = await checkDelegation(wanted, { ask, resolver, port: dnsPort });
  return { ...base, checked, unchecked: undefined };
}

function checkingLine(zones: number, { host, port }: DnsServer): string {
  const what = zones === 1 ? "the delegation" : `the delegations of ${zones} zones`;
  return `checking ${what} through the resolver ${hostPort(host, port)}; this takes at most ${limitMs / 1000} s`;
}

/** The last query starts before the budget is used up. */
const limitMs = budgetMs + Math.ceil(queryTimeoutMs / 1000) * 1000;

async function fleetOf(cli: Cli, options: DelegationOptions): Promise<Fleet> {
  if (options.file !== undefined) {
    const { checked } = readWholeFleet(options.file, await readFleetText(options.file));
    if (checked.ok) return checked.value;
    throw new CommandFailure(exitCodes.usage, `${options.file} is not a valid fleet document`, {
      lines: problemLines(checked.problems),
    });
  }
  const found = await withClient(cli, options, async (client) => await readFleet(client));
  if (found === undefined) {
    throw new CommandFailure(exitCodes.refused, "the origin has no fleet document", {
      lines: [`Publish one: ${command} fleet apply fleet.yaml. Or name a file: --file fleet.yaml`],
    });
  }
  const parsed = parseFleet(found.text);
  if (parsed.ok) return parsed.value;
  throw new CommandFailure(exitCodes.failed, `this release can't read fleet version ${found.version}`, {
    lines: problemLines(parsed.problems),
  });
}

function zonesOf(fleet: Fleet, name: string | undefined): Delegation[] {
  const all = fleet.zones.map(delegationOf);
  if (name === undefined) return all;
  const wanted = canonicalName(name);
  const found = all.filter(({ zone }) => zone === wanted);
  if (found.length > 0) return found;
  const names = all.map(({ zone }) => zone);
  const meant = nearest(wanted, names);
  throw new CommandFailure(exitCodes.usage, `the fleet document has no zone "${name}"`, {
    lines: [meant === undefined ? `It has ${names.join(", ")}` : `Did you mean ${meant}?`],
  });
}

function resolverOf(text: string | undefined): DnsServer {
  if (text !== undefined) return parseServer("--resolver", text);
  const [first] = getServers();
  if (first === undefined) throw new CommandFailure(exitCodes.usage, "this machine has no resolver: add --resolver");
  return parseServer("resolv.conf", first);
}

function isRight({ checked }: ZoneAnswer): boolean {
  return checked === undefined || (isWhole(checked) && checked.findings.length === 0);
}

/** Whether everything that the verdict needs was checked. */
function isWhole({ problem, unchecked }: CheckedDelegation): boolean {
  return problem === undefined && unchecked.length === 0;
}

function exitCodeOf(answers: readonly ZoneAnswer[]): ExitCode {
  if (answers.every(isRight)) return exitCodes.ok;
  const hasFindings = answers.some(({ checked }) => checked?.problem === undefined && !isClean(checked));
  return hasFindings ? exitCodes.failed : exitCodes.unreachable;
}

function isClean(checked: CheckedDelegation | undefined): boolean {
  return checked === undefined || checked.findings.length === 0;
}

function linesOf({ zone, records, checked, unchecked }: ZoneAnswer, index: number): string[] {
  return [
    ...(index === 0 ? [] : [""]),
    `${zone}: enter these records at its parent zone (at a registrar: nameservers and their addresses)`,
    "",
    ...records.map((record) => `  ${record}`),
    "",
    "  Add no DS record: nearcast does not sign zones (DNSSEC).",
    ...(unchecked === undefined ? [] : ["", unchecked]),
    ...(checked === undefined ? [] : ["", ...checkedLines(checked)]),
  ];
}

function checkedLines(checked: CheckedDelegation): string[] {
  const { parent, problem, findings, unchecked } = checked;
  const found = [
    ...findings.map(({ kind, text }) => `  ${kind}: ${text}`),
    ...unchecked.map((text) => `  not checked: ${text}`),
  ];
  if (problem !== undefined || parent === undefined) return [`the parent was not checked: ${problem ?? ""}`, ...found];
  const asked = `parent zone ${parent.zone}, asked at ${parent.servers.join(", ")}`;
  return found.length === 0 ? [`${asked}: the delegation is right`] : [`${asked}:`, ...found];
}
