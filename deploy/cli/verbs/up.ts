/**
 * `nearcast up`: the whole CDN on one machine, for trials and development: an origin, one edge (or one per entry of
 * `--sites`), a fleet document and a first picture. It stays in the foreground and stops everything when it is stopped.
 *
 *   folder free? ─▶ addresses free? ─▶ configurations ─▶ origin ─▶ fleet document ─▶ certificates ─▶ edges ready
 *   ─▶ picture ─▶ paste
 *
 * Several can run side by side, each with its own folder and address. If it can't start, it changes nothing: the other
 * verbs continue to use what already runs (they read up.json, which is written once everything listens).
 */
import { isStartedByNpm } from "#base/npm-parent.ts";
import { counted } from "#base/counted.ts";
import type { Command } from "commander";
import { askAdmin } from "../admin-client.ts";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { type Child, lastLines, startChild } from "./up/child-processes.ts";
import { certificateFolderOf, renewalCheckMs } from "./up/certificate-folder.ts";
import { type ProvidedFleet, provideFleet, provideSample } from "./up/first-content.ts";
import { holdFolder } from "./up/folder-lock.ts";
import { findTaken, takenLines } from "./up/free-addresses.ts";
import { localZone, nodesPerSiteMax, parseBaseAddress, parseSites } from "./up/process-plan.ts";
import { planSetup, saveState, type Setup, writeSetup } from "./up/folder.ts";
import { watchStopSignals } from "./up/stop-signal.ts";
import { welcomeLines, welcomeValue } from "./up/welcome.ts";
import { createOriginClient } from "../origin-client.ts";
import { readFleet } from "../origin-answers.ts";
import {
  type CommonOptions,
  dataDirOf,
  exists,
  findOrigin,
  hostPort,
  type NodePlace,
  originFileOf,
} from "../settings.ts";
import type { Output } from "../output.ts";
import { addVerb, type Cli, outputOf, wholeNumber, withDataDir } from "../verb.ts";

/** A cold start reads a geo database of 60 MB and starts decoders, which takes a while on a slow machine. */
const readyTimeoutMs = 60_000;
/** After this, `up` continues: `status` shows a site that stays down, and the user may have set it down. */
const seeTimeoutMs = 30_000;
const pollMs = 100;
/**
 * Everything stops within 5 s after Ctrl-C: the edges drain for one second and finish their requests; then the origin
 * stops.
 */
const edgeStopMs = 3200;
const originStopMs = 1500;

interface UpOptions extends CommonOptions {
  sites?: string;
  address?: string;
  nodes?: number;
}

export function addUp(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "up",
    summary: "run the whole CDN on this machine: origin, edges, DNS and a sample picture",
    more: [
      "The data directory keeps everything: the next start uses the same pictures, tokens, fleet document and sites",
      "(`--sites local` goes back to one edge).",
      "With --sites, each site is one edge at the real coordinates of its city: 127.0.1.1, 127.0.2.1, …",
      "With --nodes, each site has several edges that share one cache: 127.0.1.1, 127.0.1.2, …",
      "When --sites or --nodes changes, the files of edges that are no longer started stay: for example edge-local1,",
      "edge-local1.yaml and edge-local1.log. You can delete them.",
      "The edges also serve HTTPS at port 8443. The first start makes a certificate authority for it:",
      "curl --cacert ./data/tls/authority.crt trusts it.",
      "Ctrl-C drains and stops everything within 5 s. Press it again to kill everything at once.",
    ].join("\n"),
    examples: [
      "up",
      "up --sites fra,nyc,tyo",
      "up --sites fra,nyc --nodes 2",
      "up --address 127.0.101.1 --data ./data2",
    ],
  });
  withDataDir(verb)
    .option("--sites <codes>", "sites to run, as city codes such as fra,nyc,tyo; `local`: one edge without a location")
    .option("--nodes <number>", "edges per site (default: 1)", wholeNumber(1, nodesPerSiteMax))
    .option(
      "--address <ip>",
      "address of the origin, in 127.0.0.0/8 (default: 127.0.0.1); edges use it and the addresses after it",
    )
    .action(async (options: UpOptions) => {
      const dataDir = dataDirOf(options, cli.environment);
      const wanted = {
        sites: options.sites === undefined ? undefined : parseSites(options.sites),
        address: options.address === undefined ? undefined : parseBaseAddress(options.address),
        nodesPerSite: options.nodes,
      };
      // A folder that does not exist has no owner, and is not created for a start that fails.
      let release = (await exists(dataDir)) ? await holdFolder(dataDir) : undefined;
      try {
        const setup = await planSetup(dataDir, wanted);
        await refuseTaken(setup);
        release ??= await holdFolder(dataDir);
        await writeSetup(setup);
        await run(cli, setup, options);
      } finally {
        release?.();
      }
    });
}

async function refuseTaken({ dataDir, origin, edges }: Setup): Promise<void> {
  const taken = await findTaken([...origin.plan.listens, ...edges.flatMap(({ plan }) => plan.listens)]);
  if (taken.length === 0) return;
  const configurations = (await exists(originFileOf(dataDir))) ? `${dataDir}/*.yaml` : undefined;
  throw new CommandFailure(exitCodes.failed, "nothing was started:", { lines: takenLines(taken, configurations) });
}

async function run(cli: Cli, setup: Setup, options: UpOptions): Promise<void> {
  const output = outputOf(cli, options);
  const children: Child[] = [];
  let stopRenewals = (): void => undefined;
  const signal = watchStopSignals(cli.clock, isStartedByNpm(cli.environment), () => {
    output.note("killed");
    for (const child of children) child.kill();
    cli.exit(exitCodes.failed);
  });
  const start = async (plan: Child["plan"]): Promise<Child> => {
    const child = await startChild(plan, { clock: cli.clock, say: output.note });
    children.push(child);
    return child;
  };
  try {
    const ready = await Promise.race([startAll(cli, setup, options, start), signal.first]);
    if (typeof ready === "object") {
      const { host, hosts } = ready;
      output.answer(welcomeValue(setup, host), () => welcomeLines(setup, host));
      stopRenewals = cli.clock.every(renewalCheckMs, () => {
        renewCertificates(cli, setup, hosts).catch((error: unknown) => {
          output.note(`the certificates for HTTPS could not be renewed: ${(error as Error).message}`);
        });
      });
      await signal.first;
    }
  } finally {
    stopRenewals();
    if (signal.isWanted()) output.note("stopping …");
    await stopAll(children);
  }
  output.note("stopped");
  cli.exit(exitCodes.ok);
}

async function startAll(
  cli: Cli,
  setup: Setup,
  options: UpOptions,
  start: (plan: Child["plan"]) => Promise<Child>,
): Promise<ProvidedFleet> {
  const output = outputOf(cli, options);
  output.note("starting the origin …");
  const originChild = await start(setup.origin.plan);
  const { host, port } = setup.origin.config.listen;
  const place = { ...(await findOrigin({ data: setup.dataDir }, {})), url: `http://${hostPort(host, port)}` };
  const client = createOriginClient(place);
  try {
    await until(cli, originChild, async () => {
      await readFleet(client);
      return true;
    });
    const fleet = await provideFleet(client, setup);
    await writeSetup(setup);
    const isRenewed = await renewCertificates(cli, setup, fleet.hosts);
    if (isRenewed) output.note(`certificates for HTTPS: ${certificateFolderOf(setup.dataDir).authorityFile}`);
    if (fleet.isNew) output.note(`published version ${fleet.version} of the fleet document`);
    output.note(`starting ${counted(setup.edges.length, "edge")}: loading the geo data takes a while …`);
    const nodes = await Promise.all(
      setup.edges.map(async ({ config, plan }) => {
        const child = await start(plan);
        const adminUrl = `http://${hostPort(config.admin.host, config.admin.port)}`;
        const node = { name: config.node, site: config.site, adminUrl, dns: [] };
        await until(cli, child, async () => (await askAdmin(node, "/readyz")).status === 200);
        output.note(`${config.node} is ready`);
        return node;
      }),
    );
    await untilAllSeeAll(cli, output, nodes);
    await saveState(setup);
    if (await provideSample(client, setup.dataDir)) output.note("stored the sample picture, sample.jpg");
    return fleet;
  } finally {
    await client.close();
  }
}

/** How many hosts the certificate names besides the local ones. */
const certificateHostsMax = 100;

/** Makes or renews the certificates for HTTPS; returns whether it did. */
async function renewCertificates(cli: Cli, setup: Setup, hosts: readonly string[]): Promise<boolean> {
  const { provideCertificates } = await import("./up/local-certificates.ts");
  const addresses = setup.edges.flatMap(({ config }) => (config.https?.addresses ?? []).map((at) => at.host));
  const named = hosts.slice(0, certificateHostsMax).map((name) => name.replace(/\.$/, ""));
  const names = [...new Set(["localhost", localZone, `*.${localZone}`, ...named, ...addresses])];
  return await provideCertificates(setup.dataDir, names, cli.clock);
}

/** Retries until the process answers as expected; fails if it ends instead, or takes too long. */
async function until(cli: Cli, child: Child, isReady: () => Promise<boolean>): Promise<void> {
  const deadlineMs = cli.clock.monotonicMs() + readyTimeoutMs;
  let last = "it does not report ready";
  for (;;) {
    if (child.ended() !== undefined) {
      throw new CommandFailure(
        exitCodes.failed,
        `${child.plan.name} ${child.ended() ?? ""} while starting; the end of its log:`,
        {
          lines: await lastLines(child.plan.logFile, 8),
        },
      );
    }
    try {
      if (await isReady()) {
        child.keep();
        return;
      }
    } catch (error) {
      // It does not listen yet, or its token file does not exist yet.
      if (!(error instanceof CommandFailure) || error.exitCode === exitCodes.refused) throw error;
      last = error.message;
    }
    if (cli.clock.monotonicMs() > deadlineMs) {
      throw new CommandFailure(
        exitCodes.failed,
        `${child.plan.name} was not ready after ${readyTimeoutMs / 1000} s: ${last}; the end of its log:`,
        { lines: await lastLines(child.plan.logFile, 8) },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/**
 * Waits until a lookup at any node returns the nearest of all sites: until then, it returns sites that the node has
 * seen up.
 */
async function untilAllSeeAll(cli: Cli, output: Output, nodes: readonly NodePlace[]): Promise<void> {
  const deadlineMs = cli.clock.monotonicMs() + seeTimeoutMs;
  for (;;) {
    const unseen = (await Promise.all(nodes.map(unseenBy))).flat();
    if (unseen.length === 0) return;
    if (cli.clock.monotonicMs() >= deadlineMs) {
      output.note(`after ${seeTimeoutMs / 1000} s, not every node answers with all sites: ${unseen.join(", ")}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

interface Seen {
  readonly sites?: readonly { readonly nodes?: readonly { readonly name?: string; readonly state?: string }[] }[];
  readonly dns?: { readonly isCurrent?: boolean };
}

/**
 * The nodes that this one does not see up, or whose state its answers do not use yet. Sites are not a measure: they
 * count as up until their nodes are probed.
 */
async function unseenBy(asked: NodePlace): Promise<string[]> {
  const { sites = [], dns } = (await askAdmin(asked, "/status")).body as Seen;
  const unseen = sites.flatMap(({ nodes = [] }) => nodes).filter(({ state }) => state !== "up");
  if (unseen.length > 0) return unseen.map(({ name, state }) => `${name} is ${state} for ${asked.name}`);
  return dns?.isCurrent === false ? [`DNS of ${asked.name} still answers from older states`] : [];
}

/** The edges stop first, all at once: while they finish their requests, the origin still answers them. */
async function stopAll(children: readonly Child[]): Promise<void> {
  const [origin, ...edges] = children;
  await Promise.all(edges.map(async (edge) => await edge.stop(edgeStopMs)));
  await origin?.stop(originStopMs);
}
