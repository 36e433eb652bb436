/**
 * The CDN in the lab's internet: an origin with one picture, two edges in each site with a BIRD beside each, a BIRD on
 * every router, and unbound at every client.
 *
 * Edges are started as a machine's service manager would: `node node/main.ts --config FILE`, and again after they died
 * when a drill says so. Whether one is ready, it says itself on its listener for administration.
 */
import { sleep } from "#base/clock.ts";
import { parseFleet } from "#document/read-document.ts";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { makeLeaseKey } from "#base/lease-key.ts";
import {
  edgeConfig,
  fleetDocument,
  leaseKeyFile,
  namedConfig,
  originConfig,
  picture,
  tokenFile,
  unboundConfig,
} from "./documents.ts";
import { machineClock, machineMs } from "./machine-clock.ts";
import {
  adminPort,
  type ClientName,
  clients,
  cloudOf,
  type NodePlan,
  nodeOf,
  nodes,
  origin,
  originPort,
  routers,
  type SiteName,
  siteOf,
} from "./plan.ts";
import { type Crew, type Program, run } from "./processes.ts";
import { nodeBird, routerBird } from "./router-configs.ts";
import { labDirectory } from "./space.ts";

const edgeScript = fileURLToPath(new URL("../../node/main.ts", import.meta.url));
const originScript = fileURLToPath(new URL("../../origin/main.ts", import.meta.url));
const blockScript = new URL("block-on-signal.ts", import.meta.url).href;

/** On a loaded machine six edges that start at once take their time. */
const startMs = 60_000;
const askMs = 50;

export interface Cdn {
  readonly edge: (node: string) => Program;
  /** Starts it, unless it runs; `until` waits. */
  readonly startEdge: (node: string) => Program;
  readonly bird: (node: string) => Program;
  readonly startBird: (node: string) => Program;
  readonly birdCommand: (node: string, command: string) => Promise<string>;
  /** The nodes through which the site's router reaches a cloud at this moment. */
  readonly announcers: (site: SiteName, cloud: string, family: 4 | 6) => Promise<readonly string[]>;
  /** A second resolver beside a client's unbound. */
  readonly startNamed: (client: ClientName) => Program;
  readonly isReady: (node: string) => Promise<boolean>;
  /** What `nearcast status` prints, of one node. */
  readonly status: (node: string) => Promise<Record<string, unknown>>;
}

/** Resolves when it is so. @throws Error with `what` past `withinMs` */
export async function until(
  what: string,
  isSo: () => Promise<boolean>,
  withinMs: number,
  program?: Program,
): Promise<void> {
  const deadlineMs = machineMs() + withinMs;
  for (;;) {
    if (await isSo().catch(() => false)) return;
    const words = (): string => (program === undefined ? "" : `\n${program.lastWords()}`);
    if (program?.isRunning() === false) throw new Error(`${program.name} ended${words()}`);
    if (machineMs() > deadlineMs) throw new Error(`not so within ${withinMs} ms: ${what}${words()}`);
    await sleep(machineClock, askMs);
  }
}

/** Resolves when every edge is ready; routes may still be on their way. */
export async function startCdn(crew: Crew, say: (line: string) => void): Promise<Cdn> {
  const text = fleetDocument();
  const checked = parseFleet(text);
  if (!checked.ok) throw new Error(`the lab's fleet document: ${JSON.stringify(checked.problems)}`);
  const fleet = checked.value;
  const programs = new Map<string, Program>();

  function start(name: string, namespace: string, command: readonly string[], isFirst = false): Program {
    const before = programs.get(name);
    if (before?.isRunning() === true) return before;
    const program = crew.start({ name, namespace, command, isFirst });
    programs.set(name, program);
    return program;
  }
  function started(name: string): Program {
    const program = programs.get(name);
    if (program === undefined) throw new Error(`${name} was never started`);
    return program;
  }

  const originProgram = start("origin", origin.name, [
    process.execPath,
    originScript,
    "--config",
    written("origin.yaml", originConfig()),
  ]);
  for (const router of routers) startBird(router, routerBird(fleet, router));
  const leaseKey = makeLeaseKey();
  writeFileSync(leaseKeyFile, leaseKey, { mode: 0o600 });
  const passwordFile = written("nearcast-lease.conf", `password "${leaseKey}";\n`);
  for (const { name, site } of nodes) startBird(name, nodeBird(fleet, site, name, passwordFile));
  for (const { name } of clients) startUnbound(name);
  await openOrigin(originProgram, text);
  say("the origin has a fleet document and a picture");
  for (const { name } of nodes) startEdge(name);
  await Promise.all(
    nodes.map(({ name }) => until(`${name} is ready`, () => isReady(name), startMs, started(`edge-${name}`))),
  );

  function startBird(name: string, config?: string): Program {
    const file = join(labDirectory, `${name}.conf`);
    if (config !== undefined) writeFileSync(file, config);
    const control = birdSocket(name);
    // Also on nodes: their service manager is told the same (deploy/systemd).
    return start(`bird-${name}`, name, ["bird", "-f", "-c", file, "-s", control, "-P", `${control}.pid`], true);
  }

  function startUnbound(client: ClientName): Program {
    return start(`unbound-${client}`, client, ["unbound", "-d", "-c", written("unbound.conf", unboundConfig())], true);
  }

  function startEdge(name: string): Program {
    const file = written(`edge-${name}.yaml`, edgeConfig(nodeOf(name)));
    const command = [process.execPath, "--import", blockScript, edgeScript, "--config", file];
    // As in deploy/systemd/nearcast-edge.service, which says why.
    return start(`edge-${name}`, name, ["env", "GLIBC_TUNABLES=glibc.malloc.hugetlb=1", ...command]);
  }

  async function status(node: string): Promise<Record<string, unknown>> {
    const answer = await fetch(`${adminUrl(nodeOf(node))}/status`, { signal: AbortSignal.timeout(1000) });
    return (await answer.json()) as Record<string, unknown>;
  }

  async function isReady(node: string): Promise<boolean> {
    const answer = await fetch(`${adminUrl(nodeOf(node))}/readyz`, { signal: AbortSignal.timeout(1000) });
    await answer.body?.cancel();
    return answer.ok;
  }

  return {
    edge: (node) => started(`edge-${node}`),
    startEdge,
    bird: (node) => started(`bird-${node}`),
    startBird: (node) => startBird(node),
    async birdCommand(node, command) {
      return await run("birdc", ["-s", birdSocket(node), ...command.split(" ")]);
    },
    async announcers(siteName, cloudName, family) {
      const { prefix4, prefix6 } = cloudOf(cloudName);
      const { router, nodes: own } = siteOf(siteName);
      const show = [`-${family}`, "-j", "-n", router, "route", "show", family === 4 ? prefix4 : prefix6];
      const routes = JSON.parse((await run("ip", show)) || "[]") as Route[];
      const ways = routes.flatMap((route) => [route, ...(route.nexthops ?? [])].map(({ dev }) => dev));
      return own.map(({ name }) => name).filter((name) => ways.includes(name));
    },
    startNamed(client) {
      const file = written("named.conf", namedConfig());
      return start(`named-${client}`, client, ["named", "-g", "-c", file], true);
    },
    isReady,
    status,
  };
}

interface Route {
  readonly dev?: string;
  readonly nexthops?: readonly { readonly dev?: string }[];
}

function birdSocket(name: string): string {
  return join(labDirectory, `${name}.ctl`);
}

function adminUrl({ adminAddress }: NodePlan): string {
  return `http://${adminAddress}:${adminPort}`;
}

function written(name: string, text: string): string {
  const file = join(labDirectory, name);
  writeFileSync(file, text);
  return file;
}

async function openOrigin(program: Program, fleetText: string): Promise<void> {
  const url = `http://${origin.adminAddress}:${originPort}`;
  const isUp = async (): Promise<boolean> => (await fetch(`${url}/healthz`)).ok;
  await until("the origin answers", isUp, startMs, program);
  const authorization = `Bearer ${readFileSync(tokenFile("writer"), "utf8").trim()}`;
  const put = async (path: string, type: string, body: string | Uint8Array<ArrayBuffer>): Promise<void> => {
    const answer = await fetch(`${url}/api/v1${path}`, {
      method: "PUT",
      headers: { authorization, "content-type": type },
      body,
    });
    if (!answer.ok) throw new Error(`PUT ${path}: status ${answer.status}: ${await answer.text()}`);
  };
  await put("/fleet", "application/yaml", fleetText);
  await put(`/images/${picture}`, "application/octet-stream", new Uint8Array(await paint()));
}

async function paint(): Promise<Buffer> {
  const background = { r: 200, g: 120, b: 40 };
  return await sharp({ create: { width: 320, height: 200, channels: 3, background } })
    .png()
    .toBuffer();
}
