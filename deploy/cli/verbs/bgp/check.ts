/** `nearcast bgp check`: is this node set up so that its announcements work? Read-only. */
import { command } from "#base/command-name.ts";
import type { Fleet } from "#document/document.ts";
import type { Command } from "commander";
import { readFleetText } from "../fleet/check.ts";
import { exitCodes } from "../../exit-codes.ts";
import { readEdgeConfig } from "../../settings.ts";
import { addVerb, type Cli, outputOf, wholeNumber } from "../../verb.ts";
import { readWholeFleet } from "../fleet/zone-files.ts";
import { birdSocketDefault } from "./bird-control.ts";
import { wholeOrThrow } from "./config.ts";
import { gatherFacts } from "./machine-facts.ts";
import { judge } from "./findings.ts";
import type { Finding } from "./findings/finding.ts";

interface CheckOptions {
  config: string;
  file?: string;
  processes: number;
  socket: string;
  json?: boolean;
}

export function addBgpCheck(bgp: Command, cli: Cli): void {
  addVerb(bgp, {
    usage: "check",
    summary: "check BIRD, addresses and kernel settings on this node",
    more: [
      "Run this on the node, as root or as a member of the group bird. It changes nothing. It reads the fleet document",
      "that the edge stored in its dataDir, or the file that --file names. Exit status 1: at least one check failed.",
      "Warnings alone give exit status 0.",
    ].join("\n"),
    examples: ["bgp check", "bgp check --config /etc/nearcast/edge.yaml --json"],
  })
    .option("--config <file>", "configuration file of the edge", "/etc/nearcast/edge.yaml")
    .option("--file <file>", "fleet document to use instead of the edge's")
    .option(
      "--processes <count>",
      `number of edge processes on the node (\`${command} edge --processes\`)`,
      wholeNumber(1, 64),
      1,
    )
    .option("--socket <path>", "control socket of BIRD", birdSocketDefault)
    .action(async (options: CheckOptions) => {
      const output = outputOf(cli, options);
      const facts = await gatherFacts({
        edge: await readEdgeConfig(options.config),
        processes: options.processes,
        fleet: options.file === undefined ? undefined : await fleetOf(options.file),
        birdSocket: options.socket,
        proc: "/proc",
      });
      const findings = judge(facts);
      const failed = findings.filter(({ level }) => level === "fail").length;
      output.answer({ node: facts.edge.node, site: facts.edge.site, ok: failed === 0, findings }, () =>
        linesOf(findings),
      );
      cli.end(failed === 0 ? exitCodes.ok : exitCodes.failed);
    });
}

async function fleetOf(file: string): Promise<Fleet> {
  return wholeOrThrow(readWholeFleet(file, await readFleetText(file)).checked, file);
}

/** One line per finding, with advice below it; then the number of findings of each level. */
function linesOf(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ about }) => about.length));
  const indent = " ".repeat("fail".length + 2 + width + 2);
  const lines = findings.flatMap(({ level, about, what, mend }) => [
    `${level.padEnd(4)}  ${about.padEnd(width)}  ${what}`,
    ...(mend === undefined ? [] : [`${indent}→ ${mend}`]),
  ]);
  const count = (wanted: Finding["level"]): number => findings.filter(({ level }) => level === wanted).length;
  return [...lines, "", `${count("ok")} ok, ${count("warn")} warnings, ${count("fail")} failed`];
}
