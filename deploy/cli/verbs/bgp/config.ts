/**
 * `nearcast bgp config`: turns the fleet document into the configuration of BIRD or of a router. It prints the text;
 * with --output it writes the file instead, together with the key of the session between edge and BIRD.
 */
import { command } from "#base/command-name.ts";
import { type Checked, problemLines } from "#base/schema.ts";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import { isIPv4 } from "node:net";
import { dirname, join, resolve } from "node:path";
import { readFleetText } from "../fleet/check.ts";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { withRoster } from "#document/roster.ts";
import { readFleet, readRoster } from "../../origin-answers.ts";
import type { CommonOptions } from "../../settings.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withClient, withOrigin } from "../../verb.ts";
import { readWholeFleet } from "../fleet/zone-files.ts";
import { addressFile } from "./address-file.ts";
import { daisyChain } from "./daisy-chain.ts";
import { leasePasswordFileName, nodeConfig } from "./node-config.ts";
import { type AnnouncementPlan, announcementPlan } from "./announcement-plan.ts";
import { routerConfig, type RouterKind, routerKinds } from "./router-config.ts";
import { ensureLeaseKey, writeConfigFile, type WrittenFile, writePasswordFile } from "./write-files.ts";

/** The data directory of an edge that install.sh set up. */
const keyFileDefault = "/var/lib/nearcast/lease.key";
/** `nearcast fleet check` shows all of them. */
const problemsShownMax = 20;

interface ConfigOptions extends CommonOptions {
  site: string;
  node?: string;
  processes: number;
  routerId?: string;
  router?: RouterKind;
  addresses?: boolean;
  daisyChain?: string;
  file?: string;
  output?: string;
  keyFile: string;
}

export function addBgpConfig(bgp: Command, cli: Cli): void {
  const verb = addVerb(bgp, {
    usage: "config",
    summary: "generate bird.conf for a node, or the configuration of its router, from the fleet document",
    more: [
      "Reads the fleet document from the origin, or from --file, and prints the configuration. --output writes it to a",
      "file instead; if the command fails, the file stays unchanged. With a bird.conf, --output also writes the TCP",
      `MD5 key of the session between edge and BIRD: to ${leasePasswordFileName} next to bird.conf, for BIRD, and to`,
      "--key-file, for the edge (announce.keyFile in edge.yaml). An existing key is kept.",
      "Without --node, the configuration fits every node of the site, and BIRD chooses its own router id.",
      "Passwords are never printed: BIRD includes the file that sites[].bgp.routers[].passwordFile names.",
    ].join("\n"),
    examples: [
      "bgp config --site fra --node fra1 --output /etc/bird/bird.conf",
      "bgp config --site fra --file fleet.yaml --router junos",
      "bgp config --site fra --addresses --output /etc/nearcast/addresses",
    ],
  });
  withOrigin(verb)
    .requiredOption("--site <name>", "site, from the fleet document")
    .option("--node <name>", "node of the site (default: any of its nodes)")
    .option(
      "--processes <count>",
      `number of edge processes on the node (\`${command} edge --processes\`)`,
      wholeNumber(1, 64),
      1,
    )
    .option("--router-id <ipv4>", "BGP identifier of the node (default: its IPv4 address)", checkedRouterId)
    .option("--file <file>", "fleet document to use instead of the origin's")
    .option("--output <path>", "write to this file instead of standard output")
    .option("--key-file <path>", "key file of the edge; created if missing", keyFileDefault)
    .addOption(
      new Option("--router <kind>", "generate the configuration of the site's router instead")
        .choices(routerKinds)
        .conflicts(["addresses", "daisyChain"]),
    )
    .addOption(
      new Option("--addresses", "generate the list of service addresses for lo instead").conflicts("daisyChain"),
    )
    .option("--daisy-chain <node>", "generate the settings that pass TCP connections on to this node instead")
    .action(async (options: ConfigOptions) => {
      const fleet = await fleetOf(options, cli);
      const planned = announcementPlan(fleet, options);
      if (!planned.ok) throw new CommandFailure(exitCodes.usage, planned.reason, { lines: planned.hints });
      const { plan } = planned;
      const output = outputOf(cli, options);
      if (options.output === undefined) {
        const text = textOf(plan, options);
        output.document({ plan, text }, text);
      } else {
        const files = await write(plan, options, resolve(options.output));
        output.answer({ plan, files }, () => files.map(({ file, outcome }) => `${outcome.padEnd(9)}  ${file}`));
      }
      cli.end(exitCodes.ok);
    });
}

function checkedRouterId(text: string): string {
  if (isIPv4(text) && text !== "0.0.0.0") return text;
  throw new InvalidArgumentError("It must look like an IPv4 address and must not be 0.0.0.0 (RFC 6286).");
}

/** The key is written first: a bird.conf with a missing include would stop BIRD. */
async function write(plan: AnnouncementPlan, options: ConfigOptions, file: string): Promise<WrittenFile[]> {
  if (!isNodeConfig(options)) return [await writeConfigFile(file, textOf(plan, options))];
  const passwordFile = join(dirname(file), leasePasswordFileName);
  const { key, ...keyFile } = await ensureLeaseKey(resolve(options.keyFile));
  const password = await writePasswordFile(passwordFile, key);
  return [keyFile, password, await writeConfigFile(file, nodeConfig(plan, { passwordFile }))];
}

function isNodeConfig({ router, addresses, daisyChain: peer }: ConfigOptions): boolean {
  return router === undefined && addresses !== true && peer === undefined;
}

function textOf(plan: AnnouncementPlan, options: ConfigOptions): string {
  if (isNodeConfig(options)) return nodeConfig(plan);
  if (options.router !== undefined) return routerConfig(plan, options.router);
  if (options.daisyChain === undefined) return addressFile(plan);
  const chained = daisyChain(plan, options.daisyChain);
  if (!chained.ok) throw new CommandFailure(exitCodes.usage, chained.reason, { lines: chained.hints });
  return chained.text;
}

/** The document of --file, otherwise the origin's newest one, with the nodes that joined. */
async function fleetOf(options: ConfigOptions, cli: Cli): Promise<Fleet> {
  const { file } = options;
  if (file !== undefined) return wholeOrThrow(readWholeFleet(file, await readFleetText(file)).checked, file);
  return await withClient(cli, options, async (client) => {
    const newest = await readFleet(client);
    if (newest === undefined) {
      throw new CommandFailure(exitCodes.refused, "the origin has no fleet document yet", {
        lines: [`Publish one: ${command} fleet apply FILE`, "Or use a file: --file FILE"],
      });
    }
    const document = wholeOrThrow(parseFleet(newest.text), `fleet version ${newest.version}`);
    return withRoster(document, await readRoster(client));
  });
}

/** @throws CommandFailure with the document's problems */
export function wholeOrThrow(checked: Checked<Fleet>, what: string): Fleet {
  if (checked.ok) return checked.value;
  throw new CommandFailure(exitCodes.usage, `${what} is not valid`, {
    lines: problemLines(checked.problems).slice(0, problemsShownMax),
  });
}
